//! Devices ask each other: on one network without a relay, through a relay, asked while away, asker
//! gone when the answer comes, one user and two.
//!
//! Siblings: every kind that can be made here, digest only, picked, live; refused, cancelled,
//! expired, allowed, allowed for a folder, revoked; a crowd of requests, restarts of either side.

use crate::common::acquaint;
use crate::relay_world::World;
use hither_api::{AskInfo, AsksInfo, ErrorCode, SentState};
use hither_tests::lab::{self, Device, Lab, Tree, fill, until};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Makes a picture (PNG) of about `side`² × 3 bytes whose bytes do not compress.
fn picture(path: &Path, side: u32, age_s: u64) {
    let mut seed = u64::from(side) + age_s;
    let picture = image::RgbImage::from_fn(side, side, |_, _| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        image::Rgb([(seed >> 33) as u8, (seed >> 41) as u8, (seed >> 49) as u8])
    });
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(age_s))
        .unwrap();
}

/// A desk and a phone of one user's friend that know each other; the phone's pictures are in a
/// folder of their own.
fn acquainted(lab: &Lab) -> (Device, Device) {
    let (desk, mut phone) = (lab.device("desk"), lab.device("phone"));
    let pictures = phone.path("pictures");
    phone.set("asks.folders", pictures.to_str().unwrap());
    phone.set("asks.notify", "false");
    acquaint(&desk, &phone);
    (desk, phone)
}

fn asks(device: &Device) -> AsksInfo {
    device.api().get("/v1/asks").unwrap()
}

/// The request that waits.
fn waiting(device: &Device) -> AskInfo {
    until("a request", || {
        let mut all = asks(device).received.into_iter();
        all.find(|one| one.state == "waiting")
    })
}

fn answers(device: &Device, with: &[&str]) {
    let id = waiting(device).ask;
    let mut line = vec!["asks", "answer", &id[..12]];
    line.extend(with);
    device.hither(&line).well();
}

fn state(device: &Device, number: usize) -> String {
    asks(device).sent[number].state.clone()
}

fn ask(desk: &Device, what: &[&str]) -> lab::Running {
    let mut line = vec!["ask", "phone"];
    line.extend(what);
    desk.begin_in(&desk.path(""), &line)
}

fn last(run: &lab::Run) -> Value {
    run.lines.last().unwrap().clone()
}

#[test]
fn c1_c3_c5_the_latest_photo_of_another_user_on_one_network_without_a_relay() {
    lab::run(|lab| {
        let (desk, phone) = acquainted(lab);
        picture(&phone.path("pictures/old.png"), 20, 500);
        picture(&phone.path("pictures/new.png"), 40, 100);
        let asked = ask(
            &desk,
            &[
                "photo",
                "--latest",
                "-o",
                "got",
                "--reason",
                "for the album",
            ],
        );
        let request = waiting(&phone);
        assert_eq!(
            (
                request.name.as_str(),
                request.what.as_str(),
                request.reason.as_str()
            ),
            ("desk", "the latest photo", "for the album")
        );
        // Nothing is given before the yes, and the asker hears that the user sees it.
        until("it is seen", || (state(&desk, 0) == "seen").then_some(()));
        assert!(!desk.path("got/new.png").exists());
        answers(&phone, &[]);
        asked.finish().well();
        assert_eq!(
            fs::read(desk.path("got/new.png")).unwrap(),
            fs::read(phone.path("pictures/new.png")).unwrap()
        );
        assert_eq!(
            (state(&desk, 0), asks(&phone).received[0].state.clone()),
            ("answered".into(), "answered".into())
        );
        assert!(
            desk.inbox().is_empty(),
            "what was written is not kept twice"
        );
        // Answered once: what is said again changes nothing.
        let again = phone.hither(&["asks", "refuse", &request.ask]).failed(2);
        assert_eq!(again.code, ErrorCode::BadRequest);
        let audit = fs::read_to_string(Path::new(&phone.status().home).join("audit.log")).unwrap();
        assert!(
            audit.contains("\"photo\"") && audit.contains("answered"),
            "{audit}"
        );
    });
}

