//! A stream between two devices, the same on every carrier: bytes both ways, each way ended by
//! itself.
//!
//! Invariants: both ends know each other's device and hold the same binding, which no other stream
//! has; a way that was not finished arrives as an error, never as an end, so that cut-off data
//! cannot pass for complete data.

use crate::bounds::{Permit, StreamPermit};
use crate::carrier_kind::CarrierKind;
use crate::close_code::CODE;
use crate::duplex::{Duplex, write_pieces};
use crate::places::Place;
use crate::progress::{Counted, Progress};
use crate::reach::Reach;
use crate::settings::wide_window;
use bytes::{BufMut, Bytes, BytesMut};
use hither_proto::{DeviceId, StreamBinding};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// The other end of a stream, as proven by TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FarEnd {
    pub(crate) device: DeviceId,
    /// Its address; of a circuit, that of the relay.
    pub(crate) remote: SocketAddr,
    pub(crate) binding: StreamBinding,
}

/// A stream and what is known about its other end.
#[derive(Debug)]
pub struct Stream {
    /// The way there.
    pub send: SendHalf,
    /// The way back.
    pub recv: RecvHalf,
    /// The device at the other end, as proven by TLS.
    pub device: DeviceId,
    /// Its carrier.
    pub carrier: CarrierKind,
    /// The address of the other end; of a circuit: of the relay.
    pub remote: SocketAddr,
    /// The binding of proofs on this stream: equal at both ends, different on every other stream,
    /// those of the same connection included.
    pub binding: StreamBinding,
    /// This device opened the stream.
    pub opened_here: bool,
    /// The device to which this device's own part of the way leads (of a circuit, the relay), and
    /// over which of QUIC and TCP.
    pub via: (DeviceId, CarrierKind),
    /// The site whose page opened it, as its browser said; only of pipes that were accepted.
    pub origin: Option<Arc<str>>,
    link: Option<quinn::Connection>,
    /// The QUIC connection that it is on, if nothing else is: of a circuit, the one to the relay.
    beneath: Option<quinn::Connection>,
    counted: Arc<Counted>,
}

impl Stream {
    /// A stream of a QUIC connection.
    pub(crate) fn quic(
        connection: &quinn::Connection,
        (send, recv): (quinn::SendStream, quinn::RecvStream),
        end: FarEnd,
        hold: Hold,
        opened_here: bool,
    ) -> Self {
        let (hold, counted) = (Arc::new(hold), Arc::<Counted>::default());
        Self {
            send: SendHalf {
                half: Send::Quic(send),
                ended: false,
                counted: Arc::clone(&counted),
                _hold: Arc::clone(&hold),
            },
            recv: RecvHalf {
                half: Recv::Quic(recv),
                counted: Arc::clone(&counted),
                _hold: hold,
            },
            device: end.device,
            carrier: CarrierKind::Quic,
            remote: end.remote,
            binding: end.binding,
            opened_here,
            via: (end.device, CarrierKind::Quic),
            origin: None,
            link: Some(connection.clone()),
            beneath: Some(connection.clone()),
            counted,
        }
    }

    /// A TLS connection that is one stream: over TCP, or a circuit.
    pub(crate) fn tls(
        carrier: CarrierKind,
        duplex: Arc<Duplex>,
        end: FarEnd,
        hold: Hold,
        opened_here: bool,
    ) -> Self {
        let FarEnd {
            device,
            remote,
            binding,
        } = end;
        let (hold, counted) = (Arc::new(hold), Arc::<Counted>::default());
        Self {
            send: SendHalf {
                half: Send::Tls(Arc::clone(&duplex)),
                ended: false,
                counted: Arc::clone(&counted),
                _hold: Arc::clone(&hold),
            },
            recv: RecvHalf {
                half: Recv::Tls(duplex),
                counted: Arc::clone(&counted),
                _hold: hold,
            },
            device,
            carrier,
            remote,
            binding,
            opened_here,
            via: (device, CarrierKind::Tcp),
            origin: None,
            link: None,
            beneath: None,
            counted,
        }
    }

    /// Sets the site whose page opened it.
    pub(crate) fn with_origin(mut self, origin: Option<Arc<str>>) -> Self {
        self.origin = origin;
        self
    }

    /// The route of a circuit over this stream: its own way, and the connection beneath.
    pub(crate) fn beneath(&self) -> ((DeviceId, CarrierKind), Option<quinn::Connection>) {
        (self.via, self.beneath.clone())
    }

    /// Sets the way and the connection beneath a circuit.
    pub(crate) fn over(
        mut self,
        (via, beneath): ((DeviceId, CarrierKind), Option<quinn::Connection>),
    ) -> Self {
        (self.via, self.beneath) = (via, beneath);
        self
    }

    /// Returns its progress, from now on.
    pub fn progress(&self) -> Progress {
        Progress::new(&self.counted, self.beneath.as_ref())
    }

