//! The target of a transfer: the name, the files that may be replaced, the partial files.
//!
//! Invariant: what was chosen when the first version of a followed share was written holds for all
//! later ones; nothing but what this transfer wrote is replaced by them unless the user said
//! `--overwrite`.

use super::run::{End, Run, blocking};
use crate::failure;
use crate::records::TransferRecord;
use hither_api::{Existing, Phase};
use hither_content::{
    FetchTarget, Holding, IfExists, Layout, NameRules, Naming, PartialRef, PrepareError, Present,
    TargetOptions, target_name,
};
use hither_proto::{EntryName, Manifest, display_name};
use hither_util::hex::Hex;
use roaring::RoaringBitmap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Opens the partial files of an earlier run, or prepares new ones.
pub(super) async fn open_target(
    run: &Run,
    manifest: &Arc<Manifest>,
) -> Result<(Arc<FetchTarget>, RoaringBitmap), End> {
    let record = run.transfer.record();
    let options = options(run, &record);
    let (service, manifest) = (Arc::clone(&run.service), Arc::clone(manifest));
    let id = run.transfer.id.clone();
    let opened = blocking(move || {
        let layout = Layout::new(manifest);
        if let Some(partial) = partial(&record) {
            let durable = service
                .records
                .durable(&id)
                .map_err(|e| failure::storage(&e))?;
            let (layout, runs) = (Arc::clone(&layout), ranges(&durable));
            let options = TargetOptions {
                rules: rules(&record),
                ..options.clone()
            };
            match FetchTarget::resume(
                &service.library.handles,
                &record.folder,
                layout,
                &partial,
                &options,
                &runs,
            ) {
                Ok(target) => return Ok((target, durable)),
                Err(PrepareError::PartialVanished | PrepareError::NotOurs) => {}
                Err(error) => return Err(failure::prepare(&error)),
            }
        }
        std::fs::create_dir_all(&record.folder).map_err(|source| {
            let path = record.folder.clone();
            failure::prepare(&PrepareError::Io { path, source })
        })?;
        let target =
            FetchTarget::prepare(&service.library.handles, &record.folder, layout, &options);
        service
            .records
            .clear_durable(&id)
            .map_err(|e| failure::storage(&e))?;
        Ok((
            target.map_err(|e| failure::prepare(&e))?,
            RoaringBitmap::new(),
        ))
    })
    .await?;
    let (target, durable) = opened?;
    let (partial, rules) = (Hex(target.partial().encode()), Hex(target.rules().encode()));
    run.transfer.update(&run.service, |record| {
        (record.partial, record.rules) = (Some(partial), Some(rules));
    })?;
    Ok((Arc::new(target), durable))
}

/// Returns where a version would be written now.
pub(super) async fn place(run: &Run, manifest: &Arc<Manifest>) -> Result<PathBuf, End> {
    let record = run.transfer.record();
    let options = TargetOptions {
        name: chosen_name(&record).or_else(|| named(&record)),
        ..options(run, &record)
    };
    let manifest = Arc::clone(manifest);
    blocking(move || {
        let name = match partial(&record) {
            Some(partial) => partial.target().to_owned(),
            // A folder that cannot be looked into is found out when it is written to.
            None => target_name(&record.folder, &manifest, &options)
                .unwrap_or_else(|_| manifest.name().as_str().to_owned()),
        };
        record.folder.join(name)
    })
    .await
}

/// Removes the partial files of the version begun, if there are any.
pub(super) async fn discard_partial(run: &Run) -> Result<(), End> {
    let record = run.transfer.record();
    if let Some(partial) = partial(&record) {
        let folder = record.folder.clone();
        blocking(move || FetchTarget::discard_partial(&folder, &partial))
            .await?
            .map_err(|e| failure::write(&e))?;
    }
    if record.partial.is_some() {
        run.transfer
            .update(&run.service, |record| record.partial = None)?;
    }
    Ok(())
}

fn partial(record: &TransferRecord) -> Option<PartialRef> {
    record
        .partial
        .as_ref()
        .and_then(|partial| PartialRef::decode(&partial.0).ok())
}

