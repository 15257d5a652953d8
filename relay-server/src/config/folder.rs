//! What lies where in the data folder of a node.

use super::Config;
use std::path::{Path, PathBuf};

/// The data folder of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    root: PathBuf,
    packs: Option<PathBuf>,
}

impl Folder {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        Self {
            root: config.data_folder(),
            packs: config.store.folder.clone(),
        }
    }

    /// A folder with everything in it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            packs: None,
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The node's key.
    pub fn key(&self) -> PathBuf {
        self.root.join("node.key")
    }

    /// The state: users, devices, mailboxes.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The index of the chunks.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// The chunks; below it `packs/`.
    pub fn chunks(&self) -> PathBuf {
        self.packs
            .clone()
            .unwrap_or_else(|| self.root.join("chunks"))
    }

    /// Where a running node is administered.
    pub fn socket(&self) -> PathBuf {
        self.root.join("admin.sock")
    }

    /// Locked by whoever uses the folder: a running node, or a sub-command that works without one.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}
