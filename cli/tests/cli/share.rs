//! Sharing.

use crate::fake::Step::Report;
use crate::home::{Home, ticket};
use hither_api::{ApiError, Done, ErrorCode, Event, Phase, UploadInfo, UploadState};
use serde_json::json;

fn reading() -> Event {
    Event::Progress {
        phase: Phase::Reading,
        bytes: 5,
        total: 9,
        files: 1,
        rate: 5,
        remaining: Some(1),
        devices: 0,
    }
}

fn shared() -> Event {
    Event::Done(Done::Shared {
        share: "3f2a91c0".into(),
        ticket: ticket(),
        name: "photos".into(),
        version: 1,
        files: 1204,
        bytes: 3_200_000_000,
        chunks: 9,
        excluded: 0,
        sent: Vec::new(),
        code: None,
        link: None,
    })
}

#[test]
fn several_paths_are_one_share_and_without_a_terminal_only_the_ticket_is_printed() {
    let (home, fake) = Home::running();
    fake.plays([Report(reading()), Report(shared())]);
    std::fs::create_dir(home.folder.path().join("photos")).unwrap();
    std::fs::write(home.folder.path().join("notes.txt"), "x").unwrap();
    let paths =
        ["photos", "notes.txt"].map(|name| home.folder.path().canonicalize().unwrap().join(name));
    let ran = home.run("share photos/ notes.txt --name holiday --keep 7d --no-upload --no-list");
    assert_eq!(
        (ran.exit, ran.stdout),
        (Some(0), format!("{}\n", ticket())),
        "{}",
        ran.stderr
    );
    assert_eq!(
        fake.body("POST /v1/shares"),
        json!({
            "paths": paths, "name": "holiday", "keep_seconds": 604_800,
            "no_upload": true, "no_list": true, "skip_unsharable": false, "watch": false,
        })
    );
}

