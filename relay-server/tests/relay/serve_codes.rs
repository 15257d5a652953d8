//! Codes that are said, at a relay: who shows which word, within bounds and for a while, and
//! invitations that devices ask for (P2, P3).

use crate::serve_common::{Device, Relay, Talk, refused};
use hither_proto::limits::MAX_NAMEPLATES;
use hither_proto::{
    CodeAnswer, CodeRequest, DeviceId, RelayMessage, RelayRefusal, RelayRefusalCode, Word,
};
use hither_relay::config::Rate;

async fn ask(talk: &mut Talk, what: CodeRequest) -> Result<CodeAnswer, RelayRefusal> {
    talk.say(RelayMessage::Code { request: 9, what }).await;
    talk.find(|message| match message {
        RelayMessage::CodeAnswered { request: 9, answer } => Some(Ok(answer.clone())),
        RelayMessage::Failed {
            request: 9,
            refusal,
        } => Some(Err(*refusal)),
        _ => None,
    })
    .await
}

async fn show(talk: &mut Talk, number: u16) -> Result<CodeAnswer, RelayRefusal> {
    let nameplate = Word::of_bits(number);
    let ends = false;
    ask(talk, CodeRequest::Show { nameplate, ends }).await
}

async fn found(talk: &mut Talk, number: u16) -> Vec<DeviceId> {
    let nameplate = Word::of_bits(number);
    match ask(talk, CodeRequest::Find { nameplate }).await.unwrap() {
        CodeAnswer::Found(devices) => devices,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_who_shows_a_word_is_named_to_every_user_until_it_ends_or_goes() {
    let often = Rate {
        per_second: 100.0,
        burst: 1000.0,
    };
    let change = |config: &mut hither_relay::config::Config| {
        (config.limits.code, config.limits.code_user) = (often, often);
    };
    let relay = Relay::start(change).await;
    let (device, other) = (Device::new(), Device::new());
    let mut shows = device.join(&relay, &relay.invite(1).await).await;
    let mut asks = other.join(&relay, &relay.invite(1).await).await;
    assert_ne!(shows.user(), asks.user());
    assert!(found(&mut asks, 7).await.is_empty());
    for _ in 0..2 {
        // Told again, it counts once.
        assert_eq!(show(&mut shows, 7).await, Ok(CodeAnswer::Shown));
    }
    assert_eq!(found(&mut asks, 7).await, [device.id]);
    assert!(found(&mut asks, 8).await.is_empty());
    assert!(
        found(&mut shows, 7).await.is_empty(),
        "it is no news to itself"
    );
    // A device shows few.
    for number in 1..MAX_NAMEPLATES as u16 {
        show(&mut shows, 100 + number).await.unwrap();
    }
    refused(show(&mut shows, 200).await, RelayRefusalCode::Quota);
    let nameplate = Word::of_bits(7);
    let ends = true;
    ask(&mut shows, CodeRequest::Show { nameplate, ends })
        .await
        .unwrap();
    assert!(found(&mut asks, 7).await.is_empty());
    show(&mut shows, 7).await.unwrap();
    // With its connection everything that it shows goes.
    shows.link.close("gone");
    while !found(&mut asks, 7).await.is_empty() || !found(&mut asks, 101).await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_flood_of_words_is_limited_by_device_and_by_user() {
    let slow = Rate {
        per_second: 0.001,
        burst: 5.0,
    };
    let relay = Relay::start(|config| config.limits.code = slow).await;
    let device = Device::new();
    let mut talk = device.join(&relay, &relay.invite(1).await).await;
    let mut answers = Vec::new();
    for number in 0..8 {
        let nameplate = Word::of_bits(number);
        answers.push(ask(&mut talk, CodeRequest::Find { nameplate }).await);
    }
    assert!(answers[..5].iter().all(Result::is_ok), "{answers:?}");
    for answer in answers.split_off(5) {
        assert!(refused(answer, RelayRefusalCode::Busy).retry_after_ms > 0);
    }
    relay.running.stop().await;
    let relay = Relay::start(|config| config.limits.code_user = slow).await;
    let invitation = relay.invite(2).await;
    let devices = [Device::new(), Device::new()];
    let mut talks = Vec::new();
    for device in &devices {
        talks.push(device.join(&relay, &invitation).await);
    }
    let mut taken = 0;
    for talk in &mut talks {
        for number in 0..4 {
            let nameplate = Word::of_bits(number);
            let answer = ask(talk, CodeRequest::Find { nameplate }).await;
            taken += usize::from(answer.is_ok());
        }
    }
    assert_eq!(taken, 5, "both devices together");
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_device_invites_one_more_of_its_user_unless_that_is_forbidden() {
    let relay = Relay::start(|_| {}).await;
    let (device, new, third) = (Device::new(), Device::new(), Device::new());
    let mut talk = device.join(&relay, &relay.invite(1).await).await;
    let invitation = match ask(&mut talk, CodeRequest::Invite).await.unwrap() {
        CodeAnswer::Invited(invitation) => invitation,
        other => panic!("{other:?}"),
    };
    assert_eq!(new.join(&relay, &invitation).await.user(), talk.user());
    refused(
        third
            .hello(&relay.address(), Some(&invitation))
            .await
            .map(drop),
        RelayRefusalCode::Invitation,
    );
    relay.running.stop().await;
    let relay = Relay::start(|config| config.invitation.by_devices = false).await;
    let mut talk = device.join(&relay, &relay.invite(1).await).await;
    refused(
        ask(&mut talk, CodeRequest::Invite).await,
        RelayRefusalCode::Role,
    );
    relay.running.stop().await;
}
