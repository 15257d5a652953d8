//! Uploads to a node's store and reading from it, over loopback and with the protocol that devices
//! speak.

use crate::storing_common::{Device, End, Open, Version, World, random, soon};
use hither_carrier::CarrierKind;
use hither_proto::{
    HolderKind, Message, ProofKind, Purpose, ReadKey, Refusal, RelayMessage, RelayPurpose,
    RelayRefusalCode, ShareId, ShareSecret, Space,
};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_uploaded_is_found_and_read_by_who_knows_the_share() {
    let world = World::new().await;
    let owner = world.somebody().await;
    for carrier in [CarrierKind::Quic, CarrierKind::Tcp] {
        let version = Version::random(&owner, 3, 300, 20_000);
        owner.place(&world, version.share(), version.bytes()).await;
        let uploaded = owner
            .upload_over(&world, &version, usize::MAX, carrier)
            .await;
        assert_eq!(
            (uploaded.end, uploaded.asked, uploaded.stored),
            (End::Done, 303, 303)
        );
        // A guest: nobody's device here.
        let reader = Device::new();
        let mut found = reader
            .read(&world, &Open::of(&version, Purpose::Lookup), carrier)
            .await
            .unwrap();
        let Message::Elsewhere { holders, .. } = found.hear().await else {
            panic!("no holders")
        };
        assert_eq!(holders.len(), 1);
        assert_eq!(
            (holders[0].kind, &holders[0].address),
            (HolderKind::Store, &world.node.address)
        );
        let mut control = reader
            .read(&world, &Open::of(&version, Purpose::Control), carrier)
            .await
            .unwrap();
        let opened = control.opened.take().unwrap();
        assert_eq!(
            (opened.head, opened.device_name.as_str()),
            (version.head.to_unchecked(), "relay store")
        );
        assert_eq!(opened.tcp_port, world.node.endpoint.tcp_port());
        let Message::Announce(said) = control.hear().await else {
            panic!("no announcement")
        };
        assert!(said.complete && said.has_manifest && said.version == 3 && said.held.is_empty());
        control.say(&Message::Ping { nonce: 5 }).await;
        assert_eq!(control.hear().await, Message::Pong { nonce: 5 });
        let mut bulk = reader
            .read(&world, &Open::of(&version, Purpose::Bulk), carrier)
            .await
            .unwrap();
        // All at once: answers come in the order of the questions.
        bulk.want(1, 3, Space::Root, 0..1).await;
        bulk.want(2, 3, Space::Manifest, 0..2).await;
        bulk.want(3, 3, Space::Data, 0..300).await;
        for (request, space) in [(1, Space::Root), (2, Space::Manifest), (3, Space::Data)] {
            let answer = bulk.answer(request).await;
            assert!(answer.not_held.is_empty());
            assert_eq!(answer.chunks, version.all(space));
        }
        // Of another version and beyond the end there is nothing.
        bulk.want(4, 2, Space::Data, 0..2).await;
        assert_eq!(bulk.answer(4).await.not_held, [0, 1]);
        bulk.want(5, 3, Space::Data, 298..302).await;
        let answer = bulk.answer(5).await;
        assert_eq!((answer.not_held, answer.chunks.len()), (vec![300, 301], 2));
    }
    assert!(world.node.metrics.downloaded.get() > 2 * 300 * 20_000);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_broke_off_goes_on_with_what_is_missing() {
    let world = World::new().await;
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 60, 30_000);
    owner.place(&world, version.share(), version.bytes()).await;
    let first = owner.upload(&world, &version, 40).await;
    assert_eq!(
        (first.end, first.asked, first.stored),
        (End::Broken, 63, 40)
    );
    // What is there can be read already.
    let reader = Device::new();
    let mut bulk = reader
        .read(&world, &Open::of(&version, Purpose::Bulk), CarrierKind::Tcp)
        .await
        .unwrap();
    bulk.want(1, 1, Space::Data, 30..60).await;
    let answer = bulk.answer(1).await;
    assert_eq!(answer.not_held, (37..60).collect::<Vec<_>>());
    assert_eq!(answer.chunks, version.all(Space::Data)[30..37]);
    let second = owner.upload(&world, &version, usize::MAX).await;
    assert_eq!(
        (second.end, second.asked, second.stored),
        (End::Done, 23, 23)
    );
    let again = owner.upload(&world, &version, usize::MAX).await;
    assert_eq!((again.end, again.asked), (End::Done, 0));
    bulk.want(2, 1, Space::Data, 30..60).await;
    assert_eq!(
        bulk.answer(2).await.chunks,
        version.all(Space::Data)[30..60]
    );
    // The next version, with most of the data, costs what is new.
    let mut data = version.data.clone();
    data[5] = random(30_000);
    let next = Version::of(&owner, version.secret.clone(), 2, data);
    owner.place(&world, next.share(), next.bytes()).await;
    let third = owner.upload(&world, &next, usize::MAX).await;
    assert_eq!((third.end, third.asked), (End::Done, 1 + 2 + 1));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_hear_what_comes_and_of_the_next_version() {
    let world = World::new().await;
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 50, 10_000);
    owner.place(&world, version.share(), version.bytes()).await;
    let first = owner.upload(&world, &version, 13).await;
    assert_eq!(first.end, End::Broken);
    let reader = Device::new();
    let open = Open::of(&version, Purpose::Control);
    let mut control = reader.read(&world, &open, CarrierKind::Quic).await.unwrap();
    let Message::Announce(said) = control.hear().await else {
        panic!("no announcement")
    };
    assert_eq!(
        (said.complete, said.has_manifest, said.held.total()),
        (false, true, 10)
    );
    let mut seq = said.seq;
    let second = owner.upload(&world, &version, 20).await;
    assert_eq!(second.end, End::Broken);
    let mut held = said.held.to_bitmap();
    while held.len() < 30 {
        let Message::HaveDelta(delta) = control.hear().await else {
            panic!("no delta")
        };
        assert_eq!((delta.seq, delta.epoch), (seq + 1, said.epoch));
        seq = delta.seq;
        held |= delta.added.to_bitmap();
    }
    owner.upload(&world, &version, usize::MAX).await;
    loop {
        match control.hear().await {
            Message::HaveDelta(delta) => seq = delta.seq,
            Message::Announce(said) => {
                assert!(said.complete && said.seq == seq + 1);
                break;
            }
            other => panic!("an unexpected message: {other:?}"),
        }
    }
    let next = Version::of(&owner, version.secret.clone(), 2, vec![random(10_000)]);
    owner.share(&world, &next).await;
    assert_eq!(
        control.hear().await,
        Message::NewHead(next.head.to_unchecked())
    );
    let Message::Announce(said) = control.hear().await else {
        panic!("no announcement")
    };
    assert!(said.complete && said.version == 2);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_proof_and_a_share_that_is_not_here_get_one_answer() {
    let world = World::new().await;
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 3, 5_000);
    owner.share(&world, &version).await;
    let reader = Device::new();
    for purpose in [Purpose::Control, Purpose::Bulk, Purpose::Lookup] {
        let right = Open::of(&version, purpose);
        let wrong = [
            Open {
                key: ReadKey::new([0; 32]),
                ..right.clone()
            },
            Open {
                key: ReadKey::new([7; 32]),
                ..right.clone()
            },
            Open {
                kind: ProofKind::Secret,
                ..right.clone()
            },
            Open {
                share: ShareId::new([1; 16]),
                ..right.clone()
            },
            Open {
                share: ShareId::new([1; 16]),
                key: ReadKey::new([0; 32]),
                ..right.clone()
            },
            Open {
                owner: Some(reader.id()),
                ..right.clone()
            },
        ];
        for open in wrong {
            let asked = Instant::now();
            let refused = reader
                .read(&world, &open, CarrierKind::Quic)
                .await
                .map(drop)
                .unwrap_err();
            assert_eq!(refused, Refusal::NotFound);
            assert!(
                asked.elapsed() >= Duration::from_millis(30),
                "the time tells them apart"
            );
        }
        reader
            .read(&world, &right, CarrierKind::Quic)
            .await
            .unwrap();
    }
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_can_be_kept_out_and_revoked_devices_are() {
    let world = World::with(|settings| settings.config.guests = false).await;
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 3, 5_000);
    owner.share(&world, &version).await;
    let (guest, member) = (Device::new(), world.somebody().await);
    for purpose in [Purpose::Control, Purpose::Bulk, Purpose::Lookup] {
        let open = Open::of(&version, purpose);
        let refused = guest
            .read(&world, &open, CarrierKind::Tcp)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(refused, Refusal::NotFound);
        member.read(&world, &open, CarrierKind::Tcp).await.unwrap();
    }
    // What it reads already ends too, and nobody else's reading.
    let other = world.somebody().await;
    let mut reading = Vec::new();
    for purpose in [Purpose::Control, Purpose::Bulk] {
        reading.push(
            member
                .read(&world, &Open::of(&version, purpose), CarrierKind::Quic)
                .await
                .unwrap(),
        );
    }
    let mut goes_on = other
        .read(&world, &Open::of(&version, Purpose::Bulk), CarrierKind::Tcp)
        .await
        .unwrap();
    world.node.registry.revoke(&member.id()).await.unwrap();
    for reader in &mut reading {
        reader.is_ended().await;
    }
    goes_on.want(1, 1, Space::Data, 0..1).await;
    assert_eq!(goes_on.answer(1).await.chunks.len(), 1);
    let refused = member
        .read(&world, &Open::of(&version, Purpose::Bulk), CarrierKind::Tcp)
        .await;
    assert_eq!(refused.map(drop).unwrap_err(), Refusal::NotFound);
    world.node.registry.revoke(&owner.id()).await.unwrap();
    let refused = owner.upload(&world, &version, usize::MAX).await;
    assert_eq!(refused.end, End::Refused(RelayRefusalCode::Revoked));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_uploads_or_gives_up_what_is_not_theirs() {
    let world = World::new().await;
    let (owner, other, stranger) = (
        world.somebody().await,
        world.somebody().await,
        Device::new(),
    );
    let version = Version::random(&owner, 1, 3, 5_000);
    owner.share(&world, &version).await;
    // The same share, signed by another device, was placed for nobody.
    let theirs = Version::of(&other, version.secret.clone(), 9, version.data.clone());
    let refused = other.upload(&world, &theirs, usize::MAX).await;
    assert_eq!(refused.end, End::Refused(RelayRefusalCode::NotFound));
    // The owner's head, shown by another device.
    let refused = other.upload(&world, &version, usize::MAX).await;
    assert_eq!(refused.end, End::Refused(RelayRefusalCode::Invalid));
    // A share that nobody placed.
    let unplaced = Version::random(&owner, 1, 3, 5_000);
    let refused = owner.upload(&world, &unplaced, usize::MAX).await;
    assert_eq!(refused.end, End::Refused(RelayRefusalCode::NotFound));
    let version_of_stranger = Version::random(&stranger, 1, 3, 5_000);
    let refused = stranger
        .upload(&world, &version_of_stranger, usize::MAX)
        .await;
    assert_eq!(refused.end, End::Refused(RelayRefusalCode::NotRegistered));
    let mut relay = other
        .relay(&world, RelayPurpose::Device, CarrierKind::Quic)
        .await;
    relay
        .say(&RelayMessage::Hello {
            invitation: None,
            instance: 0,
        })
        .await;
    assert!(matches!(relay.hear().await, RelayMessage::Welcome(_)));
    relay
        .say(&RelayMessage::Release {
            request: 4,
            share: version.share(),
        })
        .await;
    let failed = relay.hear().await;
    assert!(
        matches!(&failed, RelayMessage::Failed { request: 4, refusal } if refusal.code == RelayRefusalCode::NotFound),
        "{failed:?}"
    );
    Device::new()
        .read(
            &world,
            &Open::of(&version, Purpose::Bulk),
            CarrierKind::Quic,
        )
        .await
        .unwrap();
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_about_chunks_are_found_out() {
    let world = World::new().await;
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 5, 5_000);
    owner.place(&world, version.share(), version.bytes()).await;
    // Other bytes than the list says.
    let lie = Version {
        data: (0..5).map(|_| random(5_000)).collect(),
        ..Version::random(&owner, 1, 0, 0)
    };
    let mut relay = owner
        .relay(&world, RelayPurpose::Upload, CarrierKind::Tcp)
        .await;
    relay.begin(&version).await;
    let lie = Version {
        head: version.head.clone(),
        root: version.root.clone(),
        manifest: version.manifest.clone(),
        ..lie
    };
    let refused = relay.finish_upload(&lie, usize::MAX).await;
    assert_eq!(refused.end, End::Refused(RelayRefusalCode::Invalid));
    // Another length.
    let mut relay = owner
        .relay(&world, RelayPurpose::Upload, CarrierKind::Tcp)
        .await;
    relay.begin(&version).await;
    let short = Version {
        data: (0..5).map(|_| random(4_000)).collect(),
        ..lie
    };
    let refused = relay.finish_upload(&short, usize::MAX).await;
    assert_eq!(refused.end, End::Refused(RelayRefusalCode::Invalid));
    let good = owner.upload(&world, &version, usize::MAX).await;
    assert_eq!(good.end, End::Done);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_quota_is_kept_and_counted() {
    let world = World::with(|settings| settings.store.user_quota = Some(100_000)).await;
    let owner = world.somebody().await;
    let small = Version::random(&owner, 1, 10, 5_000);
    owner.share(&world, &small).await;
    let large = Version::random(&owner, 1, 10, 10_000);
    owner.place(&world, large.share(), large.bytes()).await;
    let refused = owner.upload(&world, &large, usize::MAX).await;
    assert_eq!(refused.end, End::Refused(RelayRefusalCode::Quota));
    assert_eq!(world.node.metrics.quota_refusals.get(), 1);
    // Another user has a quota of their own.
    let other = world.somebody().await;
    other
        .share(&world, &Version::random(&other, 1, 10, 9_000))
        .await;
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_uploads_and_goes_on_serving() {
    let world = World::new().await;
    let owner = world.somebody().await;
    let (version, next) = (
        Version::random(&owner, 1, 10, 5_000),
        Version::random(&owner, 1, 10, 5_000),
    );
    owner.share(&world, &version).await;
    owner.place(&world, next.share(), next.bytes()).await;
    world.index.full.store(true, Ordering::SeqCst);
    let refused = owner.upload(&world, &next, usize::MAX).await;
    assert_eq!(refused.end, End::Refused(RelayRefusalCode::NoSpace));
    let reader = Device::new();
    let mut bulk = reader
        .read(&world, &Open::of(&version, Purpose::Bulk), CarrierKind::Tcp)
        .await
        .unwrap();
    bulk.want(1, 1, Space::Data, 0..10).await;
    assert_eq!(bulk.answer(1).await.chunks, version.all(Space::Data));
    world.index.full.store(false, Ordering::SeqCst);
    let uploaded = owner.upload(&world, &next, usize::MAX).await;
    assert_eq!(uploaded.end, End::Done);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_uploads_beyond_the_bound_are_sent_away() {
    let world = World::with(|settings| {
        settings.config.store.device_readers = 2;
        settings.config.store.guest_readers = 3;
        settings.config.store.device_uploads = 1;
    })
    .await;
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 3, 5_000);
    owner.share(&world, &version).await;
    let open = Open::of(&version, Purpose::Bulk);
    let (one, two) = (Device::new(), Device::new());
    let read = async |device: &Device| device.read(&world, &open, CarrierKind::Quic).await;
    let held = [read(&one).await.unwrap(), read(&one).await.unwrap()];
    assert!(matches!(read(&one).await, Err(Refusal::Busy(_))));
    let third = read(&two).await.unwrap();
    assert!(
        matches!(read(&two).await, Err(Refusal::Busy(_))),
        "a fourth guest"
    );
    // A member is no guest.
    owner.read(&world, &open, CarrierKind::Quic).await.unwrap();
    drop((held, third));
    let freed = async {
        while read(&one).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon(freed).await;
    let mut first = owner
        .relay(&world, RelayPurpose::Upload, CarrierKind::Tcp)
        .await;
    first.begin(&version).await;
    assert!(matches!(first.hear().await, RelayMessage::Missing { .. }));
    let refused = owner.upload(&world, &version, usize::MAX).await;
    assert_eq!(refused.end, End::Refused(RelayRefusalCode::Busy));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_can_be_taken_back() {
    let world = World::new().await;
    let owner = world.somebody().await;
    let version = Version::random(&owner, 1, 200, 100_000);
    owner.share(&world, &version).await;
    let reader = Device::new();
    let mut bulk = reader
        .read(&world, &Open::of(&version, Purpose::Bulk), CarrierKind::Tcp)
        .await
        .unwrap();
    bulk.want(1, 1, Space::Data, 0..200).await;
    bulk.want(2, 1, Space::Data, 0..200).await;
    bulk.say(&Message::Cancel { request: 2 }).await;
    bulk.want(3, 1, Space::Data, 7..8).await;
    assert_eq!(bulk.answer(1).await.chunks.len(), 200);
    assert!(bulk.answer(2).await.chunks.len() < 200);
    assert_eq!(bulk.answer(3).await.chunks, version.all(Space::Data)[7..8]);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_was_released_is_gone_for_its_readers() {
    let world = World::new().await;
    let owner = world.somebody().await;
    let version = Version::of(&owner, ShareSecret::new([3; 16]), 1, vec![random(9_000)]);
    owner.share(&world, &version).await;
    let reader = Device::new();
    let mut control = reader
        .read(
            &world,
            &Open::of(&version, Purpose::Control),
            CarrierKind::Quic,
        )
        .await
        .unwrap();
    assert!(matches!(control.hear().await, Message::Announce(_)));
    let mut relay = owner
        .relay(&world, RelayPurpose::Device, CarrierKind::Quic)
        .await;
    relay
        .say(&RelayMessage::Hello {
            invitation: None,
            instance: 0,
        })
        .await;
    relay
        .say(&RelayMessage::Release {
            request: 4,
            share: version.share(),
        })
        .await;
    while relay.hear().await != (RelayMessage::Released { request: 4 }) {}
    assert_eq!(control.hear().await, Message::Refused(Refusal::Gone));
    let refused = reader
        .read(
            &world,
            &Open::of(&version, Purpose::Bulk),
            CarrierKind::Quic,
        )
        .await;
    assert_eq!(refused.map(drop).unwrap_err(), Refusal::NotFound);
    world.node.stop().await;
}
