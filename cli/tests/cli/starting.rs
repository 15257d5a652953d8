//! The daemon as a process.

use crate::fake::Fake;
use crate::home::{Home, write_program};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// Puts a script in the place of the daemon's program.
fn install(home: &Home, script: &str) {
    write_program(
        &home.folder.path().join("bin/hitherd"),
        format!("#!/bin/sh\n{script}\n").as_bytes(),
    );
}

/// Lets the daemon listen as soon as the script ran.
fn listen_once_started(home: &Home) -> std::thread::JoinHandle<Fake> {
    let (mark, socket) = (home.folder.path().join("started"), home.socket());
    std::thread::spawn(move || {
        let begun = Instant::now();
        while !mark.exists() {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
        Fake::start(&socket)
    })
}

#[test]
fn the_daemon_is_started_when_it_does_not_run() {
    let home = Home::empty();
    install(
        &home,
        "env > \"$HITHER_HOME/env\"; pwd > \"$HITHER_HOME/cwd\"; touch \"$HITHER_HOME/started\"; sleep 2",
    );
    let listening = listen_once_started(&home);
    let output = home
        .hither("up")
        .env("HITHER_TICKET", "hither1secret")
        .env("HITHER_HOME", ".")
        .output()
        .unwrap();
    let _fake = listening.join().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        stdout.starts_with("Hither is running on desk (Yq3bQxZk).\n"),
        "{stdout}"
    );
    assert!(
        stdout.contains("12D3KooW") && stdout.contains("UDP 47447, TCP 47447"),
        "{stdout}"
    );
    let environment = std::fs::read_to_string(home.folder.path().join("env")).unwrap();
    assert!(
        !environment.contains("hither1secret"),
        "the daemon was given a ticket"
    );
    assert_eq!(
        std::fs::read_to_string(home.folder.path().join("cwd")).unwrap(),
        "/\n"
    );
}

