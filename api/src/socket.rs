//! Unix sockets by their paths: one that is too long for the system is reached through its folder,
//! and whoever serves one is looked at before anything is said.

use rustix::process::geteuid;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// Longest path that an address of a Unix socket can have on every system, bytes (macOS: 104 with
/// the final NUL).
const MAX_ADDRESS: usize = 103;

/// A path by which a socket can be bound or connected, as long as this is kept.
#[derive(Debug)]
pub struct SocketAddress {
    path: PathBuf,
    _folder: Option<File>,
}

impl SocketAddress {
    /// The address of the socket at `path`, which need not exist. Fails when the path is too long
    /// and its folder cannot be opened, or the system has no other way to it.
    pub fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= MAX_ADDRESS {
            return Ok(Self {
                path: path.to_owned(),
                _folder: None,
            });
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let folder = File::open(folder)?;
        Ok(Self {
            path: through(&folder)?.join(name),
            _folder: Some(folder),
        })
    }

    /// Returns what to bind or connect to.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A short path to an open folder.
#[cfg(target_os = "linux")]
fn through(folder: &File) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    Ok(PathBuf::from(format!(
        "/proc/self/fd/{}",
        folder.as_raw_fd()
    )))
}

#[cfg(not(target_os = "linux"))]
fn through(_: &File) -> io::Result<PathBuf> {
    Err(io::ErrorKind::InvalidFilename.into())
}

/// What came of connecting to a socket.
#[derive(Debug)]
pub(crate) enum Reached {
    /// Somebody of this user, or root, takes connections there.
    Own(UnixStream),
    /// Another user does, with this id: nothing was said to them.
    Stranger(u32),
    /// Nobody listens, or nobody may ask.
    Nobody,
}

/// Connects to a socket and looks at who serves it.
pub(crate) async fn reach(path: &Path) -> io::Result<Reached> {
    let connected = match SocketAddress::of(path) {
        Ok(address) => UnixStream::connect(address.path()).await,
        Err(error) => Err(error),
    };
    let stream = match connected {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Ok(Reached::Nobody),
        Err(error) => return Err(error),
    };
    let served_by = stream.peer_cred()?.uid();
    if served_by == geteuid().as_raw() || served_by == 0 {
        return Ok(Reached::Own(stream));
    }
    Ok(Reached::Stranger(served_by))
}

fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, InvalidFilename, NotADirectory, NotFound,
        PermissionDenied,
    };
    matches!(
        error.kind(),
        NotFound
            | ConnectionRefused
            | ConnectionReset
            | NotADirectory
            | PermissionDenied
            | InvalidFilename
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_that_is_too_long_is_reached_through_its_folder() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("x".repeat(100)).join("y".repeat(100));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("hither.sock");
        assert!(matches!(reach(&socket).await.unwrap(), Reached::Nobody));
        let address = SocketAddress::of(&socket).unwrap();
        let _listener = tokio::net::UnixListener::bind(address.path()).unwrap();
        drop(address);
        assert!(socket.exists());
        assert!(matches!(reach(&socket).await.unwrap(), Reached::Own(_)));
    }

    #[tokio::test]
    async fn what_is_no_socket_is_nobody() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("file"), "").unwrap();
        for path in ["file", "file/below", "none", "none/below"] {
            assert!(
                matches!(
                    reach(&home.path().join(path)).await.unwrap(),
                    Reached::Nobody
                ),
                "{path}"
            );
        }
    }
}
