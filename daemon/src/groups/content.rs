//! The contents of the seals of a group: JSON, as in messages.
//!
//! Invariants: a secret that came out of [`open_key`] is the one that the log names, and a name
//! with it likewise; what came out of [`open_note`] was signed by its member, speaks of that
//! member's shares only, and is bounded.

use super::store::Told;
use crate::catalogue::Entry;
use hither_carrier::Identity;
use hither_carrier::group_seal::{self, Place};
use hither_carrier::seal::{self, OpenError, SealError, SealPurpose};
use hither_proto::{
    DeviceId, DeviceName, GroupAsked, GroupId, GroupName, GroupSealed, GroupSecret, Membership,
    NameSeal, display_name,
};
use hither_util::hex::Hex;
use serde::{Deserialize, Serialize};

/// Room for shares in a note, bytes; the newest go first.
const ROOM: usize = group_seal::MAX_PAYLOAD - 1024;
/// Longest reason of a refusal, bytes.
pub(super) const MAX_REASON: usize = 400;

/// The secret of a generation, for a member.
#[derive(Serialize, Deserialize)]
struct KeyNote {
    secret: Hex,
    name: String,
    /// Of a name that is not in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<Hex>,
}

/// A request to join.
#[derive(Serialize, Deserialize)]
struct AskNote {
    name: String,
}

/// Why not.
#[derive(Serialize, Deserialize)]
struct RefusalNote {
    reason: String,
}

/// The data a member publishes of itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Note {
    made_ms: u64,
    name: String,
    shares: Vec<Entry>,
}

/// The data members know beside the log.
#[derive(Clone)]
pub(super) struct Inner {
    pub secret: GroupSecret,
    pub name: GroupName,
    pub salt: Option<[u8; 32]>,
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Texts and numbers: nothing in it that JSON cannot hold.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Seals the secret for some devices.
pub(super) fn seal_keys<'a>(
    identity: &Identity,
    group: GroupId,
    inner: &Inner,
    to: impl IntoIterator<Item = &'a DeviceId>,
) -> Result<Vec<GroupSealed>, SealError> {
    let note = json(&KeyNote {
        secret: Hex(inner.secret.expose().to_vec()),
        name: inner.name.as_str().to_owned(),
        salt: inner.salt.map(|salt| Hex(salt.to_vec())),
    });
    let one = |device: &DeviceId| {
        let sealed = seal::seal(
            identity,
            *device,
            SealPurpose::GroupKey,
            &group.seal_id(),
            &note,
        )?;
        Ok(GroupSealed {
            device: *device,
            sealed: sealed.into(),
        })
    };
    to.into_iter().map(one).collect()
}

/// The secret that a member sealed for this device; `None`: it is not that of the log, or cannot be
/// read.
pub(super) fn open_key(
    identity: &Identity,
    known: &Membership,
    sealed: &GroupSealed,
) -> Option<Inner> {
    let id = known.group().seal_id();
    let bytes = seal::open(
        identity,
        sealed.device,
        SealPurpose::GroupKey,
        &id,
        &sealed.sealed,
    )
    .ok()?;
    let note: KeyNote = serde_json::from_slice(&bytes).ok()?;
    let secret = GroupSecret::from_slice(&note.secret.0).ok()?;
    let name = GroupName::parse(&note.name).ok()?;
    let salt = note.salt.and_then(|salt| <[u8; 32]>::try_from(salt.0).ok());
    let named = match known.name() {
        NameSeal::Clear(clear) => *clear == name,
        NameSeal::Sealed(mark) => salt.is_some_and(|salt| name.mark(&salt) == *mark),
    };
    (named && secret.mark() == *known.key()).then_some(Inner { secret, name, salt })
}

/// Seals a request to join for those who may decide.
pub(super) fn seal_ask(
    identity: &Identity,
    group: GroupId,
    name: &DeviceName,
    to: &[DeviceId],
) -> Result<Vec<GroupSealed>, SealError> {
    let note = json(&AskNote {
        name: name.as_str().to_owned(),
    });
    let one = |device: &DeviceId| {
        let sealed = seal::seal(
            identity,
            *device,
            SealPurpose::GroupAsk,
            &group.seal_id(),
            &note,
        )?;
        Ok(GroupSealed {
            device: *device,
            sealed: sealed.into(),
        })
    };
    to.iter().map(one).collect()
}

/// Opens the name that an applicant calls itself by, when it is sealed for this device.
pub(super) fn open_ask(identity: &Identity, group: GroupId, asked: &GroupAsked) -> Option<String> {
    if asked.sealed.is_empty() {
        return None;
    }
    let id = group.seal_id();
    let bytes = seal::open(
        identity,
        asked.device,
        SealPurpose::GroupAsk,
        &id,
        &asked.sealed,
    )
    .ok()?;
    let note: AskNote = serde_json::from_slice(&bytes).ok()?;
    Some(DeviceName::clean(&note.name).to_string())
}

