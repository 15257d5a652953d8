//! SPAKE2 over ed25519 (crate `spake2`), with the device that enters the code as side A and the
//! device that shows it as side B.
//!
//! A run of it gives whoever does not know the password one guess, and nothing to test further
//! guesses with afterwards. Points of small order gain nothing: they make the key predictable only
//! for who has guessed the password right. The seed of the random scalar is an argument, as all
//! randomness of this crate is.

use super::CodeSecret;
use crate::device::DeviceId;
use crate::ids::{IdError, fixed};
use rand_core::{CryptoRng, RngCore};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use std::fmt;
use zeroize::Zeroizing;

/// A message of SPAKE2: the side (1) and a point of the curve (32).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PakeMessage([u8; Self::LEN]);

impl PakeMessage {
    /// Length in bytes.
    pub const LEN: usize = 33;

    /// Parses what came from outside. Whether it is a point shows when it is used.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        fixed("a message of the key exchange", bytes).map(Self)
    }

    /// The bytes, as they go over the wire.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for PakeMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PakeMessage(…)")
    }
}

/// The other side's message is no message of that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of the key exchange is malformed")]
pub struct PakeError;

/// One side of one run.
pub struct CodePake {
    run: Spake2<Ed25519Group>,
    message: PakeMessage,
}

impl CodePake {
    /// Begins at the device that enters the code. `seed`: 32 random bytes, never used before.
    pub fn enter(secret: &CodeSecret, enters: &DeviceId, shows: &DeviceId, seed: [u8; 32]) -> Self {
        let (password, a, b) = parts(secret, enters, shows);
        let (run, message) = Spake2::start_a_with_rng(&password, &a, &b, Drawn::new(seed));
        Self::new(run, &message)
    }

    /// Begins at the device that shows the code. `seed`: 32 random bytes, never used before.
    pub fn show(secret: &CodeSecret, enters: &DeviceId, shows: &DeviceId, seed: [u8; 32]) -> Self {
        let (password, a, b) = parts(secret, enters, shows);
        let (run, message) = Spake2::start_b_with_rng(&password, &a, &b, Drawn::new(seed));
        Self::new(run, &message)
    }

    fn new(run: Spake2<Ed25519Group>, message: &[u8]) -> Self {
        let mut bytes = [0; PakeMessage::LEN];
        let length = message.len().min(PakeMessage::LEN);
        bytes[..length].copy_from_slice(&message[..length]);
        Self {
            run,
            message: PakeMessage(bytes),
        }
    }

    /// The message for the other side.
    pub const fn message(&self) -> PakeMessage {
        self.message
    }

    /// Ends the run with the other side's message. The key is the same on both sides if the
    /// passwords and the devices are; only the confirmation shows whether that is so.
    ///
    /// Errors: the message is malformed.
    pub fn finish(self, other: &PakeMessage) -> Result<Zeroizing<Vec<u8>>, PakeError> {
        self.run
            .finish(other.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| PakeError)
    }
}

impl fmt::Debug for CodePake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodePake(…)")
    }
}

fn parts(
    secret: &CodeSecret,
    enters: &DeviceId,
    shows: &DeviceId,
) -> (Password, Identity, Identity) {
    (
        Password::new(&secret.password[..]),
        Identity::new(enters.as_bytes()),
        Identity::new(shows.as_bytes()),
    )
}

/// Random numbers drawn from a seed: the output of BLAKE3, which has no end.
struct Drawn(blake3::OutputReader);

impl Drawn {
    fn new(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let mut hasher = blake3::Hasher::new_derive_key("hither.v2 code scalar");
        hasher.update(&seed[..]);
        Self(hasher.finalize_xof())
    }
}

impl RngCore for Drawn {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Drawn {}
