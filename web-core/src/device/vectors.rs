//! The functions of SPEC.md that a page as a device computes, for the test vectors.

use super::cut::{Cutter, Domain, cut_whole};
use super::seal;
use crate::tls::Identity;
use hither_proto::seal::SealPurpose;
use hither_proto::{DeviceId, MessageId, VisitorSecret};

/// Computes what the first byte asks for.
///
/// | first byte | then | result |
/// |---|---|---|
/// | 16 | domain secret (32), average (4, little-endian), bytes | lengths of the chunks (4 each, little-endian) |
/// | 17 | seed of the reader (32), sender (32), message id (16), sealed | payload |
/// | 18 | seed of the sender (32), reader (32), message id (16), payload | sealed |
/// | 19 | secret (16), visitor (32), host (32) | invitation (16) ‖ proof (32) ‖ number (1) |
pub(crate) fn compute(which: u8, rest: &[u8]) -> Option<Vec<u8>> {
    match which {
        16 => {
            let (domain, rest) = rest.split_first_chunk::<32>()?;
            let (average, bytes) = rest.split_first_chunk::<4>()?;
            let cutter = Cutter::new(&Domain::new(*domain), u32::from_le_bytes(*average));
            let lengths = cut_whole(&cutter, bytes).into_iter();
            Some(lengths.flat_map(|n| (n as u32).to_le_bytes()).collect())
        }
        17 | 18 => {
            let (seed, rest) = rest.split_first_chunk::<32>()?;
            let (other, rest) = rest.split_first_chunk::<32>()?;
            let (id, bytes) = rest.split_first_chunk::<16>()?;
            let identity = Identity::new(seed).ok()?;
            let (other, id) = (DeviceId::from_slice(other).ok()?, MessageId::new(*id));
            let purpose = SealPurpose::Message;
            if which == 17 {
                seal::open(&identity, other, purpose, &id, bytes).ok()
            } else {
                seal::seal(&identity, other, purpose, &id, bytes).ok()
            }
        }
        19 => {
            let (secret, rest) = rest.split_first_chunk::<16>()?;
            let (visitor, host) = rest.split_first_chunk::<32>()?;
            let secret = VisitorSecret::new(*secret);
            let visitor = DeviceId::from_slice(visitor).ok()?;
            let host = DeviceId::from_slice(host).ok()?;
            let invitation = secret.invitation();
            let (proof, number) = (
                secret.proof(&visitor, &host),
                secret.number(&visitor, &host),
            );
            Some([&invitation.expose()[..], proof.as_bytes(), &[number]].concat())
        }
        _ => None,
    }
}
