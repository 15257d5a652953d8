//! The owner of this metadata store: it names the devices whose key it was used with.
//!
//! Invariant: a store that another device made is refused before anything in it is read. The
//! shares, messages and groups in it are signed and sealed with a key that is not here, so nothing
//! good could come of it.

use crate::failure;
use hither_api::{ApiError, ErrorCode, Paths};
use hither_content::storage::{Batch, Storage, Table};
use hither_proto::DeviceId;

/// The devices that the store was used with, the present one first.
const DEVICES: Table = Table::new("belonging");
const KEY: &[u8] = b"devices";
/// Most devices that are remembered: each one before the last is a key that was lost.
const MAX: usize = 16;

/// Returns whether the store may be taken over from another device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// The key was there when the daemon started.
    There,
    /// It was gone, and the user is warned; the device is a new one, and what the store had
    /// stays.
    WasGone,
}

/// Binds the store to this device, or refuses one of another device.
pub(crate) fn bind(
    storage: &dyn Storage,
    paths: &Paths,
    device: DeviceId,
    key: Key,
) -> Result<(), ApiError> {
    let stored = storage
        .get(DEVICES, KEY)
        .map_err(|e| failure::storage(&e))?;
    // A store from before there was this record belongs to whoever uses it first.
    let mut devices: Vec<String> = match &stored {
        Some(bytes) => serde_json::from_slice(bytes).map_err(failure::internal)?,
        None => Vec::new(),
    };
    let this = device.to_string();
    if devices.first() == Some(&this) {
        return Ok(());
    }
    if key == Key::There && !devices.is_empty() && !devices.contains(&this) {
        return Err(foreign(paths, &devices));
    }
    devices.retain(|known| *known != this);
    devices.insert(0, this);
    devices.truncate(MAX);
    let mut batch = Batch::new();
    batch.put(
        DEVICES,
        KEY,
        &serde_json::to_vec(&devices).map_err(failure::internal)?,
    );
    storage.commit(batch).map_err(|e| failure::storage(&e))
}

fn foreign(paths: &Paths, devices: &[String]) -> ApiError {
    let short = |id: &String| {
        id.parse::<DeviceId>()
            .map_or_else(|_| id.clone(), |id| id.short())
    };
    let of = devices.first().map(short).unwrap_or_default();
    let (store, key) = (paths.store(), paths.key());
    let words = format!(
        "The metadata store in {} is that of another device ({of}): it was copied here without its key, or the key was replaced. Put \
         the store of this device back, or the other device's key to {}. To begin with an empty store, move {} away and run \
         hither up.",
        store.display(),
        key.display(),
        store.display()
    );
    ApiError::new(ErrorCode::Refused, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;
    use hither_content::storage::MemoryStorage;

    #[test]
    fn a_store_belongs_to_its_device_and_to_those_whose_key_was_lost() {
        let (home, storage) = (tempfile::tempdir().unwrap(), MemoryStorage::default());
        let paths = Paths::in_home(home.path());
        let [first, second, other] = [(); 3].map(|()| Identity::generate().unwrap().device_id());
        let may = |device, key| bind(&storage, &paths, device, key).is_ok();
        assert!(
            may(first, Key::There) && may(first, Key::There),
            "whose it is from the start"
        );
        let refused = bind(&storage, &paths, other, Key::There).unwrap_err();
        assert!(
            refused.message.contains(&first.short()),
            "{}",
            refused.message
        );
        assert!(
            may(second, Key::WasGone) && may(second, Key::There),
            "a new device of the same home"
        );
        assert!(may(first, Key::There), "the lost key was found again");
        assert!(may(second, Key::There) && !may(other, Key::There));
    }
}
