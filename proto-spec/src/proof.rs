//! Proof that a device knows a share's secret (or, towards a store, its read key), without sending
//! it.
//!
//! `proof = BLAKE3-keyed(key, exporter ‖ opener ‖ acceptor ‖ side ‖ purpose)`. The exporter is 32
//! bytes of TLS keying material (RFC 8446, section 7.5; the binding of RFC 9266 with a label of
//! this protocol) whose context is the number of the stream, so that it is fresh for every stream.
//! Opener and acceptor are the device keys that TLS proved.
//!
//! Invariants, each of them a line of the transcript:
//! - a proof holds on one stream of one connection: what is replayed on another stream, connection
//!   or carrier fails (exporter);
//! - a proof of one end is never a proof of the other end, whichever of the two opens the stream it
//!   is replayed on (opener, acceptor, side);
//! - a proof for one purpose opens nothing else (purpose, and a context of its own for each kind of
//!   key).
//!
//! A store does not know the secret; between it and a reader the key is `derive(read key,
//! "hither.v2 store proof")` instead of `derive(secret, "hither.v2 link proof")`. A [`BlindQuery`]
//! asks a device that nobody has named as a holder whether it knows the share, before anything is
//! proven to it. The secret has 128 random bits, so no transcript can be guessed offline.

use crate::device::DeviceId;
use crate::ids::{IdError, ReadKey, ShareSecret, fixed};
use crate::message::Purpose;
use crate::relay::RelayPurpose;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Length of what is hashed: exporter, two device keys, side, purpose.
const TRANSCRIPT: usize = 32 + 2 * DeviceId::LEN + 2;

/// The end of a stream that makes a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end that opened the stream.
    Opener,
    /// The end that accepted it.
    Acceptor,
}

/// What both ends of one stream know, and what no other stream has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamBinding {
    exporter: [u8; 32],
    opener: DeviceId,
    acceptor: DeviceId,
}

impl StreamBinding {
    /// Binds to the stream that `opener` opened to `acceptor`. `exporter` is the TLS exporter of
    /// the connection for this stream.
    pub const fn new(exporter: [u8; 32], opener: DeviceId, acceptor: DeviceId) -> Self {
        Self {
            exporter,
            opener,
            acceptor,
        }
    }

    pub(crate) const fn exporter(&self) -> &[u8; 32] {
        &self.exporter
    }

    pub(crate) const fn opener(&self) -> &DeviceId {
        &self.opener
    }

    pub(crate) const fn acceptor(&self) -> &DeviceId {
        &self.acceptor
    }

    /// The transcript of one end's proof, keyed. `purpose` is the number of the purpose on the
    /// wire.
    fn keyed(&self, key: &[u8; 32], side: Side, purpose: u8) -> [u8; 32] {
        let mut transcript = [0u8; TRANSCRIPT];
        let mut rest = transcript.as_mut_slice();
        let side = [match side {
            Side::Opener => 1,
            Side::Acceptor => 2,
        }];
        let parts: [&[u8]; 5] = [
            &self.exporter,
            self.opener.as_bytes(),
            self.acceptor.as_bytes(),
            &side,
            &[purpose],
        ];
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        *blake3::keyed_hash(key, &transcript).as_bytes()
    }
}

impl std::fmt::Debug for StreamBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamBinding")
            .field("opener", &self.opener)
            .field("acceptor", &self.acceptor)
            .finish_non_exhaustive()
    }
}

/// The key of proofs. Zeroed when dropped.
#[derive(Clone)]
pub struct ProofKey(Zeroizing<[u8; 32]>);

impl ProofKey {
    /// Between devices: follows from the share's secret.
    pub fn of_secret(secret: &ShareSecret) -> Self {
        Self(Zeroizing::new(secret.derive("hither.v2 link proof")))
    }

    /// Between a device and a store: follows from the share's read key.
    pub fn of_read_key(key: &ReadKey) -> Self {
        Self(Zeroizing::new(blake3::derive_key(
            "hither.v2 store proof",
            key.expose(),
        )))
    }

    /// Between the nodes of one fleet: follows from the fleet's secret text.
    pub fn of_fleet(secret: &[u8]) -> Self {
        Self(Zeroizing::new(blake3::derive_key(
            "hither.v2 relay fleet proof",
            secret,
        )))
    }
}

impl std::fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProofKey(…)")
    }
}

/// The purpose that a proof is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofPurpose {
    /// A stream about a share.
    Share(Purpose),
    /// A stream between nodes of a fleet.
    Fleet,
}

impl From<Purpose> for ProofPurpose {
    fn from(purpose: Purpose) -> Self {
        Self::Share(purpose)
    }
}

impl ProofPurpose {
    /// Its number on the wire, in `Open` or `RelayOpen`. The kinds have keys of different contexts,
    /// so numbers may be equal.
    fn number(self) -> u8 {
        match self {
            Self::Share(purpose) => crate::message::purpose_to_wire(Some(purpose)) as u8,
            Self::Fleet => RelayPurpose::to_wire(Some(RelayPurpose::Node)) as u8,
        }
    }
}

/// 32 bytes that only a holder of the key can make for one stream, end and purpose.
#[derive(Clone, Copy)]
pub struct Proof([u8; 32]);

impl Proof {
    /// Makes the proof of the end `side` of the stream.
    pub fn make(
        key: &ProofKey,
        stream: &StreamBinding,
        side: Side,
        purpose: impl Into<ProofPurpose>,
    ) -> Self {
        Self(stream.keyed(&key.0, side, purpose.into().number()))
    }

    /// Checks a proof that the end `side` has sent, in constant time.
    pub fn verify(
        &self,
        key: &ProofKey,
        stream: &StreamBinding,
        side: Side,
        purpose: impl Into<ProofPurpose>,
    ) -> bool {
        Self::make(key, stream, side, purpose)
            .0
            .ct_eq(&self.0)
            .into()
    }