#[test]
fn a_ticket_is_sent_to_the_devices_named_and_printed_all_the_same() {
    let (home, fake) = Home::running();
    let sent = |name: &str, state: &str| {
        serde_json::from_value(json!({"message": "", "to": "12D3", "name": name, "state": state}))
            .unwrap()
    };
    let with = |states: [&str; 2]| {
        let Event::Done(mut done) = shared() else {
            panic!()
        };
        if let Done::Shared { sent: all, .. } = &mut done {
            *all = vec![sent("phone", states[0]), sent("laptop", states[1])];
        }
        Event::Done(done)
    };
    fake.plays([Report(with(["delivered", "at_relay"]))]);
    let ran = home.run("share . --to phone --to laptop");
    assert_eq!((ran.exit, ran.stdout), (Some(0), format!("{}\n", ticket())));
    assert!(
        ran.stderr.contains("Offered to phone") && ran.stderr.contains("when laptop is online"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        fake.body("POST /v1/shares")["to"],
        json!(["phone", "laptop"])
    );
    fake.plays([Report(with(["delivered", "failed"]))]);
    let ran = home.run("share . --to phone --to laptop --json");
    assert_eq!(ran.exit, Some(4), "it is shared, but not sent to all");
    assert_eq!(ran.json()[0]["sent"][1]["state"], "failed");
}

fn upload(state: UploadState, bytes: u64) -> Event {
    Event::Upload(UploadInfo {
        state,
        bytes,
        total: 9,
        version: None,
        store: None,
        relay: Some("relay.example:4817".into()),
        reason: None,
        words: "…".into(),
    })
}

#[test]
fn who_wants_to_waits_for_the_upload_and_has_the_ticket_before() {
    let (home, fake) = Home::running();
    let (begun, done) = (
        upload(UploadState::Uploading, 3),
        upload(UploadState::Uploaded, 9),
    );
    // The same events come for the share and for its upload: each ends with what it waits for.
    fake.plays([
        Report(begun.clone()),
        Report(done.clone()),
        Report(shared()),
    ]);
    let ran = home.run("share . --wait-upload --watch --json");
    assert_eq!((ran.exit, ran.stderr.as_str()), (Some(0), ""));
    let twice = [&begun, &done, &begun, &done].map(|event| json!(event));
    assert_eq!(ran.json(), [&twice[..], &[json!(shared())]].concat());
    assert_eq!(
        fake.asked(),
        ["POST /v1/shares", "GET /v1/shares/3f2a91c0/upload"]
    );
    assert_eq!(fake.body("POST /v1/shares")["watch"], true);
    let ran = home.run("share .  --wait-upload");
    assert_eq!(
        (ran.exit, ran.stdout),
        (Some(0), format!("{}\n", ticket())),
        "{}",
        ran.stderr
    );
    assert_eq!(
        home.run("share . --wait-upload --no-upload").exit,
        Some(2),
        "one or the other"
    );
}

#[test]
fn an_upload_that_will_not_come_is_an_error_of_who_waits() {
    let (home, fake) = Home::running();
    let error = ApiError::new(
        ErrorCode::OverQuota,
        "It is shared, but not uploaded: over quota.",
    );
    fake.plays([Report(shared())]);
    fake.fails("GET /v1/shares/3f2a91c0/upload", error);
    let ran = home.run("share . --wait-upload");
    assert_eq!(
        (ran.exit, ran.stdout),
        (Some(6), format!("{}\n", ticket())),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("over quota"), "{}", ran.stderr);
}

#[test]
fn json_is_every_event_as_it_came() {
    let (home, fake) = Home::running();
    let warning = Event::Warning {
        message: "One file was left out.".into(),
    };
    fake.plays([Report(reading()), Report(warning.clone()), Report(shared())]);
    let ran = home.run("share . --json --skip-unsharable");
    assert_eq!((ran.exit, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ran.json(),
        [json!(reading()), json!(warning), json!(shared())]
    );
}

#[test]
fn a_failure_is_the_last_line_and_has_its_status() {
    let (home, fake) = Home::running();
    let error = ApiError::new(ErrorCode::NoSpace, "The disk is full.");
    fake.plays([Report(reading()), Report(Event::Error(error.clone()))]);
    let ran = home.run("share . --json");
    assert_eq!(ran.exit, Some(6));
    assert_eq!(ran.json(), [json!(reading()), json!(Event::Error(error))]);
    let ran = home.run("share .");
    assert_eq!((ran.exit, ran.stdout.as_str()), (Some(6), ""));
    assert_eq!(
        ran.stderr,
        "Error: The disk is full.\nFree some space and run the same command again: it goes on where it stopped.\n"
    );
}

#[test]
fn what_does_not_exist_is_found_out_before_anything_is_shared() {
    let (home, fake) = Home::running();
    let ran = home.run("share . none");
    assert_eq!((ran.exit, ran.stdout.as_str()), (Some(1), ""));
    assert!(
        ran.stderr.starts_with("Error: none: no such file")
            || ran.stderr.starts_with("Error: \"none\""),
        "{}",
        ran.stderr
    );
    assert!(fake.asked().is_empty());
}

#[test]
fn a_daemon_that_breaks_off_is_an_error() {
    let (home, fake) = Home::running();
    fake.plays([Report(reading())]);
    let ran = home.run("share .");
    assert_eq!(ran.exit, Some(1));
    assert!(
        ran.stderr.contains("stopped before the share was complete"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_daemon_of_another_version_is_pointed_out() {
    let (home, fake) = Home::running();
    let mut status = crate::fake::status();
    status["version"] = json!("0.0.9");
    fake.answers("GET /v1/status", status);
    fake.plays([Report(shared())]);
    let ran = home.run("share .");
    assert_eq!(ran.exit, Some(0));
    assert!(
        ran.stderr
            .starts_with("Warning: The daemon is version 0.0.9"),
        "{}",
        ran.stderr
    );
}