    /// Lets the other side send more at a time on the whole connection, and takes more at a time: a
    /// relay's connections begin narrow, which is enough for everything but bulk data. It
    /// changes nothing elsewhere.
    pub fn widen(&self) {
        if let Some(link) = &self.link {
            link.set_receive_window(wide_window(Reach::of(self.remote.ip()) == Reach::Lan));
        }
        if let Recv::Tls(duplex) = &self.recv.half {
            duplex.widen();
        }
    }
}

impl Stream {
    /// Lets the last data of a stream that was finished arrive, for as long as `patience`, and then
    /// abandons it.
    pub(crate) async fn part(mut self, patience: Duration) {
        let last = async {
            if self.send.delivered().await.is_ok() {
                // Delivered is what the other side's system has: it is read by the time that its
                // own end comes, or soon.
                let (mut waste, mut left) = ([const { Bytes::new() }; 8], LINGER);
                while let Ok(Some(read @ 1..)) = self.recv.receive(&mut waste, 4096).await {
                    left = left.saturating_sub(waste[..read].iter().map(Bytes::len).sum());
                    if left == 0 {
                        return;
                    }
                }
            }
        };
        let _ = timeout(patience, last).await;
        self.send.cut();
        self.close();
    }

    /// Breaks it off, and the QUIC connection beneath, if there is one. Data that has not arrived
    /// is not wanted any more.
    pub(crate) fn abandon(mut self) {
        match &self.send.half {
            Send::Tls(duplex) => duplex.discard(),
            Send::Quic(_) => self.send.cut(),
        }
        self.close();
    }

    fn close(self) {
        if let Some(link) = &self.link {
            link.close(CODE, b"the circuit ended");
        }
    }
}

/// Most unwanted bytes that are read while the last data arrives.
const LINGER: usize = 256 * 1024;

/// Places that a stream takes in the tables of [`crate::bounds`], given back when both halves are
/// dropped.
#[derive(Default)]
pub(crate) struct Hold {
    _stream: Option<StreamPermit>,
    _tcp: Option<Permit<DeviceId>>,
    _dialled: Option<Permit<()>>,
    _place: Option<Place>,
    /// Shows that something is open on the link.
    _used: Option<Arc<()>>,
}

impl Hold {
    /// A stream that this device opened on a QUIC connection that is counted elsewhere.
    pub(crate) fn opened(used: Arc<()>) -> Self {
        Self {
            _used: Some(used),
            ..Self::default()
        }
    }

    /// An accepted stream of a QUIC connection.
    pub(crate) fn stream(stream: StreamPermit, used: Arc<()>) -> Self {
        Self {
            _stream: Some(stream),
            _used: Some(used),
            ..Self::default()
        }
    }

    /// A dialled connection that is one stream.
    pub(crate) fn dialled(connection: Permit<()>) -> Self {
        Self {
            _dialled: Some(connection),
            ..Self::default()
        }
    }

    /// An accepted connection that is one stream.
    pub(crate) fn accepted(stream: StreamPermit, tcp: Permit<DeviceId>, place: Place) -> Self {
        Self {
            _stream: Some(stream),
            _tcp: Some(tcp),
            _place: Some(place),
            ..Self::default()
        }
    }
}

enum Send {
    Quic(quinn::SendStream),
    Tls(Arc<Duplex>),
}

/// The sending half of a stream. Dropped before [`finish`](Self::finish), it is reset.
pub struct SendHalf {
    half: Send,
    ended: bool,
    counted: Arc<Counted>,
    _hold: Arc<Hold>,
}

impl SendHalf {
    /// Sends `bytes`, without copying them on QUIC. When this returns they are in the hands of the
    /// transport.
    pub async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        self.send_all(&mut [bytes]).await
    }

    /// Sends several pieces in one go: on TCP they share TLS records, so a small header before a
    /// payload is no packet of its own. When this returns they are in the hands of the
    /// transport. The pieces are consumed.
    ///
    /// Not cancel safe: when dropped in the middle, part of the data may have been sent.
    pub async fn send_all(&mut self, pieces: &mut [Bytes]) -> io::Result<()> {
        match &mut self.half {
            Send::Quic(send) => send.write_all_chunks(pieces).await.map_err(io::Error::from),
            Send::Tls(duplex) => {
                write_pieces(duplex, pieces, &self.counted).await?;
                poll_fn(|cx| duplex.poll_flush(cx)).await
            }
        }
    }

    /// Ends this way: the other side reads everything sent and then an end.
    ///
    /// On QUIC the data is delivered as long as the link lives; closing the link right afterwards
    /// can still lose it, so wait for an answer or for [`delivered`](Self::delivered) first.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.ended = true;
        match &mut self.half {
            Send::Quic(send) => send.finish().map_err(io::Error::from),
            Send::Tls(duplex) => poll_fn(|cx| duplex.poll_shutdown(cx)).await,
        }
    }

    /// Waits, after [`finish`](Self::finish), until the other side has acknowledged everything. On
    /// TCP, which cannot know, it returns at once: the kernel goes on delivering after the socket
    /// is closed.
    pub async fn delivered(&mut self) -> io::Result<()> {
        match &mut self.half {
            Send::Quic(send) => match send.stopped().await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
            },
            Send::Tls(_) => Ok(()),
        }
    }

    /// Breaks this way off and leaves the other one: the other side reads an error.
    pub(crate) fn cut(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            match &mut self.half {
                // Left to itself, quinn would finish the stream as if it were complete.
                Send::Quic(send) => drop(send.reset(CODE)), // fails only when it has ended already
                Send::Tls(duplex) => duplex.cut(),
            }
        }
    }

    /// Breaks this way off: the other side reads an error. On TCP the whole connection goes, both
    /// ways.
    pub fn reset(&mut self) {
        self.ended = true;
        match &mut self.half {
            Send::Quic(send) => drop(send.reset(CODE)), // fails only when it has ended already
            Send::Tls(duplex) => duplex.abort(),
        }
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.cut();
    }
}