/// Seals a reason for the device that may not join.
pub(super) fn seal_refusal(
    identity: &Identity,
    group: GroupId,
    to: DeviceId,
    reason: &str,
) -> Result<GroupSealed, SealError> {
    let note = json(&RefusalNote {
        reason: shortened(reason),
    });
    let sealed = seal::seal(
        identity,
        to,
        SealPurpose::GroupRefusal,
        &group.seal_id(),
        &note,
    )?;
    Ok(GroupSealed {
        device: to,
        sealed: sealed.into(),
    })
}

/// Why this device may not join.
pub(super) fn open_refusal(
    identity: &Identity,
    group: GroupId,
    sealed: &GroupSealed,
) -> Option<String> {
    let id = group.seal_id();
    let bytes = seal::open(
        identity,
        sealed.device,
        SealPurpose::GroupRefusal,
        &id,
        &sealed.sealed,
    )
    .ok()?;
    let note: RefusalNote = serde_json::from_slice(&bytes).ok()?;
    Some(shortened(&note.reason)).filter(|reason| !reason.is_empty())
}

/// A text from outside, safe to show, at most [`MAX_REASON`] bytes.
fn shortened(text: &str) -> String {
    let mut text = display_name(text.trim());
    while text.len() > MAX_REASON {
        text.pop();
    }
    text
}

/// Returns what this device says of itself, before it is stamped and sealed: the newest shares, as
/// many as fit. And what tells it from another such thing: its stamp aside.
pub(super) fn note(name: &DeviceName, mut shares: Vec<Entry>) -> (Note, [u8; 32]) {
    shares.sort_by_key(|entry| std::cmp::Reverse((entry.published, entry.name.clone())));
    let mut room = ROOM;
    shares.retain(|entry| {
        let length = entry.length();
        let fits = length <= room;
        room = if fits { room - length } else { 0 };
        fits
    });
    let note = Note {
        made_ms: 0,
        name: name.as_str().to_owned(),
        shares,
    };
    let content = *blake3::hash(&json(&note)).as_bytes();
    (note, content)
}

impl Note {
    /// The bytes to be sealed.
    pub(super) fn stamped(mut self, stamp: u64) -> Vec<u8> {
        self.made_ms = stamp;
        json(&self)
    }
}

/// Why a note is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoteError {
    /// The seal.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The contents are malformed.
    #[error("what a member told is malformed")]
    Malformed,
}

/// Opens a member's note. Entries that are not its own, or have impossible names, are left out.
pub(super) fn open_note(
    place: Place<'_>,
    author: DeviceId,
    sealed: &[u8],
) -> Result<Told, NoteError> {
    let bytes = group_seal::open(place, author, sealed)?;
    let note = believed(author, &bytes)?;
    Ok(Told {
        digest: Hex(blake3::hash(sealed).as_bytes()[..hither_proto::limits::GROUP_DIGEST].to_vec()),
        made_ms: note.made_ms,
        name: note.name,
        shares: note.shares,
    })
}

/// Returns what of a note may be believed, with a name that is safe to show.
fn believed(author: DeviceId, bytes: &[u8]) -> Result<Note, NoteError> {
    let note: Note = serde_json::from_slice(bytes).map_err(|_| NoteError::Malformed)?;
    let shares = note
        .shares
        .into_iter()
        .filter(|entry| entry.checked(author).is_some())
        .collect();
    Ok(Note {
        made_ms: note.made_ms,
        name: DeviceName::clean(&note.name).to_string(),
        shares,
    })
}

