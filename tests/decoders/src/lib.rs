//! Every decoder of bytes from outside, as a function from bytes to nothing: whatever they are, it
//! returns, and what was accepted keeps the promises that are asserted here.
//!
//! `tests/fuzz` runs them under a fuzzer; `tests/decoders/tests/corpus.rs` runs them over what
//! fuzzers found to be different, and over changes of it, with every other test. Inputs that once
//! broke something are in the corpus, under `tests/fuzz/corpus/NAME`.

#![allow(clippy::expect_used, clippy::panic)]

use hither_carrier::group_seal::{self, Place};
use hither_carrier::{Identity, seal};
use hither_proto::{GroupId, GroupSecret, MessageId};
use serde::{Serialize, de::DeserializeOwned};
use std::path::PathBuf;
use std::sync::LazyLock;

/// A decoder.
pub type Decoder = fn(&[u8]);

/// All of them, by the names of their fuzz targets and corpora.
pub const ALL: [(&str, Decoder); 20] = [
    ("frame", frame),
    ("relay_frame", relay_frame),
    ("ticket", ticket),
    ("ticket_payload", ticket_payload),
    ("code", code),
    ("code_gift", code_gift),
    ("relay_url", relay_url),
    ("head", head),
    ("root", root),
    ("manifest", manifest),
    ("name", name),
    ("group", group),
    ("stored", stored),
    ("record", record),
    ("sealed", sealed),
    ("letter", letter),
    ("ask", ask),
    ("note", note),
    ("api", api),
    ("config", config),
];

static READER: LazyLock<Identity> = LazyLock::new(|| Identity::generate().expect("a key"));

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::temp_dir().join(format!("hither-decoders-{}.toml", std::process::id()))
});

/// What can be read can be written and read again.
fn again<T: Serialize + DeserializeOwned>(data: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<T>(data) {
        let written = serde_json::to_vec(&read).expect("texts and numbers");
        assert!(
            serde_json::from_slice::<T>(&written).is_ok(),
            "what was written cannot be read"
        );
    }
}

/// Frames of the link protocol: whatever is accepted is encoded to the same message again.
pub fn frame(data: &[u8]) {
    if let Ok(Some(message)) = hither_proto::decode_frame(data) {
        let again = hither_proto::encode_frame(&message);
        assert_eq!(hither_proto::decode_frame(&again[4..]), Ok(Some(message)));
    }
}

/// Frames of the relay protocol: whatever is accepted is encoded to the same message again.
pub fn relay_frame(data: &[u8]) {
    if let Ok(Some(message)) = hither_proto::decode_relay_frame(data) {
        let again = hither_proto::encode_relay_frame(&message);
        assert_eq!(
            hither_proto::decode_relay_frame(&again[4..]),
            Ok(Some(message))
        );
    }
}

/// Letters about requests: whatever is accepted is encoded to the same letter again.
pub fn ask(data: &[u8]) {
    if let Ok(Some(letter)) = hither_proto::AskLetter::decode(data) {
        let again = hither_proto::AskLetter::decode(&letter.encode());
        assert_eq!(again, Ok(Some(letter)));
    }
}

/// Tickets and links, as text.
pub fn ticket(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(link) = text.parse::<hither_proto::ShareLink>()
    {
        assert_eq!(link.to_string().parse(), Ok(link));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(ticket) = text.parse::<hither_proto::Ticket>()
    {
        assert_eq!(
            ticket.to_string().parse::<hither_proto::Ticket>(),
            Ok(ticket)
        );
    }
}

/// Tickets, behind their checksum.
pub fn ticket_payload(data: &[u8]) {
    let hrp = bech32::Hrp::parse("hither").expect("a prefix");
    let payload: Vec<u8> = std::iter::once(1)
        .chain(data.iter().copied().take(300))
        .collect();
    if let Ok(text) = bech32::encode::<bech32::Bech32m>(hrp, &payload) {
        let _ = text.parse::<hither_proto::Ticket>();
    }
}

/// Codes as people type or scan them: whatever is accepted prints to the same again.
pub fn code(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = hither_proto::SpokenCode::is_meant(text);
    match text.parse::<hither_proto::SpokenCode>() {
        Ok(code) => assert_eq!(code.to_string().parse(), Ok(code)),
        Err(error) => assert!(error.to_string().len() < 200),
    }
    if let Ok(code) = text.parse::<hither_proto::PairText>() {
        assert_eq!(code.to_string().parse(), Ok(code));
    }
}

/// The gift sealed after an exchange about a code: what is accepted is encoded to the same again.
pub fn code_gift(data: &[u8]) {
    if let Ok(Some(gift)) = hither_proto::CodeGift::decode(data) {
        assert_eq!(
            hither_proto::CodeGift::decode(&gift.encode()),
            Ok(Some(gift))
        );
    }
}

/// Relay URLs and addresses: whatever is accepted prints to the same again.
pub fn relay_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(url) = text.parse::<hither_proto::RelayUrl>() {
        assert_eq!(url.to_string().parse(), Ok(url));
    }
    if let Ok(at) = text.parse::<hither_proto::HostPort>() {
        assert_eq!(at.to_string().parse(), Ok(at));
    }
    if let Ok(web) = text.parse::<hither_proto::WebAddress>() {
        assert_eq!(web.to_string().parse(), Ok(web));
    }
}

