//! Links in a real browser (Chromium): opened, downloaded whole, compared; what must not matter: that
//! the owner is off, that the relay restarts in the middle, that the tab is killed.
//!
//! `web/tests/e2e-link.mjs` is what the browser does; here is the world around it.

use crate::page_world::{HOST, served};
use crate::relay_world::World;
use hither_tests::lab::{self, Device, MIB, fill, until};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The port of addresses that name none.
const PORT: u16 = 443;

/// A relay with a page, the options by which a browser finds and trusts it, two devices of one user
/// and a network with nothing installed.
struct Served<'lab> {
    world: World<'lab>,
    desk: Device,
    phone: Device,
    options: Vec<String>,
}

impl<'lab> Served<'lab> {
    fn new(lab: &'lab lab::Lab) -> Self {
        let (world, certificate) = served(lab, PORT, |_| {});
        let (desk, _) = world.pair();
        let phone = world.two.device("phone");
        let options = vec![
            "--spki".into(),
            base64(&Sha256::digest(&certificate.public_key)),
            "--map".into(),
            format!("MAP {HOST} {}", world.relay.cable.address()),
        ];
        Self {
            world,
            desk,
            phone,
            options,
        }
    }

    /// Shares with a link, and turns the owner off.
    fn link(&self, path: &Path) -> String {
        let run = self
            .desk
            .hither(&["share", path.to_str().unwrap(), "--link"])
            .well();
        let link = run.lines.last().unwrap()["link"]
            .as_str()
            .unwrap()
            .to_owned();
        self.desk.down();
        link
    }

    fn drive(&self, link: &str, more: &[&str]) -> Option<lab::Driven> {
        let mut arguments: Vec<&str> = vec![link];
        arguments.extend(self.options.iter().map(String::as_str));
        arguments.extend(more);
        self.phone.drive("e2e-link.mjs", &arguments)
    }
}

/// Encodes as base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(group);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

/// The figures of a browser that did what it was to do.
#[track_caller]
fn well(figures: &Value) {
    println!("{figures}");
    assert_eq!(figures["ok"], true, "{figures}");
    assert_eq!(figures["problems"], serde_json::json!([]));
}

fn album(desk: &Device) -> PathBuf {
    let top = desk.path("album");
    fs::create_dir_all(top.join("deep/er")).unwrap();
    fill(top.join("film.bin"), 1, 24 * MIB + 77);
    fs::write(top.join("deep/er/notes ü.txt"), "words\n").unwrap();
    fs::write(top.join("deep/empty"), "").unwrap();
    for number in 0..20 {
        fill(top.join(format!("deep/{number}.jpg")), number, 30_000);
    }
    top
}

#[test]
fn w1_w3_a_link_opens_in_a_browser_while_its_owner_is_off() {
    lab::run(|lab| {
        let served = Served::new(lab);
        let top = album(&served.desk);
        let link = served.link(&top);
        let expected = top.to_str().unwrap();
        let Some(driven) = served.drive(&link, &["--expect", expected, "--throttled"]) else {
            return;
        };
        let figures = driven.finish();
        well(&figures);
        // The cost of a first view: the page, the core and the list.
        let bytes = figures["page_bytes"].as_u64().unwrap();
        assert!(bytes < 350_000, "{bytes} bytes for the first view");
    });
}

#[test]
fn w1_a_download_goes_on_when_the_tab_is_killed_and_when_the_relay_restarts() {
    lab::run(|lab| {
        let served = Served::new(lab);
        let file = fill(served.desk.path("film.bin"), 2, 48 * MIB);
        let link = served.link(&file);
        let expected = file.to_str().unwrap();
        served.phone.cable.shape_down(60);
        let Some(driven) = served.drive(&link, &["--expect", expected, "--kill-at", "40"]) else {
            return;
        };
        well(&driven.finish());

        let before = served.phone.cable.traffic().received;
        let driven = served.drive(&link, &["--expect", expected]).unwrap();
        until("some of it is here", || {
            let received = served.phone.cable.traffic().received - before;
            (received > 16 * MIB).then_some(())
        });
        served.world.relay.kill();
        served.world.relay.start();
        well(&driven.finish());
    });
}

#[test]
#[ignore = "long: 2 GiB through a browser; scripts/nightly"]
fn w1_two_gibibytes_pass_through_a_browser() {
    lab::run(|lab| {
        let served = Served::new(lab);
        let file = fill(served.desk.path("film.bin"), 3, 2048 * MIB);
        let link = served.link(&file);
        let expected = file.to_str().unwrap();
        let options = ["--expect", expected, "--timeout", "1800", "--memory"];
        let Some(driven) = served.drive(&link, &options) else {
            return;
        };
        let figures = driven.finish();
        well(&figures);
        // Far less than the file: nothing keeps it.
        let grown = figures["grown_alone_bytes"].as_u64().unwrap();
        assert!(grown < 300 * MIB, "{grown} bytes of memory");
    });
}
