//! Messages between a user's devices.

use crate::fake::OWNER;
use crate::fake::Step::{AwaitPause, Report};
use crate::fetch::{Until, fetched, interrupt, offer};
use crate::home::{Home, ticket};
use hither_api::{ApiError, Done, ErrorCode, Event, MessageInfo};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;

fn sent(state: &str) -> Value {
    json!({"message": "00".repeat(16), "to": OWNER, "name": "phone", "state": state})
}

fn message(id: u64, kind: &str) -> Value {
    json!({
        "id": id, "message": "00".repeat(16), "from": OWNER, "name": "phone", "kind": kind, "received": 100, "made": 100,
        "read": false,
    })
}

fn text(id: u64, text: &str) -> Value {
    let mut message = message(id, "text");
    message["text"] = json!(text);
    message
}

fn event(message: &Value) -> Event {
    Event::Message(serde_json::from_value::<MessageInfo>(message.clone()).unwrap())
}

#[test]
fn a_text_is_sent_and_its_fate_told() {
    let (home, fake) = Home::running();
    for (state, words) in [
        ("delivered", "Delivered to phone.\n"),
        (
            "at_relay",
            "Waiting at the relay: it will be delivered when phone is online.\n",
        ),
        ("waiting", "Waiting on this device: no relay is reached."),
    ] {
        fake.answers("POST /v1/messages", sent(state));
        let ran = home.run("send phone hello you");
        assert_eq!(ran.exit, Some(0));
        assert!(ran.stdout.starts_with(words), "{}", ran.stdout);
    }
    assert_eq!(
        fake.body("POST /v1/messages"),
        json!({"to": "phone", "text": "hello you"})
    );
    let ran = home.run("send phone hello --json");
    assert_eq!(
        (&ran.json()[0]["event"], &ran.json()[0]["state"]),
        (&json!("done"), &json!("waiting"))
    );
    fake.fails(
        "POST /v1/messages",
        ApiError::new(ErrorCode::NotFound, "There is no device \"x\"."),
    );
    assert_eq!(home.run("send x hello").exit, Some(1));
}

#[test]
fn standard_input_is_a_text() {
    let (home, fake) = Home::running();
    fake.answers("POST /v1/messages", sent("delivered"));
    let send = |bytes: &[u8]| {
        let mut child = home
            .hither("send phone -")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait().unwrap().code()
    };
    assert_eq!(send(b"one\ntwo\n"), Some(0));
    assert_eq!(fake.body("POST /v1/messages")["text"], "one\ntwo\n");
    assert_eq!((send(b"\xff"), send(b"")), (Some(2), Some(2)));
}

#[test]
fn small_files_travel_in_the_message_and_large_ones_as_a_share() {
    let (home, fake) = Home::running();
    fake.answers("POST /v1/messages", sent("delivered"));
    let path = |name: &str| home.folder.path().join(name);
    std::fs::write(path("small"), "x").unwrap();
    std::fs::write(path("large"), vec![0; 300_000]).unwrap();
    assert_eq!(home.run("send phone small").exit, Some(0));
    assert_eq!(
        fake.body("POST /v1/messages"),
        json!({"to": "phone", "files": [path("small")]})
    );
    assert_eq!(home.run("send phone small nothing").exit, Some(2));
    assert_eq!(home.run("send phone ./nothing").exit, Some(2));

    let (home, fake) = Home::running();
    std::fs::write(home.folder.path().join("large"), vec![0; 300_000]).unwrap();
    fake.answers("POST /v1/messages", sent("delivered"));
    let done = Done::Shared {
        share: "s".into(),
        ticket: ticket(),
        name: "large".into(),
        version: 1,
        files: 1,
        bytes: 300_000,
        chunks: 2,
        sent: vec![serde_json::from_value(sent("delivered")).unwrap()],
        excluded: 0,
        code: None,
        link: None,
    };
    fake.plays([Report(Event::Done(done))]);
    let ran = home.run("send phone large --json");
    assert_eq!(ran.json().len(), 1, "one end only: {}", ran.stdout);
    assert_eq!(
        (ran.exit, &ran.json()[0]["event"]),
        (Some(0), &json!("done"))
    );
    assert_eq!(ran.json()[0]["state"], "delivered");
    assert_eq!(fake.body("POST /v1/shares")["to"], json!(["phone"]));
    assert_eq!(
        fake.asked(),
        ["POST /v1/shares"],
        "the daemon sends the ticket"
    );
}

