//! A daemon that answers as it was told to and remembers what it was asked.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use hither_api::{ApiError, ErrorCode, Event};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, mpsc};

/// One step of long work.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "a script of a few steps")]
pub enum Step {
    Report(Event),
    /// Say something that is no event.
    Show(Value),
    /// Wait until the client accepts.
    AwaitAccept,
    /// Wait until the client pauses, then go on.
    AwaitPause,
}

#[derive(Debug, Default)]
struct Shared {
    answers: Mutex<HashMap<String, Value>>,
    failures: Mutex<HashMap<String, ApiError>>,
    script: Mutex<Vec<Step>>,
    content: Mutex<Vec<u8>>,
    asked: Mutex<Vec<(String, Value)>>,
    accepted: Notify,
    paused: Notify,
    stopping: Notify,
}

/// The daemon, and what it was asked.
#[derive(Debug)]
pub struct Fake {
    shared: Arc<Shared>,
}

impl Fake {
    /// Listens on `socket` until it is told to shut down.
    pub fn start(socket: &Path) -> Self {
        let shared = Arc::new(Shared::default());
        let (fake, socket) = (
            Self {
                shared: shared.clone(),
            },
            socket.to_owned(),
        );
        fake.answers("GET /v1/status", status());
        let (ready, listening) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::bind(&socket).unwrap();
                ready.send(()).unwrap();
                let app = Router::new().fallback(answer).with_state(shared.clone());
                tokio::select! {
                    served = axum::serve(listener, app) => served.unwrap(),
                    () = shared.stopping.notified() => {}
                }
                std::fs::remove_file(&socket).unwrap();
            });
        });
        listening.recv().unwrap();
        fake
    }

    /// Sets the answer to a request ("GET /v1/shares").
    pub fn answers(&self, request: &str, answer: Value) {
        self.shared
            .answers
            .lock()
            .unwrap()
            .insert(request.into(), answer);
    }

    /// Sets the error that a request ends with.
    pub fn fails(&self, request: &str, error: ApiError) {
        self.shared
            .failures
            .lock()
            .unwrap()
            .insert(request.into(), error);
    }

    /// Sets what shares, fetches and the inbox' events do.
    pub fn plays(&self, script: impl IntoIterator<Item = Step>) {
        *self.shared.script.lock().unwrap() = script.into_iter().collect();
    }

    /// Sets what is read of a fetch to standard output.
    pub fn gives(&self, content: &[u8]) {
        *self.shared.content.lock().unwrap() = content.to_vec();
    }

    /// All requests but those for the status, in order.
    pub fn asked(&self) -> Vec<String> {
        self.shared
            .asked
            .lock()
            .unwrap()
            .iter()
            .map(|(request, _)| request.clone())
            .collect()
    }

    /// Waits until it was asked this.
    pub fn wait_for(&self, request: &str) {
        let begun = std::time::Instant::now();
        while !self.asked().iter().any(|asked| asked == request) {
            assert!(
                begun.elapsed().as_secs() < 10,
                "{request} was not asked: {:?}",
                self.asked()
            );
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// The body of the first such request.
    pub fn body(&self, request: &str) -> Value {
        let asked = self.shared.asked.lock().unwrap();
        asked
            .iter()
            .find(|(r, _)| r == request)
            .unwrap_or_else(|| panic!("{request}: {asked:?}"))
            .1
            .clone()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let request = format!("{method} {}", uri.path());
    if request != "GET /v1/status" {
        let body = serde_json::from_slice(&body).unwrap_or_default();
        shared.asked.lock().unwrap().push((request.clone(), body));
    }
    match request.as_str() {
        "POST /v1/shares"
        | "POST /v1/fetches"
        | "GET /v1/inbox/events"
        | "POST /v1/codes"
        | "POST /v1/codes/enter" => return play(shared),
        r if r.ends_with("/view") => return play(shared),
        r if r.ends_with("/upload") && !shared.failures.lock().unwrap().contains_key(r) => {
            return play(shared);
        }
        r if r.ends_with("/content") => {
            return Body::from(shared.content.lock().unwrap().clone()).into_response();
        }
        "POST /v1/shutdown" => shared.stopping.notify_one(),
        r if r.ends_with("/accept") || r.ends_with("/answer") => shared.accepted.notify_one(),
        r if r.ends_with("/pause") => shared.paused.notify_one(),
        _ => {}
    }
    if let Some(error) = shared.failures.lock().unwrap().get(&request) {
        return (
            StatusCode::from_u16(error.code.http_status()).unwrap(),
            Json(error.clone()),
        )
            .into_response();
    }
    let answer = shared.answers.lock().unwrap().get(&request).cloned();
    match answer {
        Some(answer) => Json(answer).into_response(),
        None if method == Method::POST => Json(transfer("done")).into_response(),
        None if method == Method::DELETE => Json(transfer("failed")).into_response(),
        None => {
            let error = ApiError::new(ErrorCode::NotFound, format!("There is no {request}."));
            (StatusCode::NOT_FOUND, Json(error)).into_response()
        }
    }
}

fn play(shared: Arc<Shared>) -> Response {
    let script = shared.script.lock().unwrap().clone();
    let (sender, mut receiver) = mpsc::unbounded_channel::<Value>();
    tokio::spawn(async move {
        for step in script {
            match step {
                Step::Report(event) => drop(sender.send(json!(event))),
                Step::Show(value) => drop(sender.send(value)),
                Step::AwaitAccept => shared.accepted.notified().await,
                Step::AwaitPause => shared.paused.notified().await,
            }
        }
    });
    let events = futures::stream::poll_fn(move |context| {
        receiver.poll_recv(context).map(|event| {
            event.map(|event| Ok::<_, std::io::Error>(format!(": ping\n\ndata: {event}\n\n")))
        })
    });
    (
        [("content-type", "text/event-stream")],
        Body::from_stream(events),
    )
        .into_response()
}

/// A status of this version; its process does not exist.
pub fn status() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"), "device": "12D3KooWGbV4mVQXqW4sQp6sXo8sDk3nT2i8m3n1e5n7Yq3bQxZk", "short": "Yq3bQxZk",
        "name": "desk", "pid": i32::MAX, "uptime": 3780, "udp_port": 47447, "tcp_port": 47447, "home": "/home/u/.local/share/hither",
        "shares": 2, "transfers": 1, "giving": 0, "nearby": 2, "warnings": [], "world": {"reluctant": false},
        "limits": {"lan": false},
        "relays": [], "uploads": 0, "unread": 0, "outgoing": 0,
        "links": [{"device": OWNER, "name": "laptop", "carrier": "quic", "address": "192.168.1.7:47447", "rtt_ms": 0.42}],
    })
}

/// The device that shares.
pub const OWNER: &str = "12D3KooWBbQGJbNFzc4aQzTfKqKqf2sYgZ5mZ4n7yqTz1m8oLaPt";

/// A transfer in a phase.
pub fn transfer(phase: &str) -> Value {
    json!({
        "transfer": "t1", "share": "s", "name": "photos", "path": "/x/photos", "phase": phase, "bytes": 400, "total": 1000,
        "rate": 0, "devices": 0, "started": 1, "sources": [],
    })
}
