//! What can be done with the folder of a node that does not run.

use super::backup::{Databases, back_up, restore};
use super::error::{AdminError, Code, running};
use super::types::{Checked, Saved};
use super::work::checked;
use crate::config::{Config, Folder};
use crate::store::{Backend, Store, StoreConfig, open_index};
use hither_content::storage::Engine;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Holds the folder, so that no node starts on it meanwhile.
pub(super) struct Lock(#[allow(dead_code, reason = "held for its drop")] File);

/// Locks a node's folder; makes it when it is missing.
///
/// Errors: [`Code::Running`] when a node, or another sub-command, has it.
pub(super) fn lock(folder: &Folder) -> Result<Lock, AdminError> {
    let failed = |error: io::Error| AdminError::io("The data folder cannot be used", &error);
    std::fs::create_dir_all(folder.root()).map_err(failed)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.lock())
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(running()),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Reads and verifies every chunk.
pub(super) async fn check(config: &Config, repair: bool) -> Result<Checked, AdminError> {
    let folder = Folder::of(config);
    // An empty store is not to be made by looking whether it is sound.
    exists(&folder.index())?;
    let _lock = lock(&folder)?;
    // To look whether it is sound is no reason to change its engine.
    let engine = Engine::found(&folder.index()).unwrap_or(config.storage.engine);
    let storage = open_index(&folder.index(), engine)?;
    let backend = Backend::local(&folder.chunks())?;
    let floor = config.store.free_floor.0.max(1);
    let store = Store::open(
        StoreConfig {
            free_floor: floor,
            ..StoreConfig::default()
        },
        storage,
        backend,
    )
    .await?;
    let report = store.check(repair).await;
    store.close().await;
    Ok(checked(&report?))
}

/// Saves the folder. Blocks.
pub(super) fn save(config: &Config, to: &Path) -> Result<Saved, AdminError> {
    let folder = Folder::of(config);
    exists(&folder.state())?;
    let _lock = lock(&folder)?;
    back_up(&folder, to, &Databases::AtRest)
}

/// Brings a folder back. Blocks.
pub(super) fn bring_back(config: &Config, from: &Path) -> Result<Saved, AdminError> {
    let folder = Folder::of(config);
    let _lock = lock(&folder)?;
    restore(&folder, from)
}

fn exists(part: &Path) -> Result<(), AdminError> {
    if part.exists() {
        return Ok(());
    }
    Err(AdminError::new(
        Code::NotFound,
        format!("There is no relay here: {} is missing.", part.display()),
    )
    .hint("Name the relay's folder: --data DIR"))
}