#[test]
fn the_inbox_is_listed_and_read() {
    let (home, fake) = Home::running();
    fake.answers("GET /v1/inbox", json!([]));
    assert_eq!(home.run("inbox").stdout, "No messages.\n");
    let mut files = message(2, "files");
    files["files"] = json!([{"name": "a.txt", "bytes": 12}]);
    files["read"] = json!(true);
    fake.answers("GET /v1/inbox", json!([text(1, "a\u{1b}[2J\nb"), files]));
    let ran = home.run("inbox");
    assert!(
        ran.stdout.contains("*1  phone") && ran.stdout.contains(" 2  phone"),
        "{}",
        ran.stdout
    );
    assert!(
        !ran.stdout.contains('\u{1b}') && ran.stdout.contains("a.txt (12 B)"),
        "{}",
        ran.stdout
    );
    assert_eq!(home.run("inbox --json").json().len(), 2);

    fake.answers("GET /v1/inbox/1", text(1, "exactly\tthis\n"));
    fake.answers("POST /v1/inbox/1/read", json!({}));
    assert_eq!(home.run("inbox read 1").stdout, "exactly\tthis\n");
    assert_eq!(fake.asked().last().unwrap(), "POST /v1/inbox/1/read");
    assert_eq!(home.run("inbox read 9").exit, Some(1));
    fake.answers("DELETE /v1/inbox/1", text(1, "x"));
    assert_eq!(home.run("inbox delete 1").stdout, "1 message deleted.\n");
}

#[test]
fn files_of_a_message_are_saved_into_a_folder() {
    let (home, fake) = Home::running();
    let folder = home.folder.path().join("new");
    fake.answers(
        "POST /v1/inbox/2/save",
        json!({"paths": [folder.join("a.txt")]}),
    );
    assert_eq!(
        home.run("inbox save 2 -o new").stdout,
        format!("{}\n", folder.join("a.txt").display())
    );
    assert_eq!(
        fake.body("POST /v1/inbox/2/save"),
        json!({"folder": folder})
    );
    fake.fails(
        "POST /v1/inbox/3/save",
        ApiError::new(ErrorCode::BadRequest, "No files."),
    );
    assert_eq!(home.run("inbox save 3 -o other").exit, Some(2));
    assert!(!home.folder.path().join("other").exists());
}

#[test]
fn a_share_that_is_offered_is_fetched() {
    let (home, fake) = Home::running();
    let mut offered = message(5, "ticket");
    offered["share"] = json!({"ticket": ticket(), "name": "film", "files": 1, "bytes": 1000});
    fake.answers("GET /v1/inbox/5", offered);
    fake.answers("POST /v1/inbox/5/read", json!({}));
    let ran = home.run("inbox read 5");
    assert!(
        ran.stdout.contains("offers film (1 file, 1 kB)"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("hither inbox fetch 5") && ran.stdout.contains(&ticket()),
        "{}",
        ran.stdout
    );
    fake.plays([Report(offer()), Report(fetched("/x/film"))]);
    let ran = home.run("inbox fetch 5 --yes");
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert_eq!(fake.body("POST /v1/fetches")["ticket"], ticket());
    fake.answers("GET /v1/inbox/1", text(1, "x"));
    assert_eq!(home.run("inbox fetch 1 --yes").exit, Some(2));
}

#[test]
fn new_messages_are_waited_for_or_followed() {
    let (home, fake) = Home::running();
    let (old, new) = (text(1, "old"), text(2, "new"));
    let mut read = old.clone();
    read["read"] = json!(true);
    fake.answers("GET /v1/inbox", json!([read]));
    fake.plays([Report(event(&new)), Report(event(&text(3, "more")))]);
    let ran = home.run("inbox --wait --json");
    let mut line = new.clone();
    line["event"] = json!("message");
    assert_eq!((ran.exit, ran.json()), (Some(0), vec![line]));
    assert_eq!(home.run("inbox --wait").stdout, "2  phone: new\n");
    fake.answers("GET /v1/inbox", json!([old]));
    assert_eq!(
        home.run("inbox --wait --json").json()[0]["text"],
        "old",
        "unread ones first"
    );
    fake.plays([
        Report(event(&new)),
        Report(event(&text(3, "more"))),
        AwaitPause,
    ]);
    let until = Until::Printed("\"text\":\"more\"}\n");
    let ran = interrupt(&home, &fake, "inbox --follow --json", until, Signal::INT);
    assert_eq!(
        (ran.exit, &ran.json()[0]["code"]),
        (Some(130), &json!("interrupted"))
    );
    assert_eq!(home.run("inbox --wait read 1").exit, Some(2));
}

#[test]
fn what_waits_is_listed_and_taken_back() {
    let (home, fake) = Home::running();
    fake.answers("GET /v1/outbox", json!([]));
    assert_eq!(
        home.run("outbox").stdout,
        "No message waits on this device.\n"
    );
    let mut waiting = sent("failed");
    waiting["id"] = json!(4);
    waiting["kind"] = json!("files");
    waiting["summary"] = json!("a\u{7}b");
    waiting["made"] = json!(100);
    waiting["reason"] = json!("it is too long");
    fake.answers("GET /v1/outbox", json!([waiting]));
    let ran = home.run("outbox");
    assert!(
        ran.stdout.contains("files: a\u{fffd}b") && ran.stdout.contains("failed: it is too long"),
        "{}",
        ran.stdout
    );
    assert_eq!(home.run("outbox --json").json()[0]["state"], "failed");
    fake.answers("DELETE /v1/outbox/4", json!({}));
    assert_eq!(
        home.run("outbox delete 4").stdout,
        "1 message taken back.\n"
    );
}
