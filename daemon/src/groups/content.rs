//! What is inside the seals of a group: JSON, as in messages.
//!
//! Invariants: a secret that came out of [`open_key`] is the one that the log names, and a name with it likewise; what came
//! out of [`open_note`] was signed by its member, speaks of that member's shares only, and is bounded.

use super::store::Told;
use crate::catalogue::Entry;
use crate::clock::unix_millis;
use crate::hexed::Hex;
use hither_carrier::Identity;
use hither_carrier::group_seal::{self, Place};
use hither_carrier::seal::{self, OpenError, SealError, SealPurpose};
use hither_proto::{
    DeviceId, DeviceName, GroupAsked, GroupId, GroupName, GroupSealed, GroupSecret, Membership, NameSeal,
    display_name,
};
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

/// What a member says of itself.
#[derive(Serialize, Deserialize)]
struct Note {
    made_ms: u64,
    name: String,
    shares: Vec<Entry>,
}

/// What members know beside the log.
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
        let sealed = seal::seal(identity, *device, SealPurpose::GroupKey, &group.seal_id(), &note)?;
        Ok(GroupSealed { device: *device, sealed: sealed.into() })
    };
    to.into_iter().map(one).collect()
}

/// The secret that a member sealed for this device; `None`: it is not that of the log, or cannot be read.
pub(super) fn open_key(identity: &Identity, known: &Membership, sealed: &GroupSealed) -> Option<Inner> {
    let id = known.group().seal_id();
    let bytes = seal::open(identity, sealed.device, SealPurpose::GroupKey, &id, &sealed.sealed).ok()?;
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
    let note = json(&AskNote { name: name.as_str().to_owned() });
    let one = |device: &DeviceId| {
        let sealed = seal::seal(identity, *device, SealPurpose::GroupAsk, &group.seal_id(), &note)?;
        Ok(GroupSealed { device: *device, sealed: sealed.into() })
    };
    to.iter().map(one).collect()
}

/// What somebody who asks calls itself, when it told this device.
pub(super) fn open_ask(identity: &Identity, group: GroupId, asked: &GroupAsked) -> Option<String> {
    if asked.sealed.is_empty() {
        return None;
    }
    let id = group.seal_id();
    let bytes = seal::open(identity, asked.device, SealPurpose::GroupAsk, &id, &asked.sealed).ok()?;
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
    let note = json(&RefusalNote { reason: shortened(reason) });
    let sealed = seal::seal(identity, to, SealPurpose::GroupRefusal, &group.seal_id(), &note)?;
    Ok(GroupSealed { device: to, sealed: sealed.into() })
}

/// Why this device may not join.
pub(super) fn open_refusal(identity: &Identity, group: GroupId, sealed: &GroupSealed) -> Option<String> {
    let id = group.seal_id();
    let bytes = seal::open(identity, sealed.device, SealPurpose::GroupRefusal, &id, &sealed.sealed).ok()?;
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

/// What this device says of itself, before it is sealed: the newest shares, as many as fit. And what tells it from another
/// such thing: its time aside.
pub(super) fn note(name: &DeviceName, mut shares: Vec<Entry>) -> (Vec<u8>, [u8; 32]) {
    shares.sort_by_key(|entry| std::cmp::Reverse((entry.published, entry.name.clone())));
    let mut room = ROOM;
    shares.retain(|entry| {
        let length = entry.length();
        let fits = length <= room;
        room = if fits { room - length } else { 0 };
        fits
    });
    let mut note = Note { made_ms: 0, name: name.as_str().to_owned(), shares };
    let content = *blake3::hash(&json(&note)).as_bytes();
    note.made_ms = unix_millis();
    (json(&note), content)
}

/// Why a note is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoteError {
    /// The seal.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is in it.
    #[error("what a member told is malformed")]
    Malformed,
}

/// What a member said. Entries that are not its own, or have impossible names, are left out.
pub(super) fn open_note(place: Place<'_>, author: DeviceId, sealed: &[u8]) -> Result<Told, NoteError> {
    let bytes = group_seal::open(place, author, sealed)?;
    let note: Note = serde_json::from_slice(&bytes).map_err(|_| NoteError::Malformed)?;
    let shares = note.shares.into_iter().filter(|entry| entry.checked(author).is_some()).collect();
    Ok(Told {
        digest: Hex(blake3::hash(sealed).as_bytes()[..hither_proto::limits::GROUP_DIGEST].to_vec()),
        made_ms: note.made_ms,
        name: DeviceName::clean(&note.name).to_string(),
        shares,
    })
}
