//! The question: what a version is, where it would be written, and whether somebody agrees.
//!
//! Invariants: an agreement names what was shown, so that nobody agrees to anything else; later
//! versions of a followed share need none as long as they are what was agreed to before: of the
//! same name, and a file or a folder as before.

use super::run::{End, Run};
use super::{Agreement, in_order, lock, selection, target};
use crate::failure;
use crate::records::{Chosen, TransferRecord};
use hither_api::{ApiError, ErrorCode, Event, Existing, ExistsInfo, Phase};
use hither_content::{Finished, Layout, Others, PrepareError, Present};
use hither_proto::{EntryKind, Manifest, SignedHead, display_name};
use hither_util::hex::Hex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// The outcome of an offer.
pub(super) enum Answer {
    /// It is fetched.
    Yes,
    /// This version is passed over; a later one may do.
    Skip,
    /// All of it is there already, with the same content.
    Here(Box<Finished>),
}

/// The difference of a later version from the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Name,
    Kind,
}

/// Returns what an answer names: exactly one version of the share.
fn token(head: &SignedHead) -> String {
    let head = head.head();
    format!(
        "{}-{}",
        head.version,
        hither_util::hex::encode(head.root.as_bytes())
    )
}

/// How a later version differs from what was agreed to.
fn change(chosen: &Chosen, manifest: &Manifest) -> Option<Change> {
    if chosen.folder == manifest.is_single_file() {
        Some(Change::Kind)
    } else if chosen.title != manifest.name().as_str() {
        Some(Change::Name)
    } else {
        None
    }
}

impl Run {
    /// Shows what is in the share and waits until somebody agrees.
    pub(super) async fn offer(
        &mut self,
        head: &SignedHead,
        manifest: &Arc<Manifest>,
    ) -> Result<Answer, End> {
        let record = self.transfer.record();
        let changed = record
            .chosen
            .as_ref()
            .and_then(|chosen| change(chosen, manifest));
        if let (Some(chosen), Some(changed), true) = (&record.chosen, changed, record.accepted) {
            let message = describe(chosen, changed, manifest);
            if changed == Change::Kind && !record.follow {
                return Err(ApiError::new(ErrorCode::Refused, message).into());
            }
            tracing::warn!(transfer = self.transfer.id, "{message}");
            self.transfer.emit(Event::Warning { message });
            if changed == Change::Kind {
                return Ok(Answer::Skip);
            }
        }
        self.begin_version(&record, head, manifest).await?;
        if record.spooled {
            in_order::only_file(self, manifest)?;
        }
        if record.chosen.is_some() && (changed.is_none() || record.accepted) {
            self.choose(manifest)?;
            return Ok(Answer::Yes); // As the first version was.
        }
        let exists = match self.look(manifest).await? {
            Present::Same(here) => return Ok(Answer::Here(here)),
            Present::Nothing => None,
            Present::Other(others) => self.weigh(manifest, &others)?,
        };
        let asked = exists.is_some();
        self.ask(head, manifest, exists).await?;
        if asked {
            self.settle(manifest).await?;
        }
        if record.chosen.is_some() {
            self.choose(manifest)?;
        }
        Ok(Answer::Yes)
    }

    /// Looks at what is there already, unless it was said before what becomes of that.
    async fn look(&mut self, manifest: &Arc<Manifest>) -> Result<Present, End> {
        let record = self.transfer.record();
        let asks = matches!(record.existing, Existing::Fail | Existing::Skip);
        if !asks || record.spooled || record.chosen.is_some() {
            return Ok(Present::Nothing);
        }
        // A target begun under that answer was looked at then.
        if record.partial.is_some() && record.existing == Existing::Fail {
            return Ok(Present::Nothing);
        }
        target::present(self, manifest).await
    }

    /// Decides about what is there, as far as that was said; returns what is to be asked about.
    fn weigh(
        &mut self,
        manifest: &Arc<Manifest>,
        others: &Others,
    ) -> Result<Option<ExistsInfo>, End> {
        let record = self.transfer.record();
        let taken = others.taken.len() as u64;
        // A part that is not there yet is added to the folder that another part is in.
        // So is what is missing to a folder of which all that is there is the same.
        let part = !record.paths.is_empty() && taken == 0;
        let adds = (part || (others.same && taken > 0)) && !manifest.is_single_file();
        if record.existing == Existing::Fail && !adds {
            if record.accepted {
                let path = PathBuf::from(&record.path);
                return Err(failure::prepare(&PrepareError::Exists { path }).into());
            }
            return Ok(Some(ExistsInfo {
                taken,
                of: others.wanted,
            }));
        }
        self.leave_out(manifest, others);
        self.transfer
            .update(&self.service, |record| record.existing = Existing::Skip)?;
        Ok(None)
    }

    /// Leaves out the things that are there: they stay.
    fn leave_out(&mut self, manifest: &Arc<Manifest>, others: &Others) {
        let mut only = self.only.as_deref().cloned().unwrap_or_default();
        let layout = Layout::new(Arc::clone(manifest));
        only.leave_out(&layout, others.taken.iter().copied());
        self.only = Some(Arc::new(only));
    }

    /// Acts on what somebody said about what is there.
    async fn settle(&mut self, manifest: &Arc<Manifest>) -> Result<(), End> {
        match self.transfer.record().existing {
            Existing::Skip => {
                if let Present::Other(others) = target::present(self, manifest).await? {
                    self.leave_out(manifest, &others);
                }
            }
            Existing::Rename => {
                let path = target::place(self, manifest).await?;
                self.transfer.update(&self.service, |record| {
                    record.path = path.display().to_string();
                })?;
            }
            Existing::Fail | Existing::Overwrite => {}
        }
        Ok(())
    }

