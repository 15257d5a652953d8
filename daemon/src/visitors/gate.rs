//! The decision about letters of visitors, before anything else sees them.

use super::{FIRST_LINK, MAX_KNOWN, State, VisitorService};
use crate::json_records;
use crate::mail::{Admission, Content, Inside, Letter, ShareNote, VisitRecord, VisitorDesk};
use crate::visitors::records::{VISITORS, VisitorRecord};
use hither_content::storage::{Batch, StorageError};
use hither_proto::{DeviceId, ShareId, Ticket, VisitorProof};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Most letters of one link in [`PERIOD`].
pub(super) const MAX_IN_PERIOD: usize = 300;
/// The time over which letters are counted.
pub(super) const PERIOD: Duration = Duration::from_secs(3600);
/// How often the log says that letters are dropped.
const LOG: Duration = Duration::from_secs(60);
/// How old what is known of a visitor gets before it is written anew, seconds.
const HEARD: u64 = 3600;

/// The letters of each link lately, and what was dropped.
#[derive(Default)]
pub(super) struct Gate {
    lately: HashMap<u64, VecDeque<Instant>>,
    dropped: u64,
    logged: Option<Instant>,
}

impl Gate {
    /// Counts a letter of a link; false: there are too many.
    fn count(&mut self, link: u64, now: Instant) -> bool {
        self.lately.retain(|_, letters| {
            while letters
                .front()
                .is_some_and(|at| now.duration_since(*at) >= PERIOD)
            {
                letters.pop_front();
            }
            !letters.is_empty()
        });
        let letters = self.lately.entry(link).or_default();
        let fits = letters.len() < MAX_IN_PERIOD;
        if fits {
            letters.push_back(now);
        }
        fits
    }

    /// Notes that a letter is dropped: whoever guesses does not fill the log.
    fn drop(&mut self, now: Instant, why: &'static str) {
        self.dropped += 1;
        let due = self
            .logged
            .is_none_or(|last| now.duration_since(last) >= LOG);
        if due {
            let dropped = std::mem::take(&mut self.dropped);
            tracing::info!(dropped, why, "letters of visitors are dropped");
            self.logged = Some(now);
        }
    }
}

/// A link that a proof holds for.
struct Holds {
    number: u64,
    name: String,
    relay: String,
    max: u64,
}

impl State {
    /// Returns whether there ever was a link.
    fn had_links(&self) -> bool {
        self.next > FIRST_LINK
    }

    /// The link that a proof holds for. Every link is compared, and each in constant time.
    fn holds(
        &self,
        proof: &VisitorProof,
        visitor: DeviceId,
        host: DeviceId,
        now: u64,
    ) -> Option<Holds> {
        let mut found = None;
        for (number, link) in &self.links {
            let secret = link.record.secret().filter(|_| link.record.is_good(now));
            if secret.is_some_and(|secret| secret.proof(&visitor, &host) == *proof) {
                found = Some(Holds {
                    number: *number,
                    name: link.record.name.clone(),
                    relay: link.record.relay.clone(),
                    max: link.record.max,
                });
            }
        }
        found
    }
}

/// The contents of a visitor's letter that are taken, without addresses that this device would dial.
/// `None`: it is nothing that a visitor may send.
fn taken(from: DeviceId, letter: &Letter) -> Option<(Content, Option<ShareId>)> {
    match &letter.content {
        Content::Text(_) | Content::Files(_) => Some((letter.content.clone(), None)),
        Content::Ticket(note) => {
            let ticket: Ticket = note.ticket.parse().ok()?;
            if ticket.owner != from {
                return None;
            }
            let share = ticket.secret.share_id();
            let ticket = Ticket {
                hints: Vec::new(),
                ..ticket
            };
            let note = ShareNote {
                ticket: ticket.to_string(),
                ..note.clone()
            };
            Some((Content::Ticket(note), Some(share)))
        }
        Content::Unknown => None,
    }
}

impl VisitorService {
    /// The addresses in a ticket that is fetched by the relay of its link alone.
    fn by_relay(&self, content: Content, relay: &str) -> Content {
        let Content::Ticket(note) = content else {
            return content;
        };
        let front = relay
            .parse()
            .ok()
            .and_then(|key| self.relays.by_key(key))
            .map(|relay| relay.front());
        let ticket = match (note.ticket.parse::<Ticket>(), front) {
            (Ok(ticket), front) => Ticket {
                relays: front.into_iter().collect(),
                ..ticket
            }
            .to_string(),
            (Err(_), _) => note.ticket.clone(),
        };
        Content::Ticket(ShareNote { ticket, ..note })
    }

