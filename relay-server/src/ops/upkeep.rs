//! What a node does beside serving: answers its operator, counts mailboxes, gives space back.

use super::gate::Gates;
use super::http::serve_http;
use super::inspect::sample_mail;
use crate::config::Role;
use crate::node::Node;
use crate::store::Store;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

/// How often mailboxes are counted.
const COUNT_MAIL: Duration = Duration::from_secs(30);
/// How often the store gives space back.
const COLLECT: Duration = Duration::from_secs(300);

/// Why a node's operator gets no answers.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The address is not one.
    #[error("ops.http: \"{0}\" is no IP:PORT")]
    Address(String),
    /// The address cannot be listened on.
    #[error("ops.http: {address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Begins all of it, until the node stops; says where the operator's pages are, if anywhere.
pub async fn start(node: &Arc<Node>, gates: &Gates) -> Result<Option<SocketAddr>, OpsError> {
    gates.report_to(&node.metrics);
    let address = listen(node).await?;
    if node.plays(Role::Control) {
        node.spawn_until_stop(count_mail(Arc::clone(node)));
    }
    if let Some(store) = &node.store {
        node.spawn_until_stop(collect(Arc::clone(store)));
    }
    Ok(address)
}

async fn listen(node: &Arc<Node>) -> Result<Option<SocketAddr>, OpsError> {
    let text = node.config.ops.http.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let address: SocketAddr = text
        .parse()
        .map_err(|_| OpsError::Address(text.to_owned()))?;
    let failed = |source| OpsError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let (serving, metrics) = (Arc::clone(node), Arc::clone(&node.metrics));
    let stop = node.stopping();
    node.spawn(async move {
        if let Err(error) = serve_http(listener, serving, metrics, stop).await {
            tracing::error!(%error, "the operator's pages ended");
        }
    });
    Ok(Some(bound))
}

async fn count_mail(node: Arc<Node>) {
    let mut ticks = interval(COUNT_MAIL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match sample_mail(node.state.as_ref()).await {
            Ok(sample) => node.metrics.set_mail(&sample),
            Err(error) => tracing::warn!(%error, "mailboxes could not be counted"),
        }
    }
}

async fn collect(store: Arc<Store>) {
    // Not at the start, when everybody comes back.
    let mut ticks = interval_at(Instant::now() + COLLECT, COLLECT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match store.gc().await {
            Ok(report) => tracing::debug!(?report, "space was given back"),
            Err(error) => tracing::warn!(%error, "no space could be given back"),
        }
    }
}
