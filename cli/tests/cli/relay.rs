//! Relays and the devices behind them.

use crate::fake::{OWNER, status};
use crate::home::{Home, Ran};
use hither_api::{ApiError, ErrorCode};
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;

const INVITATION: &str = "000102030405060708090a0b0c0d0e0f";

fn url() -> String {
    format!(
        "hither://relay.example:47447/#12D3KooWHFd1gyNYFqxt7ke9FY2VoVVWY2XSPhvL9vg2pB6wQGfa.{INVITATION}"
    )
}

fn relay() -> Value {
    json!({
        "relay": "12D3KooWHFd1gyNYFqxt7ke9FY2VoVVWY2XSPhvL9vg2pB6wQGfa",
        "url": "hither://relay.example:47447/#12D3KooWHFd1gyNYFqxt7ke9FY2VoVVWY2XSPhvL9vg2pB6wQGfa",
        "host": "relay.example:47447", "state": "connected", "joined": 100, "devices": 2, "carrier": "quic", "rtt_ms": 12.34,
    })
}

#[test]
fn a_relay_is_joined_by_argument_environment_or_standard_input() {
    let (home, fake) = Home::running();
    fake.answers("POST /v1/relays", relay());
    let ran = home.run(&format!("relay add {}", url()));
    assert_eq!(
        ran.stdout,
        "Connected to relay.example:47447 over QUIC, 12.3 ms away.\nYou have 2 devices there: hither devices\n"
    );
    assert_eq!(fake.body("POST /v1/relays"), json!({"url": url()}));
    let by_environment = home
        .hither("relay add --json")
        .env("HITHER_RELAY_URL", url())
        .output()
        .unwrap();
    assert_eq!(Ran::from(by_environment).json(), [relay()]);
    let mut child = home
        .hither("relay add")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(format!(" {}\n", url()).as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
    let joined = fake
        .asked()
        .into_iter()
        .filter(|asked| asked.starts_with("POST"));
    assert_eq!(joined.count(), 3);
    // A device that is in no group is told so.
    fake.answers("GET /v1/groups", json!([]));
    let ran = home.run(&format!("relay add {}", url()));
    assert!(
        ran.stdout.contains("in no group") && ran.stdout.contains("hither group search"),
        "{}",
        ran.stdout
    );
}

#[test]
fn an_invitation_is_never_repeated() {
    let (home, fake) = Home::running();
    for broken in [
        url().replace("12D3", "12D"),
        url().replace("hither:", "http:"),
        format!("{}0", url()),
    ] {
        let ran = home.run(&format!("relay add {broken}"));
        assert_eq!(ran.exit, Some(2), "{broken}");
        assert!(!ran.stderr.contains(&INVITATION[..8]), "{}", ran.stderr);
    }
    let cut = home.run("relay add hither://relay.example:47447/");
    assert!(cut.stderr.contains("Quote the URL"), "{}", cut.stderr);
    assert_eq!(home.run("relay add").exit, Some(2));
    assert!(fake.asked().is_empty());
    assert!(!home.run("relay add --help").stdout.contains(INVITATION));
}

#[test]
fn why_a_relay_cannot_be_joined_decides_the_exit_status() {
    let (home, fake) = Home::running();
    for (code, exit) in [
        (ErrorCode::NoRelay, 3),
        (ErrorCode::Refused, 4),
        (ErrorCode::OverQuota, 6),
    ] {
        fake.fails(
            "POST /v1/relays",
            ApiError::new(code, "No.").with_hint("Do this."),
        );
        let ran = home.run(&format!("relay add {}", url()));
        assert_eq!(
            (ran.exit, ran.stderr.as_str()),
            (Some(exit), "Error: No.\nDo this.\n")
        );
    }
}

#[test]
fn relays_are_listed_with_their_trouble_and_left() {
    let (home, fake) = Home::running();
    fake.answers("GET /v1/relays", json!([]));
    assert!(
        home.run("relay list")
            .stdout
            .contains("hither relay add URL")
    );
    let mut away = relay();
    away["host"] = json!("10.0.0.1:1");
    away["relay"] = json!("12D3KooWother");
    away["state"] = json!("waiting");
    away["reason"] = json!("the relay did not answer in time");
    away["hint"] = json!("Is it running?");
    away["retry_seconds"] = json!(70);
    away.as_object_mut()
        .unwrap()
        .retain(|key, _| key != "carrier" && key != "rtt_ms");
    fake.answers("GET /v1/relays", json!([relay(), away]));
    let ran = home.run("relay list");
    assert!(
        ran.stdout.contains("connected  QUIC  12.3 ms"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.ends_with(
            "10.0.0.1:1: the relay did not answer in time. Next attempt in 1 min 10 s.\nIs it running?\n"
        ),
        "{}",
        ran.stdout
    );
    assert_eq!(home.run("relay list --json").json().len(), 2);
    fake.answers("DELETE /v1/relays/12D3KooWother", away);
    assert_eq!(
        home.run("relay remove 10.0.0.1").stdout,
        "10.0.0.1:1 is forgotten on this device.\n"
    );
    assert_eq!(home.run("relay remove nowhere").exit, Some(1));
}

#[test]
fn devices_are_listed_this_one_first() {
    let (home, fake) = Home::running();
    let this = json!({"device": "12D3KooWmine", "short": "KooWmine", "name": "desk", "this": true, "online": true, "same_network": true, "relays": ["r:1"]});
    let phone = json!({"device": OWNER, "short": "1m8oLaPt", "name": "a\u{1b}[2Jb", "this": false, "online": false, "last_seen": 1, "same_network": false, "relays": ["r:1"], "as_of": 5});
    fake.answers("GET /v1/devices", json!([this, phone]));
    let ran = home.run("devices");
    assert!(
        ran.stdout.starts_with("DEVICE") && ran.stdout.contains("this device"),
        "{}",
        ran.stdout
    );
    assert!(
        !ran.stdout.contains('\u{1b}') && ran.stdout.contains("1m8oLaPt"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("No relay is connected"),
        "{}",
        ran.stdout
    );
    assert_eq!(home.run("devices --json").json()[1]["online"], false);
    fake.answers("GET /v1/devices", json!([this]));
    assert!(home.run("devices").stdout.contains("hither relay add URL"));
}

#[test]
fn the_status_tells_of_relays_and_messages() {
    let (home, fake) = Home::running();
    let mut told = status();
    told["relays"] = json!([relay()]);
    told["unread"] = json!(3);
    fake.answers("GET /v1/status", told);
    let ran = home.run("status");
    assert!(
        ran.stdout
            .contains("relay.example:47447 (connected over QUIC, 12.3 ms)"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("3 unread messages (hither inbox)"),
        "{}",
        ran.stdout
    );
}