    /// Writes down which version is got now.
    async fn begin_version(
        &mut self,
        record: &TransferRecord,
        head: &SignedHead,
        manifest: &Arc<Manifest>,
    ) -> Result<(), End> {
        let stored = Hex(head.to_unchecked().encode());
        if record.head.as_ref() != Some(&stored) {
            // Another version than the one begun: nothing of that one's positions means anything
            // now.
            target::discard_partial(self).await?;
        }
        if !manifest.is_single_file() && record.named.is_some() {
            self.transfer.update(&self.service, |record| {
                let name = record.named.take().unwrap_or_default();
                record.folder.push(name);
            })?;
        }
        let later = record.followed.is_some();
        let only = selection::select(manifest, &record.paths, later)?;
        let (files, bytes) = only.size(manifest);
        self.only = (!only.is_whole()).then(|| Arc::new(only));
        let path = target::place(self, manifest).await?;
        self.transfer.update(&self.service, |record| {
            record.head = Some(stored);
            record.name = manifest.name().to_string();
            record.path = path.display().to_string();
            record.total = bytes;
        })?;
        {
            let mut meter = self.transfer.meter();
            (meter.total, meter.files) = (bytes, files);
        }
        let folders = manifest
            .entries()
            .iter()
            .filter(|e| e.kind == EntryKind::Folder)
            .count();
        tracing::info!(
            transfer = self.transfer.id,
            files,
            folders,
            bytes,
            "offered"
        );
        Ok(())
    }

    /// Asks, unless this very offer was agreed to.
    async fn ask(
        &mut self,
        head: &SignedHead,
        manifest: &Manifest,
        exists: Option<ExistsInfo>,
    ) -> Result<(), End> {
        let token = token(head);
        let agreed =
            |record: &TransferRecord| record.accepted || record.agreed.as_ref() == Some(&token);
        let record = self.transfer.record();
        let all = || (manifest.files(), manifest.bytes());
        let (files, bytes) = self
            .only
            .as_ref()
            .map_or_else(all, |only| only.size(manifest));
        self.transfer.emit(Event::Offer {
            transfer: self.transfer.id.clone(),
            share: self.transfer.share.id.to_string(),
            name: manifest.name().to_string(),
            single_file: manifest.is_single_file(),
            files,
            bytes,
            path: record.path.clone(),
            owner: self.transfer.share.owner.to_string(),
            head: token.clone(),
            agreed: agreed(&record),
            exists,
        });
        if !agreed(&record) {
            self.set_phase(Phase::Offered);
        }
        let asked = Instant::now();
        while !agreed(&self.transfer.record()) {
            self.wake().await?;
        }
        // The time that somebody took to think is not the transfer's.
        self.began += asked.elapsed();
        let mut counted = lock(&self.transfer.counted_from);
        counted.0 = counted.0 + asked.elapsed();
        Ok(())
    }

    /// Somebody agrees, to what is offered or whatever is.
    pub(super) fn agree(&self, to: Agreement) -> Result<(), ApiError> {
        self.transfer.update(&self.service, |record| match to {
            Agreement::Always => record.accepted = true,
            Agreement::Offer(head, existing) => {
                record.agreed = Some(head);
                record.existing = existing.unwrap_or(record.existing);
            }
        })
    }

    /// A changed name or kind is what later versions are compared with now.
    fn choose(&self, manifest: &Manifest) -> Result<(), End> {
        let (title, folder) = (manifest.name().as_str(), !manifest.is_single_file());
        self.transfer
            .update(&self.service, |record| record.choose(title, folder))?;
        Ok(())
    }
}

/// How a later version is not what was agreed to, when nobody is asked.
fn describe(chosen: &Chosen, changed: Change, manifest: &Manifest) -> String {
    let (kept, now) = (display_name(&chosen.name), manifest.name());
    let (was, is) = if chosen.folder {
        ("a folder", "a file")
    } else {
        ("a file", "a folder")
    };
    match changed {
        Change::Name => format!("The share is called {now} now; it is still written as {kept}."),
        Change::Kind => format!(
            "The share was {was} and is {is} now ({now}): that version is not written. Fetch it to another folder to have it."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::ManifestBuilder;

    fn manifest(name: &str, folder: bool) -> Manifest {
        let mut builder = ManifestBuilder::new(65_536).unwrap();
        if folder {
            builder.folder(0, name, 0o755, 0)
        } else {
            builder.file(0, name, 0o644, 0, 0).map(drop)
        }
        .unwrap();
        builder.finish(Vec::new()).unwrap()
    }

    #[test]
    fn a_version_is_what_was_agreed_to_or_a_new_question() {
        let chosen = Chosen {
            title: "notes".into(),
            name: "notes (2)".into(),
            folder: false,
        };
        let change = |name, folder| change(&chosen, &manifest(name, folder));
        assert_eq!(change("notes", false), None);
        assert_eq!(change("Notes", false), Some(Change::Name));
        assert_eq!(change(".bashrc", false), Some(Change::Name));
        assert_eq!(change("notes", true), Some(Change::Kind));
        assert_eq!(change(".bashrc", true), Some(Change::Kind));
    }
}