impl fmt::Debug for SendHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl AsyncWrite for SendHalf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.half {
            Send::Quic(send) => AsyncWrite::poll_write(Pin::new(send), cx, data),
            Send::Tls(duplex) => {
                let polled = duplex.poll_write_vectored(cx, &[IoSlice::new(data)]);
                if let Poll::Ready(Ok(written)) = polled {
                    self.counted.send(written);
                }
                polled
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.half {
            Send::Quic(send) => {
                let mut written = 0;
                for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                    match AsyncWrite::poll_write(Pin::new(send), cx, piece) {
                        Poll::Ready(Ok(part)) => written += part,
                        other if written == 0 => return other,
                        // The error is returned at the next call.
                        _ => break,
                    }
                }
                Poll::Ready(Ok(written))
            }
            Send::Tls(duplex) => {
                let polled = duplex.poll_write_vectored(cx, pieces);
                if let Poll::Ready(Ok(written)) = polled {
                    self.counted.send(written);
                }
                polled
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.half {
            Send::Quic(send) => AsyncWrite::poll_flush(Pin::new(send), cx),
            Send::Tls(duplex) => duplex.poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended = true;
        match &mut self.half {
            Send::Quic(send) => AsyncWrite::poll_shutdown(Pin::new(send), cx),
            Send::Tls(duplex) => duplex.poll_shutdown(cx),
        }
    }
}

enum Recv {
    Quic(quinn::RecvStream),
    Tls(Arc<Duplex>),
}

/// The receiving half of a stream.
pub struct RecvHalf {
    half: Recv,
    counted: Arc<Counted>,
    _hold: Arc<Hold>,
}

impl RecvHalf {
    /// Appends exactly `count` bytes to `buffer`, reading into its spare room without clearing it
    /// first.
    ///
    /// Cancel safe in this sense: what had arrived when the future is dropped is in `buffer`, and
    /// nothing is lost; go on with what is missing. Fails with `UnexpectedEof` if the stream
    /// ends before.
    pub async fn read_exact_into(&mut self, buffer: &mut BytesMut, count: usize) -> io::Result<()> {
        let mut missing = count;
        buffer.reserve(missing);
        while missing > 0 {
            match self.read_buf(&mut (&mut *buffer).limit(missing)).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => missing -= read,
            }
        }
        Ok(())
    }

    /// Receives what comes next: puts pieces of it into `pieces`, without copying them on QUIC,
    /// elsewhere one of up to `most` bytes. Returns how many; `None` at the end. Cancel safe.
    pub async fn receive(
        &mut self,
        pieces: &mut [Bytes],
        most: usize,
    ) -> io::Result<Option<usize>> {
        match &mut self.half {
            Recv::Quic(recv) => {
                let read = recv.read_chunks(pieces).await?;
                self.counted
                    .receive(pieces[..read.unwrap_or(0)].iter().map(Bytes::len).sum());
                Ok(read)
            }
            Recv::Tls(_) => {
                let Some(piece) = pieces.first_mut() else {
                    return Ok(Some(0));
                };
                let mut buffer = BytesMut::with_capacity(most);
                if self.read_buf(&mut (&mut buffer).limit(most)).await? == 0 {
                    return Ok(None);
                }
                *piece = buffer.freeze();
                Ok(Some(1))
            }
        }
    }

    /// Informs the other side that nothing more is read. On TCP the whole connection goes, both
    /// ways.
    pub fn stop(&mut self) {
        match &mut self.half {
            Recv::Quic(recv) => drop(recv.stop(CODE)), // fails only when it has ended already
            Recv::Tls(duplex) => duplex.abort(),
        }
    }
}

impl fmt::Debug for RecvHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvHalf").finish_non_exhaustive()
    }
}

impl AsyncRead for RecvHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = match &mut self.half {
            Recv::Quic(recv) => AsyncRead::poll_read(Pin::new(recv), cx, buffer),
            Recv::Tls(duplex) => duplex.poll_read(cx, buffer),
        };
        self.counted.receive(buffer.filled().len() - before);
        polled
    }
}

// Both halves can be wrapped in tokio's adapters.
const _: () = {
    const fn write<T: AsyncWriteExt + Unpin + std::marker::Send>() {}
    const fn read<T: AsyncReadExt + Unpin + std::marker::Send>() {}
    write::<SendHalf>();
    read::<RecvHalf>();
};
