//! The leftovers of earlier runs: shares that are taken up again, and files that nothing refers to.

use crate::failure;
use crate::library::Library;
use crate::piped;
use crate::records::{ShareRecord, TransferRecord};
use hither_api::ApiError;
use hither_content::{Holding, HoldingNumber, Layout, ManifestFile, Names, OwnSeen, Stamps};
use hither_proto::{DeviceId, ShareId, ShareSecret, SignedHead, UncheckedHead, display_name};
use hither_swarm::Version;
use std::sync::Arc;

impl Library {
    /// Takes up the shares of earlier runs.
    pub(crate) fn load_shares(&self) -> Result<(), ApiError> {
        let own = self.own.look();
        let records = self.records.shares().map_err(|e| failure::storage(&e))?;
        let share =
            |record: &ShareRecord| Some(ShareSecret::from_slice(&record.secret.0).ok()?.share_id());
        self.disks.ask_all(
            records
                .iter()
                .filter_map(|(_, record)| share(record).map(|share| (share, record.paths()))),
        );
        for (id, record) in records {
            match self.load_share(&record) {
                Ok(share) => {
                    tracing::info!(share = id, "serving again");
                    self.set_share_record(share, record);
                    self.end_if_own(share, &own)?;
                }
                Err(error) => {
                    self.warnings.add(format!(
                        "\"{}\" is not shared any more: {error}. Share it again.",
                        record.name
                    ));
                    if let Err(error) = self.records.remove_share(&id) {
                        tracing::error!(%error, "a broken share could not be forgotten");
                    }
                    if let Err(error) = self.chunk_map.remove(HoldingNumber(record.holding), None) {
                        tracing::error!(%error, "a broken share stays in the chunk map");
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends a share that an older version made and that holds Hither's own files.
    fn end_if_own(&self, share: ShareId, own: &OwnSeen) -> Result<(), ApiError> {
        let Some(share) = self
            .swarm
            .shares()
            .get(share)
            .filter(|_| !self.disks.is_silent(share))
        else {
            return Ok(());
        };
        let Some(version) = share
            .current()
            .filter(|version| version.holding().holds_own(own))
        else {
            return Ok(());
        };
        self.warnings.add(format!(
            "\"{}\" held files of Hither itself and is not shared any more. Whoever fetched it may have this device's \
             private key: run hither down, move {} away, and share anew.",
            display_name(version.manifest().name().as_str()),
            self.paths.key().display()
        ));
        self.unshare(&share)
    }

    fn load_share(&self, record: &ShareRecord) -> Result<ShareId, Box<dyn std::error::Error>> {
        let secret = ShareSecret::from_slice(&record.secret.0)?;
        let owner: DeviceId = record.owner.parse()?;
        let head = SignedHead::open(
            &UncheckedHead::decode(&record.head.0)?,
            secret.share_id(),
            owner,
        )?;
        let number = head.head().version;
        let file = ManifestFile::open(
            &self.manifest_path(secret.share_id(), number),
            head.head(),
            &secret,
        )?;
        let layout = Layout::new(Arc::new(file.decode()?));
        // Without them everything is compared with what was shared.
        let stamps = std::fs::read(self.stamps_path(secret.share_id(), number));
        let stamps = stamps
            .ok()
            .and_then(|bytes| Stamps::decode(&bytes).ok())
            .unwrap_or_default();
        let names = match std::fs::read(self.names_path(secret.share_id(), number)) {
            Ok(bytes) => Names::decode(&bytes, layout.manifest().entries().len())?,
            Err(_) => Names::default(),
        };
        let holding = Holding::new(&self.handles, crate::publish::parts(record), layout, stamps);
        let holding = holding.with_names(Arc::new(names));
        let share = self.swarm.shares().get_or_insert(&secret, owner);
        let version = Arc::new(Version::new(head, Arc::new(file), holding));
        share.advance(Arc::clone(&version));
        self.hold_whole(share.id, &version);
        Ok(share.id)
    }

    /// Removes manifests and spooled files that nothing refers to: a crash may have left them.
    pub(crate) fn remove_orphans(&self, transfers: &[TransferRecord]) {
        if self.losses.keeps(&self.paths.data) {
            tracing::warn!("nothing is tidied up: data that was lost may need what lies there");
            return;
        }
        let mut wanted: Vec<String> = Vec::new();
        for (share, _) in self.share_records() {
            wanted.extend(
                share
                    .current()
                    .map(|v| format!("{}-{}", share.id, v.number())),
            );
        }
        let unfinished = |share: &str| {
            transfers
                .iter()
                .any(|t| t.share == share && t.ended.is_none_or(|_| t.head.is_some()))
        };
        for name in names_in(&self.paths.manifests()) {
            let of = |end| name.strip_suffix(end);
            let version = of(".stamps").or_else(|| of(".names")).unwrap_or(&name);
            let share = version.split('-').next().unwrap_or_default();
            if !wanted.iter().any(|w| w == version) && !unfinished(share) {
                let _ = std::fs::remove_file(self.paths.manifests().join(&name));
            }
        }
        piped::remove_orphans(self);
        for name in names_in(&self.paths.spool()) {
            let _ = std::fs::remove_dir_all(self.paths.spool().join(&name));
        }
    }
}

fn names_in(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
