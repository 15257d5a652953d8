//! The user's devices as one relay lists them, and as a user names them.

use super::records::{CardRecord, DeviceRecord};
use crate::error::FindDeviceError;
use hither_api::DeviceInfo;
use hither_proto::limits::MAX_DEVICES;
use hither_proto::{DeviceEntry, DeviceId, stamp};
use hither_util::clock::unix_millis;
use std::collections::BTreeMap;

/// One device of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// True if it is connected to the relay.
    pub online: bool,
    /// By the relay's clock, Unix milliseconds; 0: never.
    pub last_seen_ms: u64,
    /// True if the relay sees it behind the same address as this device.
    pub same_network: bool,
    /// True if it is a page in a browser, as the relay says.
    pub web: bool,
    /// The card it publishes of itself, when that could be opened.
    pub card: Option<CardRecord>,
}

/// The devices that one relay lists; at most [`MAX_DEVICES`], more are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceList(BTreeMap<DeviceId, Device>);

impl DeviceList {
    /// Restores the remembered devices. No device is online until a relay reports it.
    pub(crate) fn remembered(records: &[DeviceRecord]) -> Self {
        let known = |record: &DeviceRecord| {
            let device = record.device.parse().ok()?;
            let DeviceRecord {
                online,
                last_seen_ms,
                same_network,
                web,
                card,
                ..
            } = record.clone();
            Some((
                device,
                Device {
                    online,
                    last_seen_ms,
                    same_network,
                    web,
                    card,
                },
            ))
        };
        Self(records.iter().take(MAX_DEVICES).filter_map(known).collect())
    }

    /// For keeping.
    pub(crate) fn records(&self) -> Vec<DeviceRecord> {
        let record = |(device, known): (&DeviceId, &Device)| DeviceRecord {
            device: device.to_string(),
            online: known.online,
            last_seen_ms: known.last_seen_ms,
            same_network: known.same_network,
            web: known.web,
            card: known.card.clone(),
        };
        self.0.iter().map(record).collect()
    }

    /// The whole list anew. `open` opens an entry's card.
    pub(crate) fn replace(
        &mut self,
        entries: &[DeviceEntry],
        open: impl Fn(&DeviceEntry) -> Option<CardRecord>,
    ) {
        self.0
            .retain(|device, _| entries.iter().any(|entry| entry.device == *device));
        self.change(entries, &[], open);
    }

    /// Applies changes of it. Returns whether more than presence has changed.
    pub(crate) fn change(
        &mut self,
        changed: &[DeviceEntry],
        removed: &[DeviceId],
        open: impl Fn(&DeviceEntry) -> Option<CardRecord>,
    ) -> bool {
        let now = unix_millis();
        let mut lasting = false;
        for device in removed {
            lasting |= self.0.remove(device).is_some();
        }
        for entry in changed {
            if self.0.len() >= MAX_DEVICES && !self.0.contains_key(&entry.device) {
                continue;
            }
            let before = self.0.get(&entry.device).map(|known| known.card.clone());
            let old = before.clone().flatten();
            // A relay may be behind, or pretend to be: an older card changes nothing.
            let newer = |card: &CardRecord| {
                old.as_ref()
                    .is_none_or(|old| stamp::replaces(old.made_ms, card.made_ms, now))
            };
            let card = open(entry).filter(newer).or(old.clone());
            lasting |= before != Some(card.clone());
            let DeviceEntry {
                device,
                online,
                last_seen_ms,
                same_network,
                web,
                ..
            } = *entry;
            self.0.insert(
                device,
                Device {
                    online,
                    last_seen_ms,
                    same_network,
                    web,
                    card,
                },
            );
        }
        lasting
    }

    /// The relay is not connected any more: what it said was true until `now_ms` (Unix
    /// milliseconds).
    pub(crate) fn disconnected(&mut self, now_ms: u64) {
        for known in self.0.values_mut().filter(|known| known.online) {
            known.online = false;
            known.last_seen_ms = known.last_seen_ms.max(now_ms);
        }
    }

    /// A device of the list.
    pub fn get(&self, device: DeviceId) -> Option<&Device> {
        self.0.get(&device)
    }

    /// Every device of the list, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, &Device)> {
        self.0.iter().map(|(device, known)| (*device, known))
    }

    /// The ids of all devices of the list.
    pub fn ids(&self) -> Vec<DeviceId> {
        self.0.keys().copied().collect()
    }
}

