//! Requests of the relay's own to servers that a device named: push services and webhooks.
//!
//! Invariants: TLS only; the host is one that the operator allows, and every address that its name
//! has is one of the public Internet, so that no device makes a relay speak to what is inside its
//! operator's network; it is connected to the address that was looked at; no redirect is followed;
//! no body is read; everything together takes [`PATIENCE`].

use crate::config::WakeConfig;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest time for a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Port of HTTPS.
const HTTPS: u16 = 443;
/// Most addresses of a name that are looked at.
const MAX_ADDRESSES: usize = 16;

/// Reasons why nothing was posted.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// It is no address of a server that may be spoken to.
    #[error("the server is none of those that may be posted to")]
    Forbidden,
    /// The server cannot be reached, or does not speak HTTP.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the server took too long")]
    Slow,
}

/// Posts to servers.
pub(super) struct Poster {
    hosts: Vec<String>,
    private: bool,
    tls: Arc<ClientConfig>,
}

/// A server that may be posted to.
#[derive(Debug)]
pub(super) struct Target {
    uri: Uri,
    host: String,
    port: u16,
}

impl Target {
    /// Its origin, as browsers write it.
    pub(super) fn origin(&self) -> String {
        match self.port {
            HTTPS => format!("https://{}", self.host),
            port => format!("https://{}:{port}", self.host),
        }
    }
}

impl Poster {
    /// Reads the certificates that are trusted: those of the system, and `wake.roots`.
    pub(super) fn new(config: &WakeConfig) -> Result<Self, String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in extra_roots(config)? {
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        let mut tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            hosts: config.hosts.clone(),
            private: config.private,
            tls: Arc::new(tls),
        })
    }

    /// Returns the server of an address, if it may be posted to.
    pub(super) fn target(&self, address: &str) -> Result<Target, PostError> {
        let uri: Uri = address.parse().map_err(|_| PostError::Forbidden)?;
        let authority = uri.authority().ok_or(PostError::Forbidden)?;
        let host = authority.host().to_ascii_lowercase();
        let port = authority.port_u16().unwrap_or(HTTPS);
        let plain = !authority.as_str().contains('@') && uri.scheme_str() == Some("https");
        let allowed = self.hosts.iter().any(|allowed| matches(allowed, &host));
        if !plain || !allowed || (port != HTTPS && !self.private) {
            return Err(PostError::Forbidden);
        }
        Ok(Target { uri, host, port })
    }

    /// Posts, and returns the status.
    pub(super) async fn post(
        &self,
        target: &Target,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<u16, PostError> {
        timeout(PATIENCE, self.posted(target, headers, body))
            .await
            .unwrap_or(Err(PostError::Slow))
    }

    async fn posted(
        &self,
        target: &Target,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<u16, PostError> {
        let broken = |error: &dyn std::fmt::Display| PostError::Unreachable(error.to_string());
        let addresses = self.resolve(target).await?;
        let socket = connect(&addresses).await.map_err(|error| broken(&error))?;
        let bare = target.host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(bare).map_err(|error| broken(&error))?;
        let tls = TlsConnector::from(Arc::clone(&self.tls));
        let io = tls.connect(name, socket).await;
        let io = TokioIo::new(io.map_err(|error| broken(&error))?);
        let (mut sender, connection) = http1::handshake(io).await.map_err(|e| broken(&e))?;
        let path = target.uri.path_and_query();
        let mut request = Request::post(path.map_or("/", |path| path.as_str()))
            .header(header::HOST, target.origin().trim_start_matches("https://"));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| broken(&error))?;
        let mut asking = pin!(sender.send_request(request));
        // The rest of the connection is of no interest: a body is not read.
        let answer = tokio::select! {
            biased;
            answer = &mut asking => answer,
            ended = connection => match ended {
                Ok(()) => asking.await,
                Err(error) => Err(error),
            },
        };
        let status = answer.map(|answer| answer.status().as_u16());
        status.map_err(|error| broken(&error))
    }

    /// The addresses of a server, all of which must be public.
    async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, PostError> {
        let bare = target.host.trim_matches(['[', ']']);
        let found = lookup_host((bare, target.port)).await;
        let found = found.map_err(|error| PostError::Unreachable(error.to_string()))?;
        let found: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
        if !self.private && !found.iter().all(|at| is_public(at.ip())) {
            return Err(PostError::Forbidden);
        }
        Ok(found)
    }
}

/// The certificates of `wake.roots`.
pub(super) fn extra_roots(config: &WakeConfig) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(path) = &config.roots else {
        return Ok(Vec::new());
    };
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("wake.roots: {}: {error}", path.display()))
}

async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// True when a host is the allowed one, below it (`*.example.org`), or all are (`*`).
fn matches(allowed: &str, host: &str) -> bool {
    match allowed.strip_prefix('*') {
        Some("") => true,
        Some(domain) => host.len() > domain.len() && host.ends_with(domain),
        None => allowed.eq_ignore_ascii_case(host),
    }
}

/// True for an address that is somebody's on the public Internet.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        // Global unicast, without what is for documents, and without what leads to an IPv4 address
        // by way of a translator (RFC 6052 is outside of it; 6to4, Teredo).
        IpAddr::V6(ip) => {
            let [first, second, ..] = ip.segments();
            first & 0xe000 == 0x2000
                && first != 0x2002
                && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
                && !(first == 0x3fff && second < 0x1000)
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [first, second, third, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || first == 0
        || first >= 240
        || (first == 100 && second & 0xc0 == 64)
        || (first == 192 && second == 0 && third == 0)
        || (first == 192 && second == 88 && third == 99)
        || (first == 198 && second & 0xfe == 18);
    !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w7_only_addresses_of_the_public_internet_are_spoken_to() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "142.250.1.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    fn poster(change: impl FnOnce(&mut WakeConfig)) -> Poster {
        let mut config = WakeConfig::default();
        change(&mut config);
        Poster::new(&config).unwrap()
    }

    #[test]
    fn w7_the_host_must_be_listed_and_the_address_plain_https() {
        let poster = poster(|_| {});
        for right in [
            "https://fcm.googleapis.com/fcm/send/x",
            "https://updates.push.services.mozilla.com/wpush/v2/x",
            "https://web.push.apple.com/x",
            "https://db5p.notify.windows.com/w/?token=x",
            "https://FCM.googleapis.com:443/x",
        ] {
            poster.target(right).unwrap();
        }
        for wrong in [
            "https://fcm.googleapis.com.evil.example/x",
            "https://notify.windows.com.evil.example/x",
            "https://evilnotify.windows.com.example/x",
            "https://fcm.googleapis.com@evil.example/x",
            "https://evil.example@fcm.googleapis.com/x",
            "https://fcm.googleapis.com:8443/x",
            "http://fcm.googleapis.com/x",
            "https://127.0.0.1/x",
            "https://[::1]/x",
            "https://localhost/x",
            "fcm.googleapis.com",
        ] {
            poster.target(wrong).unwrap_err();
        }
    }

    #[tokio::test]
    async fn w7_a_listed_name_that_leads_inside_is_not_connected_to() {
        let poster = poster(|config| {
            config.hosts = ["localhost", "127.0.0.1", "[::1]"].map(Into::into).to_vec();
        });
        for address in ["https://localhost/", "https://127.0.0.1/", "https://[::1]/"] {
            let target = poster.target(address).unwrap();
            let posted = poster.post(&target, &[], Bytes::new()).await;
            assert!(matches!(posted, Err(PostError::Forbidden)), "{address}");
        }
    }
}
