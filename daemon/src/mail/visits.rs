//! Messages of visitors: senders without a device, who have a link of this one.
//!
//! Invariants: nothing of a sender that is neither known nor a visitor with a proof that holds is
//! kept or answered while visitors may come; a visitor's letter never reaches a service; words to
//! visitors take no more than [`MAX_WORDS`] places in the outbox, and go by the relay of their link.

use super::{
    Admission, Handed, Inside, Kept, Letter, MailService, StoredContent, Told, Verdict,
    VisitRecord, VisitorDesk,
};
use crate::mail::{Arrival, Content};
use hither_content::storage::StorageError;
use hither_proto::{DeviceId, MessageId, display_name};
use hither_relay_client::{Delivery, RelayConnection};
use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Most words to visitors that wait in the outbox.
const MAX_WORDS: usize = 256;
/// How long an unknown sender may still turn out to be one of the user's, whom a relay has not
/// listed yet.
const LISTED: Duration = Duration::from_secs(2);
/// Most unknown senders that are remembered at one connection.
const MAX_STRANGERS: usize = 1024;

/// The unknown senders that were waited for at one connection.
#[derive(Default)]
pub(super) struct Strangers(HashSet<DeviceId>);

/// A message of a visitor for which the inbox has no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub from: DeviceId,
    pub id: MessageId,
    pub visit: VisitRecord,
}

/// Waits a moment, once for each sender, until those that relays do not list are listed: a device of
/// the user's that has joined just now may write before its own entry is here.
pub(super) async fn meet(mail: &MailService, deliveries: &[Delivery], strangers: &mut Strangers) {
    let unknown: Vec<DeviceId> = deliveries
        .iter()
        .map(|delivery| delivery.from)
        .filter(|from| !strangers.0.contains(from) && mail.is_uninvited(*from))
        .filter(|from| !mail.is_visitor(*from))
        .collect();
    if unknown.is_empty() || strangers.0.len() >= MAX_STRANGERS {
        return;
    }
    let mut changes = mail.relays.changes();
    let until = Instant::now() + LISTED;
    while unknown.iter().any(|from| mail.is_uninvited(*from)) {
        if !matches!(timeout_at(until, changes.changed()).await, Ok(Ok(()))) {
            break;
        }
    }
    strangers.0.extend(unknown);
}

impl MailService {
    fn desk(&self) -> Option<Arc<dyn VisitorDesk>> {
        self.visitors.get().and_then(Weak::upgrade)
    }

    /// Returns whether a sender is nobody that is known, while visitors may come.
    pub(super) fn is_uninvited(&self, from: DeviceId) -> bool {
        !self.nearby.may_send(from) && self.desk().is_some_and(|desk| desk.may_come())
    }

    /// Returns whether a reader is a visitor, and nothing else.
    pub(super) fn is_visitor(&self, reader: DeviceId) -> bool {
        self.visited_relay(reader).is_some()
    }

    /// The key of the relay by which a visitor is written to.
    fn visited_relay(&self, reader: DeviceId) -> Option<DeviceId> {
        let known = self.nearby.may_send(reader);
        self.desk().filter(|_| !known)?.relay_of(reader)
    }

    /// The way to a visitor, which is there only by the relay of its link. The outer `None`: the
    /// reader is no visitor.
    pub(super) fn way_to_visitor(&self, reader: DeviceId) -> Option<Option<Arc<RelayConnection>>> {
        let key = self.visited_relay(reader)?;
        Some(self.relays.by_key(key).and_then(|relay| relay.connection()))
    }

    /// Returns whether there is room for a word to somebody: visitors do not fill the outbox.
    pub(super) fn may_be_told(&self, reader: DeviceId) -> bool {
        !self.is_visitor(reader) || self.outbox.words() < MAX_WORDS
    }

