//! Every engine keeps the contract.

use super::common::{embedded_in, remote_of};
use futures::future::BoxFuture;
use hither_content::storage::MemoryStorage;
use hither_relay::state::conformance::{Fixture, conformance};
use hither_relay::state::{Embedded, Options, Patience, Reconnecting, StateError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

fn fixture(embedded: Embedded) -> Fixture {
    let embedded = Arc::new(embedded);
    let state = Arc::clone(&embedded) as _;
    Fixture {
        state,
        close: Box::pin(async move { embedded.close().await }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn embedded_on_redb_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    let open = move |name: &str| -> BoxFuture<'static, Fixture> {
        let folder = root.join(name);
        Box::pin(async move { fixture(Embedded::open(&folder, &Options::default()).unwrap().0) })
    };
    conformance(&open).await;
}

/// Storages by name: what stays when a state on one of them is closed.
#[derive(Clone, Default)]
struct Disks(Arc<Mutex<HashMap<String, MemoryStorage>>>);

impl Disks {
    fn open(&self, name: &str) -> Embedded {
        embedded_in(self.0.lock().unwrap().entry(name.to_owned()).or_default())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn embedded_in_memory_keeps_the_contract() {
    let disks = Disks::default();
    let open = move |name: &str| -> BoxFuture<'static, Fixture> {
        let (disks, name) = (disks.clone(), name.to_owned());
        Box::pin(async move { fixture(disks.open(&name)) })
    };
    conformance(&open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn remote_keeps_the_contract() {
    let disks = Disks::default();
    let open = move |name: &str| -> BoxFuture<'static, Fixture> {
        let (disks, name) = (disks.clone(), name.to_owned());
        Box::pin(async move {
            let embedded = Arc::new(disks.open(&name));
            let state = Arc::new(remote_of(Arc::clone(&embedded) as _).0);
            Fixture {
                state,
                close: Box::pin(async move { embedded.close().await }),
            }
        })
    };
    conformance(&open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reconnecting_keeps_the_contract() {
    let disks = Disks::default();
    let open = move |name: &str| -> BoxFuture<'static, Fixture> {
        let (disks, name) = (disks.clone(), name.to_owned());
        Box::pin(async move {
            let embedded = Arc::new(disks.open(&name));
            let served = Arc::clone(&embedded);
            let connect = move || -> BoxFuture<'static, Result<_, StateError>> {
                let served = Arc::clone(&served);
                Box::pin(async move { Ok(remote_of(served).0) })
            };
            let state = Arc::new(Reconnecting::new(connect, Patience::default()));
            Fixture {
                state,
                close: Box::pin(async move { embedded.close().await }),
            }
        })
    };
    conformance(&open).await;
}
