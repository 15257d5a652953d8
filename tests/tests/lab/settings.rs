//! Manners of the daemon: settings that change while it runs, a log that is read, and who goes first.

use crate::common::{pair, ratio};
use crate::relay_world::World;
use hither_api::{
    ChangedList, ClientError, ConfigChange, ConfigKeyInfo, ErrorCode, Event, Phase, SourceKind,
};
use hither_tests::lab::{self, Device, MIB, fill, until};
use serde_json::{Value, json};
use std::fs;
use std::time::Instant;

/// Bytes a second that a fetch makes at the moment.
fn rate(device: &Device) -> u64 {
    device.transfer().rate
}

fn set(device: &Device, key: &str, value: &str) -> Value {
    let run = device.hither(&["config", "set", key, value]).well();
    run.lines.last().unwrap().clone()
}

#[test]
fn p10_settings_are_in_force_at_once_or_it_is_said() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        // Without a daemon the file is for the next one.
        let early = set(&desk, "limits.lan", "true");
        assert_eq!(early["changed"], json!([]));
        let ticket = desk.share(&fill(desk.path("film"), 1, 96 * MIB)).ticket;
        let mut limits = desk.status().limits;
        assert!(limits.lan && limits.upload.is_none());

        // A fetch that is under way is slowed down and let go.
        let said = set(&desk, "limits.upload", "2MB");
        assert_eq!(
            (&said["changed"], &said["pending"]),
            (&json!(["limits.upload"]), &json!([]))
        );
        let mut fetch = laptop.begin_fetch(&ticket, "got");
        fetch.reach(8 * MIB);
        until("it is slow", || (rate(&laptop) < 4_000_000).then_some(()));
        set(&desk, "limits.upload", "");
        fetch.finish().fetched();
        limits = desk.status().limits;
        assert!(limits.upload.is_none());

        // A limit says so while the local network is left alone.
        set(&desk, "limits.lan", "false");
        let plain = desk.plain(&["config", "set", "limits.upload", "3MB"]);
        assert!(plain.errors.contains("limits.lan true"), "{}", plain.errors);

        // A key that needs a restart says so, until it came.
        let port = set(&desk, "port", "47999");
        assert_eq!(
            (&port["changed"], &port["pending"]),
            (&json!([]), &json!(["port"]))
        );
        let plain = desk.plain(&["config", "set", "port", "47998"]);
        assert!(
            plain
                .errors
                .contains("port: in force when the daemon is restarted"),
            "{}",
            plain.errors
        );
        let keys: Vec<ConfigKeyInfo> = desk.api().get("/v1/config").unwrap();
        let of = |name: &str| keys.iter().find(|key| key.key == name).unwrap().clone();
        assert!(of("port").pending && of("port").value == "47998");
        assert!(!of("wait").pending && !of("wait").needs_restart);
        desk.down();
        desk.up();
        let keys: Vec<ConfigKeyInfo> = desk.api().get("/v1/config").unwrap();
        assert!(keys.iter().all(|key| !key.pending));

        // By the local API, and by an editor; nonsense changes nothing.
        let change: ConfigChange = desk
            .api()
            .post("/v1/config", &json!({"key": "wait", "value": "3s"}))
            .unwrap();
        assert_eq!(change.changed, ["wait"]);
        let file = desk.home().join("config.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("wait = \"3s\""), "{text}");
        fs::write(&file, text.replace("wait = \"3s\"", "wait = \"soon\"")).unwrap();
        let refused = desk.hither(&["config", "reload"]).failed(2);
        assert!(refused.message.contains("wait"), "{refused:?}");
        fs::write(&file, text.replace("wait = \"3s\"", "wait = \"4s\"")).unwrap();
        let run = desk.hither(&["config", "reload"]).well();
        assert_eq!(run.lines.last().unwrap()["changed"], json!(["wait"]));
        let unknown: Result<ConfigChange, _> = desk.api().post(
            "/v1/config",
            &json!({"key": "wait", "value": "1s", "no": 1}),
        );
        let Err(ClientError::Api(error)) = unknown else {
            panic!("a field that does not exist was taken");
        };
        assert_eq!(error.code, ErrorCode::BadRequest);
        assert!(error.message.contains("unknown field `no`"), "{error:?}");
    });
}

#[test]
fn p10_the_log_is_read_by_people() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let none = desk.hither(&["log"]).failed(1);
        assert_eq!(none.code, ErrorCode::NotFound);
        desk.up();
        let log = desk.plain(&["log", "--level", "info"]);
        let text = String::from_utf8(log.output).unwrap();
        assert!(
            text.lines()
                .any(|line| line.contains(" INFO  the daemon runs device=12D3")),
            "{text}"
        );
        assert!(!text.contains(" DEBUG "), "{text}");
        let mut follow = desk.begin(&["log", "--follow", "-n", "1000"]);
        set(&desk, "wait", "9s");
        follow.line("a change is logged", |line| {
            (line["fields"]["message"] == "the configuration was read anew").then_some(())
        });
        follow.interrupt();
        assert_eq!(follow.finish().status, 130);
    });
}

/// Bytes of a share that are at a relay.
fn uploaded(device: &Device, share: &str) -> u64 {
    let lines = device.hither(&["list"]).well().lines;
    let line = lines.iter().find(|line| line["share"] == share).unwrap();
    line["upload"]["bytes"].as_u64().unwrap_or_default()
}

