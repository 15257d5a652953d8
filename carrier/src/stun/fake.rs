//! A socket that keeps what is sent on it, for tests.

use super::Stun;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// Destination and packet.
type Sent = (SocketAddr, Vec<u8>);

/// A socket that keeps what is sent on it.
#[derive(Debug, Default)]
pub(crate) struct FakeSocket(Mutex<Vec<Sent>>);

impl FakeSocket {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Everything that was sent and not taken.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.0.lock().unwrap().clone()
    }

    /// The same; it is forgotten.
    pub(crate) fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// STUN on such a socket.
pub(crate) fn stun(socket: &Arc<FakeSocket>, relay: bool) -> Arc<Stun> {
    let socket = Arc::clone(socket) as Arc<dyn AsyncUdpSocket>;
    Arc::new(Stun::new(socket, relay))
}

impl AsyncUdpSocket for FakeSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        unreachable!("nobody waits to send")
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let to = crate::reach::canonical(transmit.destination);
        self.0
            .lock()
            .unwrap()
            .push((to, transmit.contents.to_vec()));
        Ok(())
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok("[::]:47447".parse().unwrap())
    }
}
