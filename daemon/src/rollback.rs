//! An owner whose data is older than what others know of its shares, as after a restore from a
//! backup.
//!
//! Others show it heads that it has signed and does not know. It goes past them: what it has now
//! becomes a version of a later number than any that was seen, so that no number names two contents
//! and nobody takes the old for the new. If the files have changed since, that waits for the
//! user, and a warning is shown. Invariant: a share goes past others at most [`MOST`] times in one
//! run of the daemon; two machines with one key would do so for ever.

use crate::library::Library;
use crate::records::ShareRecord;
use crate::{failure, health};
use hither_api::ApiError;
use hither_content::{DomainSecret, ManifestFile, VersionInputs, seal_version};
use hither_proto::{ShareId, SignedHead, display_name};
use hither_swarm::{Share, Version};
use hither_util::clock::unix_millis;
use hither_util::hex::Hex;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// How often a share goes past what others have, in one run.
const MOST: u32 = 4;

/// Counts how often each share went past what others have. Being told of theirs while the user is
/// waited for does not count.
#[derive(Debug, Default)]
pub(crate) struct Rollbacks {
    times: Mutex<HashMap<ShareId, u32>>,
}

impl Rollbacks {
    /// Counts one more time; returns `None` when there were enough.
    fn once_more(&self, share: ShareId) -> Option<()> {
        let mut times = self.times.lock();
        let times = times.entry(share).or_default();
        *times = times.saturating_add(1);
        (*times <= MOST).then_some(())
    }
}

/// Goes past what others know of own shares, whenever they show it. Runs until it is dropped.
pub(crate) async fn run(library: Arc<Library>) {
    loop {
        library.swarm.behind().marked().await;
        for share in library.swarm.behind().take() {
            let Some(share) = library.swarm.shares().get(share) else {
                continue;
            };
            let of = Arc::clone(&library);
            match tokio::task::spawn_blocking(move || go_past(&of, &share)).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "a share could not go past what others have of it")
                }
            }
        }
    }
}

/// Publishes what a share is here as a version later than all that others have shown. Blocks.
fn go_past(library: &Arc<Library>, share: &Arc<Share>) -> Result<(), ApiError> {
    let _turn = library.publishing.lock();
    let (Some(met), Some(current), Some(record)) = (
        share.is_behind(),
        share.current(),
        library.share_record(share.id),
    ) else {
        return Ok(()); // Somebody has published meanwhile, or it has ended.
    };
    let name = display_name(&record.name);
    let number = share.next_number();
    let findings = current.holding().examine(u64::MAX, &library.ending);
    if !health::lost(&findings).is_empty() {
        // The published files are not there any more, and nobody has asked to publish those that
        // are.
        let words = format!(
            "\"{name}\": others have version {met}, which this device does not know, as after a restore from a backup, \
             and the files here are not those of version {}. They are published as version {number} when you share \
             them again.",
            current.number()
        );
        return library.losses.add(words).map_err(failure::internal);
    }
    if library.rollbacks.once_more(share.id).is_none() {
        let words = format!(
            "\"{name}\": versions that this device did not publish come again and again. Another machine runs with \
             this device's key. {}",
            library.swarm.twins().advice()
        );
        return library.losses.add(words).map_err(failure::internal);
    }
    let version = renumber(library, share, &current, record, number)?;
    let words = format!(
        "\"{name}\": others have version {met}, which this device does not know, as after a restore from a backup. \
         What is here was published as version {}, and replaces it. To go back to what others have, stop sharing and \
         fetch it from them.",
        version.number()
    );
    library.losses.add(words).map_err(failure::internal)
}

/// Makes the content of a version a version of another number: durable, then announced.
fn renumber(
    library: &Arc<Library>,
    share: &Arc<Share>,
    current: &Version,
    record: ShareRecord,
    number: u64,
) -> Result<Arc<Version>, ApiError> {
    let domain = record
        .domain
        .as_ref()
        .and_then(|domain| domain.0.as_slice().try_into().ok());
    let domain = domain
        .map(DomainSecret::new)
        .ok_or_else(|| failure::internal("a share without a domain"))?;
    let (manifest, holding) = (current.manifest(), current.holding());
    let mut salt = [0u8; 16];
    getrandom::fill(&mut salt).map_err(failure::internal)?;
    let published_ms = unix_millis();
    let inputs = VersionInputs {
        secret: &share.secret,
        domain: &domain,
        version: number,
        salt,
        published_ms,
    };
    let sealed = seal_version(&manifest, &inputs).map_err(failure::internal)?;
    let head = SignedHead::sign(sealed.head.clone(), |message| {
        library.identity.sign(message)
    });
    let file = ManifestFile::create_complete(&library.manifest_path(share.id, number), &sealed);
    let file = file.map_err(failure::internal)?;
    library
        .write_stamps(share.id, number, holding.stamps())
        .map_err(failure::internal)?;
    let held = library
        .chunk_map
        .add(share.id, number, manifest.chunks())
        .map_err(|e| failure::storage(&e))?;
    let record = ShareRecord {
        head: Hex(head.to_unchecked().encode()),
        holding: held.0,
        ..record
    };
    library
        .records
        .put_share(&share.id.to_string(), &record)
        .map_err(|e| failure::storage(&e))?;
    let version = Version::new(
        head,
        Arc::new(file),
        holding.with_stamps(&library.handles, holding.stamps().clone()),
    );
    let version = Arc::new(version);
    library.announce(share, &version, record);
    tracing::warn!(share = ?share.id, version = number, "went past a version that this device does not know");
    Ok(version)
}
