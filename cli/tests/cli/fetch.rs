//! Fetching.

use crate::fake::Step::{AwaitAccept, AwaitPause, Report};
use crate::fake::{Fake, OWNER, transfer};
use crate::home::{Home, Ran, ticket};
use hither_api::{ApiError, Done, ErrorCode, Event, Phase, SourceBytes, SourceKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

pub fn fetching() -> Event {
    Event::Progress {
        phase: Phase::Fetching,
        bytes: 400_000_000,
        total: 864_000_000,
        files: 3,
        rate: 70_000_000,
        remaining: Some(6),
        devices: 1,
    }
}

pub fn offer() -> Event {
    Event::Offer {
        transfer: "t1".into(),
        share: "s".into(),
        name: "photos".into(),
        single_file: false,
        files: 1204,
        bytes: 864_000_000,
        path: "/x/photos".into(),
        owner: OWNER.into(),
        head: "1-ab".into(),
        agreed: false,
        exists: None,
    }
}

pub fn fetched(path: &str) -> Event {
    let source = |name: &str, kind, bytes| SourceBytes {
        device: OWNER.into(),
        name: name.into(),
        kind,
        bytes,
        cost: 0.0,
    };
    Event::Done(Done::Fetched {
        path: path.into(),
        bytes: 864_000_000,
        seconds: 12.0,
        currency: None,
        sources: vec![
            source("laptop", SourceKind::Lan, 840_000_000),
            source("", SourceKind::Local, 24_000_000),
        ],
        transfer: "t1".into(),
        already: false,
    })
}

#[test]
fn a_fetch_ends_with_a_summary() {
    let (home, fake) = Home::running();
    fake.plays([
        Report(offer()),
        Report(fetching()),
        Report(fetched("/x/photos")),
    ]);
    let ran = home.run(&format!(
        "fetch {} --yes --rename -o new/folder --wait 2m",
        ticket()
    ));
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert_eq!(
        ran.stdout,
        "864 MB in 12 s: /x/photos (70 MB/s).\n840 MB from laptop (same network), 24 MB were already here.\n"
    );
    assert!(
        ran.stderr
            .contains("photos (1,204 files, 864 MB)\n  from laptop (1m8oLaPt)"),
        "{}",
        ran.stderr
    );
    let folder = home
        .folder
        .path()
        .canonicalize()
        .unwrap()
        .join("new/folder");
    assert!(folder.is_dir());
    assert_eq!(
        fake.body("POST /v1/fetches"),
        json!({"ticket": ticket(), "folder": folder, "existing": "rename", "accept": true, "wait_seconds": 120, "follow": false, "mode": null, "max_cost": null, "umask": hither_api::umask(), "names": null})
    );
}

#[test]
fn json_is_every_event_as_it_came() {
    let (home, fake) = Home::running();
    fake.plays([Report(offer()), Report(fetching()), Report(fetched("/x"))]);
    let ran = home.run(&format!("fetch {} --yes --json", ticket()));
    assert_eq!((ran.exit, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ran.json(),
        [json!(offer()), json!(fetching()), json!(fetched("/x"))]
    );
}

#[test]
fn errors_have_the_statuses_of_the_contract() {
    let (home, fake) = Home::running();
    for (code, exit) in [
        (ErrorCode::NoHolder, 3),
        (ErrorCode::Refused, 4),
        (ErrorCode::HostileShare, 4),
        (ErrorCode::Damaged, 5),
        (ErrorCode::NoSpace, 6),
        (ErrorCode::TargetExists, 1),
    ] {
        fake.plays([Report(Event::Error(ApiError::new(code, "It went wrong")))]);
        let ran = home.run(&format!("fetch {} -y -o made", ticket()));
        assert_eq!((ran.exit, ran.stdout.as_str()), (Some(exit), ""));
        assert!(
            ran.stderr.starts_with("Error: It went wrong.\n"),
            "{}",
            ran.stderr
        );
        assert!(
            !home.folder.path().join("made").exists(),
            "an empty folder is left behind"
        );
    }
}

#[test]
fn without_a_terminal_somebody_must_have_agreed_beforehand() {
    let (home, fake) = Home::running();
    let ran = home.run(&format!("fetch {}", ticket()));
    assert_eq!(ran.exit, Some(2));
    assert!(ran.stderr.contains("--yes"), "{}", ran.stderr);
    let ran = home.run(&format!("fetch {} --json", ticket()));
    assert_eq!(
        (ran.exit, &ran.json()[0]["code"]),
        (Some(2), &json!("bad_request"))
    );
    assert!(fake.asked().is_empty());
}

#[test]
fn the_ticket_may_come_from_the_environment_or_standard_input() {
    let (home, fake) = Home::running();
    fake.plays([Report(fetched("/x"))]);
    let output = home
        .hither("fetch --yes")
        .env("HITHER_TICKET", ticket())
        .output()
        .unwrap();
    assert_eq!(Ran::from(output).exit, Some(0));
    for line in ["fetch --yes", "fetch - --yes"] {
        let mut child = home
            .hither(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(format!("{}\n", ticket()).as_bytes())
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert_eq!(fake.body("POST /v1/fetches")["ticket"], ticket());
    assert_eq!(fake.asked().len(), 3);
}

#[test]
fn a_mistyped_ticket_is_wrong_usage_and_not_repeated() {
    let (home, fake) = Home::running();
    let mistyped = ticket().replace('q', "p");
    for line in [
        format!("fetch {mistyped} -y"),
        "fetch -y".into(),
        "fetch word -y".into(),
    ] {
        let ran = home.run(&line);
        assert_eq!((ran.exit, ran.stdout.as_str()), (Some(2), ""), "{line}");
        assert!(!ran.stderr.contains(&mistyped));
    }
    assert!(fake.asked().is_empty());
}

#[test]
fn a_single_file_goes_to_standard_output_and_is_not_kept() {
    let (home, fake) = Home::running();
    fake.gives(b"\0\xffbytes");
    fake.plays([Report(offer()), Report(fetching()), Report(fetched("-"))]);
    let output = home
        .hither(&format!("fetch {} -o - --yes", ticket()))
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), &b"\0\xffbytes"[..])
    );
    assert!(fake.body("POST /v1/fetches")["folder"].is_null());
    assert_eq!(
        fake.asked(),
        ["POST /v1/fetches", "GET /v1/transfers/t1/content"]
    );
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("to   standard output") && stderr.contains("840 MB from laptop"),
        "{stderr}"
    );

    let ran = home.run(&format!("fetch {} -o - --yes --json", ticket()));
    assert_eq!(ran.exit, Some(2));
}

