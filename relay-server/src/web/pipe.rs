//! The byte pipe: a WebSocket whose binary messages are one stream of bytes, taken like a TCP
//! connection of a device (SPEC.md, "Byte pipe").
//!
//! Any page may open one, whatever its origin: what is inside proves who it is by a key that no
//! other page has, and nothing here goes by cookies or addresses. The origin goes with the stream,
//! for pages that are let in because of it alone (`serve::visit::askers`).

use super::Served;
use super::client::Client;
use super::pages::later;
use crate::node::Node;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseCode, CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Error, Extension};
use bytes::BytesMut;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hither_util::sync::Mutex;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tungstenite::Error as SocketError;

/// The subprotocol.
const PROTOCOL: &str = "hither.v1";
/// Longest message taken, bytes.
const MAX_TAKEN: usize = 1024 * 1024;
/// Longest message sent, bytes.
const MAX_SENT: usize = 64 * 1024;
/// Bytes that may wait between the WebSocket and TLS, each way.
const BETWEEN: usize = 256 * 1024;
/// Pause between two pings to the browser, and the silence after which it counts as gone.
const PING: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(60);
/// Longest wait for the closing message to be taken.
const CLOSING: Duration = Duration::from_secs(5);
/// Longest origin that is listened to, bytes.
const MAX_ORIGIN: usize = 512;
/// When a browser that comes to a node that goes down comes again.
const LATER: Duration = Duration::from_secs(5);

/// `GET /hither/1/pipe`
pub(super) async fn upgrade(
    State(served): State<Served>,
    Extension(Client(from)): Extension<Client>,
    headers: HeaderMap,
    asked: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let asked = match asked {
        Ok(asked) => asked.protocols([PROTOCOL]),
        Err(_) => {
            let wanted = [(header::UPGRADE, "websocket")];
            return (StatusCode::UPGRADE_REQUIRED, wanted, "a WebSocket\n").into_response();
        }
    };
    if asked.selected_protocol().is_none() {
        return (StatusCode::BAD_REQUEST, "the subprotocol is hither.v1\n").into_response();
    }
    let origin = origin(&headers);
    let node = served.node;
    if node.is_draining() {
        return later(StatusCode::SERVICE_UNAVAILABLE, LATER);
    }
    asked
        .max_message_size(MAX_TAKEN)
        .max_frame_size(MAX_TAKEN)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * MAX_SENT)
        .on_upgrade(move |socket| async move {
            let pipe = run(Arc::clone(&node), socket, from, origin);
            node.spawn(pipe);
        })
}

/// The site whose page asks, as its browser says (RFC 6454); `None`: it says none, or nonsense.
fn origin(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut said = headers.get_all(header::ORIGIN).iter();
    let (origin, None) = (said.next()?.to_str().ok()?, said.next()) else {
        return None;
    };
    (origin.len() <= MAX_ORIGIN && origin != "null").then(|| origin.into())
}

/// Passes bytes between a browser and the acceptor of devices, until either ends.
async fn run(node: Arc<Node>, socket: WebSocket, from: SocketAddr, origin: Option<Arc<str>>) {
    let _counted = node.metrics.pipe();
    let (near, far) = duplex(BETWEEN);
    let (mut sink, stream) = socket.split();
    let code = {
        let mut passing = pin!(pass(&mut sink, stream, far));
        let mut accepted = pin!(node.endpoint.accept_pipe(from, origin, Box::new(near)));
        let mut shaking = true;
        loop {
            tokio::select! {
                code = &mut passing => break code,
                // Whoever serves the stream holds the near end from now on; without anybody it is
                // gone, and the passing ends with what was said on it.
                result = &mut accepted, if shaking => {
                    shaking = false;
                    if let Err(error) = result {
                        tracing::debug!(%from, %error, "a pipe came to nothing");
                    }
                }
                () = node.stopped() => break close_code::AWAY,
            }
        }
    };
    let end = Message::Close(Some(CloseFrame {
        code,
        reason: "".into(),
    }));
    let closing = async {
        // A browser that is gone need not be told.
        let _ = sink.send(end).await;
        let _ = sink.close().await;
    };
    let _ = timeout(CLOSING, closing).await;
}

/// Passes bytes both ways; returns why that ended.
async fn pass(
    sink: &mut SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    far: DuplexStream,
) -> CloseCode {
    let (read, write) = split(far);
    let heard = Mutex::new(Instant::now());
    tokio::select! {
        code = send(sink, read, &heard) => code,
        code = take(stream, write, &heard) => code,
    }
}

/// Carries bytes from the acceptor to the browser.
async fn send(
    sink: &mut SplitSink<WebSocket, Message>,
    mut read: ReadHalf<DuplexStream>,
    heard: &Mutex<Instant>,
) -> CloseCode {
    let mut ping = interval_at(Instant::now() + PING, PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(MAX_SENT);
        let mut room = (&mut read).take(MAX_SENT as u64);
        let message = tokio::select! {
            read = room.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => return close_code::NORMAL,
                Ok(_) => Message::Binary(buffer.split().freeze()),
            },
            _ = ping.tick() => {
                if heard.lock().elapsed() > SILENCE {
                    return close_code::NORMAL;
                }
                Message::Ping(Default::default())
            }
        };
        if sink.send(message).await.is_err() {
            return close_code::NORMAL;
        }
    }
}

/// Carries bytes from the browser to the acceptor.
async fn take(
    mut stream: SplitStream<WebSocket>,
    mut write: WriteHalf<DuplexStream>,
    heard: &Mutex<Instant>,
) -> CloseCode {
    while let Some(message) = stream.next().await {
        *heard.lock() = Instant::now();
        match message {
            Ok(Message::Binary(bytes)) => {
                if write.write_all(&bytes).await.is_err() {
                    return close_code::NORMAL;
                }
            }
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(Message::Text(_)) => return close_code::UNSUPPORTED,
            Ok(Message::Close(_)) => return close_code::NORMAL,
            Err(error) => return code_of(error),
        }
    }
    close_code::NORMAL
}

/// The code that says what was wrong.
fn code_of(error: Error) -> CloseCode {
    match error.into_inner().downcast_ref::<SocketError>() {
        Some(SocketError::Capacity(_)) => close_code::SIZE,
        Some(SocketError::Protocol(_) | SocketError::Utf8(_)) => close_code::PROTOCOL,
        _ => close_code::NORMAL,
    }
}