#[test]
fn c4_what_is_large_comes_as_a_share_and_a_digest_is_only_that() {
    lab::run(|lab| {
        let (desk, phone) = acquainted(lab);
        picture(&phone.path("pictures/large.png"), 900, 10);
        let asked = ask(&desk, &["photo", "--latest", "-o", "got"]);
        answers(&phone, &[]);
        asked.finish().well();
        let large = phone.path("pictures/large.png");
        Tree::of(&large).assert_same(&Tree::of(desk.path("got/large.png")));
        let before = desk.cable.traffic().received;
        let asked = ask(&desk, &["photo", "--latest", "--digest"]);
        answers(&phone, &[]);
        let told = asked.finish().well();
        let thing = &last(&told)["things"][0];
        assert_eq!(
            (&thing["name"], thing["bytes"].as_u64()),
            (
                &Value::from("large.png"),
                Some(large.metadata().unwrap().len())
            )
        );
        let small = thing["thumbnail"].as_str().unwrap();
        assert!(!small.is_empty() && small.len() <= 64 * 1024);
        let received = desk.cable.traffic().received - before;
        assert!(received < 200_000, "{received} bytes for a digest");
    });
}

#[test]
fn c1_the_latest_photo_fifty_times_by_an_allowance() {
    lab::run(|lab| {
        let (desk, phone) = acquainted(lab);
        picture(&phone.path("pictures/a.png"), 220, 5);
        phone.hither(&["asks", "allow", "desk", "photo"]).well();
        let mut times: Vec<_> = (0..50)
            .map(|number| {
                let began = Instant::now();
                let into = format!("got-{number}");
                ask(&desk, &["photo", "--latest", "-o", &into])
                    .finish()
                    .well();
                assert!(desk.path(&into).join("a.png").exists());
                began.elapsed()
            })
            .collect();
        times.sort();
        println!(
            "from the command to the picture of 145 kB: p50 {:.0?}, p90 {:.0?}",
            times[25], times[45]
        );
        assert!(desk.inbox().is_empty());
    });
}

#[test]
fn c3_c7_picked_refused_cancelled_expired_and_allowed() {
    lab::run(|lab| {
        let (desk, phone) = acquainted(lab);
        for name in ["a", "b", "c"] {
            picture(&phone.path(&format!("pictures/{name}.png")), 10, 50);
        }
        // Picked: nothing is given that was not named.
        let asked = ask(&desk, &["photo", "-o", "got"]);
        let request = waiting(&phone);
        phone.hither(&["asks", "answer", &request.ask]).failed(2);
        answers(&phone, &[phone.path("pictures/b.png").to_str().unwrap()]);
        asked.finish().well();
        assert!(desk.path("got/b.png").exists() && !desk.path("got/a.png").exists());
        // Refused.
        let asked = ask(&desk, &["clipboard"]);
        phone
            .hither(&["asks", "refuse", &waiting(&phone).ask])
            .well();
        let refused = asked.finish().failed(4);
        assert_eq!(refused.message, "phone said no.");
        // Cancelled: it waits no more, and cannot be answered.
        desk.hither(&["ask", "phone", "photo", "--latest", "--no-wait"])
            .well();
        let request = waiting(&phone);
        desk.hither(&["asks", "cancel", &request.ask]).well();
        until("it is cancelled there", || {
            let all = asks(&phone).received;
            all.iter()
                .any(|one| one.ask == request.ask && one.state == "cancelled")
                .then_some(())
        });
        phone.hither(&["asks", "answer", &request.ask]).failed(2);
        // Expired, on both sides.
        let asked = ask(&desk, &["photo", "--latest", "--expires", "2s"]);
        asked.finish().failed(4);
        until("it has expired there", || {
            let all = asks(&phone).received;
            all.iter().any(|one| one.state == "expired").then_some(())
        });
        // Allowed: answered without asking, only that kind, only below that folder.
        picture(&phone.path("pictures/private/z.png"), 12, 1);
        let folder = phone.path("pictures/open");
        picture(&folder.join("o.png"), 14, 90);
        phone
            .hither(&[
                "asks",
                "allow",
                "desk",
                "photo",
                "--for",
                "1h",
                "--folder",
                folder.to_str().unwrap(),
            ])
            .well();
        ask(&desk, &["photo", "--latest", "-o", "allowed"])
            .finish()
            .well();
        assert!(desk.path("allowed/o.png").exists() && !desk.path("allowed/z.png").exists());
        let outside = ask(&desk, &["photo", "--name", "z*"]).finish().failed(4);
        assert!(outside.message.contains("nothing"), "{outside:?}");
        desk.hither(&["ask", "phone", "file", "--latest", "--no-wait"])
            .well();
        waiting(&phone);
        // It holds after a restart, until it is revoked.
        phone.down();
        phone.up();
        desk.sees(1);
        ask(&desk, &["photo", "--latest", "-o", "again"])
            .finish()
            .well();
        let grant = phone.hither(&["asks", "allowed"]).well().lines[0]["grant"].to_string();
        phone.hither(&["asks", "revoke", &grant]).well();
        desk.hither(&["ask", "phone", "photo", "--latest", "--no-wait"])
            .well();
        until("the user is asked again", || {
            let all = asks(&phone).received;
            (all.iter().filter(|one| one.state == "waiting").count() == 2).then_some(())
        });
    });
}

