//! The annotated test vectors about content: `proto-spec/vectors/content-v1.txt` pins the bytes, the
//! code here must make them, SPEC.md must quote them.
//!
//! `HITHER_WRITE_VECTORS=1 cargo test -p hither-content --lib vectors` writes the file anew; a change
//! of it is a change of the formats. The page's core is held against the same file
//! (`web-core/tests/vectors.mjs`).

#[path = "../../proto-spec/tests/pinned/mod.rs"]
mod pinned;

use crate::crypt::{DomainSecret, open_chunk, open_root, seal_chunk};
use crate::cut::{Cut, Cutter};
use crate::version::{SealedVersion, VersionInputs, seal_version};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use hither_proto::{ChunkRecord, DeviceId, Manifest, ManifestBuilder, ShareSecret, SignedHead};
use pinned::{Vector, assert_pinned, assert_quoted, hex};

/// The files of the share, in manifest order: what "a.txt" and "b.txt" have.
const FILES: &[u8] = b"hello\nhither, a share for tests\n";
/// Cut of the share's contents, bytes. Cuts are the sender's choice; this one shows that a chunk
/// may end within a file.
const CUT_AT: usize = 10;

fn domain() -> DomainSecret {
    DomainSecret::new([3; 32])
}

fn secret() -> ShareSecret {
    ShareSecret::new([1; 16])
}

/// Bytes that anybody can make.
fn content(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_derive_key("hither.v1 test content")
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn sealed(plaintext: &[u8]) -> (ChunkRecord, Vec<u8>) {
    let mut buffer = plaintext.to_vec();
    let record = seal_chunk(&domain(), &mut buffer).unwrap();
    (record, buffer)
}

fn encoded(records: &[ChunkRecord]) -> Vec<u8> {
    let mut bytes = Vec::new();
    records
        .iter()
        .for_each(|record| record.encode_into(&mut bytes));
    bytes
}

/// The lengths of the chunks of a stream that is read whole.
fn cuts(average: u32, mut bytes: &[u8]) -> String {
    let cutter = Cutter::new(&domain(), average);
    let mut lengths = Vec::new();
    while !bytes.is_empty() {
        let Cut::At(length) = cutter.next(bytes, true) else {
            panic!("an end is always found at the end")
        };
        lengths.push(length.to_string());
        bytes = &bytes[length..];
    }
    lengths.join(" ")
}

/// The whole share: a folder with two files, an empty folder and a symlink, in two chunks.
struct Share {
    manifest: Manifest,
    version: SealedVersion,
    signed: SignedHead,
    owner: DeviceId,
    /// Sealed chunks: of the manifest, of the data.
    sealed: [Vec<Vec<u8>>; 2],
}

fn share() -> Share {
    let mut builder = ManifestBuilder::new(65536).unwrap();
    let mtime = 1_700_000_000_000_000_000;
    builder.folder(0, "notes", 0o755, mtime).unwrap();
    builder.file(1, "a.txt", 0o644, mtime, 6).unwrap();
    builder
        .file(1, "b.txt", 0o755, mtime + 1, FILES.len() as u64 - 6)
        .unwrap();
    builder.folder(1, "empty", 0o700, mtime).unwrap();
    builder.symlink(1, "latest", mtime, "b.txt").unwrap();
    let data = [&FILES[..CUT_AT], &FILES[CUT_AT..]].map(sealed);
    let records = data.iter().map(|(record, _)| record.clone()).collect();
    let manifest = builder.finish(records).unwrap();
    let (secret, domain) = (secret(), domain());
    let inputs = VersionInputs {
        secret: &secret,
        domain: &domain,
        version: 1,
        salt: [6; 16],
        published_ms: 1_700_000_000_000,
    };
    let version = seal_version(&manifest, &inputs).unwrap();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let owner = DeviceId::from_slice(pair.public_key().as_ref()).unwrap();
    let signed = SignedHead::sign(version.head.clone(), |message| {
        pair.sign(message).as_ref().try_into().unwrap()
    });
    let of_manifest = vec![sealed(&version.manifest).1];
    Share {
        manifest,
        version,
        signed,
        owner,
        sealed: [of_manifest, data.map(|(_, sealed)| sealed).to_vec()],
    }
}

fn vectors() -> Vec<Vector> {
    let (record, ciphertext) = sealed(b"hello");
    let share = share();
    vec![
        ("sealed chunk: record of `hello`", hex(&encoded(&[record]))),
        ("sealed chunk: ciphertext", hex(&ciphertext)),
        (
            "lengths of chunks: 1 MiB of test content, average 64 KiB",
            cuts(65536, &content(1 << 20)),
        ),
        (
            "lengths of chunks: 256 KiB of test content, average 16 KiB",
            cuts(16384, &content(1 << 18)),
        ),
        (
            "share: signed head",
            hex(&share.signed.to_unchecked().encode()),
        ),
        ("share: sealed root", hex(&share.version.sealed_root)),
        (
            "share: records of the manifest's chunks",
            hex(&encoded(share.version.root.records())),
        ),
        ("share: sealed manifest chunk", hex(&share.sealed[0][0])),
        ("share: manifest", hex(&share.version.manifest)),
        ("share: first sealed chunk", hex(&share.sealed[1][0])),
        ("share: second sealed chunk", hex(&share.sealed[1][1])),
    ]
}

#[test]
fn vectors_are_pinned_and_quoted() {
    let vectors = vectors();
    assert_pinned("vectors/content-v1.txt", &vectors);
    assert_quoted(&vectors);
}

#[test]
fn the_share_can_be_read_from_what_is_pinned() {
    let share = share();
    let head = SignedHead::open(
        &share.signed.to_unchecked(),
        secret().share_id(),
        share.owner,
    );
    let head = head.unwrap();
    let root = open_root(head.head(), &secret(), &share.version.sealed_root).unwrap();
    let mut manifest = share.sealed[0][0].clone();
    open_chunk(&root.records()[0], &mut manifest).unwrap();
    let manifest = Manifest::decode(&manifest).unwrap();
    assert_eq!(manifest, share.manifest);
    let mut files = Vec::new();
    for (record, sealed) in manifest.chunks().iter().zip(&share.sealed[1]) {
        let mut chunk = sealed.clone();
        open_chunk(record, &mut chunk).unwrap();
        files.extend(chunk);
    }
    assert_eq!(files, FILES);
}