/// What a run must have come to before it is interrupted.
pub enum Until {
    /// The daemon was asked something.
    Asked,
    /// This stands on standard output.
    Printed(&'static str),
    /// This stands on standard error.
    Noted(&'static str),
}

/// Runs a command, interrupts it, and returns how it ended (without what was read before).
pub fn interrupt(home: &Home, fake: &Fake, line: &str, until: Until, signal: Signal) -> Ran {
    let mut child = home
        .hither(line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    match until {
        Until::Asked => {
            let begun = Instant::now();
            while fake.asked().is_empty() {
                assert!(begun.elapsed() < Duration::from_secs(20));
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Until::Printed(text) => read_until(child.stdout.as_mut().unwrap(), text),
        Until::Noted(text) => read_until(child.stderr.as_mut().unwrap(), text),
    }
    kill_process(
        Pid::from_raw(child.id().try_into().unwrap()).unwrap(),
        signal,
    )
    .unwrap();
    // Nothing is read before it has ended: where a test says that nobody reads, a reader that
    // drains the pipe would let the program finish before it sees the signal.
    child.wait().unwrap();
    Ran::from(child.wait_with_output().unwrap())
}

fn read_until(stream: &mut impl Read, text: &str) {
    let mut read = Vec::new();
    while !read.ends_with(text.as_bytes()) {
        let mut byte = [0];
        stream
            .read_exact(&mut byte)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&read)));
        read.push(byte[0]);
    }
}

#[test]
fn an_interrupt_pauses_the_transfer() {
    for signal in [Signal::INT, Signal::TERM] {
        let (home, fake) = Home::running();
        fake.plays([Report(offer()), Report(fetching()), AwaitPause]);
        let ran = interrupt(
            &home,
            &fake,
            &format!("fetch {} --yes", ticket()),
            Until::Noted("/x/photos\n"),
            signal,
        );
        assert_eq!(ran.exit, Some(130));
        assert_eq!(ran.stderr, "Stopped. Run the same command to go on.\n");
        assert_eq!(
            fake.asked(),
            ["POST /v1/fetches", "POST /v1/transfers/t1/pause"]
        );
    }
}

#[test]
fn an_interrupt_before_the_offer_finds_the_transfer_by_its_share() {
    let (home, fake) = Home::running();
    let share = ticket()
        .parse::<hither_proto::Ticket>()
        .unwrap()
        .share()
        .to_string();
    let mut mine = transfer("connecting");
    mine["share"] = json!(share);
    mine["transfer"] = json!("t7");
    fake.answers("GET /v1/transfers", json!([transfer("fetching"), mine]));
    fake.plays([AwaitPause]);
    let ran = interrupt(
        &home,
        &fake,
        &format!("fetch {} --yes --json", ticket()),
        Until::Asked,
        Signal::INT,
    );
    assert_eq!(
        (ran.exit, &ran.json()[0]["code"]),
        (Some(130), &json!("interrupted"))
    );
    assert_eq!(
        fake.asked(),
        [
            "POST /v1/fetches",
            "GET /v1/transfers",
            "POST /v1/transfers/t7/pause"
        ]
    );
}

#[test]
fn an_interrupt_while_nobody_reads_standard_output_leaves_nothing_behind() {
    let (home, fake) = Home::running();
    fake.gives(&vec![0; 1 << 20]);
    fake.plays([Report(offer()), Report(fetching()), Report(fetched("-"))]);
    let line = format!("fetch {} -o - --yes", ticket());
    let ran = interrupt(&home, &fake, &line, Until::Printed("\0"), Signal::INT);
    assert_eq!(ran.exit, Some(130));
    assert_eq!(
        fake.asked(),
        [
            "POST /v1/fetches",
            "GET /v1/transfers/t1/content",
            "DELETE /v1/transfers/t1"
        ]
    );
}

#[test]
fn nothing_goes_on_before_it_was_accepted() {
    let (home, fake) = Home::running();
    fake.plays([Report(offer()), AwaitAccept, Report(fetched("/x"))]);
    let ran = interrupt(
        &home,
        &fake,
        &format!("fetch {} --yes", ticket()),
        Until::Noted("/x/photos\n"),
        Signal::INT,
    );
    assert_eq!(ran.exit, Some(130));
    assert!(
        !fake
            .asked()
            .iter()
            .any(|request| request.ends_with("/accept")),
        "--yes accepts with the request"
    );
}
