//! A device that crashes and comes back tells those whom it had links with.

// The whole program is a test: it fails by panicking.

use crate::common::*;
use bytes::Bytes;
use hither_carrier::{
    CarrierKind, Endpoint, EndpointConfig, Identity, Incoming, Link, LinkError, Stream,
};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};

/// An endpoint whose process can die: its tasks are on a runtime of their own.
struct Mortal {
    endpoint: Arc<Endpoint>,
    process: Runtime,
    /// Its ends of streams: alive as long as it is.
    streams: Vec<Stream>,
}

impl Mortal {
    fn born(identity: &Identity, port: u16) -> Self {
        let process = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let inside = process.enter();
        let config = EndpointConfig {
            port,
            loopback_only: true,
            ..Default::default()
        };
        let endpoint = Arc::new(Endpoint::bind(identity, &config).unwrap());
        drop(inside);
        Self {
            endpoint,
            process,
            streams: Vec::new(),
        }
    }

    /// Dies without a word, as by a signal; gives back its port.
    async fn dies(self) -> u16 {
        let port = self.endpoint.port();
        tokio::task::spawn_blocking(move || self.process.shutdown_timeout(SOON))
            .await
            .unwrap();
        drop((self.endpoint, self.streams)); // too late for them to say anything
        port
    }

    /// A link between it and a friend, as the friend has it, and a stream of the friend on it.
    async fn linked(&mut self, friend: &Endpoint, dialled_by: Side) -> (Link, Stream) {
        let link = match dialled_by {
            Side::Friend => connect(friend, &self.endpoint, CarrierKind::Quic)
                .await
                .unwrap(),
            Side::Mortal => {
                let (own, device, at) = (
                    Arc::clone(&self.endpoint),
                    friend.device(),
                    loopback(friend.port()),
                );
                let dial = async move { own.dial(hither_carrier::Dial::quic(device, &[at])).await };
                // In its own process, where what keeps the connection going is to die.
                let theirs = soon(self.process.spawn(dial)).await.unwrap().unwrap();
                let Some(Incoming::Link(link)) = soon(friend.accept()).await else {
                    panic!("the link is announced first")
                };
                // Whoever is dialled is given tokens only after the handshake.
                let (here, there) = joined(&theirs, friend).await;
                self.streams.push(here);
                drop(there);
                link
            }
        };
        let (here, there) = joined(&link, &self.endpoint).await;
        self.streams.push(there);
        (link, here)
    }
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Friend,
    Mortal,
}

/// Says something on a link that is about to end; gives the reason.
async fn ended(link: &Link, stream: &mut Stream) -> LinkError {
    stream
        .send
        .send_bytes(Bytes::from_static(b"still there?"))
        .await
        .unwrap();
    soon(link.closed()).await
}

#[tokio::test]
async fn whoever_comes_back_ends_the_links_of_its_former_life() {
    let identity = Identity::generate().unwrap();
    for dialled_by in [Side::Friend, Side::Mortal] {
        let (friend, mut mortal) = (endpoint(), Mortal::born(&identity, 0));
        let (link, mut stream) = mortal.linked(&friend, dialled_by).await;
        let port = mortal.dies().await;
        assert_eq!(link.close_reason(), None, "it died without a word");
        let mut again = Mortal::born(&identity, port);
        assert_eq!(again.endpoint.port(), port);
        let back = Instant::now();
        assert_eq!(
            ended(&link, &mut stream).await,
            LinkError::Restarted,
            "dialled by {dialled_by:?}"
        );
        println!(
            "a link ended {:.1?} after the other side was back",
            back.elapsed()
        );
        // There is nothing to wait for: a second is for machines that do much else.
        assert!(back.elapsed().as_secs() < 1);
        // A new link works.
        again.linked(&friend, dialled_by).await;
        again.dies().await;
    }
}

#[tokio::test]
async fn somebody_else_cannot_end_them() {
    let (friend, mut mortal) = (endpoint(), Mortal::born(&Identity::generate().unwrap(), 0));
    let (link, mut stream) = mortal.linked(&friend, Side::Friend).await;
    let port = mortal.dies().await;
    let other = Mortal::born(&Identity::generate().unwrap(), port);
    assert_eq!(other.endpoint.port(), port);
    assert_eq!(ended(&link, &mut stream).await, LinkError::TimedOut);
    other.dies().await;
}

#[tokio::test]
async fn on_another_network_the_dead_are_told_from_the_living_at_once() {
    let own = [Ipv4Addr::LOCALHOST.into()].into();
    for dialled_by in [Side::Friend, Side::Mortal] {
        let identity = Identity::generate().unwrap();
        let (friend, mut mortal, living) = (endpoint(), Mortal::born(&identity, 0), endpoint());
        let (dead, _stream) = mortal.linked(&friend, dialled_by).await;
        let alive = connect(&friend, &living, CarrierKind::Quic).await.unwrap();
        let (mut here, mut there) = joined(&alive, &living).await;
        assert_eq!(friend.network_changed(&own).await, 0, "both answer");
        mortal.dies().await;
        assert_eq!(
            friend.probe(living.device()).await,
            0,
            "only that one was meant"
        );
        let changed = Instant::now();
        assert_eq!(friend.network_changed(&own).await, 1);
        assert!(dead.close_reason().is_some() && alive.close_reason().is_none());
        println!("told apart {:.1?} after the change", changed.elapsed());
        assert!(changed.elapsed().as_secs() < 3);
        // And what was going on goes on.
        here.send
            .send_bytes(Bytes::from_static(b"y"))
            .await
            .unwrap();
        let mut heard = [0; 2];
        soon(there.recv.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"xy");
    }
}
