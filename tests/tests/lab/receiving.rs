//! Things that are sent arrive: by itself where a rule says so, after a yes, or not at all; once, whoever
//! dies; with a word to the sender and to the user's program.
//!
//! Siblings: small files and shares; names that are taken; rules for a device, for own and for other
//! devices, of a size; accept and refuse on the desktop and in the inbox; declined at once, and long
//! after it was sent; several readers; standard input as a file; hostile names in the hook.

use crate::common::acquaint;
use crate::relay_world::World;
use hither_api::{ArrivalState, ErrorCode, MessageInfo, MessageKind, ReceiveInfo, SentState};
use hither_tests::lab::{self, Desktop, Device, Lab, MIB, Tree, fill, noise, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// Devices of two users that know each other; the phone is prepared before it starts.
fn acquainted(lab: &Lab, prepare: impl FnOnce(&mut Device)) -> (Device, Device) {
    let (desk, mut phone) = (lab.device("desk"), lab.device("phone"));
    prepare(&mut phone);
    acquaint(&desk, &phone);
    (desk, phone)
}

/// The latest message, when it stands so.
fn stands(device: &Device, state: ArrivalState) -> MessageInfo {
    until(&format!("{state:?} at {}", device.name), || {
        let last = device.inbox().pop()?;
        let arrival = last.arrival.as_ref()?;
        (arrival.state == state).then_some(last)
    })
}

fn paths(message: &MessageInfo) -> Vec<PathBuf> {
    let arrival = message.arrival.as_ref().unwrap();
    arrival.paths.iter().map(PathBuf::from).collect()
}

/// The names of everything in a folder.
fn names(folder: &std::path::Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

fn outbox(device: &Device) -> Vec<Value> {
    device.hither(&["outbox"]).well().lines
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn p5_what_own_devices_send_arrives_by_itself_once_whoever_dies() {
    lab::run(|lab| {
        const SIZE: u64 = 24 * MIB;
        let world = World::new(lab);
        let (desk, mut laptop) = (world.one.device("desk"), world.two.device("laptop"));
        let into = laptop.path("in");
        let (seen, hook) = (laptop.path("seen"), laptop.path("hook.sh"));
        let script = format!(
            "{{ echo \"$HITHER_EVENT|$HITHER_FROM|$HITHER_NAME|$HITHER_BYTES|$HITHER_COUNT|$HITHER_PATH_1|$#\"; cat; echo; }} >> {}",
            seen.display()
        );
        fs::write(&hook, script).unwrap();
        laptop.set("receive.folder", path(&into));
        laptop.set("receive.hook", &format!("sh '{}' fixed", hook.display()));
        crate::relay_world::join_all(&[&desk, &laptop], &world.relay.invitation());
        fs::create_dir_all(&into).unwrap();
        fs::write(into.join("notes.txt"), "the user's own").unwrap();

        // A text, with what a shell would run in it.
        desk.send("laptop", "$(touch /tmp/x) `id`\nsecond line");
        // A small file whose name is taken.
        fs::write(desk.path("notes.txt"), "things to buy").unwrap();
        desk.hither(&["send", "laptop", "notes.txt"]).well();
        let message = stands(&laptop, ArrivalState::Arrived);
        assert_eq!(paths(&message), [into.join("notes (2).txt")]);
        let read = |name: &str| fs::read_to_string(into.join(name)).unwrap();
        assert_eq!(read("notes.txt"), "the user's own");
        assert_eq!(read("notes (2).txt"), "things to buy");

        // A share, offered in so many words; the reader dies in the middle.
        let film = fill(desk.path("$(id);film.mkv"), 1, SIZE);
        laptop.cable.shape_down(40);
        let run = desk.hither(&["send", "laptop", path(&film)]).well();
        assert_eq!(run.lines.last().unwrap()["offer"], true);
        until("the fetch has begun", || laptop.transfers().pop());
        laptop.follow(SIZE / 8);
        laptop.kill();
        let began = Instant::now();
        laptop.up();
        let message = stands(&laptop, ArrivalState::Arrived);
        println!("arrived {:.1?} after the restart", began.elapsed());
        assert_eq!(message.kind, MessageKind::Ticket);
        Tree::of(&film).assert_same(&Tree::of(into.join("$(id);film.mkv")));

        // Small files, and a death at any moment: each once.
        for round in 0..4_u32 {
            let name = format!("round-{round}.txt");
            fs::write(desk.path(&name), name.repeat(2000)).unwrap();
            desk.hither(&["send", "laptop", &name]).well();
            laptop.kill();
            laptop.up();
        }
        let all = until("all of them", || {
            let inbox = laptop.inbox();
            let arrived = inbox.iter().filter(|one| {
                let arrival = one.arrival.as_ref();
                arrival.is_some_and(|arrival| arrival.state == ArrivalState::Arrived)
            });
            (arrived.count() == 6).then_some(inbox)
        });
        assert_eq!(all.len(), 7, "and one text");
        let mut expected: BTreeSet<String> = ["notes.txt", "notes (2).txt", "$(id);film.mkv"]
            .map(str::to_owned)
            .into();
        expected.extend((0..4).map(|round| format!("round-{round}.txt")));
        assert_eq!(names(&into), expected, "each once, and nothing half");

        // The user's program has heard of each, and nothing that others chose was run.
        let said = until("the program", || {
            let said = fs::read_to_string(&seen).unwrap_or_default();
            (said.matches("files|desk|round-").count() >= 4).then_some(said)
        });
        let film = into.join("$(id);film.mkv");
        let share = format!("share|desk|$(id);film.mkv|{SIZE}|1|{}|1\n", film.display());
        assert!(said.contains(&share), "{said}");
        assert!(said.contains("text|desk|"), "{said}");
        assert!(said.contains("$(touch /tmp/x) `id`\nsecond line"), "{said}");
        // A file that has arrived may be saved once more, from where it is.
        let number = all[1].id.to_string();
        let copy = laptop.path("copy");
        laptop
            .hither(&["inbox", "save", &number, "-o", path(&copy)])
            .well();
        assert_eq!(fs::read(copy.join("notes.txt")).unwrap(), b"things to buy");
    });
}

#[test]
fn p5_others_are_asked_about_and_what_is_refused_is_told() {
    lab::run(|lab| {
        let (desk, phone) = acquainted(lab, |phone| phone.set("receive.max", "1MiB"));
        let bus = phone.system_bus();
        let desktop = Desktop::start(&bus);
        let received = phone.home().join("received");
        let shown = |text: &str| {
            until(&format!("a notification of {text}"), || {
                let all = desktop.shown();
                all.into_iter().find(|one| one.text.contains(text))
            })
        };
        let send = |name: &str, bytes: u64| {
            let file = fill(desk.path(name), 1, bytes);
            desk.hither(&["send", "phone", path(&file)]).well()
        };

        // Nothing is written before the yes, which is one press on the desktop.
        send("one.txt", 1000);
        let message = stands(&phone, ArrivalState::Asked);
        assert_eq!(message.files[0].name, "one.txt");
        let notification = shown("one.txt");
        assert!(notification.title.contains("desk"), "{notification:?}");
        assert!(!received.exists(), "nothing before the yes");
        desktop.press(notification.id, "accept");
        assert_eq!(
            paths(&stands(&phone, ArrivalState::Arrived)),
            [received.join("one.txt")]
        );
        // A no is gone here, and its sender sees that, long after it was sent.
        send("two.txt", 1000);
        desktop.press(shown("two.txt").id, "refuse");
        let declined = |count: usize| {
            until("it is told", || {
                let all = outbox(&desk);
                let declined = all.iter().filter(|one| one["state"] == "declined");
                (declined.count() == count).then_some(())
            });
        };
        declined(1);
        assert_eq!(phone.inbox().len(), 2, "the text and the first file");
        // The same without a desktop.
        send("three.txt", 1000);
        let number = stands(&phone, ArrivalState::Asked).id.to_string();
        phone.hither(&["inbox", "refuse", &number]).well();
        declined(2);
        send("four.bin", 3 * MIB);
        let number = stands(&phone, ArrivalState::Asked).id.to_string();
        phone.hither(&["inbox", "accept", &number]).well();
        stands(&phone, ArrivalState::Arrived);
        Tree::of(desk.path("four.bin")).assert_same(&Tree::of(received.join("four.bin")));

        // By a rule, which a restart keeps; what is larger than was set is asked about all the same.
        phone
            .hither(&["receive", "--from", "desk", "--always"])
            .well();
        phone.kill();
        phone.up();
        phone.sees(1);
        send("five.txt", 1000);
        stands(&phone, ArrivalState::Arrived);
        send("six.bin", 2 * MIB);
        let asked = stands(&phone, ArrivalState::Asked);
        let reason = asked.arrival.unwrap().reason.unwrap();
        assert!(reason.contains("larger"), "{reason}");
        assert!(!received.join("six.bin").exists());

        // Never: the sender hears it at once, and nothing of it is shown.
        phone
            .hither(&["receive", "--from", "desk", "--never"])
            .well();
        let before = phone.inbox().len();
        let file = path(&fill(desk.path("seven.txt"), 1, 1000)).to_owned();
        for what in ["a text", &file] {
            let run = desk.hither(&["send", "phone", what]);
            let last = run.lines.last().unwrap();
            assert_eq!(
                (run.status, &last["state"]),
                (4, &"declined".into()),
                "{last}"
            );
        }
        assert_eq!(phone.inbox().len(), before);
        phone.hither(&["receive", "--remove", "desk"]).well();
        let error = phone.hither(&["receive", "--remove", "desk"]).failed(1);
        assert_eq!(error.code, ErrorCode::NotFound);
        assert_eq!(desk.send("phone", "again").state, SentState::Delivered);
        let info: ReceiveInfo = phone.api().get("/v1/receive").unwrap();
        assert_eq!(info.folder, path(&received));
        assert!(info.rules.is_empty());
    });
}

#[test]
fn p5_several_are_sent_to_at_once_and_a_mistyped_name_is_no_text() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, mut laptop) = (world.one.device("desk"), world.two.device("laptop"));
        let phone = world.two.device("phone");
        laptop.set("receive.own", "never");
        crate::relay_world::join_all(&[&desk, &laptop, &phone], &world.relay.invitation());
        let film = fill(desk.path("film.mkv"), 1, 2 * MIB);
        // A wrong name costs nothing.
        let send = |line: &[&str]| desk.hither(&[&["send"], line].concat());
        assert_ne!(send(&["phone", "--to", "nobody", path(&film)]).status, 0);
        assert_eq!(desk.status().shares, 0);
        // Shared once, each told; the worst of it is the exit status.
        let run = send(&["phone", "--to", "laptop", path(&film)]);
        let states: Vec<_> = run
            .lines
            .iter()
            .filter(|line| line["event"] == "sent")
            .collect();
        assert_eq!(run.status, 4);
        assert_eq!(states.len(), 2);
        assert_eq!(
            (&states[0]["state"], &states[1]["state"]),
            (&"delivered".into(), &"declined".into())
        );
        assert_eq!(desk.status().shares, 1);
        stands(&phone, ArrivalState::Arrived);
        assert!(laptop.inbox().is_empty());
        // A share that arrives by itself may be taken in hand.
        let number = phone.inbox().pop().unwrap().id.to_string();
        let into = phone.path("mine");
        phone
            .hither(&["inbox", "fetch", &number, "--yes", "-o", path(&into)])
            .well();
        Tree::of(&film).assert_same(&Tree::of(into.join("film.mkv")));
        // Nothing that looks like a file is taken for words.
        for mistyped in ["flim.mkv", "./film", "photos/2026"] {
            let error = send(&["phone", mistyped]).failed(2);
            assert!(error.hint.contains("--text"), "{error:?}");
        }
        send(&["phone", "--text", "flim.mkv"]).well();
        let texts = phone.inbox().pop().unwrap();
        assert_eq!(texts.text.as_deref(), Some("flim.mkv"));
        // Standard input as a file.
        let piped =
            desk.plain_with_input(&["send", "phone", "-", "--file", "my.diff"], b"-a\n+b\n");
        assert_eq!(piped.status, 0, "{piped:?}");
        let arrived = paths(&stands(&phone, ArrivalState::Arrived));
        assert_eq!(fs::read(&arrived[0]).unwrap(), b"-a\n+b\n");
        assert!(arrived[0].ends_with("my.diff"));
        // A large one travels as a share, which is given from where it was spooled.
        let large = noise(7, MIB as usize);
        let piped = desk.plain_with_input(&["send", "phone", "-", "--file", "large"], &large);
        assert_eq!(piped.status, 0, "{piped:?}");
        let arrived = paths(&stands(&phone, ArrivalState::Arrived));
        assert!(arrived[0].ends_with("large"), "{arrived:?}");
        assert!(fs::read(&arrived[0]).unwrap() == large);
    });
}

