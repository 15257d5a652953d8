//! A client of the local API: one connection per request over the Unix socket.

use crate::error::{ApiError, ErrorCode};
use crate::event::Event;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::path::PathBuf;
use tokio::net::UnixStream;

/// Longest answer that is no event stream, bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens on the socket.
    #[error("the daemon is not running")]
    NotRunning,
    /// The connection broke or spoke nonsense.
    #[error("the daemon does not answer as expected: {0}")]
    Broken(String),
    /// The daemon answered with an error.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl ClientError {
    fn broken(error: impl std::fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }

    /// The same as an error for the user.
    pub fn into_api(self) -> ApiError {
        match self {
            Self::Api(error) => error,
            Self::NotRunning => ApiError::new(ErrorCode::NoDaemon, "The Hither daemon is not running.")
                .with_hint("Start it with: hither up"),
            Self::Broken(what) => {
                ApiError::new(ErrorCode::NoDaemon, format!("The Hither daemon broke off: {what}."))
                    .with_hint("Look at its log: hitherd.log in its data folder (see hither status).")
            }
        }
    }
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> Self {
        error.into_api()
    }
}

/// Speaks to the daemon behind one socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon behind `socket`; nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
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

    /// `POST` of long work; the answer is a stream of events.
    pub async fn work(&self, path: &str, body: &impl Serialize) -> Result<Events, ClientError> {
        let response = self.send(Method::POST, path, Some(body)).await?;
        Ok(Events::new(fail_unless_ok(response).await?))
    }

    /// `GET` of a stream of events.
    pub async fn events(&self, path: &str) -> Result<Events, ClientError> {
        self.stream(path).await
    }

    /// `GET` of a stream of anything else that is told again and again.
    pub async fn stream<T: DeserializeOwned>(&self, path: &str) -> Result<Events<T>, ClientError> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        Ok(Events::new(fail_unless_ok(response).await?))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let response = fail_unless_ok(self.send(method, path, body).await?).await?;
        serde_json::from_slice(&read(response).await?).map_err(ClientError::broken)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|_| ClientError::NotRunning)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::broken)?;
        // The connection ends with its request: this task ends when the answer was read or dropped.
        tokio::spawn(connection);
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(ClientError::broken)?,
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "hither")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(ClientError::broken)?;
        sender.send_request(request).await.map_err(ClientError::broken)
    }
}

async fn fail_unless_ok(response: Response<Incoming>) -> Result<Response<Incoming>, ClientError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = read(response).await?;
    let error = serde_json::from_slice::<ApiError>(&body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&body);
        let code = if status == StatusCode::NOT_FOUND { ErrorCode::NotFound } else { ErrorCode::Internal };
        ApiError::new(code, format!("The daemon answered {status}: {}", text.trim()))
    });
    Err(ClientError::Api(error))
}

async fn read(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let limited = http_body_util::Limited::new(response.into_body(), MAX_ANSWER);
    Ok(limited.collect().await.map_err(ClientError::broken)?.to_bytes())
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
        Self { body: response.into_body(), buffer: Vec::new(), told: PhantomData }
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
                    if let Ok(data) = frame.map_err(ClientError::broken)?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// Takes the next `data:` line out of the buffer; other fields and comments are skipped (WHATWG, server-sent
    /// events, 9.2.6). The daemon sends every event in one data line.
    fn take_line(&mut self) -> Result<Option<T>, ClientError> {
        while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if let Some(data) = line.strip_prefix(b"data:") {
                return serde_json::from_slice(data).map(Some).map_err(ClientError::broken);
            }
        }
        Ok(None)
    }
}
