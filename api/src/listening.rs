//! Where the running daemon listens: a file beside its lock, written by the daemon that holds it.
//!
//! The lock belongs to the data folder, and the socket's usual place to the environment of whoever
//! asks (`XDG_RUNTIME_DIR`): only the data folder can tell everybody the same. Invariant: what the
//! file says is a hint that a crash may have left; whether somebody listens there, and who, is
//! found out by connecting.

use crate::paths::Paths;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Longest path that is read, bytes.
const MAX: u64 = 8 << 10;

/// Returns what the file of a daemon that listens at `socket` holds: the absolute path and a line
/// end.
pub fn encode_listening(socket: &Path) -> Vec<u8> {
    [socket.as_os_str().as_bytes(), b"\n"].concat()
}

/// Returns what the file says; `None` when there is none, or nothing that could be a socket's path.
pub fn read_listening(paths: &Paths) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(paths.listening()).ok()?;
    file.take(MAX).read_to_end(&mut bytes).ok()?;
    let path = PathBuf::from(OsString::from_vec(bytes.strip_suffix(b"\n")?.to_vec()));
    path.is_absolute().then_some(path)
}

/// Returns where the daemon may listen, in the order in which it is looked for.
pub(crate) fn places(paths: &Paths) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = read_listening(paths).into_iter().collect();
    if !places.contains(&paths.socket) {
        places.push(paths.socket.clone());
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_wrote_comes_before_what_the_environment_says() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::in_home(home.path());
        std::fs::create_dir(&paths.data).unwrap();
        assert_eq!(places(&paths), [home.path().join("hither.sock")]);
        for odd in [&b""[..], b"\n", b"relative\n", b"/cut off"] {
            std::fs::write(paths.listening(), odd).unwrap();
            assert_eq!(read_listening(&paths), None);
        }
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"/r/a\nb \xff/hither.sock"));
        std::fs::write(paths.listening(), encode_listening(odd)).unwrap();
        assert_eq!(places(&paths), [odd, &home.path().join("hither.sock")]);
        std::fs::write(paths.listening(), encode_listening(&paths.socket)).unwrap();
        assert_eq!(places(&paths).len(), 1);
    }
}
