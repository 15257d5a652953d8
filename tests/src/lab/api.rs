//! The local API of one daemon, for tests that do not run in a runtime.

use super::wait::PATIENCE;
use hither_api::{Client, ClientError, Event, Events, TransferView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::LazyLock;
use tokio::runtime::Runtime;
use tokio::time::timeout;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
});

fn wait<T>(what: &str, future: impl Future<Output = T>) -> T {
    RUNTIME
        .block_on(async { timeout(PATIENCE, future).await })
        .unwrap_or_else(|_| panic!("no answer: {what}"))
}

/// Speaks to one daemon.
#[derive(Debug, Clone)]
pub struct Api(Client, PathBuf);

impl Api {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self(Client::new(socket.clone()), socket)
    }

    /// `GET`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        wait(path, self.0.get(path))
    }

    /// `POST`.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        wait(path, self.0.post(path, body))
    }

    /// Any request, with a body that need make no sense; the status and the answer.
    pub fn raw(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<(u16, serde_json::Value), Box<dyn std::error::Error>> {
        let mut stream = UnixStream::connect(&self.1)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: hither\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no end of the head")?;
        let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
        Ok((status, serde_json::from_str(body)?))
    }

    /// Every event that a call tells from now on.
    pub fn heard(&self, path: &str) -> Result<Heard, ClientError> {
        Ok(Heard(wait(path, self.0.events(path))?))
    }

    /// The events of a transfer from now on.
    pub fn events(&self, transfer: &str) -> Result<Heard, ClientError> {
        let path = format!("/v1/transfers/{transfer}/events");
        Ok(Heard(wait(&path, self.0.events(&path))?))
    }

    /// Begins long work; its events.
    pub fn work(&self, path: &str, body: &impl Serialize) -> Result<Heard, ClientError> {
        Ok(Heard(wait(path, self.0.work(path, body))?))
    }

    /// How a transfer looks from now on.
    pub fn views(&self, transfer: &str) -> Result<Heard<TransferView>, ClientError> {
        let path = format!("/v1/transfers/{transfer}/view");
        Ok(Heard(wait(&path, self.0.stream(&path))?))
    }
}

/// Events as they come.
#[derive(Debug)]
pub struct Heard<T = Event>(Events<T>);

impl<T: DeserializeOwned> Heard<T> {
    /// Waits for the next one of which `wanted` makes something; `None` when the stream ends
    /// before.
    pub fn wait_for<F>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&T) -> Option<F>,
    ) -> Option<F> {
        wait(what, async {
            while let Ok(Some(event)) = self.0.next().await {
                if let Some(found) = wanted(&event) {
                    return Some(found);
                }
            }
            None
        })
    }
}
