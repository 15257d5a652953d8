//! The socket of the local API: where it is, that it stays there, and who may come in.
//!
//! Invariants: the caller holds the instance lock; where the daemon listens is durable beside the
//! lock before anybody is answered, so that clients with another environment find it; a socket at
//! which somebody else answers is never taken away.

use hither_api::{Paths, SocketAddress, encode_listening, read_listening};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// How often it is looked whether the socket is still there: a session that ends takes
/// `XDG_RUNTIME_DIR` with it.
const LOOK: Duration = Duration::from_secs(2);
/// The folder of a socket when neither its usual place nor the data folder can have one.
const TEMPORARY: &str = "/tmp";

/// A listener that takes connections of this user only.
pub(crate) struct Door {
    paths: Paths,
    open: Open,
}

struct Open {
    listener: UnixListener,
    place: PathBuf,
    /// Device and inode of the socket.
    identity: (u64, u64),
}

impl Door {
    /// Opens the socket at the first place that can have it, and says durably where that is.
    pub(crate) fn open(paths: &Paths) -> io::Result<Self> {
        Ok(Self {
            open: open(paths)?,
            paths: paths.clone(),
        })
    }

    /// Takes away what says where the daemon listened, and the socket.
    pub(crate) fn remove(paths: &Paths) -> io::Result<()> {
        let place = read_listening(paths).unwrap_or_else(|| paths.socket.clone());
        gone(std::fs::remove_file(paths.listening()))?;
        // The socket's absence tells the world that the daemon is gone: last.
        gone(std::fs::remove_file(place))
    }

    /// Listens anew when the socket was taken away or replaced.
    fn look(&mut self) {
        if identity(&self.open.place).is_ok_and(|found| found == self.open.identity) {
            return;
        }
        match open(&self.paths) {
            Ok(open) => {
                tracing::warn!(was = %self.open.place.display(), now = %open.place.display(), "the socket was gone");
                self.open = open;
            }
            Err(error) => tracing::error!(%error, "the socket is gone"),
        }
    }
}

/// A file that is not there any more is as good as removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn identity(place: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(place).map(|meta| (meta.dev(), meta.ino()))
}

fn open(paths: &Paths) -> io::Result<Open> {
    let mut failed = None;
    for place in places(paths) {
        match listen(&place) {
            Ok(open) => {
                hither_util::private_fs::write_file(
                    &paths.listening(),
                    &encode_listening(&open.place),
                )?;
                return Ok(open);
            }
            Err(error) => {
                tracing::info!(place = %place.display(), %error, "no socket can be here");
                failed = Some(failed.unwrap_or_else(|| {
                    io::Error::new(error.kind(), format!("{}: {error}", place.display()))
                }));
            }
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// The usual place; the data folder; a folder of this user's own for temporary files. The latter
/// for data on a file system without sockets.
fn places(paths: &Paths) -> Vec<PathBuf> {
    let mut places = vec![paths.socket.clone()];
    let in_data = paths.data.join("hither.sock");
    if in_data != paths.socket {
        places.push(in_data);
    }
    let user = rustix::process::geteuid().as_raw();
    let data = blake3::hash(paths.data.as_os_str().as_encoded_bytes()).to_hex();
    places.push(
        Path::new(TEMPORARY)
            .join(format!("hither-{user}"))
            .join(format!("{}.sock", &data[..16])),
    );
    places
}

fn listen(place: &Path) -> io::Result<Open> {
    let (folder, name) = (place.parent(), place.file_name());
    let (Some(folder), Some(name)) = (folder, name) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    match folder.starts_with(TEMPORARY) && folder.parent() == Some(Path::new(TEMPORARY)) {
        true => own_folder(folder)?,
        false => hither_util::private_fs::create_folder(folder)?,
    }
    let place = folder.canonicalize()?.join(name);
    let address = SocketAddress::of(&place)?;
    // If several homes share the socket's folder, an existing socket may be of a daemon that lives.
    if std::os::unix::net::UnixStream::connect(address.path()).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another program listens there",
        ));
    }
    gone(std::fs::remove_file(&place))?;
    let listener = UnixListener::bind(address.path())?;
    std::fs::set_permissions(&place, PermissionsExt::from_mode(0o600))?;
    Ok(Open {
        listener,
        identity: identity(&place)?,
        place,
    })
}

/// Makes a folder below one that everybody may write to; one that is there already must be this
/// user's alone.
fn own_folder(folder: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(folder)?;
    let own = rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.uid() != own || found.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it does not belong to this user alone",
        ));
    }
    Ok(())
}

impl axum::serve::Listener for Door {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let own = rustix::process::geteuid().as_raw();
        loop {
            let accepting = axum::serve::Listener::accept(&mut self.open.listener);
            let Ok((stream, address)) = tokio::time::timeout(LOOK, accepting).await else {
                self.look();
                continue;
            };
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == own => return (stream, address),
                Ok(peer) => tracing::warn!(user = peer.uid(), "another user tried the local API"),
                Err(error) => {
                    tracing::warn!(%error, "a connection to the local API without a user")
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.open.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Paths) {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::in_home(&home.path().canonicalize().unwrap());
        std::fs::create_dir(&paths.data).unwrap();
        (home, paths)
    }

    #[tokio::test]
    async fn a_dead_daemons_socket_is_replaced_and_a_living_ones_is_not() {
        let (_home, paths) = home();
        drop(UnixListener::bind(&paths.socket).unwrap());
        let door = Door::open(&paths).unwrap();
        assert_eq!(
            (door.open.place.as_path(), read_listening(&paths)),
            (paths.socket.as_path(), Some(paths.socket.clone()))
        );
        // The same folder for sockets, other data.
        let (_other, mut other) = home();
        other.socket.clone_from(&paths.socket);
        let second = Door::open(&other).unwrap();
        assert_eq!(second.open.place, other.data.join("hither.sock"));
        assert_eq!(identity(&paths.socket).unwrap(), door.open.identity);
        Door::remove(&other).unwrap();
        assert!(paths.socket.exists() && !other.data.join("hither.sock").exists());
    }

    #[tokio::test]
    async fn what_cannot_be_at_its_place_is_elsewhere() {
        let (_home, mut paths) = home();
        std::fs::create_dir_all(paths.socket.join("a folder")).unwrap();
        let door = Door::open(&paths).unwrap();
        assert_eq!(read_listening(&paths), Some(paths.data.join("hither.sock")));
        drop(door);
        paths.socket = "/proc/none/hither.sock".into();
        assert!(Door::open(&paths).is_ok());
    }

    #[tokio::test]
    async fn a_socket_that_was_taken_away_comes_back() {
        let (_home, paths) = home();
        let mut door = Door::open(&paths).unwrap();
        door.look();
        std::fs::remove_file(&paths.socket).unwrap();
        door.look();
        assert!(UnixStream::connect(&paths.socket).await.is_ok());
    }

    #[test]
    fn a_folder_for_everybody_gives_an_own_one_or_none() {
        let shared = tempfile::tempdir().unwrap();
        let own = shared.path().join("own");
        own_folder(&own).unwrap();
        own_folder(&own).unwrap();
        std::os::unix::fs::symlink(&own, shared.path().join("link")).unwrap();
        assert!(
            own_folder(&shared.path().join("link")).is_err(),
            "a link may be somebody else's"
        );
        std::fs::set_permissions(&own, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(own_folder(&own).is_err());
    }
}
