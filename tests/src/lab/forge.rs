//! An owner that does not keep to the rules: it signs what it likes as the next version of a share.

use super::device::Device;
use hither_carrier::Identity;
use hither_content::storage::{Batch, DEFAULT_ENGINE, Table, open};
use hither_content::{DomainSecret, ManifestFile, VersionInputs, seal_version};
use hither_proto::{
    Entry, EntryKind, Manifest, ManifestBuilder, ShareSecret, SignedHead, UncheckedHead,
};
use serde_json::Value;
use std::fs;

/// Where the daemon has its shares.
const SHARES: Table = Table::new("shares");

impl Device {
    /// Makes the next version of a share that this device made, with the same files under names and
    /// modes that `change` gives to their entries. The daemon must not run; the next one serves
    /// it.
    pub fn forge(&self, share: &str, change: impl Fn(&mut Entry, &mut String)) {
        self.forge_as(share, 65_536, change);
    }

    /// Makes the next version of a share that this device made, of which later ones are cut into
    /// chunks of so many bytes on average, as those of shares with very large files are. The
    /// daemon must not run.
    pub fn forge_cut(&self, share: &str, average: u32) {
        self.forge_as(share, average, |_, _| {});
    }

    fn forge_as(&self, share: &str, average: u32, change: impl Fn(&mut Entry, &mut String)) {
        let data = self.home().join("data");
        let (storage, _) = open(&data.join("store"), DEFAULT_ENGINE).unwrap();
        let bytes = storage
            .get(SHARES, share.as_bytes())
            .unwrap()
            .expect("a share");
        let mut record: Value = serde_json::from_slice(&bytes).unwrap();
        let field = |name: &str| unhex(record[name].as_str().unwrap());
        let secret = ShareSecret::from_slice(&field("secret")).unwrap();
        let domain = DomainSecret::new(field("domain").try_into().unwrap());
        let identity = Identity::load_or_create(&data.join("device.key")).unwrap();
        let unchecked = UncheckedHead::decode(&field("head")).unwrap();
        let head = SignedHead::open(&unchecked, secret.share_id(), identity.device_id()).unwrap();
        let place = |version: u64| data.join("manifests").join(format!("{share}-{version}"));
        let version = head.head().version;
        let manifest = ManifestFile::open(&place(version), head.head(), &secret)
            .unwrap()
            .decode()
            .unwrap();
        let inputs = VersionInputs {
            secret: &secret,
            domain: &domain,
            version: version + 1,
            salt: [version as u8; 16],
            published_ms: head.head().published_ms + 1,
        };
        let sealed = seal_version(&changed(&manifest, average, change), &inputs).unwrap();
        ManifestFile::create_complete(&place(version + 1), &sealed).unwrap();
        fs::copy(
            place(version).with_extension("stamps"),
            place(version + 1).with_extension("stamps"),
        )
        .unwrap();
        let signed = SignedHead::sign(sealed.head, |message| identity.sign(message));
        record["head"] = hex(&signed.to_unchecked().encode()).into();
        let mut batch = Batch::new();
        batch.put(
            SHARES,
            share.as_bytes(),
            &serde_json::to_vec(&record).unwrap(),
        );
        storage.commit(batch).unwrap();
    }
}

fn changed(
    manifest: &Manifest,
    average: u32,
    change: impl Fn(&mut Entry, &mut String),
) -> Manifest {
    let mut builder = ManifestBuilder::new(average).unwrap();
    for entry in manifest.entries() {
        let (mut entry, mut name) = (entry.clone(), entry.name.as_str().to_owned());
        change(&mut entry, &mut name);
        let Entry {
            depth,
            kind,
            mode,
            mtime_ns,
            ..
        } = entry;
        match kind {
            EntryKind::File { size, .. } => {
                builder.file(depth, &name, mode, mtime_ns, size).map(drop)
            }
            EntryKind::Folder => builder.folder(depth, &name, mode, mtime_ns),
            EntryKind::Symlink { target } => builder.symlink(depth, &name, mtime_ns, &target),
        }
        .unwrap();
    }
    builder.finish(manifest.chunks().to_vec()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
