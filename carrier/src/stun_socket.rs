//! The UDP socket of an endpoint: what is STUN goes to [`Stun`], everything else to QUIC.

use crate::stun::{Stun, is_stun};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A socket that STUN and QUIC share.
#[derive(Debug)]
pub(crate) struct StunSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    stun: Arc<Stun>,
}

impl StunSocket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, stun: Arc<Stun>) -> Self {
        Self { inner, stun }
    }

    /// Takes what is STUN out of packets that arrived together, each `stride` bytes long but the
    /// last; returns how many bytes are left, as packets of that length again.
    fn sort_out(&self, packets: &mut [u8], meta: &RecvMeta) -> usize {
        let length = meta.len.min(packets.len());
        let stride = meta.stride.max(1);
        let (mut from, mut left) = (0, 0);
        while from < length {
            let end = (from + stride).min(length);
            let packet = &packets[from..end];
            if is_stun(packet) {
                self.stun.take(packet, meta.addr, meta.dst_ip);
            } else {
                // Nothing moves while there was none of STUN.
                if left != from {
                    packets.copy_within(from..end, left);
                }
                left += end - from;
            }
            from = end;
        }
        left
    }
}

impl AsyncUdpSocket for StunSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.inner.poll_recv(cx, buffers, metas))?;
        for (buffer, meta) in buffers.iter_mut().zip(metas.iter_mut()).take(count) {
            // A length of 0 makes QUIC skip the entry.
            meta.len = self.sort_out(buffer, meta);
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
