//! A relay that was stopped has nothing left that runs, and its folder is free for the next one.

use crate::storing_common::{Device, End, Open, Version, World, soon};
use hither_carrier::CarrierKind;
use hither_content::storage::DEFAULT_ENGINE;
use hither_proto::{Purpose, RelayPurpose};
use hither_relay::config::{Config, Folder, Size, Span};
use hither_relay::start::{Running, start};
use hither_relay::store::open_index;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

fn config(data: &Path) -> Config {
    let mut config = Config {
        data: Some(data.into()),
        loopback_only: true,
        port: 0,
        ..Config::default()
    };
    config.extra_tcp_ports = Vec::new();
    config.ops.http = "127.0.0.1:0".into();
    config.ops.drain = Span::millis(200);
    config.store.free_floor = Size(1);
    config
}

/// Tasks of this program.
fn tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

/// A relay that is used in every way, and which of its users goes on when it is told to end.
async fn used(data: &Path) -> (Running, Vec<Device>, Vec<Box<dyn std::any::Any>>) {
    let running = start(config(data)).await.unwrap();
    let world = World::of(&running);
    let user = world.user().await;
    let (one, two) = (world.device(&user).await, world.device(&user).await);
    let version = Version::random(&one, 1, 30, 20_000);
    one.share(&world, &version).await;
    let mut open: Vec<Box<dyn std::any::Any>> = Vec::new();
    open.push(Box::new(one.talk(&world).await));
    // An upload that is under way, with chunks that are not on the disk yet.
    let next = Version::random(&one, 1, 30, 20_000);
    one.place(&world, next.share(), next.bytes()).await;
    let mut upload = one
        .relay(&world, RelayPurpose::Upload, CarrierKind::Tcp)
        .await;
    upload.begin(&next).await;
    upload.hear().await;
    open.push(Box::new(upload));
    let read = Open::of(&version, Purpose::Control);
    open.push(Box::new(
        two.read(&world, &read, CarrierKind::Quic).await.unwrap(),
    ));
    // Two that collect metrics: one keeps its connection, the other has asked for half a page.
    for request in ["GET /healthz HTTP/1.1\r\nhost: relay\r\n\r\n", "GET /metr"] {
        let mut stream = TcpStream::connect(running.http.unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        if request.ends_with("\r\n\r\n") {
            soon(stream.read_u8()).await.unwrap();
        }
        open.push(Box::new(stream));
    }
    // And an operator in the middle of a word.
    let mut admin = UnixStream::connect(Folder::of(&running.node.config).socket())
        .await
        .unwrap();
    let words = b"POST /v1/gc HTTP/1.1\r\nhost: relay\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    admin.write_all(words).await.unwrap();
    open.push(Box::new(admin));
    (running, vec![one, two], open)
}

async fn leaves_nothing(gently: bool) {
    let dir = tempfile::tempdir().unwrap();
    let before = tasks();
    let (running, devices, open) = used(dir.path()).await;
    let folder = Folder::of(&running.node.config);
    let store = std::sync::Arc::downgrade(running.node.store.as_ref().unwrap());
    let node = std::sync::Arc::downgrade(&running.node);
    // The devices' sockets have tasks of their own: what is left is compared when they are gone.
    match gently {
        true => soon(running.stop()).await,
        false => soon(running.kill()).await,
    }
    assert!(
        node.upgrade().is_none() && store.upgrade().is_none(),
        "somebody still uses the node"
    );
    // The databases can be opened at once only if they were closed.
    drop(open_index(&folder.index(), DEFAULT_ENGINE).unwrap());
    drop(open);
    for device in &devices {
        device.endpoint.close().await;
    }
    drop(devices);
    let quiet = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    soon(quiet).await;
    let again = soon(start(config(dir.path()))).await.unwrap();
    let world = World::of(&again);
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 3, 5_000);
    owner.place(&world, version.share(), version.bytes()).await;
    assert_eq!(
        owner.upload(&world, &version, usize::MAX).await.end,
        End::Done
    );
    drop(world);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_goes_gently_leaves_nothing() {
    leaves_nothing(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_goes_at_once_leaves_nothing() {
    leaves_nothing(false).await;
}
