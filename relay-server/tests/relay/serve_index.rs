//! The index over real sockets: where it is, who is told what and when, whose announcements live
//! how long.

use crate::serve_common::{Device, Relay, SOON};
use bytes::Bytes;
use hither_carrier::{Link, RelayReader, Stream, write_relay_message};
use hither_proto::limits::MAX_INDEX_FRAME;
use hither_proto::{
    Announcement, Delta, DeviceId, IndexHolder, IndexMessage, IndexTopic, PositionRange, Ranges,
    RelayAddress, RelayMessage, RelayPurpose, RelayRefusalCode,
};
use hither_relay::config::{Rate, Role, Span};
use std::time::{Duration, Instant};
use tokio::time::timeout;

const TOPIC: IndexTopic = IndexTopic::new([7; 32]);

/// A device's stream to an index.
struct Talk {
    /// The link ends with it.
    _link: Link,
    stream: Stream,
    reader: RelayReader,
    /// What the index said first.
    nodes: Vec<RelayAddress>,
}

impl Talk {
    async fn begin(device: &Device, node: &RelayAddress) -> Result<Self, RelayRefusalCode> {
        let (link, mut stream) = device.open(node, RelayPurpose::Index).await;
        let hello = RelayMessage::Index(Box::new(IndexMessage::Hello));
        write_relay_message(&mut stream.send, &hello).await.unwrap();
        let reader = RelayReader::new(MAX_INDEX_FRAME);
        let mut talk = Self {
            _link: link,
            stream,
            reader,
            nodes: Vec::new(),
        };
        match talk.hear().await {
            Ok(Some(IndexMessage::Welcome { nodes, .. })) => Ok(Self { nodes, ..talk }),
            Err(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    async fn say(&mut self, message: IndexMessage) {
        let message = RelayMessage::Index(Box::new(message));
        write_relay_message(&mut self.stream.send, &message)
            .await
            .unwrap();
    }

    /// The next message; `None`: the stream ended.
    async fn hear(&mut self) -> Result<Option<IndexMessage>, RelayRefusalCode> {
        loop {
            match timeout(SOON, self.reader.next(&mut self.stream.recv))
                .await
                .expect("nothing comes")
            {
                Ok(Some(RelayMessage::Index(message))) => return Ok(Some(*message)),
                Ok(Some(RelayMessage::Refused(refusal))) => return Err(refusal.code),
                Ok(Some(RelayMessage::Pong { .. })) => {}
                Ok(Some(other)) => panic!("{other:?}"),
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }

    async fn announce(&mut self, positions: u32) {
        let sealed = Bytes::from_static(b"sealed");
        self.say(IndexMessage::Announce {
            topic: TOPIC,
            holding: holding(positions),
            sealed,
        })
        .await;
    }

    async fn subscribe(&mut self, owner: DeviceId) -> Vec<IndexHolder> {
        self.say(IndexMessage::Subscribe {
            topic: TOPIC,
            owner,
        })
        .await;
        match self.hear().await {
            Ok(Some(IndexMessage::Holders {
                first: true,
                holders,
                ..
            })) => holders,
            other => panic!("{other:?}"),
        }
    }

    /// Everything that was said before has been heard when this returns.
    async fn settled(&mut self) {
        write_relay_message(&mut self.stream.send, &RelayMessage::Ping { nonce: 1 })
            .await
            .unwrap();
        loop {
            match timeout(SOON, self.reader.next(&mut self.stream.recv))
                .await
                .unwrap()
                .unwrap()
            {
                Some(RelayMessage::Pong { nonce: 1 }) => return,
                Some(_) => {}
                None => panic!("the stream ended"),
            }
        }
    }
}

fn run(start: u32, count: u32) -> Ranges {
    PositionRange::new(start, count).into_iter().collect()
}

fn holding(positions: u32) -> Announcement {
    let held = run(0, positions);
    Announcement {
        version: 1,
        epoch: 1,
        seq: 1,
        complete: false,
        held,
        has_manifest: true,
    }
}

fn delta(seq: u64, start: u32) -> IndexMessage {
    let (added, removed) = (run(start, 1), Ranges::default());
    IndexMessage::Delta {
        topic: TOPIC,
        change: Delta {
            version: 1,
            epoch: 1,
            seq,
            added,
            removed,
        },
    }
}

fn entries(relay: &Relay) -> u64 {
    relay.running.node.index_held().unwrap().entries
}

/// Waits until the index has so many announcements.
async fn until(relay: &Relay, wanted: u64) {
    timeout(SOON, async {
        while entries(relay) != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("another number of announcements");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_gathered_and_pushed_and_gaps_are_noticed() {
    let relay = Relay::start(|_| {}).await;
    let (holder, reader) = (Device::new(), Device::new());
    let mut says = Talk::begin(&holder, &relay.address()).await.unwrap();
    assert_eq!(says.nodes, [relay.address()]);
    says.announce(3).await;
    until(&relay, 1).await;
    let mut hears = Talk::begin(&reader, &relay.address()).await.unwrap();
    let holders = hears.subscribe(holder.id).await;
    assert_eq!(
        (holders.len(), &holders[0].holding, holders[0].same_site),
        (1, &holding(3), true)
    );
    // What comes within the pause after the first update is one update.
    says.say(delta(2, 10)).await;
    let Ok(Some(IndexMessage::Changed { device, .. })) = hears.hear().await else {
        panic!()
    };
    assert_eq!(device, holder.id);
    let begun = Instant::now();
    for seq in 3..23 {
        says.say(delta(seq, 10 + seq as u32)).await;
    }
    says.settled().await;
    let mut added = 0;
    let mut updates = 0;
    while added < 20 {
        let Ok(Some(IndexMessage::Changed { change, .. })) = hears.hear().await else {
            panic!()
        };
        added += change.added.total();
        updates += 1;
    }
    assert!(
        updates <= 2 + begun.elapsed().as_millis() / 300,
        "{updates} updates"
    );
    says.say(delta(60, 5)).await;
    assert_eq!(
        says.hear().await,
        Ok(Some(IndexMessage::Resync { topic: TOPIC }))
    );
    says.say(IndexMessage::Withdraw { topic: TOPIC }).await;
    let gone = hears.hear().await.unwrap().unwrap();
    assert!(matches!(gone, IndexMessage::Holders { gone, .. } if gone == [holder.id]));
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announcements_end_with_their_stream_or_their_time() {
    let relay = Relay::start(|config| config.index.heartbeat = Span::secs(1)).await;
    let devices = [Device::new(), Device::new(), Device::new()];
    let mut talks = Vec::new();
    for device in &devices {
        let mut talk = Talk::begin(device, &relay.address()).await.unwrap();
        talk.announce(3).await;
        talks.push(talk);
    }
    until(&relay, 3).await;
    // In order.
    let mut first = talks.remove(0);
    first.stream.send.finish().await.unwrap();
    until(&relay, 2).await;
    // One is lost, the other goes on giving signs of life.
    let begun = Instant::now();
    let mut lives = talks.pop().unwrap();
    drop(talks);
    devices[1].endpoint.close().await;
    while entries(&relay) == 2 {
        lives.settled().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(begun.elapsed() < SOON);
    }
    assert!(
        begun.elapsed() > Duration::from_secs(2),
        "it might have been back in a moment"
    );
    lives.settled().await;
    assert_eq!(entries(&relay), 1);
    // A stream that is silent for so long ends.
    assert_eq!(lives.hear().await, Ok(None));
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_come_if_they_may_and_the_revoked_are_thrown_out() {
    let relay = Relay::start(|config| config.guests = false).await;
    let (guest, member) = (Device::new(), Device::new());
    let refused = Talk::begin(&guest, &relay.address()).await.map(drop);
    assert_eq!(refused, Err(RelayRefusalCode::NotRegistered));
    let invitation = relay.invite(1).await;
    drop(member.join(&relay, &invitation).await);
    let mut talk = Talk::begin(&member, &relay.address()).await.unwrap();
    talk.announce(1).await;
    until(&relay, 1).await;
    relay
        .running
        .node
        .registry
        .revoke(&member.id)
        .await
        .unwrap();
    assert_eq!(talk.hear().await, Err(RelayRefusalCode::Revoked));
    until(&relay, 0).await;
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_announces_too_much_or_too_often_is_slowed_down_and_then_refused() {
    let relay = Relay::start(|config| {
        config.index.device_entries = 1;
        config.index.device_streams = 1;
        config.limits.index_device = Rate {
            per_second: 20.0,
            burst: 120.0,
        };
    })
    .await;
    let device = Device::new();
    let mut talk = Talk::begin(&device, &relay.address()).await.unwrap();
    let again = Talk::begin(&device, &relay.address()).await.map(drop);
    assert_eq!(again, Err(RelayRefusalCode::Busy));
    let (topic, sealed) = (IndexTopic::new([8; 32]), Bytes::from_static(b"sealed"));
    talk.announce(3).await;
    talk.say(IndexMessage::Announce {
        topic,
        holding: holding(1),
        sealed: sealed.clone(),
    })
    .await;
    let Ok(Some(IndexMessage::Refused {
        topic: about,
        refusal,
    })) = talk.hear().await
    else {
        panic!()
    };
    assert_eq!((about, refusal.code), (topic, RelayRefusalCode::Quota));
    assert!(refusal.retry_after_ms > 0);
    // 20 messages beyond the burst take about a second.
    let begun = Instant::now();
    for seq in 2..138 {
        talk.say(delta(seq, seq as u32 + 10)).await;
    }
    talk.settled().await;
    assert!(
        begun.elapsed() > Duration::from_millis(800),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(entries(&relay), 1);
    // As long as 160 messages, more than ever pass at once: that is too long to wait for.
    let scattered = (0..16_000)
        .filter_map(|at| PositionRange::new(at * 2, 1))
        .collect();
    let holding = Announcement {
        held: scattered,
        ..holding(0)
    };
    talk.say(IndexMessage::Announce {
        topic: TOPIC,
        holding,
        sealed,
    })
    .await;
    assert_eq!(talk.hear().await, Err(RelayRefusalCode::Busy));
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_says_where_the_index_is_and_tells_when_that_changes() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "a secret of more than enough characters").unwrap();
    let control = Relay::start(|config| {
        config.roles = vec![Role::Control, Role::Assign, Role::Front];
        config.fleet.token_file = Some(token.clone());
    })
    .await;
    let url = control.running.url.to_string();
    let node = || {
        let (url, token) = (url.clone(), token.clone());
        Relay::start(move |config| {
            config.roles = vec![Role::Index];
            config.fleet.control = url;
            config.fleet.token_file = Some(token);
        })
    };
    let device = Device::new();
    let mut none = Talk::begin(&device, &control.address()).await.unwrap();
    assert!(none.nodes.is_empty());
    assert_eq!(
        none.hear().await,
        Ok(None),
        "whoever is no index ends the stream"
    );
    let one = node().await;
    let mut talk = Talk::begin(&device, &one.address()).await.unwrap();
    assert_eq!(talk.nodes, [one.address()]);
    let two = node().await;
    let Ok(Some(IndexMessage::Welcome { nodes, .. })) = talk.hear().await else {
        panic!()
    };
    assert_eq!(nodes.len(), 2);
    let there = timeout(SOON, async {
        loop {
            let there = Talk::begin(&device, &control.address())
                .await
                .unwrap()
                .nodes;
            if there.len() == 2 {
                return there;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(there, nodes);
    // Who goes down in order is named no more.
    two.running.stop().await;
    let Ok(Some(IndexMessage::Welcome { nodes, .. })) = talk.hear().await else {
        panic!()
    };
    assert_eq!(nodes, [one.address()]);
    one.running.stop().await;
    control.running.stop().await;
}
