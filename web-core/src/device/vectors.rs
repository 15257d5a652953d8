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

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digits = text.trim().as_bytes().chunks(2);
        digits
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn w2_contents_are_cut_as_the_program_cuts_them() {
        let pinned = include_str!("../../../proto-spec/vectors/content-v1.txt");
        let mut content = vec![0; 1 << 20];
        blake3::Hasher::new_derive_key("hither.v1 test content")
            .finalize_xof()
            .fill(&mut content);
        for (name, length, average) in [
            ("1 MiB of test content, average 64 KiB", 1 << 20, 65_536_u32),
            ("256 KiB of test content, average 16 KiB", 1 << 18, 16_384),
        ] {
            let (_, rest) = pinned.split_once(name).unwrap();
            let expected = rest.trim_start().lines().next().unwrap();
            let input = [&[3; 32][..], &average.to_le_bytes(), &content[..length]].concat();
            let cut = compute(16, &input).unwrap();
            let (cut, _) = cut.as_chunks::<4>();
            let cut: Vec<String> = cut
                .iter()
                .map(|four| u32::from_le_bytes(*four).to_string())
                .collect();
            assert_eq!(cut.join(" "), expected);
        }
    }

    /// Sealed by the daemon's library, opened by this one: seeds, id and words as in
    /// `carrier/src/seal/tests.rs`.
    #[test]
    fn w2_what_the_program_sealed_opens() {
        let sealed = unhex(include_str!("../../../proto-spec/vectors/sealed-v1.txt"));
        let sender = Identity::new(&[6; 32]).unwrap().device();
        let open = |sealed: &[u8]| {
            let input = [&[5; 32][..], sender.as_bytes(), &[7; 16], sealed].concat();
            compute(17, &input)
        };
        assert_eq!(open(&sealed).as_deref(), Some(&b"hello"[..]));
        for at in [0, 31, 32, 100, sealed.len() - 1] {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert_eq!(open(&other), None);
        }
        let reader = Identity::new(&[5; 32]).unwrap().device();
        let input = [&[6; 32][..], reader.as_bytes(), &[7; 16], b"again"].concat();
        let own = compute(18, &input).unwrap();
        assert_eq!(own.len(), sealed.len());
        assert_eq!(open(&own).as_deref(), Some(&b"again"[..]));
    }
}
