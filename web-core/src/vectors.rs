//! The functions of SPEC.md that its test vectors pin, as one call: so that the compiled module is
//! held against the same bytes as the programs.

use crate::crypt;
use hither_proto::{
    ChunkId, ChunkRecord, DeviceId, Head, Manifest, Proof, ProofKey, Purpose, ShareSecret, Side,
    SignedHead, StreamBinding, Ticket, UncheckedHead,
};

/// Computes what the first byte asks for; `None`: the input is malformed, or what it has does not hold.
///
/// | first byte | then | result |
/// |---|---|---|
/// | 1 | secret (16) | id of the share (16) ‖ read key (32) |
/// | 2 | secret (16), version (8, little-endian), salt (16) | root key (32) |
/// | 3 | chunk record (68), ciphertext | plaintext |
/// | 4 | owner (32), secret (16), signed head | version (8, little-endian) ‖ id of the root (32) ‖ salt (16) |
/// | 5 | secret (16), length of the signed head (4, little-endian), owner (32), signed head, sealed root | chunk records of the manifest |
/// | 6 | manifest | number of entries (4, little-endian) ‖ chunk records of the data |
/// | 7 | ticket (text) | secret (16) ‖ owner (32) |
/// | 8 | secret (16), exporter (32), opener (32), acceptor (32), 1: by the read key (1), side (1), purpose (1 control, 2 bulk, 3 lookup) | proof (32) |
pub fn compute(input: &[u8]) -> Option<Vec<u8>> {
    let (which, rest) = input.split_first()?;
    match which {
        1 => {
            let secret = ShareSecret::from_slice(rest).ok()?;
            let (id, key) = (secret.share_id(), secret.read_key());
            Some([&id.as_bytes()[..], key.expose()].concat())
        }
        2 => {
            let (secret, rest) = secret_of(rest)?;
            let (version, salt) = rest.split_first_chunk::<8>()?;
            let salt = <[u8; 16]>::try_from(salt).ok()?;
            let key = secret.root_key(u64::from_le_bytes(*version), &salt);
            Some(key.expose().to_vec())
        }
        3 => {
            let (record, sealed) = rest.split_at_checked(ChunkRecord::LEN)?;
            let records = ChunkRecord::decode_all(record, hither_proto::limits::MAX_CHUNK).ok()?;
            let record = records.first().filter(|r| crypt::is_chunk(r, sealed))?;
            crypt::open(&record.key, sealed.to_vec()).ok()
        }
        4 => {
            let (owner, rest) = owner_of(rest)?;
            let (secret, signed) = secret_of(rest)?;
            let head = head_of(signed, &secret, owner)?;
            let (root, salt): (ChunkId, [u8; 16]) = (head.root, head.salt);
            Some([&head.version.to_le_bytes()[..], root.as_bytes(), &salt].concat())
        }
        5 => {
            let (secret, rest) = secret_of(rest)?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (owner, rest) = owner_of(rest)?;
            let (signed, sealed) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            let head = head_of(signed, &secret, owner)?;
            let root = crypt::open_root(&head, &secret, sealed.to_vec())?.ok()?;
            Some(encode(root.records()))
        }
        6 => {
            let manifest = Manifest::decode(rest).ok()?;
            let count = u32::try_from(manifest.entries().len()).ok()?;
            Some([&count.to_le_bytes()[..], &encode(manifest.chunks())].concat())
        }
        7 => {
            let ticket: Ticket = std::str::from_utf8(rest).ok()?.parse().ok()?;
            Some([&ticket.secret.expose()[..], ticket.owner.as_bytes()].concat())
        }
        8 => proof(rest),
        #[cfg(feature = "device")]
        which => crate::device::compute(*which, rest),
        #[cfg(not(feature = "device"))]
        _ => None,
    }
}

fn secret_of(bytes: &[u8]) -> Option<(ShareSecret, &[u8])> {
    let (secret, rest) = bytes.split_first_chunk::<16>()?;
    Some((ShareSecret::new(*secret), rest))
}

fn owner_of(bytes: &[u8]) -> Option<(DeviceId, &[u8])> {
    let (owner, rest) = bytes.split_first_chunk::<32>()?;
    Some((DeviceId::from_slice(owner).ok()?, rest))
}

fn head_of(signed: &[u8], secret: &ShareSecret, owner: DeviceId) -> Option<Head> {
    let unchecked = UncheckedHead::decode(signed).ok()?;
    let head = SignedHead::open(&unchecked, secret.share_id(), owner).ok()?;
    Some(head.head().clone())
}

fn encode(records: &[ChunkRecord]) -> Vec<u8> {
    let mut bytes = Vec::new();
    records
        .iter()
        .for_each(|record| record.encode_into(&mut bytes));
    bytes
}

fn proof(bytes: &[u8]) -> Option<Vec<u8>> {
    let (secret, rest) = secret_of(bytes)?;
    let (exporter, rest) = rest.split_first_chunk::<32>()?;
    let (opener, rest) = owner_of(rest)?;
    let (acceptor, rest) = owner_of(rest)?;
    let [by_read_key, side, purpose] = *<&[u8; 3]>::try_from(rest).ok()?;
    let key = match by_read_key {
        0 => ProofKey::of_secret(&secret),
        _ => ProofKey::of_read_key(&secret.read_key()),
    };
    let side = if side == 1 {
        Side::Opener
    } else {
        Side::Acceptor
    };
    let purpose = match purpose {
        1 => Purpose::Control,
        2 => Purpose::Bulk,
        3 => Purpose::Lookup,
        _ => return None,
    };
    let binding = StreamBinding::new(*exporter, opener, acceptor);
    Some(
        Proof::make(&key, &binding, side, purpose)
            .as_bytes()
            .to_vec(),
    )
}
