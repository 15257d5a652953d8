//! A device that knows a ticket, says that it has everything, and does not keep to the rules.

use super::device::Device;
use super::going::Going;
use super::namespace::Namespace;
use super::peer::{Answering, Knowledge, knock};
use hither_carrier::{Discovery, DiscoveryOptions, Endpoint, EndpointConfig, Identity, Incoming};
use hither_proto::{DeviceId, Refusal, ShareId, ShareSecret, Ticket};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use tokio_util::sync::CancellationToken;

/// What it does when it is asked for chunks of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Sends something else.
    Lies,
    /// Sends nothing, ever.
    Stalls,
    /// Sends nothing, and says that another device has everything.
    Names(DeviceId, SocketAddr),
}

/// A dishonest holder, found by multicast like every other. Ends when dropped.
#[derive(Debug)]
pub struct Holder {
    /// Its device id.
    pub id: String,
    given: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    _going: Going,
}

impl Holder {
    /// Puts one in the place of a device, whose daemon must not run. It learns about the share from
    /// its owner, who must be there, and is ready when this returns.
    pub fn start(place: &Device, ticket: &str, conduct: Conduct) -> Self {
        let ticket: Ticket = ticket.parse().unwrap();
        let (given, asked) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let counted = (Arc::clone(&given), Arc::clone(&asked));
        let (_going, id) = Going::start(place, move |ready, stop| {
            drive(hold(ticket, conduct, counted, ready, stop))
        });
        Self {
            id,
            given,
            asked,
            _going,
        }
    }

    /// Bytes of file chunks that it sent.
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// File chunks that it was asked for.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Returns what a device without the ticket receives when it asks `owner` about `share`, with
    /// whatever secret it has.
    pub fn knocks(
        place: &Device,
        owner: (DeviceId, SocketAddr),
        share: ShareId,
        secret: &ShareSecret,
    ) -> Option<Refusal> {
        let (network, secret) = (place.network().handle(), secret.clone());
        let knocking = thread::spawn(move || {
            Namespace::enter(&network);
            drive(async move {
                let endpoint =
                    Endpoint::bind(&Identity::generate().unwrap(), &EndpointConfig::default());
                let endpoint = endpoint.unwrap();
                let link = endpoint
                    .dial(hither_carrier::Dial::quic(owner.0, &[owner.1]))
                    .await
                    .unwrap();
                let answer = knock(&link, share, &secret).await;
                endpoint.close().await;
                answer
            })
        });
        knocking.join().unwrap()
    }
}

/// Runs on this thread, whose network the sockets are in.
pub(super) fn drive<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

async fn hold(
    ticket: Ticket,
    conduct: Conduct,
    (given, asked): (Arc<AtomicU64>, Arc<AtomicU64>),
    ready: Sender<String>,
    stop: CancellationToken,
) {
    let identity = Identity::generate().unwrap();
    let endpoint = Endpoint::bind(&identity, &EndpointConfig::default()).unwrap();
    let (device, tcp_port) = (identity.device_id(), endpoint.tcp_port());
    let knowledge = Knowledge::learn(&endpoint, ticket).await;
    let answering = Arc::new(Answering {
        knowledge,
        conduct,
        tcp_port,
        given,
        asked,
    });
    let options = DiscoveryOptions::default();
    let (discovery, mut seen) =
        Discovery::start(device, endpoint.port(), tcp_port, options).unwrap();
    ready.send(device.to_string()).unwrap();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = seen.recv() => {} // Whom it sees does not matter to it.
            incoming = endpoint.accept() => {
                if let Some(Incoming::Stream(stream)) = incoming {
                    tokio::spawn(Arc::clone(&answering).keep(stream));
                }
            }
        }
    }
    discovery.shutdown().await;
    endpoint.close().await;
}