    /// Parses a proof from outside.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        fixed("a proof", bytes).map(Self)
    }

    /// The bytes, as they go over the wire.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(…)")
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Proof {}

/// The key of blind queries and replies. Zeroed when dropped.
#[derive(Clone)]
pub struct BlindKey(Zeroizing<[u8; 32]>);

impl BlindKey {
    /// Follows from the share's secret.
    pub fn of_secret(secret: &ShareSecret) -> Self {
        Self(Zeroizing::new(secret.derive("hither.v2 blind query")))
    }
}

impl std::fmt::Debug for BlindKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlindKey(…)")
    }
}

/// "Do you know the share whose secret I know?", without its name: 32 bytes that say nothing to a
/// device that does not know it, and differ on every stream. The acceptor answers first, with an
/// [`BlindReply`]; the opener proves itself afterwards.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BlindQuery([u8; 32]);

/// "I know it": what only a device with the secret can answer to a [`BlindQuery`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BlindReply([u8; 32]);

macro_rules! bytes_of_a_stream {
    ($type:ident, $side:expr, $what:literal) => {
        impl $type {
            #[doc = concat!("Makes ", $what, " on a stream.")]
            pub fn make(key: &BlindKey, stream: &StreamBinding) -> Self {
                Self(stream.keyed(&key.0, $side, 0))
            }

            #[doc = concat!("Checks ", $what, " from the other end, in constant time.")]
            pub fn verify(&self, key: &BlindKey, stream: &StreamBinding) -> bool {
                Self::make(key, stream).0.ct_eq(&self.0).into()
            }

            #[doc = concat!("Parses ", $what, " from outside.")]
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                fixed($what, bytes).map(Self)
            }

            /// The bytes, as they go over the wire.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($type), "(…)"))
            }
        }
    };
}

bytes_of_a_stream!(BlindQuery, Side::Opener, "a blind query");
bytes_of_a_stream!(BlindReply, Side::Acceptor, "a blind reply");

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: u8) -> DeviceId {
        crate::relay::samples::seeded(n)
    }

    /// Streams that differ in one thing each from the first one.
    fn streams() -> Vec<StreamBinding> {
        let (one, two, three) = (device(1), device(2), device(3));
        vec![
            StreamBinding::new([2; 32], one, two),
            StreamBinding::new([3; 32], one, two),
            StreamBinding::new([2; 32], two, one),
            StreamBinding::new([2; 32], three, two),
            StreamBinding::new([2; 32], one, three),
        ]
    }

    const PURPOSES: [ProofPurpose; 4] = [
        ProofPurpose::Share(Purpose::Control),
        ProofPurpose::Share(Purpose::Bulk),
        ProofPurpose::Share(Purpose::Lookup),
        ProofPurpose::Fleet,
    ];

    #[test]
    fn every_field_of_the_transcript_counts() {
        let secret = ShareSecret::new([1; 16]);
        let keys = [
            ProofKey::of_secret(&secret),
            ProofKey::of_secret(&ShareSecret::new([9; 16])),
            ProofKey::of_read_key(&secret.read_key()),
            ProofKey::of_fleet(b"a secret of a fleet"),
        ];
        let mut all = Vec::new();
        for (k, key) in keys.iter().enumerate() {
            for (s, stream) in streams().iter().enumerate() {
                for side in [Side::Opener, Side::Acceptor] {
                    for purpose in &PURPOSES[..3] {
                        let proof = Proof::make(key, stream, side, *purpose);
                        assert!(proof.verify(key, stream, side, *purpose));
                        assert_eq!(Proof::from_slice(proof.as_bytes()), Ok(proof));
                        all.push(((k, s, side, *purpose), proof));
                    }
                }
            }
        }
        for (i, (one, proof)) in all.iter().enumerate() {
            for (other, another) in &all[..i] {
                assert_ne!(proof, another, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_query_is_no_reply_and_no_proof() {
        let secret = ShareSecret::new([1; 16]);
        let (key, proofs) = (BlindKey::of_secret(&secret), ProofKey::of_secret(&secret));
        let mut seen = Vec::new();
        for stream in streams() {
            let (query, reply) = (
                BlindQuery::make(&key, &stream),
                BlindReply::make(&key, &stream),
            );
            assert!(query.verify(&key, &stream) && reply.verify(&key, &stream));
            let other = BlindKey::of_secret(&ShareSecret::new([9; 16]));
            assert!(!query.verify(&other, &stream) && !reply.verify(&other, &stream));
            seen.push(*query.as_bytes());
            seen.push(*reply.as_bytes());
            for side in [Side::Opener, Side::Acceptor] {
                seen.extend(
                    PURPOSES
                        .map(|purpose| *Proof::make(&proofs, &stream, side, purpose).as_bytes()),
                );
            }
        }
        // The fleet's purpose shares a number with one of a share's: their keys differ, which the
        // other test shows.
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        let fleets = streams().len() * 2;
        assert!(
            seen.len() >= count - fleets,
            "{} of {count} are different",
            seen.len()
        );
    }

    #[test]
    fn secrets_do_not_show_in_what_is_printed() {
        let secret = ShareSecret::new([1; 16]);
        let shown = format!(
            "{:?} {:?} {:?}",
            ProofKey::of_secret(&secret),
            BlindKey::of_secret(&secret),
            Proof::make(
                &ProofKey::of_secret(&secret),
                &streams()[0],
                Side::Opener,
                Purpose::Bulk
            ),
        );
        assert_eq!(shown, "ProofKey(…) BlindKey(…) Proof(…)");
        assert!(Proof::from_slice(&[0; 31]).is_err());
    }
}