    /// Remembers a visitor, by which link it came and when it was heard. Blocks.
    fn remember(
        &self,
        state: &mut State,
        from: DeviceId,
        link: &Holds,
    ) -> Result<(), StorageError> {
        let now = self.time.seconds();
        let record = VisitorRecord {
            link: link.number,
            relay: link.relay.clone(),
            heard: now,
        };
        let known = state.visitors.get(&from);
        let is_fresh = |known: &VisitorRecord| {
            known.link == record.link && now.saturating_sub(known.heard) < HEARD
        };
        if known.is_some_and(is_fresh) {
            return Ok(());
        }
        let mut batch = Batch::new();
        let full = known.is_none() && state.visitors.len() >= MAX_KNOWN;
        let all = state.visitors.iter().filter(|_| full);
        let oldest = all.min_by_key(|(_, one)| one.heard).map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            batch.remove(VISITORS, oldest.as_bytes());
        }
        // Texts and numbers: nothing in it that JSON cannot hold.
        let bytes = serde_json::to_vec(&record).unwrap_or_default();
        batch.put(VISITORS, from.as_bytes(), &bytes);
        self.storage.commit(batch)?;
        if let Some(oldest) = oldest {
            state.visitors.remove(&oldest);
        }
        state.visitors.insert(from, record);
        Ok(())
    }
}

impl VisitorDesk for VisitorService {
    fn admit(&self, from: DeviceId, inside: &Inside) -> Result<Admission, StorageError> {
        let (now, seconds) = (Instant::now(), self.time.seconds());
        let mut state = self.state();
        let holds = inside
            .visitor()
            .and_then(|visitor| state.holds(&visitor.proof, from, self.device, seconds));
        let (Some(link), Some(visitor)) = (holds, inside.visitor()) else {
            state
                .gate
                .drop(now, "no link that is good makes their proof");
            return Ok(Admission::Dropped);
        };
        let letter = match inside {
            Inside::Letter(letter) => taken(from, letter),
            Inside::Body(_) | Inside::Catalogue(_) => None,
        };
        let Some((content, share)) = letter else {
            state
                .gate
                .drop(now, "they are of a kind that no visitor may send");
            return Ok(Admission::Dropped);
        };
        if !state.gate.count(link.number, now) {
            state.gate.drop(now, "there are too many");
            return Ok(Admission::Dropped);
        }
        self.remember(&mut state, from, &link)?;
        drop(state);
        let visit = VisitRecord {
            link: link.number,
            link_name: link.name,
            name: visitor.name.as_str().to_owned(),
            relay: link.relay,
            share: share.map(|share| share.to_string()),
        };
        let content = self.by_relay(content, &visit.relay);
        let (_, bytes) = content.extent();
        Ok(match bytes > link.max {
            true => Admission::Declined(visit),
            false => Admission::Taken(visit, content),
        })
    }

    fn relay_of(&self, device: DeviceId) -> Option<DeviceId> {
        let state = self.state();
        state.visitors.get(&device)?.relay.parse().ok()
    }

    fn may_come(&self) -> bool {
        // Also when all links are over and their visitors forgotten: what one of them left at the
        // relay may still come, and is not a device's.
        self.state().had_links()
    }

    fn release(&self, visitor: DeviceId, visit: &VisitRecord) -> Result<(), StorageError> {
        let share = visit.share.as_deref();
        match share.and_then(|share| ShareId::from_hex(share).ok()) {
            Some(share) => self.keep_release(visitor, share, &visit.relay),
            None => Ok(()),
        }
    }
}

