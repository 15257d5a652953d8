//! Every number that is declared is counted by a relay that runs, and seen by its operator.

use crate::storing_common::{Device, Open, Version, World, get, parse_metrics, soon};
use bytes::Bytes;
use hither_carrier::CarrierKind;
use hither_proto::{Card, MessageId, Purpose, RelayMessage, RelayPurpose, Space};
use hither_relay::config::{Config, Size, Span};
use hither_relay::ops::labels::{Label, Request};
use hither_relay::start::start;
use std::collections::BTreeMap;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_timed_and_what_expired_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config {
        data: Some(dir.path().into()),
        loopback_only: true,
        port: 0,
        ..Config::default()
    };
    config.extra_tcp_ports = Vec::new();
    config.ops.http = "127.0.0.1:0".into();
    config.ops.drain = Span::millis(200);
    config.store.free_floor = Size(1);
    let running = start(config).await.unwrap();
    let at = running.http.unwrap();
    let world = World::of(&running);
    let counts = async || -> BTreeMap<String, f64> {
        let metrics = parse_metrics(&get(at, "/metrics").await.1);
        let series = metrics["hither_relay_request_seconds_count"].clone();
        series
            .into_iter()
            .chain(metrics["hither_relay_messages_expired_total"].clone())
            .collect()
    };
    let none = counts().await;
    assert_eq!(none.len(), Request::ALL.len() + 1);
    assert!(none.values().all(|count| *count == 0.0), "{none:?}");

    let user = world.user().await;
    let (one, two) = (world.device(&user).await, world.device(&user).await);
    let mut assign = one
        .relay(&world, RelayPurpose::Assign, CarrierKind::Tcp)
        .await;
    assign.say(&RelayMessage::Assign).await;
    assert!(matches!(assign.hear().await, RelayMessage::Assigned { .. }));
    let mut talk = one.talk(&world).await;
    talk.say(&RelayMessage::Cards(vec![Card {
        reader: two.id(),
        sealed: "a card".into(),
    }]))
    .await;
    let sealed = Bytes::from_static(b"soon worthless");
    let id = MessageId::new([1; 16]);
    talk.say(&RelayMessage::Send {
        request: 1,
        to: two.id(),
        id,
        sealed,
        keep_s: 1,
    })
    .await;
    talk.find(|answer| matches!(answer, RelayMessage::Sent { request: 1, .. }).then_some(()))
        .await;
    // What a connection has not finished when a newer one takes its place, its device says again.
    let stored = async {
        while counts().await["request=\"cards\"}"] == 0.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(stored).await;
    let version = Version::random(&one, 1, 3, 5_000);
    // It says hello once more.
    one.share(&world, &version).await;
    let reader = Device::new();
    reader
        .read(
            &world,
            &Open::of(&version, Purpose::Lookup),
            CarrierKind::Tcp,
        )
        .await
        .unwrap();
    let mut bulk = reader
        .read(&world, &Open::of(&version, Purpose::Bulk), CarrierKind::Tcp)
        .await
        .unwrap();
    bulk.want(1, 1, Space::Data, 0..3).await;
    assert_eq!(bulk.answer(1).await.chunks.len(), 3);
    let mut talk = one.talk(&world).await;
    let what = Box::new(hither_proto::GroupRequest::Mine);
    talk.say(&RelayMessage::Group { request: 3, what }).await;
    talk.find(|answer| {
        matches!(answer, RelayMessage::GroupAnswered { request: 3, .. }).then_some(())
    })
    .await;
    talk.say(&RelayMessage::Release {
        request: 2,
        share: version.share(),
    })
    .await;
    talk.find(|answer| matches!(answer, RelayMessage::Released { request: 2 }).then_some(()))
        .await;

    let expected: BTreeMap<String, f64> = Request::ALL
        .iter()
        .map(|request| {
            let times = match request {
                Request::Hello => 3.0,
                Request::Assign
                | Request::Cards
                | Request::Send
                | Request::Group
                | Request::Place
                | Request::Release
                | Request::Put
                | Request::PutEnd
                | Request::Lookup
                | Request::Open
                | Request::Want => 1.0,
            };
            (format!("request=\"{}\"}}", request.word()), times)
        })
        .chain([("}".to_owned(), 1.0)])
        .collect();
    let counted = async {
        // What was sent expires after a second, and is swept soon after.
        while counts().await["}"] == 0.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(counted).await;
    assert_eq!(counts().await, expected);
    drop(world);
    running.stop().await;
}
