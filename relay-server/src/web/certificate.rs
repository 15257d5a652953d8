//! The certificate that browsers are shown: from files, read again when they change.

use crate::config::WebConfig;
use crate::node::Node;
use hither_proto::{Host, WebAddress};
use hither_util::sync::Mutex;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

/// Pause between two looks at the files.
const LOOK: Duration = Duration::from_secs(5);

/// Reasons why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No certificate is configured.
    #[error("web.certificate and web.key are not set")]
    Missing,
    /// A file.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The fault that it has.
        problem: String,
    },
    /// Both files can be read, and do not belong together.
    #[error("web.certificate and web.key do not go together: {0}")]
    Pair(rustls::Error),
    /// TLS.
    #[error("TLS cannot be set up for browsers: {0}")]
    Setup(rustls::Error),
}

/// The files of certificate and key.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// Time and length of a file, by which a change of it shows.
type Stamp = Option<(SystemTime, u64)>;

impl Files {
    fn of(config: &WebConfig) -> Result<Self, CertificateError> {
        match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => Ok(Self {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ => Err(CertificateError::Missing),
        }
    }

    fn stamps(&self) -> [Stamp; 2] {
        [&self.certificate, &self.key].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }

    fn read(&self) -> Result<CertifiedKey, CertificateError> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |error: rustls::pki_types::pem::Error| CertificateError::File {
                path,
                problem: error.to_string(),
            }
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(wrong(&self.certificate))?;
        if chain.is_empty() {
            return Err(CertificateError::File {
                path: self.certificate.clone(),
                problem: "there is no certificate in it".into(),
            });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(wrong(&self.key))?;
        CertifiedKey::from_der(chain, key, &default_provider()).map_err(CertificateError::Pair)
    }
}

/// The certificate of now.
#[derive(Debug)]
pub(super) struct Certificate {
    files: Files,
    current: Mutex<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads the files, and goes on looking at them until the node stops.
    pub(super) fn start(node: &Arc<Node>) -> Result<Arc<Self>, CertificateError> {
        let files = Files::of(&node.config.web)?;
        let stamps = files.stamps();
        let certificate = Arc::new(Self {
            current: Mutex::new(Arc::new(files.read()?)),
            files,
        });
        node.spawn_until_stop(Arc::clone(&certificate).watch(stamps));
        Ok(certificate)
    }

    /// The configuration of TLS with browsers.
    pub(super) fn tls(self: &Arc<Self>) -> Result<Arc<rustls::ServerConfig>, CertificateError> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// The reason why browsers may not take it at that address.
    pub(super) fn doubt(&self, url: &WebAddress) -> Option<String> {
        let current = Arc::clone(&*self.current.lock());
        let name = match url.at().host() {
            Host::Name(name) => ServerName::try_from(name.clone()).ok()?,
            Host::Ip(ip) => ServerName::from(*ip),
        };
        let fits = |end: &CertificateDer<'_>| {
            let parsed = ParsedCertificate::try_from(end)?;
            rustls::client::verify_server_name(&parsed, &name)
        };
        let error = fits(current.cert.first()?).err()?;
        Some(format!(
            "the certificate of web.certificate is not one for {url} ({error})"
        ))
    }

    async fn watch(self: Arc<Self>, mut stamps: [Stamp; 2]) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => Some(hangups),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP cannot be received");
                None
            }
        };
        loop {
            let asked = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            let anyway = tokio::select! {
                _ = look.tick() => false,
                _ = asked => true,
            };
            let now = self.files.stamps();
            if !anyway && now == stamps {
                continue;
            }
            match self.files.read() {
                Ok(read) => {
                    *self.current.lock() = Arc::new(read);
                    tracing::info!("the certificate for browsers was read again");
                }
                // The two files are not replaced at one moment: the next look finds both.
                Err(error) => {
                    tracing::warn!(%error, "the certificate for browsers stays the one before");
                }
            }
            stamps = now;
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&*self.current.lock()))
    }
}