#[test]
fn p5_who_sends_waits_until_it_is_taken_and_what_was_only_sent_ends_then() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, mut laptop) = (world.one.device("desk"), world.two.device("laptop"));
        laptop.set("receive.own", "ask");
        crate::relay_world::join_all(&[&desk, &laptop], &world.relay.invitation());
        let waits = |what: &[&str]| desk.begin(&[&["send", "laptop", "--wait"], what].concat());
        let last = |run: lab::Running| {
            let run = run.finish();
            (run.status, run.lines.last().unwrap().clone())
        };

        // A text waits for a reader that comes later.
        laptop.down();
        let text = waits(&["good morning"]);
        until("it waits", || {
            let waiting = desk.hither(&["outbox"]).well().lines;
            waiting.is_empty().then_some(())
        });
        laptop.up();
        let (status, end) = last(text);
        assert_eq!((status, &end["taken"]), (0, &true.into()), "{end}");

        // Files wait for the reader's answer: a yes and a no.
        let [small, other] = ["a.txt", "b.txt"].map(|name| fill(desk.path(name), 1, 1000));
        for (file, answer, status) in [(&small, "accept", 0), (&other, "refuse", 4)] {
            let send = waits(&[path(file)]);
            let number = stands(&laptop, ArrivalState::Asked).id.to_string();
            laptop.hither(&["inbox", answer, &number]).well();
            let (ended, end) = last(send);
            println!("{answer}: {end}");
            assert_eq!(ended, status);
        }
        stands(&laptop, ArrivalState::Arrived);
        let read = laptop.plain(&["inbox", "read", "2"]);
        let read = String::from_utf8_lossy(&read.output).into_owned();
        assert!(
            read.contains("It lies at ") && read.contains("a.txt"),
            "{read}"
        );

        // A large file is shared until the reader has it, and called after what it is.
        let films: Vec<_> = ["one.mkv", "two.mkv"]
            .iter()
            .map(|name| fill(desk.path(name), 1, 2 * MIB))
            .collect();
        let send = waits(&[path(&films[0]), path(&films[1])]);
        let number = stands(&laptop, ArrivalState::Asked).id.to_string();
        let listed = desk.hither(&["list"]).well().lines;
        assert_eq!(listed[0]["name"], "one.mkv and 1 more");
        assert!(listed[0]["expires"].is_u64(), "{listed:?}");
        laptop.hither(&["inbox", "accept", &number]).well();
        let (status, end) = last(send);
        assert_eq!((status, &end["taken"]), (0, &true.into()), "{end}");
        until("the end of what was only sent", || {
            desk.hither(&["list"]).well().lines.is_empty().then_some(())
        });
        // A file that is shared already stays shared as it is.
        desk.share_with(&films[0], &["--no-upload"]);
        let send = waits(&[path(&films[0])]);
        let number = stands(&laptop, ArrivalState::Asked).id.to_string();
        laptop.hither(&["inbox", "accept", &number]).well();
        assert_eq!(last(send).0, 0);
        let listed = desk.hither(&["list"]).well().lines;
        assert_eq!((listed.len(), listed[0].get("expires")), (1, None));
    });
}
