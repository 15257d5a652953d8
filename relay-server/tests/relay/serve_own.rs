//! Devices of one user, at a relay: one removes another, in the relay's order, and invites more
//! (P6); and devices of other users that a device takes letters of (P1, C5).

use crate::serve_common::{Device, Relay, Talk, refused};
use hither_proto::{OwnAnswer, OwnRequest, RelayMessage, RelayRefusal, RelayRefusalCode};

async fn ask(talk: &mut Talk, what: OwnRequest) -> Result<OwnAnswer, RelayRefusal> {
    talk.say(RelayMessage::Own { request: 9, what }).await;
    talk.find(|message| match message {
        RelayMessage::OwnAnswered { request: 9, answer } => Some(Ok(answer.clone())),
        RelayMessage::Failed {
            request: 9,
            refusal,
        } => Some(Err(*refusal)),
        _ => None,
    })
    .await
}

fn remove(device: &Device) -> OwnRequest {
    OwnRequest::Remove { device: device.id }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_a_device_removes_another_one_of_its_user_and_nobody_elses() {
    let relay = Relay::start(|_| {}).await;
    let [desk, phone, lost, other] = [(); 4].map(|()| Device::new());
    let invitation = relay.invite(3).await;
    let mut talk = desk.join(&relay, &invitation).await;
    let mut reads = phone.join(&relay, &invitation).await;
    let mut gone = lost.join(&relay, &invitation).await;
    let mut stranger = other.join(&relay, &relay.invite(1).await).await;
    for (by, whom) in [(&mut stranger, &lost), (&mut talk, &other)] {
        refused(ask(by, remove(whom)).await, RelayRefusalCode::NotFound);
    }
    refused(
        ask(&mut talk, remove(&desk)).await,
        RelayRefusalCode::NotFound,
    );
    assert_eq!(ask(&mut talk, remove(&lost)).await, Ok(OwnAnswer::Removed));
    assert_eq!(
        gone.ended().await.map(|refusal| refusal.code),
        Some(RelayRefusalCode::Revoked)
    );
    let removed = reads
        .find(|message| match message {
            RelayMessage::DevicesChanged { removed, .. } if !removed.is_empty() => {
                Some(removed.clone())
            }
            _ => None,
        })
        .await;
    assert_eq!(removed, [lost.id], "the others are told");
    refused(
        lost.hello(&relay.address(), Some(&invitation))
            .await
            .map(drop),
        RelayRefusalCode::Revoked,
    );
    // Again, by another one: it is so already.
    assert_eq!(ask(&mut reads, remove(&lost)).await, Ok(OwnAnswer::Removed));
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_of_two_that_remove_each_other_one_stays() {
    for _ in 0..8 {
        let relay = Relay::start(|_| {}).await;
        let (one, two) = (Device::new(), Device::new());
        let invitation = relay.invite(2).await;
        let mut first = one.join(&relay, &invitation).await;
        let mut second = two.join(&relay, &invitation).await;
        let say = |device: &Device| RelayMessage::Own {
            request: 9,
            what: remove(device),
        };
        tokio::join!(first.say(say(&two)), second.say(say(&one)));
        tokio::select! {
            _ = first.ended() => {}
            _ = second.ended() => {}
        }
        let registry = &relay.running.node.registry;
        let mut stay = 0;
        for device in [&one, &two] {
            stay += usize::from(registry.authorize(&device.id).await.is_ok());
        }
        assert_eq!(stay, 1);
        relay.running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_a_device_invites_more_of_its_user_unless_that_is_forbidden() {
    let relay = Relay::start(|_| {}).await;
    let (device, new, third) = (Device::new(), Device::new(), Device::new());
    let mut talk = device.join(&relay, &relay.invite(1).await).await;
    let invite = OwnRequest::Invite {
        devices: 2,
        seconds: 600,
        web: false,
    };
    let invitation = match ask(&mut talk, invite.clone()).await.unwrap() {
        OwnAnswer::Invited(invitation) => invitation,
        other => panic!("{other:?}"),
    };
    for joins in [&new, &third] {
        assert_eq!(joins.join(&relay, &invitation).await.user(), talk.user());
    }
    relay.running.stop().await;
    let forbid = |config: &mut hither_relay::config::Config| {
        config.invitation.by_devices = false;
        config.invitation.removal_by_devices = false;
    };
    let relay = Relay::start(forbid).await;
    let mut talk = device.join(&relay, &relay.invite(1).await).await;
    for what in [invite, remove(&new)] {
        refused(ask(&mut talk, what).await, RelayRefusalCode::Role);
    }
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_device_of_another_user_is_written_to_while_it_names_the_sender() {
    let relay = Relay::start(|_| {}).await;
    let (desk, phone) = (Device::new(), Device::new());
    let mut sends = desk.join(&relay, &relay.invite(1).await).await;
    let mut reads = phone.join(&relay, &relay.invite(1).await).await;
    assert_ne!(sends.user(), reads.user());
    let not_there = Device::new();
    let mut number = 0;
    let mut post = async |sends: &mut Talk, to: &Device| {
        number += 1;
        let id = [number as u8; 16];
        sends.post(number, to.id, id, "hello").await;
        sends.sent(number).await
    };
    // A device that is not named is told the same of a device that is there and of one that is not.
    for to in [&phone, &not_there] {
        refused(post(&mut sends, to).await, RelayRefusalCode::NotFound);
    }
    let named = OwnRequest::Contacts(vec![desk.id]);
    assert_eq!(ask(&mut reads, named).await, Ok(OwnAnswer::Kept));
    assert_eq!(post(&mut sends, &phone).await, Ok(false));
    assert_eq!(reads.received().await, "hello");
    // One way only, and no longer than it is so.
    refused(post(&mut reads, &desk).await, RelayRefusalCode::NotFound);
    let nobody = OwnRequest::Contacts(Vec::new());
    assert_eq!(ask(&mut reads, nobody).await, Ok(OwnAnswer::Kept));
    refused(post(&mut sends, &phone).await, RelayRefusalCode::NotFound);
    relay.running.stop().await;
}
