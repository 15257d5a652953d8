//! The daemon as a process.

use crate::fake::Fake;
use crate::home::{Home, write_program};
use serde_json::json;
use std::time::{Duration, Instant};

/// Puts a script in the place of the daemon's program.
fn install(home: &Home, script: &str) {
    write_program(&home.folder.path().join("bin/hitherd"), format!("#!/bin/sh\n{script}\n").as_bytes());
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
    let output =
        home.hither("up").env("HITHER_TICKET", "hither1secret").env("HITHER_HOME", ".").output().unwrap();
    let _fake = listening.join().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.starts_with("Hither is running on desk (Yq3bQxZk).\n"), "{stdout}");
    assert!(stdout.contains("12D3KooW") && stdout.contains("UDP 47447, TCP 47447"), "{stdout}");
    let environment = std::fs::read_to_string(home.folder.path().join("env")).unwrap();
    assert!(!environment.contains("hither1secret"), "the daemon was given a ticket");
    assert_eq!(std::fs::read_to_string(home.folder.path().join("cwd")).unwrap(), "/\n");
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
    assert_eq!((ran.exit, ran.json()), (Some(0), vec![crate::fake::status()]), "{}", ran.stderr);
}

#[test]
fn a_daemon_that_fails_says_why() {
    let home = Home::empty();
    install(&home, "echo 'the store is damaged' >&2; exit 1");
    let ran = home.run("up");
    assert_eq!(ran.exit, Some(1));
    assert!(
        ran.stderr.starts_with("Error: The daemon ended right after its start: the store is damaged.\n"),
        "{}",
        ran.stderr
    );
    let ran = home.run("list --json");
    assert_eq!((ran.exit, &ran.json()[0]["code"]), (Some(1), &json!("no_daemon")));
    let ran = home.run("doctor");
    assert_eq!(ran.exit, Some(1));
    assert!(ran.stdout.starts_with("✗ Daemon: The daemon ended"), "{}", ran.stdout);
}

#[test]
fn a_missing_program_is_named() {
    let home = Home::empty();
    let ran = home.run("list");
    assert_eq!(ran.exit, Some(1));
    assert!(ran.stderr.contains("hitherd is not installed"), "{}", ran.stderr);
}

#[test]
fn the_status_and_down_start_nothing() {
    let home = Home::empty();
    install(&home, "touch \"$HITHER_HOME/started\"");
    let ran = home.run("status");
    assert_eq!(ran.exit, Some(1));
    assert!(ran.stderr.contains("not running") && ran.stderr.contains("hither up"), "{}", ran.stderr);
    let ran = home.run("down");
    assert_eq!((ran.exit, ran.stdout.as_str()), (Some(0), "Hither was not running.\n"));
    assert!(!home.folder.path().join("started").exists());
}

#[test]
fn down_waits_until_the_daemon_is_gone() {
    let (home, fake) = Home::running();
    let ran = home.run("down");
    assert_eq!((ran.exit, ran.stdout.as_str()), (Some(0), "Hither is stopped.\n"), "{}", ran.stderr);
    assert_eq!(fake.asked(), ["POST /v1/shutdown"]);
    assert!(!home.socket().exists());
}

#[test]
fn in_the_foreground_the_program_becomes_the_daemon() {
    let home = Home::empty();
    install(&home, "echo running $1; exit 7");
    let ran = home.run("up --foreground");
    assert_eq!((ran.exit, ran.stdout.as_str()), (Some(7), "running --foreground\n"));
}
