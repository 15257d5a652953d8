//! The tests of pages share a relay that serves one, with a certificate of its own.

use crate::relay_world::World;
use hither_tests::lab::{Lab, Relay};
use rcgen::PublicKeyData;
use std::fs;
use std::path::{Path, PathBuf};

/// The name by which browsers call the relay.
pub(crate) const HOST: &str = "relay.example";
/// The port that an address need not name.
const HTTPS: u16 = 443;

/// The relay's name with its port, as addresses have it.
pub(crate) fn authority(port: u16) -> String {
    match port {
        HTTPS => HOST.into(),
        port => format!("{HOST}:{port}"),
    }
}

/// A certificate for the relay, and the file with its key, beside each other in a folder.
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    /// The public key in it (RFC 5280, SubjectPublicKeyInfo).
    pub(crate) public_key: Vec<u8>,
    pub(crate) certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Writes a new one, over one that is there.
    pub(crate) fn write(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        // In one step each, as programs that renew certificates do.
        for (path, text) in [
            (&certificate, pem("CERTIFICATE", made.cert.der())),
            (&key, pem("PRIVATE KEY", &made.signing_key.serialize_der())),
        ] {
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
        Self {
            der: made.cert.der().to_vec(),
            public_key: made.signing_key.subject_public_key_info(),
            certificate,
            key,
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap()
}

/// A world whose relay serves browsers at a port; it is prepared further before it starts.
pub(crate) fn served<'lab>(
    lab: &'lab Lab,
    port: u16,
    prepare: impl FnOnce(&mut Relay),
) -> (World<'lab>, Certificate) {
    let mut certificate = None;
    let world = World::with(lab, |relay| {
        fs::create_dir_all(relay.data()).unwrap();
        let made = Certificate::write(&relay.data());
        relay.set(&format!("web.listen=[\"0.0.0.0:{port}\"]"));
        relay.set(&format!("web.url=https://{}", authority(port)));
        relay.set(&format!("web.certificate={}", made.certificate.display()));
        relay.set(&format!("web.key={}", made.key.display()));
        prepare(relay);
        certificate = Some(made);
    });
    (world, certificate.expect("it was prepared"))
}
