//! Where things live: `$HITHER_HOME`, or the XDG folders.

use serde::{Deserialize, Serialize};
use std::env;
use std::path::{Path, PathBuf};
use utoipa::ToSchema;

/// The names in a folder that begin as somebody has typed (`GET /v1/paths`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PathsInfo {
    /// The folder.
    pub folder: String,
    /// Its entries, folders first, by name; at most 200.
    pub entries: Vec<PathEntry>,
    /// There are more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PathEntry {
    /// Its name.
    pub name: String,
    /// True for a folder.
    pub folder: bool,
}

/// The places of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The configuration file.
    pub config: PathBuf,
    /// The folder of everything the daemon keeps: key, store, manifests, logs.
    pub data: PathBuf,
    /// The usual place of the local API's socket; [`Self::listening`] says where it is.
    pub socket: PathBuf,
    /// The usual folder of what other devices send: the user's downloads, or a folder beside the
    /// data where all of a device is below one folder.
    pub received: PathBuf,
}

/// No home folder can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither HITHER_HOME nor HOME is set: where should Hither keep its data?")]
pub struct PathsError;

impl Paths {
    /// By the environment.
    pub fn from_env() -> Result<Self, PathsError> {
        Self::resolve(|name| {
            env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        })
    }

    fn resolve(var: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, PathsError> {
        // XDG Base Directory Specification 0.8: relative paths in these variables are ignored.
        let xdg = |name: &str| var(name).filter(|path| path.is_absolute());
        if let Some(home) = var("HITHER_HOME") {
            let home = std::path::absolute(&home).unwrap_or(home);
            return Ok(Self::in_home(&home));
        }
        let home = var("HOME").ok_or(PathsError)?;
        let data = xdg("XDG_DATA_HOME")
            .unwrap_or_else(|| home.join(".local/share"))
            .join("hither");
        let runtime = xdg("XDG_RUNTIME_DIR").unwrap_or_else(|| data.clone());
        Ok(Self {
            config: xdg("XDG_CONFIG_HOME")
                .unwrap_or_else(|| home.join(".config"))
                .join("hither/config.toml"),
            socket: runtime.join("hither.sock"),
            received: dirs::download_dir().unwrap_or_else(|| home.join("Downloads")),
            data,
        })
    }

    /// Everything below one folder.
    pub fn in_home(home: &Path) -> Self {
        Self {
            config: home.join("config.toml"),
            data: home.join("data"),
            socket: home.join("hither.sock"),
            received: home.join("received"),
        }
    }

    /// Folders that belong to Hither as a whole, beside that of its data: the one of its
    /// configuration, where that is not `HITHER_HOME`, in which a user may keep other things
    /// too.
    pub fn own_folders(&self) -> Vec<PathBuf> {
        let folder = self
            .config
            .parent()
            .filter(|folder| !self.data.starts_with(folder));
        folder.map(Path::to_owned).into_iter().collect()
    }

    /// Files that belong to Hither wherever they lie: its configuration and its socket.
    pub fn own_files(&self) -> Vec<PathBuf> {
        vec![self.config.clone(), self.socket.clone()]
    }

    /// The device key.
    pub fn key(&self) -> PathBuf {
        self.data.join("device.key")
    }

    /// The metadata store.
    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    /// Manifests, one file per share and version.
    pub fn manifests(&self) -> PathBuf {
        self.data.join("manifests")
    }

    /// Files on their way to standard output.
    pub fn spool(&self) -> PathBuf {
        self.data.join("spool")
    }

    /// Files that came through a pipe, each in a folder of its own that goes with its share.
    pub fn piped(&self) -> PathBuf {
        self.data.join("piped")
    }

    /// The log of who asked this device for what.
    pub fn audit_log(&self) -> PathBuf {
        self.data.join("audit.log")
    }

    /// The place of what was recorded or taken as an answer for others: not among Hither's own
    /// data, which is never part of a share. `device` keeps several devices of one user apart.
    pub fn answers(device: &str) -> PathBuf {
        let cache = dirs::cache_dir().unwrap_or_else(env::temp_dir);
        cache.join("hither").join("answers").join(device)
    }

    /// The daemon's log.
    pub fn log(&self) -> PathBuf {
        self.data.join("hitherd.log")
    }

    /// Held by the one daemon that runs.
    pub fn lock(&self) -> PathBuf {
        self.data.join("hitherd.lock")
    }

    /// Says where the daemon that holds the lock listens, see [`crate::read_listening`].
    pub fn listening(&self) -> PathBuf {
        self.data.join("hitherd.socket")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(vars: &[(&str, &str)]) -> Result<Paths, PathsError> {
        Paths::resolve(|name| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| PathBuf::from(v))
        })
    }

    #[test]
    fn hither_home_wins_over_xdg_over_home() {
        let all = [
            ("HITHER_HOME", "/h"),
            ("HOME", "/u"),
            ("XDG_DATA_HOME", "/d"),
        ];
        assert_eq!(resolve(&all).unwrap(), Paths::in_home(Path::new("/h")));
        assert!(
            resolve(&all).unwrap().own_folders().is_empty(),
            "what else lies there is the user's"
        );
        assert_eq!(
            resolve(&all).unwrap().own_files(),
            [Path::new("/h/config.toml"), Path::new("/h/hither.sock")]
        );
        let xdg = resolve(&[
            ("HOME", "/u"),
            ("XDG_DATA_HOME", "/d"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
        ])
        .unwrap();
        assert_eq!(xdg.data, Path::new("/d/hither"));
        assert_eq!(xdg.config, Path::new("/u/.config/hither/config.toml"));
        assert_eq!(xdg.own_folders(), [Path::new("/u/.config/hither")]);
        assert_eq!(xdg.socket, Path::new("/run/user/1/hither.sock"));
        assert_eq!(
            resolve(&[("HOME", "/u")]).unwrap().socket,
            Path::new("/u/.local/share/hither/hither.sock")
        );
        assert_eq!(resolve(&[]), Err(PathsError));
    }

    #[test]
    fn relative_xdg_folders_are_ignored() {
        assert_eq!(
            resolve(&[("HOME", "/u"), ("XDG_DATA_HOME", "d")])
                .unwrap()
                .data,
            Path::new("/u/.local/share/hither")
        );
    }
}
