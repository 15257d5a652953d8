//! Two devices and a relay that is played in this process.

use super::Notice;
use crate::mail::NoticeHandler;
use crate::publish::publish;
use crate::relay_tests::{Device, Fleet, Node};
use hither_api::ShareRequest;
use hither_proto::DeviceId;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tempfile::TempDir;

async fn start(home: &Path, name: &str) -> Device {
    // The shared files lie beside it: files in it are never shared.
    let device = Device::start(&home.join("own"), name).await;
    super::start(&device.app.catalogue);
    device
}

async fn share(device: &Device, home: &TempDir, name: &str) {
    let path = home.path().join(name);
    std::fs::write(&path, name).unwrap();
    let (publisher, request) = (
        Arc::clone(&device.app.publisher),
        ShareRequest {
            paths: vec![path],
            ..ShareRequest::default()
        },
    );
    let (nobody, _) = tokio::sync::mpsc::unbounded_channel();
    let publishing = tokio::task::spawn_blocking(move || {
        publish(&publisher, &request, &nobody, &AtomicBool::new(false))
    });
    publishing.await.unwrap().unwrap();
}

fn known(device: &Device, of: DeviceId) -> Vec<String> {
    let mut names: Vec<_> = device
        .app
        .catalogue
        .state
        .remote
        .of(of)
        .unwrap()
        .into_values()
        .map(|entry| entry.name)
        .collect();
    names.sort();
    names
}

async fn knows(device: &Device, of: DeviceId, names: &[&str]) {
    let mut news = device.app.catalogue.state.news.subscribe();
    let waiting = async {
        while known(device, of) != names {
            news.changed().await.unwrap();
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(done.is_ok(), "it knows {:?}", known(device, of));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_went_wrong_is_put_right_and_a_stranger_is_not_believed() {
    let (fleet, homes) = (Fleet::new(), [(); 2].map(|()| tempfile::tempdir().unwrap()));
    let node = Node::start(&fleet);
    let url = node.url(Some(fleet.invite(7)));
    let desk = start(homes[0].path(), "desk").await;
    let phone = start(homes[1].path(), "phone").await;
    let id = desk.app.diagnostics.device;
    phone.join(&url).await;
    share(&desk, &homes[0], "one").await;
    desk.join(&url).await;
    knows(&phone, id, &["one"]).await;
    // A message was lost, or the store restored from a backup.
    let wiped = Notice {
        whole: true,
        ..Notice::default()
    };
    phone.app.catalogue.state.remote.apply(id, &wiped).unwrap();
    share(&desk, &homes[0], "two").await;
    knows(&phone, id, &["two"]).await;
    knows(&phone, id, &["one", "two"]).await;
    assert!(
        fleet.state().sent.len() <= 4,
        "two told, one asked, one answered"
    );
    assert!(phone.inbox().await.is_empty() && desk.inbox().await.is_empty());
    // A device that is not in the list may claim anything.
    let entries = phone
        .app
        .catalogue
        .state
        .remote
        .of(id)
        .unwrap()
        .into_values()
        .collect();
    let stranger = hither_carrier::Identity::generate().unwrap().device_id();
    let notice = Notice {
        shares: entries,
        ask: true,
        ..Notice::default()
    };
    phone.app.catalogue.take(stranger, &notice).unwrap();
    assert!(
        known(&phone, stranger).is_empty() && phone.app.catalogue.state.asking.lock().is_empty()
    );
    desk.stop().await;
    phone.stop().await;
}
