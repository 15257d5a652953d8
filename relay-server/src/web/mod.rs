//! Service for browsers: the page that opens links, the byte pipe, and chunks by GET.
//!
//! Invariants: no path leads to the disk (`hither-web-assets`); nothing that is asked here changes
//! anything about a share; whoever is connected, and whatever was promised to them, is bounded and
//! counted by the address it comes from (`client`), and a connection on which nothing goes on ends
//! (`patient`).

mod certificate;
mod chunks;
mod client;
mod listen;
mod pages;
mod pipe;

use crate::node::Node;
use crate::serve::limits::Source;
use crate::serve::traffic::{Slot, Slots};
use axum::Router;
use axum::routing::get;
use certificate::{Certificate, CertificateError};
use pages::Headers;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Reasons why browsers are not served.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// An address cannot be listened on.
    #[error("web.listen: {address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's own words.
        source: io::Error,
    },
    /// The certificate or its key.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// The place at which browsers are served.
#[derive(Debug, Clone)]
pub struct WebPlace {
    /// Addresses that are listened on.
    pub addresses: Vec<SocketAddr>,
    /// A warning for the operator, in words.
    pub doubt: Option<String>,
}

/// State that the connections of browsers share. It lives no longer than its node's tasks.
struct Server {
    node: Arc<Node>,
    router: Router,
    places: Arc<Semaphore>,
    sources: Slots<Source>,
}

/// The place of one connection.
struct ConnectionPlace {
    _of_all: OwnedSemaphorePermit,
    _of_source: Option<Slot<Source>>,
}

impl Server {
    fn new(node: &Arc<Node>) -> Arc<Self> {
        let config = &node.config.web;
        let served = Served {
            node: Arc::clone(node),
            headers: Arc::new(Headers::of(config)),
        };
        let router = Router::new()
            .route("/hither/1/pipe", get(pipe::upgrade))
            .route(
                "/hither/1/chunks/{token}/{version}/{space}/{range}",
                get(chunks::give),
            )
            .route("/.well-known/hither", get(pages::facts))
            .method_not_allowed_fallback(pages::not_allowed)
            .fallback(pages::page)
            .with_state(served);
        Arc::new(Self {
            router,
            places: Arc::new(Semaphore::new(config.connections)),
            sources: Slots::new(usize::MAX, config.connections_per_address),
            node: Arc::clone(node),
        })
    }

    /// A place for a connection from there; `None`: there is none left.
    fn enter(&self, from: IpAddr) -> Option<ConnectionPlace> {
        let of_all = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let of_source = match client::is_proxy(&self.node.config.web, from) {
            true => None,
            false => Some(self.sources.enter(from.into())?),
        };
        Some(ConnectionPlace {
            _of_all: of_all,
            _of_source: of_source,
        })
    }
}

/// State that handlers share.
#[derive(Clone)]
struct Served {
    node: Arc<Node>,
    headers: Arc<Headers>,
}

/// Begins to serve browsers, until the node stops; `None`: that is off.
pub(crate) async fn start(node: &Arc<Node>) -> Result<Option<WebPlace>, WebError> {
    let config = &node.config.web;
    if !config.is_on() {
        return Ok(None);
    }
    let certificate = match config.plain {
        true => None,
        false => Some(Certificate::start(node)?),
    };
    let doubt = certificate.as_ref().and_then(|certificate| {
        let url = config.url.as_ref()?;
        certificate.doubt(url)
    });
    let addresses = listen::start(node, certificate).await?;
    if hither_web_assets::all().is_empty() {
        tracing::warn!("this program was built without the page: links open nothing in a browser");
    }
    Ok(Some(WebPlace { addresses, doubt }))
}
