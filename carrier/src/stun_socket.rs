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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::fake::{FakeSocket, stun};

    const STRIDE: usize = 60;

    fn quic(mark: u8, length: usize) -> Vec<u8> {
        let mut packet = vec![mark; length];
        packet[0] = 0x40;
        packet
    }

    /// A request that a relay answers.
    fn request() -> Vec<u8> {
        let mut packet = vec![0; STRIDE];
        packet[1] = 1;
        packet[3] = 40;
        packet[4..8].copy_from_slice(&0x2112_a442_u32.to_be_bytes());
        // PADDING, 36 bytes.
        packet[20..24].copy_from_slice(&[0, 0x26, 0, 36]);
        packet
    }

    fn sorted(packets: &[Vec<u8>]) -> (Vec<u8>, usize) {
        let fake = FakeSocket::new();
        let socket = StunSocket::new(
            Arc::clone(&fake) as Arc<dyn AsyncUdpSocket>,
            stun(&fake, true),
        );
        let mut all = packets.concat();
        let meta = RecvMeta {
            addr: "203.0.113.9:5000".parse().unwrap(),
            len: all.len(),
            stride: STRIDE,
            ..RecvMeta::default()
        };
        let left = socket.sort_out(&mut all, &meta);
        all.truncate(left);
        (all, fake.sent().len())
    }

    #[test]
    fn what_is_stun_is_taken_out_of_packets_that_came_together() {
        let (a, b, last) = (quic(1, STRIDE), quic(2, STRIDE), quic(3, 20));
        let plain = [a.clone(), b.clone(), last.clone()];
        assert_eq!(sorted(&plain), (plain.concat(), 0));
        let mixed = [request(), a.clone(), request(), b.clone(), last.clone()];
        assert_eq!(sorted(&mixed), (plain.concat(), 2));
        assert_eq!(sorted(&[request(), request()]), (Vec::new(), 2));
        // With the fixed bit it is QUIC, whatever else it looks like.
        let mut looks = request();
        looks[0] = 0x40;
        assert_eq!(sorted(&[looks.clone()]), (looks, 0));
    }
}
