//! One version of a share, from its manifest to what the owner signs.
//!
//! Invariant: the head names the root by the id of its ciphertext, the root names the manifest's
//! chunks, and the manifest those of the files; who has checked the head's signature can check
//! everything else.

use crate::crypt::{DomainSecret, SealError, chunk_id, record_of, seal_root};
use crate::cut::{Cut, Cutter, manifest_average_for};
use hither_proto::limits::{MAX_CHUNKS, MAX_MANIFEST};
use hither_proto::{Head, Manifest, Root, RootError, ShareSecret};

/// What makes a version of a manifest.
#[derive(Debug, Clone, Copy)]
pub struct VersionInputs<'a> {
    /// Opens the share: whoever has the ticket knows it.
    pub secret: &'a ShareSecret,
    /// The domain that the files' chunks were sealed in; the manifest's are too.
    pub domain: &'a DomainSecret,
    /// Counts up from 1.
    pub version: u64,
    /// 16 fresh random bytes.
    pub salt: [u8; 16],
    /// When it is published by this device's clock, Unix milliseconds.
    pub published_ms: u64,
}

/// A version ready to be signed and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedVersion {
    /// For [`hither_proto::SignedHead::sign`].
    pub head: Head,
    /// Names the manifest's chunks.
    pub root: Root,
    /// The root as fetchers get it.
    pub sealed_root: Vec<u8>,
    /// The encoded manifest, plaintext.
    pub manifest: Vec<u8>,
}

/// Why a version could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealVersionError {
    /// The manifest is longer than [`MAX_MANIFEST`].
    #[error("the list of files and chunks is too long for one share: {0} bytes")]
    TooLarge(u64),
    /// The manifest's chunks do not fit into a root.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A chunk could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Encodes, cuts and seals a manifest, and makes the head that points to it.
pub fn seal_version(
    manifest: &Manifest,
    inputs: &VersionInputs<'_>,
) -> Result<SealedVersion, SealVersionError> {
    let encoded = manifest.encode();
    if encoded.len() as u64 > MAX_MANIFEST {
        return Err(SealVersionError::TooLarge(encoded.len() as u64));
    }
    let cutter = Cutter::new(inputs.domain, manifest_average_for(encoded.len() as u64));
    let (mut records, mut rest, mut scratch) = (Vec::new(), encoded.as_slice(), Vec::new());
    while !rest.is_empty() {
        let length = match cutter.next(rest, true) {
            Cut::At(length) => length,
            Cut::More => rest.len(),
        };
        let (chunk, after) = rest.split_at(length);
        records.push(record_of(inputs.domain, chunk, &mut scratch)?);
        rest = after;
    }
    let root = Root::new(records)?;
    let sealed_root = seal_root(inputs.secret, inputs.version, &inputs.salt, &root)?;
    let head = Head {
        share: inputs.secret.share_id(),
        version: inputs.version,
        root: chunk_id(&sealed_root),
        root_length: u32::try_from(sealed_root.len()).map_err(|_| RootError::Length)?,
        salt: inputs.salt,
        chunks: count(manifest.chunks().len())?,
        manifest_chunks: count(root.records().len())?,
        bytes: manifest.bytes(),
        published_ms: inputs.published_ms,
    };
    Ok(SealedVersion {
        head,
        root,
        sealed_root,
        manifest: encoded,
    })
}

fn count(chunks: usize) -> Result<u32, RootError> {
    u32::try_from(chunks)
        .ok()
        .filter(|count| u64::from(*count) <= MAX_CHUNKS)
        .ok_or(RootError::Length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::{open_root, seal_chunk};
    use crate::cut::tests::noise;
    use hither_proto::ManifestBuilder;
    use std::collections::HashSet;

    /// A folder of `files` files of one chunk each; file `changed` has another content.
    fn manifest(files: usize, changed: Option<usize>) -> Manifest {
        let domain = DomainSecret::new([1; 32]);
        let mut builder = ManifestBuilder::new(65_536).unwrap();
        builder.folder(0, "top", 0o755, 0).unwrap();
        let mut chunks = Vec::new();
        for i in 0..files {
            builder
                .file(
                    1,
                    &format!("file {i}"),
                    0o644,
                    1_700_000_000_000_000_000,
                    20,
                )
                .unwrap();
            let mut content = noise(
                if changed == Some(i) {
                    u64::MAX
                } else {
                    i as u64
                },
                20,
            );
            chunks.push(seal_chunk(&domain, &mut content).unwrap());
        }
        builder.finish(chunks).unwrap()
    }

    fn seal(manifest: &Manifest, version: u64) -> SealedVersion {
        let (secret, domain) = (ShareSecret::new([2; 16]), DomainSecret::new([1; 32]));
        let inputs = VersionInputs {
            secret: &secret,
            domain: &domain,
            version,
            salt: [version as u8; 16],
            published_ms: 5,
        };
        seal_version(manifest, &inputs).unwrap()
    }

    #[test]
    fn a_version_opens_with_the_secret_and_gives_the_manifest_back() {
        let manifest = manifest(3000, None);
        let version = seal(&manifest, 1);
        let root = open_root(
            &version.head,
            &ShareSecret::new([2; 16]),
            &version.sealed_root,
        )
        .unwrap();
        assert_eq!(root, version.root);
        assert_eq!(root.manifest_length(), version.manifest.len() as u64);
        assert_eq!(Manifest::decode(&version.manifest).unwrap(), manifest);
        assert_eq!(
            (
                version.head.chunks,
                version.head.bytes,
                version.head.version
            ),
            (3000, 60_000, 1)
        );
        assert!(root.records().len() > 10);
    }

    #[test]
    fn a_small_change_changes_few_manifest_chunks() {
        let ids = |version: &SealedVersion| {
            version
                .root
                .records()
                .iter()
                .map(|r| r.id)
                .collect::<HashSet<_>>()
        };
        let (first, second) = (
            seal(&manifest(3000, None), 1),
            seal(&manifest(3000, Some(1500)), 2),
        );
        assert!(ids(&second).difference(&ids(&first)).count() <= 3);
    }
}
