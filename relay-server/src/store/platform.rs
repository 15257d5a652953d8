//! What differs between operating systems: free space, reading at an offset.

use std::fs::File;
use std::io;
use std::path::Path;

/// Bytes that this process may still write on the file system of `path`.
#[cfg(unix)]
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Not asked for elsewhere: the floor then does not apply and a full disk is noticed when it is full.
#[cfg(not(unix))]
pub(super) fn free_bytes(_: &Path) -> io::Result<u64> {
    Ok(u64::MAX)
}

/// Reads exactly `length` bytes at `offset`.
#[cfg(unix)]
pub(super) fn read_exact_at(file: &File, length: usize, offset: u64) -> io::Result<Vec<u8>> {
    // Into uninitialised memory: clearing megabytes first would cost as much as copying them.
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = offset + bytes.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The capacity may be larger than what was asked for.
    bytes.truncate(length);
    Ok(bytes)
}

/// Reads exactly `length` bytes at `offset`.
#[cfg(windows)]
pub(super) fn read_exact_at(file: &File, length: usize, offset: u64) -> io::Result<Vec<u8>> {
    use std::os::windows::fs::FileExt;
    let mut bytes = vec![0; length];
    let mut done = 0;
    while done < length {
        match file.seek_read(&mut bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(read_exact_at(&file, 4, 3).unwrap(), b"3456");
        assert_eq!(read_exact_at(&file, 4, 7).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(free_bytes(dir.path()).unwrap() > 0);
    }
}