#[test]
fn a_daemon_that_gives_way_to_another_one_is_tried_again() {
    let home = Home::empty();
    // The first one finds the lock held by a daemon that is just ending, the second one starts.
    install(
        &home,
        "if [ -e \"$HITHER_HOME/first\" ]; then touch \"$HITHER_HOME/started\"; sleep 2; else touch \"$HITHER_HOME/first\"; exit 75; fi",
    );
    let listening = listen_once_started(&home);
    let ran = home.run("up --json");
    let _fake = listening.join().unwrap();
    assert_eq!(
        (ran.exit, ran.json()),
        (Some(0), vec![crate::fake::status()]),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_daemon_that_fails_says_why() {
    let home = Home::empty();
    install(&home, "echo 'the store is damaged' >&2; exit 1");
    let ran = home.run("up");
    assert_eq!(ran.exit, Some(1));
    assert!(
        ran.stderr
            .starts_with("Error: The daemon ended right after its start: the store is damaged.\n"),
        "{}",
        ran.stderr
    );
    let ran = home.run("list --json");
    assert_eq!(
        (ran.exit, &ran.json()[0]["code"]),
        (Some(1), &json!("no_daemon"))
    );
    let ran = home.run("doctor");
    assert_eq!(ran.exit, Some(1));
    assert!(
        ran.stdout.starts_with("✗ Daemon: The daemon ended"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_missing_program_is_named() {
    let home = Home::empty();
    let ran = home.run("list");
    assert_eq!(ran.exit, Some(1));
    assert!(
        ran.stderr.contains("hitherd is not installed"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_status_and_down_start_nothing() {
    let home = Home::empty();
    install(&home, "touch \"$HITHER_HOME/started\"");
    let ran = home.run("status");
    assert_eq!(ran.exit, Some(1));
    assert!(
        ran.stderr.contains("not running") && ran.stderr.contains("hither up"),
        "{}",
        ran.stderr
    );
    let ran = home.run("down");
    assert_eq!(
        (ran.exit, ran.stdout.as_str()),
        (Some(0), "Hither was not running.\n")
    );
    assert!(!home.folder.path().join("started").exists());
}

#[test]
fn down_waits_until_the_daemon_is_gone() {
    let (home, fake) = Home::running();
    let ran = home.run("down");
    assert_eq!(
        (ran.exit, ran.stdout.as_str()),
        (Some(0), "Hither is stopped.\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.asked(), ["POST /v1/shutdown"]);
    assert!(!home.socket().exists());
}

#[test]
fn in_the_foreground_the_program_becomes_the_daemon() {
    let home = Home::empty();
    install(&home, "echo running $1; exit 7");
    let ran = home.run("up --foreground");
    assert_eq!(
        (ran.exit, ran.stdout.as_str()),
        (Some(7), "running --foreground\n")
    );
}

/// Says in the data folder where the daemon listens.
fn record(home: &Home, socket: &Path) {
    let data = home.folder.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(
        data.join("hitherd.socket"),
        hither_api::encode_listening(socket),
    )
    .unwrap();
}

#[test]
fn the_data_folder_says_where_the_daemon_listens() {
    let home = Home::empty();
    let elsewhere = tempfile::tempdir().unwrap();
    let socket = elsewhere.path().join("other.sock");
    let _fake = Fake::start(&socket);
    assert_eq!(home.run("status").exit, Some(1), "nothing says where it is");
    record(&home, &socket);
    let ran = home.run("status --json");
    assert_eq!(ran.json(), [crate::fake::status()], "{}", ran.stderr);
    // However the home is spelled.
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(home.folder.path(), &link).unwrap();
    for spelled in [link.join("."), link, "bin/..".into()] {
        let output = home
            .hither("status --json")
            .env("HITHER_HOME", &spelled)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", spelled.display());
    }
}

#[test]
fn what_a_dead_daemon_left_leads_nobody_astray() {
    let (home, _fake) = Home::running();
    let dead = home.folder.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    // A program that another test was just starting may have had it a moment longer.
    while std::os::unix::net::UnixStream::connect(&dead).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    for stale in [
        dead.as_path(),
        Path::new("/none/hither.sock"),
        home.folder.path(),
    ] {
        record(&home, stale);
        let ran = home.run("status --json");
        assert_eq!(
            ran.json(),
            [crate::fake::status()],
            "{}: {}",
            stale.display(),
            ran.stderr
        );
    }
}

#[test]
fn a_daemon_with_other_data_is_not_taken_for_this_one() {
    let (home, fake) = Home::running();
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.folder.path().join("data")).unwrap();
    let mut status = crate::fake::status();
    status["home"] = json!(other.path());
    fake.answers("GET /v1/status", status.clone());
    assert!(home.run("status").stderr.contains("not running"));
    status["home"] = json!(home.folder.path().join("bin/../data"));
    fake.answers("GET /v1/status", status);
    assert_eq!(home.run("status").exit, Some(0));
}

/// A daemon that says how it is and dies at the next request, after it read it.
fn dying(home: &Home) -> std::thread::JoinHandle<String> {
    let socket = home.socket();
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        let read = |stream: &mut std::os::unix::net::UnixStream| {
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..length])
                .lines()
                .next()
                .unwrap()
                .to_owned()
        };
        let mut stream = listener.accept().unwrap().0;
        read(&mut stream);
        let status = crate::fake::status().to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            status.len()
        );
        stream.write_all((head + &status).as_bytes()).unwrap();
        let mut stream = listener.accept().unwrap().0;
        let asked = read(&mut stream);
        std::fs::remove_file(&socket).unwrap();
        asked
    })
}

const STARTS: &str = "touch \"$HITHER_HOME/started\"; sleep 2";

#[test]
fn a_daemon_that_dies_before_it_answers_is_started_again() {
    for line in ["list --json", "share bin/hither --json"] {
        let home = Home::empty();
        install(&home, STARTS);
        let dying = dying(&home);
        let listening = listen_once_started(&home);
        let ran = home.run(line);
        let fake = listening.join().unwrap();
        let asked = dying.join().unwrap();
        assert_eq!(
            asked,
            format!("{} HTTP/1.1", fake.asked()[0]),
            "{}",
            ran.stderr
        );
        assert!(!ran.stdout.contains("may be done"), "{}", ran.stdout);
    }
}

#[test]
fn what_could_be_done_twice_is_not_asked_again() {
    let home = Home::empty();
    install(&home, STARTS);
    let dying = dying(&home);
    let ran = home.run("share bin/hither --to phone");
    assert!(dying.join().unwrap().starts_with("POST /v1/shares"));
    assert_eq!(ran.exit, Some(1));
    assert!(
        ran.stderr.contains("may be done or not") && ran.stderr.contains("before you ask again"),
        "{}",
        ran.stderr
    );
    assert!(!home.folder.path().join("started").exists());
}