#[test]
fn p10_who_waits_goes_before_what_is_uploaded_in_the_background() {
    const WANTED: u64 = 10 * MIB;
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        desk.cable.shape_up(8);
        let archive = desk.share(&fill(desk.path("archive"), 1, 64 * MIB)).share;
        until("the upload is under way", || {
            (uploaded(&desk, &archive) > 6 * MIB).then_some(())
        });
        let wanted = fill(desk.path("wanted"), 2, WANTED);
        let ticket = desk.share_with(&wanted, &["--no-upload"]).ticket;
        let before = uploaded(&desk, &archive);
        let fetched = laptop.fetch(&ticket, "got");
        let meanwhile = uploaded(&desk, &archive) - before;
        assert_eq!(fetched.by(SourceKind::Relayed), WANTED);
        ratio("uploaded beside a fetch that waits", meanwhile, WANTED);
        println!("{:.1} s", fetched.seconds);
        // The bytes that were on their way already, and a tenth.
        assert!(meanwhile < WANTED * 3 / 4, "{meanwhile} of {WANTED}");
        // Then it goes on with all of the line.
        let (since, at) = (Instant::now(), uploaded(&desk, &archive));
        until("more is uploaded", || {
            (uploaded(&desk, &archive) > at + 4 * MIB).then_some(())
        });
        println!("4 MiB more in {:.1} s", since.elapsed().as_secs_f64());
    });
}

#[test]
fn p11_one_stream_tells_everything_and_every_error_is_a_problem() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let ticket = desk.share(&fill(desk.path("film"), 1, 4 * MIB)).ticket;
        laptop.up();
        let open = |device: &Device| device.api().heard("/v1/events").unwrap();
        let (mut there, mut here) = (open(&desk), open(&laptop));
        laptop.fetch(&ticket, "got");
        let done = here.wait_for("the transfer", |event| match event {
            Event::Transfer(info) if info.phase == Phase::Done => Some(info.total),
            _ => None,
        });
        assert_eq!(done.unwrap(), 4 * MIB);
        there
            .wait_for("who fetched", |event| {
                matches!(event, Event::Fetched(_)).then_some(())
            })
            .unwrap();
        set(&laptop, "wait", "9s");
        let changed = |wanted| {
            move |event: &Event| match event {
                Event::Changed { what } if *what == wanted => Some(()),
                _ => None,
            }
        };
        here.wait_for("a setting", changed(ChangedList::Config))
            .unwrap();
        fill(desk.path("other"), 2, 10);
        desk.share(&desk.path("other"));
        there
            .wait_for("a share", changed(ChangedList::Shares))
            .unwrap();

        // The router's refusals look as those of calls.
        for (method, path, body, status) in [
            ("GET", "/v1/nothing", "", 404),
            ("DELETE", "/v1/status", "", 405),
            ("POST", "/v1/config", "{", 400),
            ("POST", "/v1/config", "{\"key\":\"wait\"}", 422),
            ("POST", "/v1/fetches", "{\"ticket\":\"x\",\"no\":1}", 422),
            ("POST", "/v1/fetches", "{\"ticket\":\"x\"}", 400),
        ] {
            let (said, problem) = desk.api().raw(method, path, body).unwrap();
            let what = format!("{method} {path} {body}: {problem}");
            assert_eq!(
                (said, &problem["status"]),
                (status, &json!(status)),
                "{what}"
            );
            for field in ["type", "title", "detail", "code", "message", "hint"] {
                assert!(problem[field].is_string(), "{field}: {what}");
            }
        }
    });
}

#[test]
fn p11_the_stream_of_everything_names_every_list_that_changed() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = (world.one.device("desk"), world.two.device("laptop"));
        desk.up();
        let mut heard = desk.api().heard("/v1/events").unwrap();
        let mut changed = |wanted: ChangedList| {
            let what = format!("{wanted:?}");
            heard
                .wait_for(&what, |event| match event {
                    Event::Changed { what } if *what == wanted => Some(()),
                    _ => None,
                })
                .unwrap();
        };
        let invitation = world.relay.invitation();
        desk.join(&invitation);
        changed(ChangedList::Relays);
        laptop.join(&invitation);
        changed(ChangedList::Devices);
        desk.hither(&["group", "create", "choir"]).well();
        changed(ChangedList::Groups);
        desk.hither(&["page", "--none"]).well();
        changed(ChangedList::Pages);
        desk.hither(&["send", "laptop", "hello"]).well();
        changed(ChangedList::Outbox);
        laptop.hither(&["send", "desk", "hello"]).well();
        changed(ChangedList::Inbox);
        laptop.share(&fill(laptop.path("film"), 1, 1000));
        changed(ChangedList::Catalogue);
        let shown = desk.path("shown");
        fs::create_dir_all(&shown).unwrap();
        desk.hither(&["expose", shown.to_str().unwrap(), "--to", "laptop"])
            .well();
        changed(ChangedList::Drive);
        let log: Vec<Value> = desk.api().get("/v1/log?lines=5").unwrap();
        assert_eq!(log.len(), 5);
        assert!(log.iter().all(|line| line["level"].is_string()), "{log:?}");
    });
}