/// The device that `wanted` means: its id, its short id or its name, in this order; a name in any
/// case when no name is exactly that.
pub fn resolve<'a>(all: &'a [DeviceInfo], wanted: &str) -> Result<&'a DeviceInfo, FindDeviceError> {
    let lower = wanted.to_lowercase();
    let ways: [&dyn Fn(&DeviceInfo) -> bool; 4] = [
        &|one| one.device == wanted,
        &|one| one.short == wanted,
        &|one| one.name == wanted,
        &|one| one.name.to_lowercase() == lower,
    ];
    let found = ways
        .iter()
        .map(|is_meant| all.iter().filter(|one| is_meant(one)).collect::<Vec<_>>())
        .find(|found| !found.is_empty());
    match found.unwrap_or_default().as_slice() {
        [one] => Ok(one),
        [] => Err(FindDeviceError::Unknown {
            wanted: wanted.to_owned(),
            others: all.iter().any(|one| !one.this),
        }),
        several => Err(FindDeviceError::Ambiguous {
            wanted: wanted.to_owned(),
            candidates: several
                .iter()
                .map(|one| format!("{} ({})", one.name, one.short))
                .collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;

    fn entry(device: DeviceId, online: bool) -> DeviceEntry {
        DeviceEntry {
            device,
            online,
            last_seen_ms: 1000,
            card: Default::default(),
            same_network: false,
            web: false,
        }
    }

    fn card(name: &str, made_ms: u64) -> CardRecord {
        CardRecord {
            name: name.into(),
            addresses: Vec::new(),
            tcp_port: None,
            made_ms,
            catalogue: None,
        }
    }

    fn ids() -> [DeviceId; 2] {
        [(); 2].map(|()| Identity::generate().unwrap().device_id())
    }

    #[test]
    fn the_list_follows_the_relay_and_survives_in_records() {
        let [a, b] = ids();
        let mut list = DeviceList::default();
        list.replace(&[entry(a, true), entry(b, false)], |_| Some(card("x", 1)));
        assert!(
            !list.change(&[entry(b, true)], &[], |_| None),
            "presence alone does not last"
        );
        assert!(list.get(b).unwrap().online);
        assert_eq!(DeviceList::remembered(&list.records()), list);
        list.disconnected(5000);
        assert_eq!(
            (
                list.get(b).unwrap().online,
                list.get(b).unwrap().last_seen_ms
            ),
            (false, 5000)
        );
        assert!(list.change(&[], &[b], |_| None));
        list.replace(&[entry(b, true)], |_| None);
        assert_eq!(list.ids(), [b]);
    }

    #[test]
    fn a_relay_cannot_bring_back_an_older_card() {
        let [a, _] = ids();
        let mut list = DeviceList::default();
        assert!(list.change(&[entry(a, true)], &[], |_| Some(card("new", 2))));
        assert!(!list.change(&[entry(a, true)], &[], |_| Some(card("old", 1))));
        assert!(!list.change(&[entry(a, true)], &[], |_| None));
        assert_eq!(list.get(a).unwrap().card.as_ref().unwrap().name, "new");
        assert!(list.change(&[entry(a, true)], &[], |_| Some(card("newer", 3))));
    }

    #[test]
    fn the_list_is_bounded() {
        let mut list = DeviceList::default();
        let many: Vec<_> = (0..MAX_DEVICES + 5)
            .map(|_| entry(Identity::generate().unwrap().device_id(), true))
            .collect();
        list.replace(&many, |_| None);
        assert_eq!(list.ids().len(), MAX_DEVICES);
    }

    fn info(device: &str, short: &str, name: &str) -> DeviceInfo {
        DeviceInfo {
            device: device.into(),
            short: short.into(),
            name: name.into(),
            ..Default::default()
        }
    }

    #[test]
    fn devices_are_meant_by_id_short_id_or_name() {
        let all = [
            info("12D3A", "aaaaaaaa", "laptop"),
            info("12D3B", "bbbbbbbb", "Phone"),
            info("12D3C", "cccccccc", "phone"),
            info("12D3D", "dddddddd", "bbbbbbbb"),
        ];
        let meant = |wanted| resolve(&all, wanted).map(|one| one.device.as_str());
        assert_eq!(meant("12D3A"), Ok("12D3A"));
        assert_eq!(meant("aaaaaaaa"), Ok("12D3A"));
        assert_eq!(meant("bbbbbbbb"), Ok("12D3B"), "an id goes before a name");
        assert_eq!(meant("LAPTOP"), Ok("12D3A"));
        assert_eq!(meant("phone"), Ok("12D3C"), "exactly that name");
        assert_eq!(
            meant("PHONE"),
            Err(FindDeviceError::Ambiguous {
                wanted: "PHONE".into(),
                candidates: vec!["Phone (bbbbbbbb)".into(), "phone (cccccccc)".into()],
            })
        );
        for unknown in ["x\u{1b}", ""] {
            let wanted = unknown.to_owned();
            let others = true;
            assert_eq!(
                meant(unknown),
                Err(FindDeviceError::Unknown { wanted, others })
            );
        }
    }
}