    /// Gives what claims to be of a visitor to whoever decides about it. Blocks.
    pub(super) fn hand_over_visit(
        &self,
        delivery: &Delivery,
        inside: &Inside,
        declines: &mut Vec<Told>,
    ) -> Result<Handed, StorageError> {
        let (from, id) = (delivery.from, delivery.id);
        let Some(desk) = self.desk() else {
            return Ok(Handed::Dropped);
        };
        let (visit, content) = match desk.admit(from, inside)? {
            Admission::Dropped => return Ok(Handed::Dropped),
            Admission::Declined(visit) => {
                declines.extend(self.turn_away(from, id, &visit)?);
                return Ok(Handed::Dropped);
            }
            Admission::Taken(visit, content) => (visit, content),
        };
        let kept = match self.verdict(from, &content, Some(&visit)) {
            Verdict::Keep(kept) => kept,
            Verdict::Decline => {
                declines.extend(self.turn_away(from, id, &visit)?);
                return Ok(Handed::Dropped);
            }
        };
        let Inside::Letter(letter) = inside else {
            return Ok(Handed::Dropped); // Nothing else is admitted.
        };
        // That its share was taken, a visitor hears when it is here.
        let is_asked = matches!(kept.arrival, Some(Arrival::Asked { .. }));
        if letter.receipt && !is_asked && !matches!(content, Content::Ticket(_)) {
            self.taken(from, id);
        }
        let letter = Letter {
            content,
            ..letter.clone()
        };
        let visit = Some(visit);
        Ok(Handed::Becomes(letter, Kept { visit, ..kept }))
    }

    /// Tells a visitor that something is not taken; what it left for it is not needed. Blocks.
    pub(super) fn turn_away(
        &self,
        from: DeviceId,
        id: MessageId,
        visit: &VisitRecord,
    ) -> Result<Option<Told>, StorageError> {
        if let Some(desk) = self.desk() {
            desk.release(from, visit)?;
        }
        Ok(self.decline(from, id))
    }

    /// The share that a message brought is here: its visitor hears so, and need not keep it.
    /// Durable when this returns; nothing happens the second time. Blocks.
    pub(crate) fn fetched_visit(&self, number: u64) -> Result<(), StorageError> {
        let record = self.inbox.get(number)?;
        let Some(record) = record.filter(|record| record.has_fetched_visit()) else {
            return Ok(());
        };
        let ids = record
            .from
            .parse()
            .ok()
            .zip(super::stored_id(&record.message));
        if let (Some((from, id)), Some(visit)) = (ids, &record.visit) {
            if let Some(desk) = self.desk() {
                desk.release(from, visit)?;
            }
            self.taken(from, id);
        }
        self.inbox.change(number, |record| {
            let visit = record.visit.as_mut();
            visit.is_some_and(|visit| visit.share.take().is_some())
        })?;
        Ok(())
    }

    /// A message is gone: what a visitor left for it is not needed. Blocks.
    pub(super) fn deleted_visit(&self, record: &super::MessageRecord) -> Result<(), StorageError> {
        let (Some(visit), Ok(from)) = (&record.visit, record.from.parse()) else {
            return Ok(());
        };
        match self.desk() {
            Some(desk) => desk.release(from, visit),
            None => Ok(()),
        }
    }
}

impl super::MessageRecord {
    /// Returns whether it brought a share of a visitor that is here, and still lies at a store.
    pub(crate) fn has_fetched_visit(&self) -> bool {
        let lies = self.visit.as_ref().is_some_and(|one| one.share.is_some());
        let arrived = matches!(self.arrival, Some(Arrival::Arrived { .. }));
        lies && arrived && matches!(self.content, StoredContent::Ticket { .. })
    }
}

/// The visitor's name and the link, as users read them.
pub(super) fn named(visit: &VisitRecord) -> String {
    /// Most characters that are shown of a name: the link behind it stays in sight.
    const SHOWN: usize = 24;
    let name: String = match display_name(&visit.name).trim() {
        "" => "somebody".to_owned(),
        name if name.chars().count() > SHOWN => name.chars().take(SHOWN - 1).chain(['…']).collect(),
        name => name.to_owned(),
    };
    format!(
        "{name} (by your link \"{}\")",
        display_name(&visit.link_name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w2_whoever_has_a_link_is_never_shown_as_a_device() {
        let visit = |name: &str| VisitRecord {
            link: 3,
            link_name: "holiday".into(),
            name: name.into(),
            relay: String::new(),
            share: None,
        };
        assert_eq!(named(&visit("Erna")), "Erna (by your link \"holiday\")");
        assert_eq!(named(&visit(" ")), "somebody (by your link \"holiday\")");
        // A long name does not push the link out of sight, and none rewrites the terminal.
        let long = named(&visit(&"laptop ".repeat(9)));
        assert_eq!(long, "laptop laptop laptop la… (by your link \"holiday\")");
        assert!(!named(&visit("a\u{1b}[2J")).contains('\u{1b}'));
    }
}
