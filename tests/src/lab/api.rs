//! The local API of one daemon, for tests that do not run in a runtime.

use super::wait::PATIENCE;
use hither_api::{Client, ClientError, Event, Events, TransferView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
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
pub struct Api(Client);

impl Api {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self(Client::new(socket))
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
