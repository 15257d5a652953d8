//! Commands that show what there is or change one thing of it.

use crate::fake::{OWNER, transfer};
use crate::fetch::{Until, interrupt};
use crate::home::Home;
use rustix::process::Signal;
use serde_json::{Value, json};

fn share(id: &str, name: &str) -> Value {
    json!({
        "share": id, "name": name, "path": format!("/home/u/{name}"), "mine": true, "owner": OWNER, "version": 1, "files": 3,
        "bytes": 3_200_000_000_u64, "chunks": 9, "held": 9, "published": 100,
    })
}

#[test]
fn shares_are_listed_ended_and_their_tickets_printed() {
    let (home, fake) = Home::running();
    fake.answers(
        "GET /v1/shares",
        json!([share("3f2a91c0d4", "photos"), share("77aa", "a\u{1b}[2Jb")]),
    );
    let ran = home.run("list");
    assert_eq!(ran.exit, Some(0));
    assert!(
        ran.stdout.starts_with("SHARE     NAME") && ran.stdout.contains("3f2a91c0  photos"),
        "{}",
        ran.stdout
    );
    assert!(
        !ran.stdout.contains('\u{1b}'),
        "a name reached the terminal as it was"
    );
    assert_eq!(home.run("list --json").json().len(), 2);

    fake.answers(
        "GET /v1/shares/3f2a91c0d4/ticket",
        json!({"ticket": "hither1x"}),
    );
    assert_eq!(home.run("ticket 3f2a").stdout, "hither1x\n");
    fake.answers(
        "DELETE /v1/shares/3f2a91c0d4",
        share("3f2a91c0d4", "photos"),
    );
    assert_eq!(
        home.run("unshare photos").stdout,
        "photos is no longer shared by this device.\n"
    );
    assert_eq!(home.run("unshare nothing").exit, Some(1));
}

#[test]
fn empty_lists_say_what_to_do_next() {
    let (home, fake) = Home::running();
    fake.answers("GET /v1/shares", json!([]));
    fake.answers("GET /v1/transfers", json!([]));
    assert!(home.run("list").stdout.contains("hither share PATH"));
    assert!(home.run("transfers").stdout.contains("hither fetch TICKET"));
    assert_eq!(home.run("list --json").stdout, "");
    assert_eq!(home.run("transfers --json").stdout, "");
    assert_eq!(home.run("why").exit, Some(1));
}

