//! A client of the local API: one connection per request over the Unix socket.
//!
//! Invariant: a request is sent again only when nothing of it was sent, or when doing it twice is
//! the same as doing it once.

use crate::error::{ApiError, ErrorCode};
use crate::event::Event;
use crate::paths::Paths;
use crate::socket::{Reached, reach};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::UnixStream;

/// Longest answer that is no event stream, bytes.
const MAX_ANSWER: usize = 64 << 20;
/// How often a daemon is started again for one request.
const REVIVALS: u32 = 2;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens on the socket.
    #[error("the daemon is not running")]
    NotRunning,
    /// Somebody else than this user or root serves the socket; nothing was said to them.
    #[error("{} is served by another user (id {user})", socket.display())]
    Stranger {
        /// The socket.
        socket: PathBuf,
        /// Their user id.
        user: u32,
    },
    /// The daemon ended after it was asked and before its answer was complete.
    #[error("the daemon ended before it answered")]
    Gone,
    /// The connection spoke nonsense.
    #[error("the daemon does not answer as expected: {0}")]
    Broken(String),
    /// The daemon answered with an error.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl ClientError {
    fn broken(error: impl fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }

    /// The same as an error for the user.
    pub fn into_api(self) -> ApiError {
        let no_daemon = |message: String| ApiError::new(ErrorCode::NoDaemon, message);
        match self {
            Self::Api(error) => error,
            Self::NotRunning => {
                no_daemon("The Hither daemon is not running.".into()).with_hint("Start it with: hither up")
            }
            Self::Stranger { .. } => no_daemon(format!("The Hither daemon was not asked: its socket {self}."))
                .with_hint("If that is no mistake, let XDG_RUNTIME_DIR or HITHER_HOME name a folder that only you can write to."),
            Self::Gone => no_daemon(
                "The Hither daemon ended before it answered: what it was asked may be done or not.".into(),
            )
            .with_hint("Look whether it was done (hither list, outbox, transfers) before you ask again."),
            Self::Broken(what) => no_daemon(format!("The Hither daemon broke off: {what}."))
                .with_hint("Look at its log: hitherd.log in its data folder (see hither status)."),
        }
    }
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> Self {
        error.into_api()
    }
}

/// Makes a daemon run again.
pub type Revival = Pin<Box<dyn Future<Output = Result<(), ApiError>> + Send>>;

/// Where the daemon listens.
#[derive(Debug, Clone)]
enum DaemonPlace {
    Socket(PathBuf),
    /// Looked up with every request: a daemon that was started anew may listen elsewhere.
    Home(Box<Paths>),
}