impl VisitorService {
    /// Forgets visitors that were not heard for so long that nothing is sent to them. Blocks.
    pub(super) fn forget_old(&self) -> Result<(), StorageError> {
        /// As long as a message waits in the outbox, seconds.
        const KEEP: u64 = 30 * 86_400;
        let now = self.time.seconds();
        let mut state = self.state();
        let old: Vec<DeviceId> = state
            .visitors
            .iter()
            .filter(|(_, one)| now.saturating_sub(one.heard) > KEEP)
            .map(|(key, _)| *key)
            .collect();
        for key in old {
            json_records::remove(self.storage.as_ref(), VISITORS, key.as_bytes())?;
            state.visitors.remove(&key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visitors::Link;
    use crate::visitors::records::LinkRecord;
    use hither_carrier::Identity;
    use hither_proto::{ShareSecret, VisitorSecret};
    use hither_util::hex::Hex;
    use std::collections::BTreeMap;

    fn device() -> DeviceId {
        Identity::generate().unwrap().device_id()
    }

    fn state(ended: bool, until: u64) -> (State, VisitorSecret) {
        let secret = VisitorSecret::new([7; 16]);
        let link = Link::new(LinkRecord {
            relay: device().to_string(),
            host: "relay.example:1".into(),
            secret: Hex(secret.expose().to_vec()),
            name: "holiday".into(),
            until,
            max: 1000,
            ended,
            told: true,
        });
        let state = State {
            links: BTreeMap::from([(3, link)]),
            next: 4,
            visitors: HashMap::new(),
            releases: BTreeMap::new(),
            gate: Gate::default(),
        };
        (state, secret)
    }

    #[test]
    fn w2_visitors_may_come_for_ever_once_there_was_a_link() {
        let (mut over, _) = state(true, 0);
        over.links.clear();
        assert!(over.had_links());
        over.next = FIRST_LINK;
        assert!(!over.had_links());
    }

    #[test]
    fn w2_a_proof_holds_for_its_visitor_while_the_link_is_good() {
        let (visitor, host) = (device(), device());
        let (good, secret) = state(false, 100);
        let proof = secret.proof(&visitor, &host);
        let holds = good.holds(&proof, visitor, host, 99);
        assert_eq!(holds.map(|link| link.number), Some(3));
        let fails = |state: &State, proof: &VisitorProof, visitor, now| {
            state.holds(proof, visitor, host, now).is_none()
        };
        assert!(fails(&good, &proof, device(), 99), "of another visitor");
        assert!(fails(&good, &proof, visitor, 100), "when its time is over");
        for at in 0..VisitorProof::LEN {
            let mut guessed = *proof.as_bytes();
            guessed[at] ^= 1;
            assert!(fails(&good, &VisitorProof::new(guessed), visitor, 99));
        }
        let (ended, _) = state(true, 100);
        assert!(fails(&ended, &proof, visitor, 99), "after its end");
    }

    #[test]
    fn w2_a_ticket_is_the_visitors_own_and_brings_no_address() {
        let (visitor, other) = (device(), device());
        let letter = |owner, content: fn(ShareNote) -> Content| {
            let ticket = Ticket {
                secret: ShareSecret::new([1; 16]),
                owner,
                hints: vec!["192.0.2.1:80".parse().unwrap()],
                relays: Vec::new(),
                pin: None,
            };
            Letter {
                made_ms: 1,
                content: content(ShareNote {
                    ticket: ticket.to_string(),
                    name: "n".into(),
                    files: 1,
                    bytes: 1,
                }),
                receipt: false,
                visitor: None,
                after: None,
            }
        };
        assert!(taken(visitor, &letter(other, Content::Ticket)).is_none());
        let own = taken(visitor, &letter(visitor, Content::Ticket));
        let Some((Content::Ticket(note), Some(share))) = own else {
            panic!("it is the visitor's own");
        };
        let ticket: Ticket = note.ticket.parse().unwrap();
        assert!(ticket.hints.is_empty());
        assert_eq!(ticket.secret.share_id(), share);
        assert!(taken(visitor, &letter(visitor, |_| Content::Unknown)).is_none());
    }

    #[test]
    fn w2_one_link_brings_so_many_letters_in_a_time_and_the_log_few_lines() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        let came = (0..1000).filter(|_| gate.count(3, now)).count();
        assert_eq!(came, MAX_IN_PERIOD);
        assert!(gate.count(4, now), "each by itself");
        assert!(gate.count(3, now + PERIOD));
        (0..1000).for_each(|_| gate.drop(now, "why"));
        assert_eq!(gate.dropped, 999);
        gate.drop(now + LOG, "why");
        assert_eq!(gate.dropped, 0);
    }
}
