//! Circuits: what goes through a relay is proven and ended as on any other carrier, whatever the
//! relay does.

// The whole program is a test: it fails by panicking.

use crate::common::*;
use futures::FutureExt;
use futures::future::BoxFuture;
use hither_carrier::{CarrierKind, Circuits, Endpoint, Link, LinkError, Stream};
use hither_proto::DeviceId;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};

/// A relay that joins every two streams that it gets: first the one of who asks, then the one of
/// who is asked.
struct Joining {
    relay: Arc<Endpoint>,
    from: Arc<Endpoint>,
    to: Arc<Endpoint>,
    /// Whom the relay says that it asked for.
    claims: DeviceId,
    carrier: CarrierKind,
}

impl Joining {
    /// A stream to the relay, and the relay's end of it.
    async fn pair(&self, device: &Endpoint) -> (Stream, Stream) {
        let link = connect(device, &self.relay, self.carrier).await.unwrap();
        let (mut here, mut there) = joined(&link, &self.relay).await;
        // What was said so that the other side learns of the stream.
        there.recv.read_exact(&mut [0]).await.unwrap();
        there.send.write_all(b"y").await.unwrap();
        there.send.flush().await.unwrap();
        here.recv.read_exact(&mut [0]).await.unwrap();
        (here, there)
    }

    async fn join(&self) -> Stream {
        let (caller, one) = self.pair(&self.from).await;
        let (called, two) = self.pair(&self.to).await;
        tokio::spawn(pass(one.recv, two.send));
        tokio::spawn(pass(two.recv, one.send));
        let (to, claims) = (Arc::clone(&self.to), self.claims);
        tokio::spawn(async move { to.accept_circuit(claims, called).await });
        caller
    }
}

async fn pass(mut from: hither_carrier::RecvHalf, mut to: hither_carrier::SendHalf) {
    match copy(&mut from, &mut to).await {
        Ok(_) => drop(to.finish().await),
        Err(_) => to.reset(),
    }
}

impl Circuits for Joining {
    fn open(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        async { Ok(self.join().await) }.boxed()
    }
}

fn joining(carrier: CarrierKind) -> Joining {
    let [relay, from, to] = [endpoint(), endpoint(), endpoint()];
    let claims = from.device();
    Joining {
        relay,
        from,
        to,
        claims,
        carrier,
    }
}

async fn link(joining: Joining, device: DeviceId) -> Result<Link, LinkError> {
    let from = Arc::clone(&joining.from);
    soon(from.connect_circuits(device, Arc::new(joining))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circuit_is_a_stream_between_two_proven_devices() {
    for carrier in [CarrierKind::Quic, CarrierKind::Tcp] {
        let joining = joining(carrier);
        let (from, to) = (Arc::clone(&joining.from), Arc::clone(&joining.to));
        let link = link(joining, to.device()).await.unwrap();
        assert_eq!(
            (link.carrier(), link.device()),
            (CarrierKind::Relayed, to.device())
        );
        // The first one proved the identity; the others are circuits of their own.
        for _ in 0..3 {
            let (mut here, mut there) = soon(async { joined(&link, &to).await }).await;
            assert_eq!(
                (there.carrier, there.device),
                (CarrierKind::Relayed, from.device())
            );
            assert_eq!(
                (here.binding, here.opened_here, there.opened_here),
                (there.binding, true, false)
            );
            there.recv.read_exact(&mut [0]).await.unwrap();
            let sent = vec![7; 3_000_000];
            let (asks, answers) = (
                async {
                    here.send.send_bytes(sent.clone().into()).await.unwrap();
                    here.send.finish().await.unwrap();
                    let mut last = Vec::new();
                    here.recv.read_to_end(&mut last).await.unwrap();
                    last
                },
                async {
                    let mut got = Vec::new();
                    there.recv.read_to_end(&mut got).await.unwrap();
                    assert!(got == sent);
                    // Last words arrive although nobody waits for that.
                    there
                        .send
                        .send_bytes(sent[..100_000].to_vec().into())
                        .await
                        .unwrap();
                    there.send.finish().await.unwrap();
                    drop(there);
                },
            );
            let (last, ()) = soon(async { tokio::join!(asks, answers) }).await;
            assert_eq!(last.len(), 100_000, "{carrier}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_finished_arrives_as_an_error() {
    for carrier in [CarrierKind::Quic, CarrierKind::Tcp] {
        let joining = joining(carrier);
        let to = Arc::clone(&joining.to);
        let link = link(joining, to.device()).await.unwrap();
        let (here, mut there) = soon(async { joined(&link, &to).await }).await;
        there.recv.read_exact(&mut [0]).await.unwrap();
        drop(here);
        let end = soon(there.recv.read_to_end(&mut Vec::new())).await;
        assert!(end.is_err(), "{carrier}: {end:?}");
    }
}

/// A relay that leads to somebody else, or says that somebody else asks, gains nothing by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_lies_about_who_is_there_is_found_out() {
    let joining = joining(CarrierKind::Quic);
    let (meant, found) = (endpoint(), joining.to.device());
    assert_eq!(
        link(joining, meant.device()).await.unwrap_err(),
        LinkError::WrongDevice { found }
    );
    let mut joining = self::joining(CarrierKind::Quic);
    let (to, other) = (Arc::clone(&joining.to), endpoint());
    joining.claims = other.device();
    // The dialler's handshake ends before the other side has looked at its key.
    let Ok(link) = link(joining, to.device()).await else {
        return;
    };
    let mut stream = link.open().await.unwrap();
    let end = soon(stream.recv.read_to_end(&mut Vec::new())).await;
    assert!(end.is_err(), "{end:?}");
    assert!(
        to.accept()
            .now_or_never()
            .flatten()
            .is_none_or(|incoming| match incoming {
                hither_carrier::Incoming::Stream(stream) => stream.carrier != CarrierKind::Relayed,
                hither_carrier::Incoming::Link(_) => true,
            })
    );
}
