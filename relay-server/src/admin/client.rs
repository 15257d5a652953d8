//! Asks a running node over its admin socket: one connection for each request.

use super::error::{AdminError, Code};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// Longest answer, bytes.
const MAX_ANSWER: usize = 64 << 20;

/// A client of the node behind one socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// Whether a node listens.
    pub async fn is_running(&self) -> bool {
        UnixStream::connect(&self.socket).await.is_ok()
    }

    /// `GET`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        self.call(Method::GET, path, Vec::new()).await
    }

    /// `POST`.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, AdminError> {
        self.call(
            Method::POST,
            path,
            serde_json::to_vec(body).map_err(broken)?,
        )
        .await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, AdminError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| no_node(&self.socket, &error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // It ends with its only request.
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "hither-relay")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let good = response.status().is_success();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(broken)?
            .to_bytes();
        connection.abort();
        if good {
            return serde_json::from_slice(&body).map_err(broken);
        }
        Err(serde_json::from_slice(&body).unwrap_or_else(|_| broken("an error without words")))
    }
}

fn broken(error: impl std::fmt::Display) -> AdminError {
    AdminError::new(
        Code::Failed,
        format!("The relay does not answer as expected: {error}."),
    )
    .hint("Is it of the same version as this program?")
}

fn no_node(socket: &Path, error: &io::Error) -> AdminError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            AdminError::io("The relay's socket cannot be opened", error)
        }
        _ => AdminError::new(
            Code::NotRunning,
            format!(
                "No relay is running with the data folder {}.",
                socket.parent().unwrap_or(socket).display()
            ),
        )
        .hint("Start it, or name the folder of a running one: --data DIR"),
    }
}