/// Signed heads, before their signature is checked.
pub fn head(data: &[u8]) {
    if let Ok(head) = hither_proto::UncheckedHead::decode(data) {
        let secret = hither_proto::ShareSecret::new([1; 16]);
        let owner = hither_proto::DeviceId::from_slice(&[0x58; 32]);
        if let Ok(owner) = owner {
            assert!(hither_proto::SignedHead::open(&head, secret.share_id(), owner).is_err());
        }
    }
}

/// Roots.
pub fn root(data: &[u8]) {
    if let Ok(root) = hither_proto::Root::decode(data) {
        assert_eq!(hither_proto::Root::decode(&root.encode()), Ok(root));
    }
}

/// Manifests: whatever is accepted survives encoding, and its tree is a tree.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = hither_proto::Manifest::decode(data) {
        assert_eq!(
            hither_proto::Manifest::decode(&manifest.encode()).as_ref(),
            Ok(&manifest)
        );
        let sum: u64 = manifest.chunks().iter().map(|c| u64::from(c.length)).sum();
        assert_eq!(sum, manifest.bytes());
    }
}

/// Names: what is accepted leads to no other folder, what is shown cannot move a cursor.
pub fn name(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(name) = hither_proto::EntryName::parse(text) {
            assert!(!name.as_str().contains(['/', '\0']));
            assert!(!name.as_str().is_empty() && name.as_str() != "." && name.as_str() != "..");
            let _ = (name.folded(), name.unportable());
        }
        assert!(
            !hither_proto::display_name(text)
                .chars()
                .any(char::is_control)
        );
    }
}

/// Entries of a group's log, what is kept of one, and invitations to ask.
pub fn group(data: &[u8]) {
    if let Ok(entry) = hither_proto::SignedEntry::open(data) {
        let _ = hither_proto::Membership::begin(&entry);
    }
    if let Ok(membership) = hither_proto::Membership::decode(data) {
        let again = hither_proto::Membership::decode(&membership.encode());
        assert_eq!(again, Ok(membership));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = text.parse::<hither_proto::GroupInvite>();
        let _ = hither_proto::GroupName::parse(text);
    }
}

/// What is read back from this device: stamps and references to partial files.
pub fn stored(data: &[u8]) {
    let _ = hither_content::Stamps::decode(data);
    let _ = hither_content::PartialRef::decode(data);
    let _ = hither_content::Names::decode(data, 1000);
    let _ = hither_content::NameRules::decode(data);
}

/// Records of the metadata store, and the time that was kept.
pub fn record(data: &[u8]) {
    hither_daemon::decoders::records(data);
    let _ = hither_proto::timeline::Kept::decode(data);
    let _ = hither_proto::ChunkRecord::decode_all(data, u32::MAX);
}

/// Content that is sealed for a device or a group, whole and with something else inside that an
/// honest sealer would not put there.
pub fn sealed(data: &[u8]) {
    let (reader, id) = (&*READER, MessageId::NONE);
    let (to, purpose) = (reader.device_id(), seal::SealPurpose::Message);
    let _ = seal::open(reader, to, purpose, &id, data);
    let sealed = seal::seal(reader, to, purpose, &id, data).expect("short enough");
    assert_eq!(
        seal::open(reader, to, purpose, &id, &sealed)
            .ok()
            .as_deref(),
        Some(data)
    );
    // A single byte that is changed is noticed.
    let mut changed = sealed;
    let at = data.first().copied().unwrap_or_default() as usize % changed.len();
    changed[at] ^= 1;
    assert!(seal::open(reader, to, purpose, &id, &changed).is_err());
    let secret = GroupSecret::new([7; 32]);
    let place = Place {
        group: GroupId::new([1; 32]),
        generation: 3,
        secret: &secret,
    };
    let _ = group_seal::open(place, to, data);
}

/// What is inside sealed messages.
pub fn letter(data: &[u8]) {
    hither_daemon::decoders::letter(data);
    if let Ok(Some(letter)) = hither_proto::DriveLetter::decode(data) {
        assert_eq!(
            hither_proto::DriveLetter::decode(&letter.encode()),
            Ok(Some(letter))
        );
    }
}

/// What is inside a member's note to its group.
pub fn note(data: &[u8]) {
    if let Some((author, note)) = data.split_first_chunk::<32>()
        && let Ok(author) = hither_proto::DeviceId::from_slice(author)
    {
        hither_daemon::decoders::note(author, note);
    }
}

/// Requests to the local API, and its answers as the command line reads them.
pub fn api(data: &[u8]) {
    again::<hither_api::ShareRequest>(data);
    again::<hither_api::FetchRequest>(data);
    again::<hither_api::ShowCode>(data);
    again::<hither_api::EnterCode>(data);
    again::<hither_api::AnswerCode>(data);
    again::<hither_api::AcceptRequest>(data);
    again::<hither_api::FindRequest>(data);
    again::<hither_api::SendRequest>(data);
    again::<hither_api::SaveRequest>(data);
    again::<hither_api::RelayRequest>(data);
    again::<hither_api::CreateGroup>(data);
    again::<hither_api::JoinGroup>(data);
    again::<hither_api::DecideGroup>(data);
    again::<hither_api::SetGroupPolicy>(data);
    again::<hither_api::ShareInfo>(data);
    again::<hither_api::Status>(data);
    again::<hither_api::Event>(data);
    again::<hither_api::ApiError>(data);
}

/// Configuration files of devices and of relays, and the record that says where a daemon listens.
pub fn config(data: &[u8]) {
    std::fs::write(&*FILE, data).expect("a temporary file");
    let _ = hither_api::Config::load(&FILE);
    let _ = hither_relay::config::load(Some(&FILE), &hither_relay::config::Overrides::default());
}
