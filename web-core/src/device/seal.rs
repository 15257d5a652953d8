//! HPKE for sealed messages, by a library that compiles to WebAssembly, and the channel of an
//! exchange about a code. The layout of sealed messages is [`hither_proto::seal`]'s.

use crate::tls::Identity;
use hither_proto::seal::{
    CipherFailed, ENCAPSULATED, OpenError, SealCipher, SealError, SealPurpose,
};
use hither_proto::{CodeKeys, CodeSide, DeviceId, MessageId, seal};
use hpke::aead::AesGcm128;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, X25519HkdfSha256};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable};
use rand_core::{TryCryptoRng, TryRng};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::convert::Infallible;

type Public = <X25519HkdfSha256 as Kem>::PublicKey;
type Private = <X25519HkdfSha256 as Kem>::PrivateKey;
type Encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey;

/// Fills bytes with random ones of the browser, or of the system; `false`: there are none.
pub(super) fn random(bytes: &mut [u8]) -> bool {
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), bytes).is_ok()
}

/// Random bytes that were drawn before: whoever uses them cannot run out of them unnoticed.
struct Drawn {
    seed: [u8; 32],
    taken: u64,
}

impl Drawn {
    fn new() -> Result<Self, CipherFailed> {
        let mut seed = [0; 32];
        random(&mut seed)
            .then_some(Self { seed, taken: 0 })
            .ok_or(CipherFailed)
    }
}

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        // BLAKE3's extendable output of a random key is as good as its key.
        let mut stream = blake3::Hasher::new_keyed(&self.seed).finalize_xof();
        stream.set_position(self.taken);
        stream.fill(bytes);
        self.taken += bytes.len() as u64;
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

/// HPKE of `rust-hpke`.
struct Cipher;

impl SealCipher for Cipher {
    fn seal(
        &self,
        reader: &[u8; 32],
        info: &[u8],
        associated: &[u8],
        plaintext: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), CipherFailed> {
        let reader = Public::from_bytes(reader).map_err(|_| CipherFailed)?;
        let mut random = Drawn::new()?;
        let (encapsulated, ciphertext) =
            hpke::single_shot_seal_with_rng::<AesGcm128, HkdfSha256, X25519HkdfSha256>(
                &OpModeS::Base,
                &reader,
                info,
                plaintext,
                associated,
                &mut random,
            )
            .map_err(|_| CipherFailed)?;
        Ok((encapsulated.to_bytes().to_vec(), ciphertext))
    }

    fn open(
        &self,
        secret: &[u8; 32],
        encapsulated: &[u8; ENCAPSULATED],
        info: &[u8],
        associated: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, CipherFailed> {
        let secret = Private::from_bytes(secret).map_err(|_| CipherFailed)?;
        let encapsulated = Encapsulated::from_bytes(encapsulated).map_err(|_| CipherFailed)?;
        hpke::single_shot_open::<AesGcm128, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret,
            &encapsulated,
            info,
            ciphertext,
            associated,
        )
        .map_err(|_| CipherFailed)
    }
}

/// Seals by this page for a device.
pub(crate) fn seal(
    identity: &Identity,
    to: DeviceId,
    purpose: SealPurpose,
    id: &MessageId,
    payload: &[u8],
) -> Result<Vec<u8>, SealError> {
    let from = (identity.device(), |message: &[u8]| identity.sign(message));
    seal::seal(&Cipher, from, to, purpose, id, payload)
}

/// Opens what a device sealed for this page.
pub(crate) fn open(
    identity: &Identity,
    from: DeviceId,
    purpose: SealPurpose,
    id: &MessageId,
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let to = (identity.device(), identity.secret_half());
    seal::open(&Cipher, to, from, purpose, id, sealed)
}

/// One direction of an exchange about a code (SPEC.md, "Codes", step 5).
struct Half {
    key: LessSafeKey,
    next: u64,
}

impl Half {
    fn new(keys: &CodeKeys, by: CodeSide) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, &keys.sealing(by)[..]).ok()?;
        Some(Self {
            key: LessSafeKey::new(key),
            next: 0,
        })
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Both directions of the side that enters: each has a key of its own and counts its messages.
pub(super) struct CodeChannel {
    to: Half,
    from: Half,
}

impl CodeChannel {
    pub(super) fn new(keys: &CodeKeys, own: CodeSide) -> Option<Self> {
        Some(Self {
            to: Half::new(keys, own)?,
            from: Half::new(keys, own.other())?,
        })
    }

    pub(super) fn seal(&mut self, plaintext: &[u8]) -> Option<Vec<u8>> {
        let (mut sealed, nonce) = (plaintext.to_vec(), self.to.nonce());
        let key = &self.to.key;
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
            .ok()?;
        Some(sealed)
    }

    pub(super) fn open(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (mut buffer, nonce) = (sealed.to_vec(), self.from.nonce());
        let key = &self.from.key;
        let plaintext = key.open_in_place(nonce, Aad::empty(), &mut buffer).ok()?;
        Some(plaintext.to_vec())
    }
}
