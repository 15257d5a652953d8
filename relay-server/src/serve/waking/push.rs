//! Web push: a message sealed for a browser (RFC 8291, in the coding of RFC 8188), and who sends it
//! (RFC 8292).
//!
//! By the primitives of aws-lc-rs, which everything else here uses too: no further library of
//! elliptic curves comes with it.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hither_proto::PushKey;
use serde_json::json;

/// Bytes of the salt of one message.
const SALT: usize = 16;
/// Length of a record: one is enough for what is sent here.
const RECORD: u32 = 4096;
/// Marks the last record.
const LAST: u8 = 2;
/// For how long a token for a push service is good, seconds; at most a day (RFC 8292, section 2).
const TOKEN_S: u64 = 12 * 3600;

/// Something about a key is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key for web push cannot be used")]
pub(super) struct PushError;

impl From<Unspecified> for PushError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// A length of output.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derived<const N: usize>(key: &Prk, info: &[&[u8]]) -> Result<[u8; N], PushError> {
    let mut output = [0; N];
    key.expand(info, Length(N))?.fill(&mut output)?;
    Ok(output)
}

/// Seals a payload for a browser's subscription.
pub(super) fn seal(payload: &[u8], key: &PushKey, auth: &[u8; 16]) -> Result<Vec<u8>, PushError> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|_| PushError)?;
    seal_with(
        payload,
        key,
        auth,
        &PrivateKey::generate(&ECDH_P256)?,
        &salt,
    )
}

fn seal_with(
    payload: &[u8],
    key: &PushKey,
    auth: &[u8; 16],
    own: &PrivateKey,
    salt: &[u8; SALT],
) -> Result<Vec<u8>, PushError> {
    let public = own.compute_public_key()?;
    let theirs = UnparsedPublicKey::new(&ECDH_P256, &key[..]);
    let input: [u8; 32] = agree(own, theirs, PushError, |shared| {
        let shared = Salt::new(HKDF_SHA256, auth).extract(shared);
        derived(&shared, &[b"WebPush: info\0", &key[..], public.as_ref()])
    })?;
    let keys = Salt::new(HKDF_SHA256, salt).extract(&input);
    let content: [u8; 16] = derived(&keys, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce: [u8; 12] = derived(&keys, &[b"Content-Encoding: nonce\0"])?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &content)?);
    let mut record = [payload, &[LAST]].concat();
    let nonce = Nonce::assume_unique_for_key(nonce);
    cipher.seal_in_place_append_tag(nonce, Aad::empty(), &mut record)?;
    let length = u8::try_from(public.as_ref().len()).map_err(|_| PushError)?;
    Ok([
        &salt[..],
        &RECORD.to_be_bytes(),
        &[length],
        public.as_ref(),
        &record,
    ]
    .concat())
}

/// The key with which a relay shows push services who it is.
pub(super) struct Vapid(EcdsaKeyPair);

impl Vapid {
    /// A new one, as it is kept: a secret.
    pub(super) fn generate() -> Result<Vec<u8>, PushError> {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
        Ok(made.as_ref().to_vec())
    }

    /// The one that is kept.
    pub(super) fn read(kept: &[u8]) -> Result<Self, PushError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, kept)
            .map(Self)
            .map_err(|_| PushError)
    }

    /// Its public half, as browsers take it.
    pub(super) fn public(&self) -> Result<PushKey, PushError> {
        self.0
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| PushError)
    }

    /// The value of `Authorization` for a push service. `service`: its origin; `contact`: whom it
    /// may write to; `now_s`: Unix seconds.
    pub(super) fn authorization(
        &self,
        service: &str,
        contact: Option<&str>,
        now_s: u64,
    ) -> Result<String, PushError> {
        let header = json!({ "typ": "JWT", "alg": "ES256" });
        let mut claims = json!({ "aud": service, "exp": now_s.saturating_add(TOKEN_S) });
        if let Some(contact) = contact {
            claims["sub"] = contact.into();
        }
        let text = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", text(&header), text(&claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes())?;
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        let key = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        Ok(format!("vapid t={signed}.{signature}, k={key}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey as Verify};

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// RFC 8291, section 5 and appendix A.
    #[test]
    fn w7_the_example_of_the_rfc_is_sealed_alike() {
        let own = bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let own = PrivateKey::from_private_key(&ECDH_P256, &own).unwrap();
        let key = bytes(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        );
        let sealed = seal_with(
            b"When I grow up, I want to be a watermelon",
            &key.try_into().unwrap(),
            &bytes("BTBZMqHH6r4Tts7J_aSIgg").try_into().unwrap(),
            &own,
            &bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap(),
        );
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLoc\
                        InmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLV\
                        WGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(sealed.unwrap()), expected);
    }

    #[test]
    fn w7_a_point_that_is_not_on_the_curve_is_no_key() {
        let mut key = [7; 65];
        key[0] = 4;
        assert_eq!(seal(b"{}", &key, &[1; 16]), Err(PushError));
    }

    #[test]
    fn w7_a_token_names_the_service_and_is_signed_by_the_key_that_it_shows() {
        let vapid = Vapid::read(&Vapid::generate().unwrap()).unwrap();
        let said = vapid
            .authorization("https://push.example", Some("mailto:a@example.org"), 1_000)
            .unwrap();
        let (token, key) = said
            .strip_prefix("vapid t=")
            .and_then(|said| said.split_once(", k="))
            .unwrap();
        assert_eq!(bytes(key), vapid.public().unwrap());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        Verify::new(&ECDSA_P256_SHA256_FIXED, bytes(key))
            .verify(signed.as_bytes(), &bytes(signature))
            .unwrap();
        let claims: serde_json::Value =
            serde_json::from_slice(&bytes(signed.split_once('.').unwrap().1)).unwrap();
        let expected = json!({
            "aud": "https://push.example", "exp": 1_000 + TOKEN_S, "sub": "mailto:a@example.org",
        });
        assert_eq!(claims, expected);
    }
}