/// Speaks to one daemon.
#[derive(Clone)]
pub struct Client {
    place: DaemonPlace,
    revive: Option<Arc<dyn Fn() -> Revival + Send + Sync>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the daemon behind `socket`; nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            place: DaemonPlace::Socket(socket.into()),
            revive: None,
        }
    }

    /// A client of the daemon that runs with these data, wherever it listens; nothing is connected
    /// yet.
    pub fn of(paths: &Paths) -> Self {
        Self {
            place: DaemonPlace::Home(Box::new(paths.clone())),
            revive: None,
        }
    }

    /// The same that calls `revive` when the daemon is gone, and then asks again where that is
    /// safe.
    pub fn reviving(self, revive: impl Fn() -> Revival + Send + Sync + 'static) -> Self {
        Self {
            revive: Some(Arc::new(revive)),
            ..self
        }
    }

    /// The same that leaves a daemon that is gone alone: for what only watches it.
    pub fn watching(self) -> Self {
        Self {
            revive: None,
            ..self
        }
    }

    /// `GET`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// `POST`.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// `DELETE`.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::DELETE, path, None::<&()>).await
    }

    /// `POST` of long work that can be begun twice, as sharing or fetching; the answer is a stream
    /// of events.
    pub async fn work(&self, path: &str, body: &impl Serialize) -> Result<Events, ClientError> {
        self.open(Method::POST, path, Some(body), true).await
    }

    /// The same for work that must not be begun twice, as what also sends something.
    pub async fn work_once(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Events, ClientError> {
        self.open(Method::POST, path, Some(body), false).await
    }

    /// `GET` of a stream of events.
    pub async fn events(&self, path: &str) -> Result<Events, ClientError> {
        self.stream(path).await
    }

    /// `GET` of a stream of anything else that is told again and again.
    pub async fn stream<T: DeserializeOwned>(&self, path: &str) -> Result<Events<T>, ClientError> {
        self.open(Method::GET, path, None::<&()>, true).await
    }

    /// `GET` of bytes that are read as they come; never asked for twice.
    pub async fn content(&self, path: &str) -> Result<Content, ClientError> {
        let response = self.send(&Method::GET, path, &Bytes::new()).await?;
        let body = fail_unless_ok(response).await?.into_body();
        Ok(Content { body })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let body = encode(body)?;
        let mut revivals = 0;
        loop {
            let answer = match self.send(&method, path, &body).await {
                Ok(response) => read_answer(response).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => return serde_json::from_slice(&answer).map_err(ClientError::broken),
                Err(error) => {
                    self.revive(error, method == Method::GET, &mut revivals)
                        .await?
                }
            }
        }
    }

    async fn open<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        safe: bool,
    ) -> Result<Events<T>, ClientError> {
        let body = encode(body)?;
        let mut revivals = 0;
        loop {
            let answer = match self.send(&method, path, &body).await {
                Ok(response) => fail_unless_ok(response).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(response) => return Ok(Events::new(response)),
                Err(error) => self.revive(error, safe, &mut revivals).await?,
            }
        }
    }

    /// Revives a daemon that was gone, if it may be asked again: always when nothing was sent, else
    /// when it is `safe`. Gives the error back where that is not so.
    async fn revive(
        &self,
        error: ClientError,
        safe: bool,
        revivals: &mut u32,
    ) -> Result<(), ClientError> {
        let again = match &error {
            ClientError::NotRunning | ClientError::Stranger { .. } => true,
            ClientError::Gone => safe,
            ClientError::Broken(_) | ClientError::Api(_) => false,
        };
        match &self.revive {
            Some(revive) if again && *revivals < REVIVALS => {
                *revivals += 1;
                revive().await.map_err(ClientError::Api)
            }
            _ => Err(error),
        }
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let places = match &self.place {
            DaemonPlace::Socket(socket) => vec![socket.clone()],
            DaemonPlace::Home(paths) => crate::listening::places(paths),
        };
        let mut why = ClientError::NotRunning;
        for socket in places {
            match reach(&socket).await {
                Ok(Reached::Own(stream)) => return Ok(stream),
                Ok(Reached::Nobody) => {}
                Ok(Reached::Stranger(user)) => why = ClientError::Stranger { socket, user },
                Err(error) => why = ClientError::Broken(format!("{}: {error}", socket.display())),
            }
        }
        Err(why)
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: &Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ClientError::broken)?;
        // The connection ends with its request: this task ends when the answer was read or dropped.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "hither")
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))
            .map_err(ClientError::broken)?;
        sender.send_request(request).await.map_err(lost)
    }
}

fn encode(body: Option<&impl Serialize>) -> Result<Bytes, ClientError> {
    match body {
        Some(body) => Ok(serde_json::to_vec(body)
            .map_err(ClientError::broken)?
            .into()),
        None => Ok(Bytes::new()),
    }
}

/// An answer that is no HTTP is nonsense; otherwise whoever gave it is gone.
fn lost(error: hyper::Error) -> ClientError {
    if error.is_parse() || error.is_user() {
        ClientError::broken(error)
    } else {
        ClientError::Gone
    }
}

async fn read_answer(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    read(fail_unless_ok(response).await?).await
}

async fn fail_unless_ok(response: Response<Incoming>) -> Result<Response<Incoming>, ClientError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = read(response).await?;
    let error = serde_json::from_slice::<ApiError>(&body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&body);
        let code = if status == StatusCode::NOT_FOUND {
            ErrorCode::NotFound
        } else {
            ErrorCode::Internal
        };
        ApiError::new(
            code,
            format!("The daemon answered {status}: {}", text.trim()),
        )
    });
    Err(ClientError::Api(error))
}

async fn read(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let limited = http_body_util::Limited::new(response.into_body(), MAX_ANSWER);
    match limited.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ClientError::broken(error))
        }
        Err(_) => Err(ClientError::Gone),
    }
}

/// Bytes from the daemon.
#[derive(Debug)]
pub struct Content {
    body: Incoming,
}

impl Content {
    /// The next bytes; `None` after the last. [`ClientError::Gone`] when there should have been
    /// more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(lost)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// A stream of events from the daemon.
#[derive(Debug)]
pub struct Events<T = Event> {
    body: Incoming,
    buffer: Vec<u8>,
    told: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Events<T> {
    fn new(response: Response<Incoming>) -> Self {
        Self {
            body: response.into_body(),
            buffer: Vec::new(),
            told: PhantomData,
        }
    }

    /// The next event; `None` when the daemon ended the stream. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(event) = self.take_line()? {
                return Ok(Some(event));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.map_err(lost)?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// Takes the next `data:` line out of the buffer; other fields and comments are skipped
    /// (WHATWG, server-sent events, 9.2.6). The daemon sends every event in one data line.
    fn take_line(&mut self) -> Result<Option<T>, ClientError> {
        while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if let Some(data) = line.strip_prefix(b"data:") {
                return serde_json::from_slice(data)
                    .map(Some)
                    .map_err(ClientError::broken);
            }
        }
        Ok(None)
    }
}