/// Returns the rules for the names that the place of the partial files takes.
fn rules(record: &TransferRecord) -> Option<NameRules> {
    record
        .rules
        .as_ref()
        .and_then(|rules| NameRules::decode(&rules.0).ok())
}

fn ranges(positions: &RoaringBitmap) -> Vec<std::ops::Range<u32>> {
    let runs = hither_proto::Ranges::from_bitmap(positions);
    runs.as_slice().iter().map(|run| run.iter()).collect()
}

/// How a version is written, by what was chosen.
fn options(run: &Run, record: &TransferRecord) -> TargetOptions {
    let overwrite = record.existing == Existing::Overwrite;
    let if_exists = match (&record.chosen, record.existing) {
        (Some(_), _) => IfExists::Update,
        (None, Existing::Fail) => IfExists::Fail,
        (None, Existing::Overwrite) => IfExists::Overwrite,
        (None, Existing::Rename) => IfExists::Rename,
        // Nothing that is there was fetched: it stays, and what has its name is left out.
        (None, Existing::Skip) => IfExists::Update,
    };
    // The name that was shown when it was agreed to.
    let shown = || {
        Path::new(&record.path)
            .file_name()
            .and_then(|name| EntryName::parse(name.to_str()?).ok())
    };
    let name = match if_exists {
        IfExists::Update => chosen_name(record).or_else(|| named(record)),
        IfExists::Rename => shown(),
        IfExists::Fail | IfExists::Overwrite => named(record),
    };
    TargetOptions {
        name,
        umask: record.umask,
        before: before(run, record),
        overwrite,
        origin: origin(run),
        trash: Some(when()),
        naming: match record.naming {
            _ if record.spooled => Naming::Rename,
            hither_api::Naming::Rename => Naming::Rename,
            hither_api::Naming::Skip => Naming::Skip,
            hither_api::Naming::Refuse => Naming::Refuse,
        },
        only: run.only.clone(),
        ..TargetOptions::new(if_exists)
    }
}

/// The name that the user gave a single file.
fn named(record: &TransferRecord) -> Option<EntryName> {
    EntryName::parse(record.named.as_deref()?).ok()
}

/// Looks at what is where a version would be written.
pub(super) async fn present(run: &mut Run, manifest: &Arc<Manifest>) -> Result<Present, End> {
    let record = run.transfer.record();
    let options = TargetOptions {
        name: named(&record),
        ..options(run, &record)
    };
    let (handles, manifest) = (
        Arc::clone(&run.service.library.handles),
        Arc::clone(manifest),
    );
    let cancel = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&cancel);
    let mut looking = tokio::task::spawn_blocking(move || {
        let layout = Layout::new(manifest);
        Present::look(&handles, &record.folder, &layout, &options, &stop)
    });
    run.set_phase(Phase::Comparing);
    loop {
        tokio::select! {
            looked = &mut looking => {
                // A folder that cannot be looked into is found out when it is written to.
                return Ok(looked.map_err(failure::internal)?.unwrap_or(Present::Nothing));
            }
            wake = run.wake() => {
                wake.inspect_err(|_| cancel.store(true, Ordering::Relaxed))?;
            }
        }
    }
}

fn chosen_name(record: &TransferRecord) -> Option<EntryName> {
    record
        .chosen
        .as_ref()
        .and_then(|chosen| EntryName::parse(&chosen.name).ok())
}

/// The version that this transfer wrote before.
fn before(run: &Run, record: &TransferRecord) -> Option<Arc<Holding>> {
    let version = run.transfer.share.version(record.followed?)?;
    Some(version.holding())
}

/// Returns the date and time: the name of what goes to the trash now.
fn when() -> String {
    chrono::Local::now().format("%Y-%m-%d_%H-%M-%S").to_string()
}

/// Returns who published what comes, and the day: for the name of what is written beside something.
fn origin(run: &Run) -> String {
    let owner = run.transfer.share.owner;
    let name = run
        .service
        .swarm
        .links()
        .name(owner)
        .map(|name| name.to_string())
        .filter(|name| !name.is_empty());
    let name = display_name(&name.unwrap_or_else(|| owner.short()));
    format!("{name}-{}", chrono::Local::now().format("%Y-%m-%d"))
}
