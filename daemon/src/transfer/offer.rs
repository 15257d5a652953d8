//! The question: what a version is, where it would be written, and whether somebody agrees.
//!
//! Invariants: an agreement names what was shown, so that nobody agrees to anything else; later
//! versions of a followed share need none as long as they are what was agreed to before: of the
//! same name, and a file or a folder as before.

use super::run::{End, Run};
use super::{Agreement, lock, target};
use crate::records::{Chosen, TransferRecord};
use hither_api::{ApiError, ErrorCode, Event, Phase};
use hither_proto::{EntryKind, Manifest, SignedHead, display_name};
use hither_util::hex::Hex;
use std::sync::Arc;
use std::time::Instant;

/// The outcome of an offer.
pub(super) enum Answer {
    /// It is fetched.
    Yes,
    /// This version is passed over; a later one may do.
    Skip,
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
        if record.spooled && !manifest.is_single_file() {
            return Err(ApiError::new(
                ErrorCode::NotASingleFile,
                "Only a single file can go to standard output; this is a folder.",
            )
            .with_hint("Give a folder to write into with -o.")
            .into());
        }
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
        if record.chosen.is_some() && (changed.is_none() || record.accepted) {
            self.choose(manifest)?;
            return Ok(Answer::Yes); // As the first version was.
        }
        self.ask(head, manifest).await?;
        if record.chosen.is_some() {
            self.choose(manifest)?;
        }
        Ok(Answer::Yes)
    }

    /// Writes down which version is got now.
    async fn begin_version(
        &self,
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
        let path = target::place(self, manifest).await?;
        self.transfer.update(&self.service, |record| {
            record.head = Some(stored);
            record.name = manifest.name().to_string();
            record.path = path.display().to_string();
            record.total = manifest.bytes();
        })?;
        {
            let mut meter = self.transfer.meter();
            meter.total = manifest.bytes();
            meter.files = manifest.files();
        }
        let folders = manifest
            .entries()
            .iter()
            .filter(|e| e.kind == EntryKind::Folder)
            .count();
        tracing::info!(
            transfer = self.transfer.id,
            files = manifest.files(),
            folders,
            bytes = manifest.bytes(),
            "offered"
        );
        Ok(())
    }

    /// Asks, unless this very offer was agreed to.
    async fn ask(&mut self, head: &SignedHead, manifest: &Manifest) -> Result<(), End> {
        let token = token(head);
        let agreed =
            |record: &TransferRecord| record.accepted || record.agreed.as_ref() == Some(&token);
        let record = self.transfer.record();
        self.transfer.emit(Event::Offer {
            transfer: self.transfer.id.clone(),
            share: self.transfer.share.id.to_string(),
            name: manifest.name().to_string(),
            single_file: manifest.is_single_file(),
            files: manifest.files(),
            bytes: manifest.bytes(),
            path: record.path.clone(),
            owner: self.transfer.share.owner.to_string(),
            head: token.clone(),
            agreed: agreed(&record),
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
            Agreement::Offer(head) => record.agreed = Some(head),
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
