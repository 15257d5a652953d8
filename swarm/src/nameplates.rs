//! First words of codes: those that this device shows, as discovery announces them, and those that
//! others on this network announce; and the names of codes for scanning, which nobody announces.
//!
//! Invariant: what others announce is a hint whom to ask; it is bounded by what discovery remembers.

use hither_carrier::Nameplates as Announced;
use hither_proto::{CodeName, DeviceId, Knock, Word};
use hither_util::sync::RwLock;
use std::collections::HashMap;
use tokio::sync::watch;

/// The codes shown on this network, and by whom.
#[derive(Debug)]
pub struct Nameplates {
    own: watch::Sender<Vec<Word>>,
    others: watch::Sender<HashMap<DeviceId, Vec<Word>>>,
}

impl Default for Nameplates {
    fn default() -> Self {
        Self {
            own: watch::Sender::new(Vec::new()),
            others: watch::Sender::new(HashMap::new()),
        }
    }
}

impl Nameplates {
    /// Has these announced from now on.
    pub fn show(&self, nameplates: Vec<Word>) {
        self.own
            .send_if_modified(|before| std::mem::replace(before, nameplates.clone()) != nameplates);
    }

    /// Those that this device shows.
    pub fn own(&self) -> Vec<Word> {
        self.own.borrow().clone()
    }

    /// Changes when this device shows others.
    pub fn own_changes(&self) -> watch::Receiver<Vec<Word>> {
        self.own.subscribe()
    }

    /// A device that discovery sees announces these now.
    pub(crate) fn seen(&self, device: DeviceId, nameplates: Vec<Word>) {
        self.others.send_if_modified(|others| {
            if nameplates.is_empty() {
                return others.remove(&device).is_some();
            }
            others.insert(device, nameplates.clone()) != Some(nameplates)
        });
    }

    /// The devices that announce a nameplate now.
    pub fn showing(&self, nameplate: Word) -> Vec<DeviceId> {
        let others = self.others.borrow();
        let shows = |(_, shown): &(&DeviceId, &Vec<Word>)| shown.contains(&nameplate);
        others
            .iter()
            .filter(shows)
            .map(|(device, _)| *device)
            .collect()
    }

    /// Changes when others announce something else.
    pub fn changes(&self) -> watch::Receiver<HashMap<DeviceId, Vec<Word>>> {
        self.others.subscribe()
    }

    /// Announces what this device shows until the daemon ends.
    pub(crate) async fn announce(&self, announced: Announced) {
        let mut own = self.own.subscribe();
        loop {
            let shown = own.borrow_and_update().clone();
            announced.set(shown);
            if own.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The names of the codes for scanning that this device shows: who saw one may ask for a circuit.
#[derive(Debug, Default)]
pub struct ScannedNames(RwLock<Vec<[u8; CodeName::SCANNED]>>);

impl ScannedNames {
    /// Has circuits about these taken from now on, and about no others.
    pub fn show(&self, names: Vec<[u8; CodeName::SCANNED]>) {
        *self.0.write() = names;
    }

    /// Returns whether what the device `from` shows the device `to` is about one of them.
    pub(crate) fn is_meant(&self, knock: &Knock, from: &DeviceId, to: &DeviceId) -> bool {
        let mut salt = [0; Knock::SALT];
        salt.copy_from_slice(&knock.as_bytes()[..Knock::SALT]);
        let names = self.0.read();
        let mut knocks = names
            .iter()
            .map(|name| Knock::for_scanned(name, from, to, salt));
        knocks.any(|made| made == *knock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w3_a_circuit_is_taken_about_a_scanned_code_that_is_shown() {
        let device = || hither_carrier::Identity::generate().unwrap().device_id();
        let (page, here, other) = (device(), device(), device());
        let (names, name) = (ScannedNames::default(), [7; CodeName::SCANNED]);
        let knock = Knock::for_scanned(&name, &page, &here, [1; Knock::SALT]);
        assert!(!names.is_meant(&knock, &page, &here));
        names.show(vec![[8; CodeName::SCANNED], name]);
        assert!(names.is_meant(&knock, &page, &here));
        assert!(!names.is_meant(&knock, &other, &here));
        assert!(!names.is_meant(&knock, &page, &other));
        names.show(Vec::new());
        assert!(!names.is_meant(&knock, &page, &here));
    }

    #[test]
    fn who_shows_a_word_is_found_until_it_shows_it_no_more() {
        let device = |n: u8| hither_carrier::Identity::generate().map(|i| (n, i.device_id()));
        let ((_, one), (_, two)) = (device(1).unwrap(), device(2).unwrap());
        let (zoo, able) = (Word::of_bits(2047), Word::of_bits(2));
        let nameplates = Nameplates::default();
        let mut changes = nameplates.changes();
        nameplates.seen(one, vec![zoo]);
        nameplates.seen(two, vec![able, zoo]);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        nameplates.seen(two, vec![able, zoo]);
        assert!(!changes.has_changed().unwrap());
        assert_eq!(nameplates.showing(zoo).len(), 2);
        assert_eq!(nameplates.showing(able), [two]);
        nameplates.seen(two, Vec::new());
        assert_eq!(nameplates.showing(zoo), [one]);
        assert!(nameplates.showing(able).is_empty());
    }
}
