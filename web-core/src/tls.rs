//! TLS 1.3 with raw public keys, as a client, over whatever carries bytes: what a page proves itself with, and by which it knows
//! a relay or a device.
//!
//! The same rules as for a device's links (SPEC.md, "Identity and links"): TLS 1.3 only, an ed25519 key on each side, exactly the
//! expected device answers, ALPN `hither/1`, no resumption and no early data.

use hither_proto::{DeviceId, StreamBinding};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring::{cipher_suite, kx_group, sign};
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    PeerIncompatible, SignatureScheme,
};
use std::io::{Read, Write};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Protocol name negotiated on every connection.
const ALPN: &[u8] = b"hither/1";
/// Label of the exporter (RFC 8446, section 7.5) that binds proofs to a stream.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-hither-v2";
/// Context of the exporter: the number of the only stream of a connection that is one stream.
const ONLY_STREAM: [u8; 8] = [0; 8];
/// Name given to the TLS library, which insists on one. Never sent and never checked.
const SERVER_NAME: &str = "hither.invalid";
/// DER in front of the 32 key bytes in a SubjectPublicKeyInfo of an ed25519 key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// DER in front of the 32 bytes of the seed in a PKCS#8 version 1 key (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// Bytes that may wait to be encrypted: more than is ever sent before the other side answers.
const MAX_UNSENT: usize = 4 * 1024 * 1024;

/// Reasons why a connection cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// The library refused: the handshake failed, or a record is damaged.
    #[error("TLS failed: {0}")]
    Library(#[from] Error),
    /// The other side showed no device key, or negotiated another protocol.
    #[error("the other side is no device")]
    NoDevice,
    /// The seed of the device's key has another length than 32 bytes.
    #[error("the device's key is malformed")]
    Key,
}

/// The page's own device: its key, and what TLS needs of it.
pub struct Identity {
    device: DeviceId,
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
    #[cfg(feature = "device")]
    signing: Signing,
}

/// The uses of the key beside TLS.
#[cfg(feature = "device")]
struct Signing {
    pair: Ed25519KeyPair,
    secret_half: Zeroizing<[u8; 32]>,
}

impl Identity {
    /// The device whose ed25519 seed (RFC 8032) is `seed`.
    pub fn new(seed: &[u8; 32]) -> Result<Self, TlsError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| TlsError::Key)?;
        let device = DeviceId::from_slice(pair.public_key().as_ref()).map_err(|_| TlsError::Key)?;
        let der = Zeroizing::new([&PKCS8_PREFIX[..], seed].concat());
        let signing = sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der.as_slice()))?;
        let key = Arc::new(CertifiedKey::new(
            vec![CertificateDer::from(
                [&SPKI_PREFIX[..], device.as_bytes()].concat(),
            )],
            signing,
        ));
        let provider = Arc::new(provider());
        Ok(Self {
            device,
            provider,
            key,
            #[cfg(feature = "device")]
            signing: Signing {
                secret_half: hither_proto::seal::secret_half(seed),
                pair,
            },
        })
    }

    /// The page's signature of a message.
    #[cfg(feature = "device")]
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.signing.pair.sign(message);
        // An ed25519 signature has that length.
        <[u8; 64]>::try_from(signature.as_ref()).unwrap_or([0; 64])
    }

    /// The page's secret half for X25519.
    #[cfg(feature = "device")]
    pub(crate) fn secret_half(&self) -> &[u8; 32] {
        &self.signing.secret_half
    }

    /// The page's own id.
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Begins a connection to `expected`: nobody else may answer.
    pub fn connect(&self, expected: DeviceId) -> Result<Tls, TlsError> {
        let verifier = Arc::new(PeerVerifier { expected });
        let mut config =
            ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::new(NoClock))
                .with_protocol_versions(&[&rustls::version::TLS13])?
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                    Arc::clone(&self.key),
                )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        let name = ServerName::try_from(SERVER_NAME).map_err(|_| TlsError::NoDevice)?;
        let mut connection = ClientConnection::new(Arc::new(config), name)?;
        connection.set_buffer_limit(Some(MAX_UNSENT));
        Ok(Tls {
            connection,
            own: self.device,
            peer: expected,
            binding: None,
        })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// X25519, ChaCha20-Poly1305 before AES-GCM (which is slow without the processor's help, that WebAssembly does not give), ed25519.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![kx_group::X25519],
        signature_verification_algorithms: ALGORITHMS,
        secure_random: &Random,
        key_provider: &NoKeys,
    }
}