#[test]
fn c1_live_and_words_by_what_the_user_configured() {
    lab::run(|lab| {
        let (desk, mut phone) = acquainted(lab);
        phone.down();
        let shot = phone.path("shot.png");
        picture(&shot, 30, 0);
        let code = phone.path("code.png");
        qr(&code, "WIFI:S:home;;");
        phone.set(
            "asks.commands",
            &format!(
                "photo.live cp {} {{out}},audio.live sh -c 'sleep {{seconds}}; head -c 5000 /dev/zero > \"$0\"' {{out}},playing echo 'A $HOME film',qr.live cp {} {{out}}",
                shot.display(),
                code.display()
            ),
        );
        phone.set("asks.location", "48.137 11.575");
        phone.up();
        desk.sees(1);
        let expect = |what: &[&str]| {
            let asked = ask(&desk, what);
            answers(&phone, &[]);
            last(&asked.finish().well())
        };
        expect(&["photo", "--snap", "-o", "live"]);
        let names: Vec<_> = fs::read_dir(desk.path("live")).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(
            fs::read(names[0].as_ref().unwrap().path()).unwrap(),
            fs::read(&shot).unwrap()
        );
        expect(&["audio", "--record", "1s", "-o", "sound"]);
        assert_eq!(fs::read_dir(desk.path("sound")).unwrap().count(), 1);
        let text = |answer: Value| answer["text"].as_str().unwrap().to_owned();
        assert_eq!(text(expect(&["playing"])), "A $HOME film\n");
        assert_eq!(text(expect(&["location"])), "48.137 11.575");
        // A device says what it cannot do, and the user may answer otherwise.
        let asked = ask(&desk, &["video", "--film", "1s"]);
        phone
            .hither(&["asks", "answer", &waiting(&phone).ask])
            .failed(4);
        phone
            .hither(&["asks", "refuse", &waiting(&phone).ask])
            .well();
        asked.finish().failed(4);
    });
}

/// Draws a QR code.
fn qr(path: &Path, words: &str) {
    let code = qrcode::QrCode::new(words).unwrap();
    let side = code.width() as u32;
    let colours = code.to_colors();
    image::GrayImage::from_fn((side + 8) * 4, (side + 8) * 4, |x, y| {
        let (x, y) = ((x / 4).wrapping_sub(4), (y / 4).wrapping_sub(4));
        let dark = x < side && y < side && colours[(y * side + x) as usize] == qrcode::Color::Dark;
        image::Luma([if dark { 0 } else { 255 }])
    })
    .save(path)
    .unwrap();
}

#[test]
fn c1_c3_the_desktop_is_asked_and_answers_from_a_notification() {
    lab::run(|lab| {
        let (desk, mut phone) = acquainted(lab);
        phone.down();
        let bus = phone.system_bus();
        let desktop = lab::Desktop::start(&bus);
        phone.set("asks.notify", "true");
        phone.up();
        desk.sees(1);
        let text = |answer: Value| answer["text"].as_str().unwrap().to_owned();
        let accepted = |what: &str, number: usize| {
            let asked = ask(&desk, &[what, "--reason", "<b>now</b> & here"]);
            let shown = until("the notification", || desktop.shown().get(number).cloned());
            assert!(shown.title.contains("desk asks for"), "{shown:?}");
            assert_eq!(shown.text, "&lt;b>now&lt;/b> &amp; here");
            desktop.press(shown.id, "accept");
            text(last(&asked.finish().well()))
        };
        assert_eq!(
            accepted("playing", 0),
            "Anna – A film\nat 0:01:30\nhttps://example.org/film.mp4"
        );
        let place = accepted("place", 1);
        assert!(
            place.ends_with("https://example.org/film.mp4#t=90"),
            "{place}"
        );
        assert_eq!(accepted("location", 2), "48.137000, 11.575000 (±25 m)");
        // A no from there as well.
        let asked = ask(&desk, &["playing"]);
        let shown = until("the notification", || desktop.shown().get(3).cloned());
        desktop.press(shown.id, "refuse");
        asked.finish().failed(4);
    });
}