/// For the fuzzers.
pub(crate) fn decode_note(author: DeviceId, bytes: &[u8]) {
    let _ = believed(author, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::{Action, GroupEntry, Policy, ShareSecret, SignedEntry, Ticket};

    fn group(by: &Identity, name: NameSeal, secret: &GroupSecret) -> Membership {
        let (group, author) = (GroupId::new([0; 32]), by.device_id());
        let action = Action::Create {
            name,
            key: secret.mark(),
            policy: Policy::Open,
            admins: [author].into(),
        };
        let entry = GroupEntry {
            group,
            number: 0,
            previous: [0; 32],
            author,
            time_ms: 1,
            action,
        };
        Membership::begin(&SignedEntry::sign(entry, |message| by.sign(message))).unwrap()
    }

    #[test]
    fn a_secret_and_a_name_count_only_when_the_log_has_their_marks() {
        let (by, reader) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let to = reader.device_id();
        let name = GroupName::parse("choir").unwrap();
        let (secret, salt) = (GroupSecret::new([1; 32]), [2; 32]);
        let known = group(&by, NameSeal::Sealed(name.mark(&salt)), &secret);
        let inner = Inner {
            secret: secret.clone(),
            name: name.clone(),
            salt: Some(salt),
        };
        let sealed = |inner: &Inner| {
            let mut sealed = seal_keys(&by, known.group(), inner, [&to])
                .unwrap()
                .pop()
                .unwrap();
            sealed.device = by.device_id();
            sealed
        };
        let opened = open_key(&reader, &known, &sealed(&inner)).unwrap();
        assert_eq!(
            (opened.name.as_str(), opened.secret == secret),
            ("choir", true)
        );
        for wrong in [
            Inner {
                secret: GroupSecret::new([9; 32]),
                ..inner.clone()
            },
            Inner {
                name: GroupName::parse("band").unwrap(),
                ..inner.clone()
            },
            Inner {
                salt: Some([3; 32]),
                ..inner.clone()
            },
            Inner {
                salt: None,
                ..inner.clone()
            },
        ] {
            assert!(open_key(&reader, &known, &sealed(&wrong)).is_none());
        }
        // Of another group, or for another device.
        let other = group(&by, NameSeal::Clear(name), &secret);
        assert!(open_key(&reader, &other, &sealed(&inner)).is_none());
        assert!(open_key(&by, &known, &sealed(&inner)).is_none());
    }

    fn entry(owner: DeviceId, number: u16, name: String) -> Entry {
        let mut secret = [7; 16];
        secret[..2].copy_from_slice(&number.to_be_bytes());
        let ticket = Ticket {
            secret: ShareSecret::new(secret),
            owner,
            hints: vec![],
            relays: vec![],
            pin: None,
        };
        let ticket = ticket.to_string();
        Entry {
            ticket,
            name,
            version: 1,
            files: 1,
            bytes: 1,
            published: u64::from(number),
            expires: None,
        }
    }

    #[test]
    fn a_note_holds_the_newest_shares_and_those_of_its_author_only() {
        let (by, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let author = by.device_id();
        let many: Vec<_> = (0..2000)
            .map(|number| entry(author, number, format!("{number:0200}")))
            .collect();
        let (told, content) = note(&DeviceName::clean("desk"), many.clone());
        let payload = told.stamped(7);
        assert!(payload.len() <= group_seal::MAX_PAYLOAD);
        assert_eq!(
            content,
            note(&DeviceName::clean("desk"), many).1,
            "its time does not count"
        );
        let secret = GroupSecret::new([1; 32]);
        let place = Place {
            group: GroupId::new([1; 32]),
            generation: 1,
            secret: &secret,
        };
        let told = open_note(
            place,
            author,
            &group_seal::seal(&by, place, [1; 16], &payload).unwrap(),
        )
        .unwrap();
        assert!(
            told.shares.len() > 50 && told.shares[0].published == 1999,
            "{}",
            told.shares.len()
        );
        let strange = vec![
            entry(other.device_id(), 1, "theirs".into()),
            entry(author, 2, "a/b".into()),
        ];
        let payload = note(&DeviceName::clean("de\u{1b}sk"), strange).0.stamped(8);
        let told = open_note(
            place,
            author,
            &group_seal::seal(&by, place, [2; 16], &payload).unwrap(),
        )
        .unwrap();
        assert!(told.shares.is_empty() && told.name == "de\u{fffd}sk");
        let nonsense = group_seal::seal(&by, place, [3; 16], b"{}").unwrap();
        assert!(matches!(
            open_note(place, author, &nonsense),
            Err(NoteError::Malformed)
        ));
    }

    #[test]
    fn requests_and_reasons_are_for_their_readers_and_safe_to_show() {
        let (by, reader) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let group = GroupId::new([1; 32]);
        let sealed = seal_ask(
            &by,
            group,
            &DeviceName::clean("phone"),
            &[reader.device_id()],
        )
        .unwrap()
        .pop()
        .unwrap();
        let mut asked = GroupAsked {
            device: by.device_id(),
            asked_ms: 1,
            sealed: sealed.sealed,
        };
        assert_eq!(open_ask(&reader, group, &asked).as_deref(), Some("phone"));
        assert_eq!(open_ask(&reader, GroupId::new([2; 32]), &asked), None);
        asked.device = reader.device_id();
        assert_eq!(
            open_ask(&reader, group, &asked),
            None,
            "nobody asks for another"
        );
        let long = format!("no\u{1b}{}", "x".repeat(1000));
        let mut sealed = seal_refusal(&by, group, reader.device_id(), &long).unwrap();
        sealed.device = by.device_id();
        let reason = open_refusal(&reader, group, &sealed).unwrap();
        assert!(reason.starts_with("no\u{fffd}x") && reason.len() <= MAX_REASON);
    }
}