/// Signatures that prove a device: ed25519 only.
static ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::ring::ED25519],
    mapping: &[(SignatureScheme::ED25519, &[webpki::ring::ED25519])],
};

/// Random bytes of the browser, or of the system.
#[derive(Debug)]
struct Random;

impl SecureRandom for Random {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), bytes)
            .map_err(|_| GetRandomFailed)
    }
}

/// Keys are given to the library ready made.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("keys are not loaded here".into()))
    }
}

/// Raw keys have no dates: nothing that the library does here needs the time.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::ZERO))
    }
}

fn device_of(spki: &[u8]) -> Option<DeviceId> {
    DeviceId::from_slice(spki.strip_prefix(&SPKI_PREFIX)?).ok()
}

/// Accepts the key of one device.
#[derive(Debug)]
struct PeerVerifier {
    expected: DeviceId,
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let device = device_of(key)
            .filter(|_| chain.is_empty())
            .ok_or(CertificateError::BadEncoding)?;
        if device == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// One connection: bytes of the carrier on one side, bytes of the stream on the other.
pub struct Tls {
    connection: ClientConnection,
    own: DeviceId,
    peer: DeviceId,
    binding: Option<StreamBinding>,
}

impl Tls {
    /// Takes bytes that came from the carrier; appends the decrypted ones to `plain`. Returns whether the other side said that
    /// nothing more follows.
    pub fn receive(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<bool, TlsError> {
        let broken = || TlsError::NoDevice;
        let mut ended = false;
        while !bytes.is_empty() && !ended {
            // A slice is read without errors; the library takes what it has room for.
            let read = self.connection.read_tls(&mut bytes).map_err(|_| broken())?;
            let state = self.connection.process_new_packets()?;
            ended = state.peer_has_closed();
            let waiting = state.plaintext_bytes_to_read();
            if waiting > 0 {
                let start = plain.len();
                plain.resize(start + waiting, 0);
                self.connection
                    .reader()
                    .read_exact(&mut plain[start..])
                    .map_err(|_| broken())?;
            }
            if read == 0 {
                break;
            }
        }
        if self.binding.is_none() && !self.connection.is_handshaking() {
            self.binding = Some(self.proven()?);
        }
        Ok(ended)
    }

    /// Gives what TLS proved: an exporter of this stream, and both devices.
    fn proven(&self) -> Result<StreamBinding, TlsError> {
        let shown = match self.connection.peer_certificates() {
            Some([key]) => device_of(key),
            _ => None,
        };
        if self.connection.alpn_protocol() != Some(ALPN) || shown != Some(self.peer) {
            return Err(TlsError::NoDevice);
        }
        let exporter =
            self.connection
                .export_keying_material([0; 32], EXPORTER_LABEL, Some(&ONLY_STREAM))?;
        Ok(StreamBinding::new(exporter, self.own, self.peer))
    }

    /// The binding of proofs on this stream; `None` until the handshake is done.
    pub const fn binding(&self) -> Option<&StreamBinding> {
        self.binding.as_ref()
    }

    /// Encrypts bytes of the stream.
    pub fn send(&mut self, plain: &[u8]) -> Result<(), TlsError> {
        self.connection
            .writer()
            .write_all(plain)
            .map_err(|_| Error::General("too much waits to be sent".into()).into())
    }

    /// Says that nothing more follows.
    pub fn finish(&mut self) {
        self.connection.send_close_notify();
    }

    /// Appends what is to be sent by the carrier.
    pub fn drain(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // A vector takes everything.
            if self.connection.write_tls(out).is_err() {
                return;
            }
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("peer", &self.peer)
            .field("open", &self.binding.is_some())
            .finish_non_exhaustive()
    }
}