#[test]
fn c1_a_qr_code_on_a_picture_is_read() {
    lab::run(|lab| {
        let (desk, phone) = acquainted(lab);
        fs::create_dir_all(phone.path("pictures")).unwrap();
        qr(&phone.path("pictures/code.png"), "https://example.org/?a=b");
        let asked = ask(&desk, &["qr", "--latest"]);
        answers(&phone, &[]);
        assert_eq!(
            last(&asked.finish().well())["text"],
            "https://example.org/?a=b"
        );
    });
}

#[test]
fn c2_c7_asked_while_away_and_answered_when_the_asker_is_gone_through_a_relay() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        laptop.down();
        let sent = desk
            .hither(&["ask", "laptop", "file", "--name", "plan*", "--no-wait"])
            .well();
        let id = last(&sent)["ask"].as_str().unwrap().to_owned();
        desk.down();
        laptop.up();
        let plan = laptop.path("plan.txt");
        fill(plan.clone(), 3, 3000);
        let request = until("the request", || {
            let mut all = asks(&laptop).received.into_iter();
            all.find(|one| one.ask == id)
        });
        laptop
            .hither(&["asks", "answer", &request.ask, plan.to_str().unwrap()])
            .well();
        // The asker finds the answer in its inbox, once.
        desk.up();
        let message = until("the answer", || desk.inbox().pop());
        assert_eq!(message.files[0].name, "plan.txt");
        until("the request is answered", || {
            (state(&desk, 0) == "answered").then_some(())
        });
        let into = desk.path("saved");
        desk.hither(&[
            "inbox",
            "save",
            &message.id.to_string(),
            "-o",
            into.to_str().unwrap(),
        ])
        .well();
        assert_eq!(
            fs::read(&plan).unwrap(),
            fs::read(into.join("plan.txt")).unwrap()
        );
        desk.down();
        desk.up();
        assert_eq!(desk.inbox().len(), 1);
    });
}

#[test]
fn c7_an_answer_survives_the_end_of_either_program_and_comes_once() {
    lab::run(|lab| {
        let (desk, phone) = acquainted(lab);
        picture(&phone.path("pictures/a.png"), 20, 5);
        for round in 0..4 {
            desk.hither(&["ask", "phone", "photo", "--latest", "--no-wait"])
                .well();
            let request = waiting(&phone);
            if round % 2 == 0 {
                desk.kill();
            }
            phone.hither(&["asks", "answer", &request.ask]).well();
            if round > 1 {
                phone.kill();
                phone.up();
            }
            if round % 2 == 0 {
                desk.up();
            }
            until("the answer", || {
                (desk.inbox().len() == round + 1).then_some(())
            });
        }
        desk.kill();
        desk.up();
        assert_eq!(desk.inbox().len(), 4);
        assert!(asks(&desk).sent.iter().all(|one| one.state == "answered"));
    });
}

#[test]
fn c5_a_crowd_of_requests_is_bounded_and_a_forgotten_device_asks_nothing() {
    lab::run(|lab| {
        let (desk, phone) = acquainted(lab);
        for _ in 0..20 {
            desk.hither(&["ask", "phone", "clipboard", "--no-wait"])
                .well();
        }
        until("those too many are refused", || {
            let busy = asks(&desk).sent;
            let busy = busy
                .iter()
                .filter(|one| one.refusal.as_deref() == Some("busy"));
            (busy.count() == 4).then_some(())
        });
        assert_eq!(asks(&phone).received.len(), 16);
        phone.hither(&["devices", "forget", "desk"]).well();
        phone.hither(&["nearby", "off"]).well();
        desk.hither(&["ask", "phone", "clipboard", "--no-wait"])
            .well();
        until("it is refused", || {
            let late = |one: &AskInfo| one.state == "refused" && one.refusal.is_none();
            asks(&desk).sent.iter().any(late).then_some(())
        });
        assert_eq!(asks(&phone).received.len(), 16);
        let sent = desk.send("phone", "x");
        assert_ne!(sent.state, SentState::Delivered);
    });
}
