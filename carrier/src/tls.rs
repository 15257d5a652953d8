//! TLS 1.3 with raw public keys (RFC 7250), both ways: what proves who a device is, on every
//! carrier.
//!
//! Invariants: TLS 1.3 only; each side shows an ed25519 key and signs the handshake with it; a
//! listener takes any such key (the identity is what TLS proves, who may do what is decided later),
//! a dialler takes exactly the one it expects. No session resumption and no early data, so that
//! every connection proves both keys afresh. No key log.

use crate::identity::Identity;
use crate::settings::provider;
use hither_proto::DeviceId;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureScheme,
};
use std::sync::{Arc, OnceLock};

/// Protocol name negotiated on every connection.
pub(crate) const ALPN: &[u8] = b"hither/1";
/// Label of the exporter (RFC 8446, section 7.5) that binds the proofs on a stream to that stream.
pub(crate) const EXPORTER_LABEL: &[u8] = b"EXPORTER-hither-v2";
/// Number of the one stream of a connection that is one stream.
pub(crate) const ONLY_STREAM: u64 = 0;

/// Returns the exporter's context for one stream of a connection: its number, which on QUIC also
/// names the end that opened it.
pub(crate) const fn exporter_context(stream: u64) -> [u8; 8] {
    stream.to_be_bytes()
}
/// Name given to TLS libraries that insist on one. Never sent (no SNI) and never checked.
pub(crate) const SERVER_NAME: &str = "hither.invalid";
/// DER in front of the 32 key bytes in a SubjectPublicKeyInfo of an ed25519 key (RFC 8410, section
/// 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Why TLS could not be set up or did not prove an identity.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum TlsError {
    /// A configuration was refused by the library.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] Error),
    /// The connection carries no key, several, or not an ed25519 key.
    #[error("the other side showed no device key")]
    NoDevice,
    /// Another protocol, or none, was negotiated.
    #[error("the other side does not speak this protocol")]
    Protocol,
}

/// The TLS state that all connections of one device share.
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
    server: Arc<ServerConfig>,
}

impl Tls {
    pub(crate) fn new(identity: &Identity) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let key = CertifiedKey::new(
            vec![CertificateDer::from(
                [&SPKI_PREFIX[..], identity.device_id().as_bytes()].concat(),
            )],
            identity.signing_key(),
        );
        let key = Arc::new(key);
        let verifier = PeerVerifier::new(&provider, None);
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
                Arc::clone(&key),
            )));
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self {
            provider,
            key,
            server: Arc::new(server),
        })
    }

    /// For listening: any device may come.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// The configuration for dialling `expected` and nobody else. The verifier names afterwards the
    /// device that answered instead.
    pub(crate) fn client(
        &self,
        expected: DeviceId,
    ) -> Result<(ClientConfig, Arc<PeerVerifier>), TlsError> {
        let verifier = Arc::new(PeerVerifier::new(&self.provider, Some(expected)));
        let dangerous: Arc<dyn ServerCertVerifier> = Arc::clone(&verifier) as _;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(dangerous)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                Arc::clone(&self.key),
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        Ok((config, verifier))
    }
}

/// The device behind what TLS calls a certificate chain: with raw public keys, exactly one
/// SubjectPublicKeyInfo.
pub(crate) fn peer_device(chain: Option<&[CertificateDer<'_>]>) -> Result<DeviceId, TlsError> {
    match chain {
        Some([key]) => device_of(key).ok_or(TlsError::NoDevice),
        _ => Err(TlsError::NoDevice),
    }
}

fn device_of(spki: &[u8]) -> Option<DeviceId> {
    DeviceId::from_slice(spki.strip_prefix(&SPKI_PREFIX)?).ok()
}

/// Accepts an ed25519 raw public key: any one, or the one of the expected device.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    expected: Option<DeviceId>,
    refused: OnceLock<DeviceId>,
}

impl PeerVerifier {
    fn new(provider: &CryptoProvider, expected: Option<DeviceId>) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
            expected,
            refused: OnceLock::new(),
        }
    }

    /// The key that was shown instead of the expected one. Claimed, not proven: the handshake ended
    /// there.
    pub(crate) fn refused(&self) -> Option<DeviceId> {
        self.refused.get().copied()
    }

    fn check(&self, key: &[u8], chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let device = device_of(key)
            .filter(|_| chain.is_empty())
            .ok_or(CertificateError::BadEncoding)?;
        match self.expected {
            Some(expected) if expected != device => {
                let _ = self.refused.set(device); // one verifier serves one dial: only the first counts
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(()),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signature, &self.algorithms)
    }
}

const SCHEMES: [SignatureScheme; 1] = [SignatureScheme::ED25519];

/// The common part of verifying a server and verifying a client: two traits with the same methods.
macro_rules! with_a_raw_key {
    () => {
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
            self.check_signature(message, key, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            SCHEMES.to_vec()
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
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
        self.check(key, chain)
            .map(|()| ServerCertVerified::assertion())
    }

    with_a_raw_key!();
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(key, chain)
            .map(|()| ClientCertVerified::assertion())
    }

    with_a_raw_key!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_public_key_info_and_nothing_else() {
        let identity = Identity::generate().unwrap();
        let spki = [&SPKI_PREFIX[..], identity.device_id().as_bytes()].concat();
        assert_eq!(identity.signing_key().public_key().unwrap().as_ref(), spki);
        let chain = [CertificateDer::from(spki.clone())];
        assert_eq!(peer_device(Some(&chain)), Ok(identity.device_id()));
        assert_eq!(peer_device(None), Err(TlsError::NoDevice));
        assert_eq!(peer_device(Some(&[])), Err(TlsError::NoDevice));
        let two = [chain[0].clone(), chain[0].clone()];
        assert_eq!(peer_device(Some(&two)), Err(TlsError::NoDevice));
        let longer = [CertificateDer::from([&spki[..], &[0]].concat())];
        assert_eq!(peer_device(Some(&longer)), Err(TlsError::NoDevice));
    }
}