#[test]
fn transfers_are_shown_paused_resumed_and_cancelled() {
    let (home, fake) = Home::running();
    let mut paused = transfer("paused");
    paused["reason"] = json!("You paused it.");
    fake.answers("GET /v1/transfers", json!([paused]));
    let ran = home.run("transfers");
    assert!(
        ran.stdout.contains("paused 40%") && ran.stdout.ends_with("photos: You paused it.\n"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        home.run("transfers pause photos").stdout,
        "photos is paused.\n"
    );
    assert_eq!(home.run("transfers resume t").stdout, "photos goes on.\n");
    assert_eq!(
        home.run("transfers cancel t1 --json").json()[0]["transfer"],
        "t1"
    );
    assert_eq!(fake.asked().last().unwrap(), "DELETE /v1/transfers/t1");
}

#[test]
fn watching_shows_changes_until_it_is_interrupted() {
    let (home, fake) = Home::running();
    fake.answers("GET /v1/transfers", json!([transfer("done")]));
    let ran = interrupt(
        &home,
        &fake,
        "transfers --watch --json",
        Until::Printed("}\n"),
        Signal::INT,
    );
    assert_eq!(ran.exit, Some(130));
    assert_eq!(
        ran.json().len(),
        1,
        "what did not change is not repeated: {ran:?}"
    );
    assert_eq!(ran.json()[0]["code"], "interrupted");
}

#[test]
fn why_speaks_in_words_first() {
    let (home, fake) = Home::running();
    fake.answers("GET /v1/transfers", json!([transfer("done")]));
    let source = json!({
        "device": OWNER, "name": "laptop", "kind": "lan", "bytes": 1000, "wasted": 0, "faults": 1, "rules": {"fastest": 12},
        "rtt_ms": 0.4, "words": "Everything came from laptop: it is on the same network.", "cost": 0.07,
        "reasons": [{"rule": "fastest", "spans": 12, "words": "it was expected to be done first"}],
        "expected_ms": 3.0, "actual_ms": 21.0,
        "runner_up": {"device": "12D3KooWstore", "name": "", "kind": "store", "spans": 9, "expected_ms": 312.0, "price": 0.09, "cost": 0.2},
    });
    let note = json!({"at": 3.2, "device": OWNER, "what": "stalled", "words": "laptop stalled for a moment."});
    let span = json!({"start": 7, "device": OWNER, "rule": "fastest", "expected_ms": 3.0, "actual_ms": 4.5});
    let taken = json!({
        "start": 9, "device": OWNER, "rule": "takeover", "expected_ms": 3.0, "actual_ms": 4.5, "price": 0.09,
        "runners_up": [{"device": "12D3KooWstore", "expected_ms": 312.0, "price": 2.5}, {"device": "12D3KooWphone", "expected_ms": 900.0}],
        "rank": 1, "claimer": "12D3KooWphone",
    });
    let names = json!({"12D3KooWstore": "the store", "12D3KooWphone": "phone\u{1b}[2J"});
    let plain = json!({"transfer": transfer("done"), "sources": [source], "notes": [note], "spans": [span]});
    let mut why = plain.clone();
    why["spans"] = json!([span, taken]);
    why["names"] = names;
    fake.answers("GET /v1/transfers/t1/why", why.clone());
    let ran = home.run("why --spans");
    let at = |text: &str| {
        ran.stdout
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {}", ran.stdout))
    };
    assert!(at("- Everything came from laptop") < at("3.2 s  laptop stalled"));
    assert!(at("3.2 s  laptop stalled") < at("SOURCE") && at("SOURCE") < at("SECOND CHOICE"));
    assert!(at("12 parts  it was expected to be done first") < at("3.2 s  laptop stalled"));
    assert!(at("COST") < at("the store (312 ms, 0.20 units)") && at("0.07") < at("CHUNK"));
    assert!(
        at("PRICE") < at("312 ms  2.50 units") && at("THIRD") < at("phone\u{fffd}[2J"),
        "{}",
        ran.stdout
    );
    assert!(at("RANK") < at("CLAIMED BY"));
    assert_eq!(home.run("why t1 --json").json(), [why]);

    fake.answers("GET /v1/transfers/t1/why", plain);
    let ran = home.run("why --spans");
    for absent in ["THIRD", "PRICE", "RANK", "CLAIMED BY"] {
        assert!(!ran.stdout.contains(absent), "{absent}: {}", ran.stdout);
    }
}

#[test]
fn the_doctor_fails_when_there_is_a_problem() {
    let (home, fake) = Home::running();
    let finding = |level: &str| json!({"check": "Ports", "level": level, "message": "It is so.", "hint": "Do this."});
    fake.answers("GET /v1/doctor", json!([finding("ok"), finding("warning")]));
    let ran = home.run("doctor");
    assert_eq!(
        (ran.exit, ran.stdout.as_str()),
        (
            Some(0),
            "✓ Ports: It is so.\n    Do this.\n! Ports: It is so.\n    Do this.\n"
        )
    );
    fake.answers("GET /v1/doctor", json!([finding("problem")]));
    let ran = home.run("doctor --json");
    assert_eq!((ran.exit, ran.json()), (Some(1), vec![finding("problem")]));
}

#[test]
fn the_status_is_one_object() {
    let (home, _fake) = Home::running();
    let ran = home.run("status --json");
    assert_eq!(ran.json(), [crate::fake::status()]);
    let ran = home.run("status");
    assert!(
        ran.stdout.contains("desk (12D3KooW") && ran.stdout.contains("UDP 47447, TCP 47447"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("laptop") && ran.stdout.contains("QUIC"),
        "{}",
        ran.stdout
    );
}
