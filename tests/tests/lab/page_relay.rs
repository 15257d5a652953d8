//! W6: a relay serves browsers: the page, the byte pipe, chunks by GET, links.
//!
//! Siblings: each way of serving: TLS with files of its own that are replaced while
//! it runs, plain HTTP behind a proxy, the ports of devices. Each thing served: pages, facts, the
//! pipe, chunks. Each way of misusing one: heads too long and too slow, paths that climb, upgrades that are
//! none, texts, messages too long, another origin, tokens that were never given, have ended, or
//! outlive their share. A link: printed, fetched, cut off, looked at by bots. Words of proxies:
//! `relay-server/src/web/client.rs`; who takes too slowly: `util/src/patient.rs`; bounds of tokens:
//! `serve/tokens.rs`.

use crate::page_world::{Certificate, HOST, authority, served};
use crate::relay_world::World;
use hither_content::{open_chunk, open_root};
use hither_proto::{Manifest, ShareLink, Ticket};
use hither_tests::lab::{
    self, Answer, BINARY, Browser, Device, MIB, Read, Relay, TEXT, Tree, fill, until,
};
use rustix::process::Signal;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// A port of its own, and the port of devices.
const OWN: u16 = 8443;
const SHARED: u16 = 4817;

fn at(relay: &Relay, port: u16) -> SocketAddr {
    SocketAddr::new(relay.cable.address().parse().unwrap(), port)
}

fn browser(place: &Device, relay: &Relay, port: u16, certificate: &Certificate) -> Browser {
    Browser::new(place, at(relay, port), &authority(port)).trusting(&certificate.der)
}

/// Shares with a link.
fn share_link(device: &Device, path: &Path, options: &[&str]) -> (String, ShareLink) {
    let run = device
        .hither(&[&["share", path.to_str().unwrap(), "--link"], options].concat())
        .well();
    let done = run.lines.last().unwrap();
    let link = done["link"].as_str().unwrap();
    assert!(link.ends_with(done["ticket"].as_str().unwrap()), "{done}");
    (
        done["share"].as_str().unwrap().to_owned(),
        link.parse().unwrap(),
    )
}

/// The bytes of a share that is one file, out of its ciphertexts alone, by what its owner signed.
fn plaintext(ticket: &Ticket, read: &Read) -> Vec<u8> {
    let root = open_root(read.head.head(), &ticket.secret, &read.root[0]).unwrap();
    let open = |records: &[hither_proto::ChunkRecord], sealed: &[Vec<u8>]| {
        assert_eq!(records.len(), sealed.len());
        let opened = records.iter().zip(sealed).flat_map(|(record, sealed)| {
            let mut buffer = sealed.clone();
            open_chunk(record, &mut buffer).unwrap();
            buffer
        });
        opened.collect::<Vec<u8>>()
    };
    let manifest = Manifest::decode(&open(root.records(), &read.manifest)).unwrap();
    open(manifest.chunks(), &read.data)
}

/// Path of a request for chunks.
fn chunks(token: &str, read: &Read, space: &str, range: &str) -> String {
    let version = read.head.head().version;
    format!("/hither/1/chunks/{token}/{version}/{space}/{range}")
}

fn data(read: &Read) -> String {
    format!("0-{}", read.head.head().chunks - 1)
}

#[test]
fn w6_a_link_opens_in_a_browser_and_on_another_device() {
    lab::run(|lab| {
        let (world, certificate) = served(lab, OWN, |_| {});
        let (desk, laptop) = world.pair();
        let relays = laptop.hither(&["relay", "list"]).well();
        assert_eq!(relays.lines[0]["web"], format!("https://{HOST}:{OWN}"));
        let file = fill(desk.path("film.mkv"), 1, 20 * MIB);
        let (share, link) = share_link(&desk, &file, &[]);
        assert_eq!(link.web.to_string(), format!("https://{HOST}:{OWN}"));
        let text = link.to_string();
        // A program that reads it gets the link and nothing else.
        let plain = desk.plain(&["share", file.to_str().unwrap(), "--link"]);
        assert_eq!(String::from_utf8_lossy(&plain.output).trim_end(), text);
        desk.down();

        // The page, and nothing of the share in what asks for it.
        let phone = world.two.device("phone");
        let browser = browser(&phone, &world.relay, OWN, &certificate);
        let page = browser.get("/l");
        assert_eq!(page.status, 200, "{}", page.head);
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        for (name, value) in [
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), Some(value), "{}", page.head);
        }
        let policy = page.header("content-security-policy").unwrap();
        let sockets = format!("connect-src 'self' wss://{HOST}:{OWN};");
        assert!(
            policy.contains(&sockets) && policy.contains("default-src 'none'"),
            "{policy}"
        );
        assert!(page.header("strict-transport-security").is_some());
        let tag = page.header("etag").unwrap();
        let again = browser.ask("GET", "/l", &format!("If-None-Match: {tag}\r\n"));
        assert_eq!((again.status, again.body.len()), (304, 0));
        let facts: serde_json::Value =
            serde_json::from_slice(&browser.get("/.well-known/hither").body).unwrap();
        assert_eq!(
            (&facts["v"], &facts["relay"]),
            (&1.into(), &world.relay.key().into())
        );
        assert!(facts["roles"].as_array().unwrap().contains(&"store".into()));

        // Everything over the pipe, by the page's own means: proof, head, root, manifest, data.
        let (read, code) = browser.reads(&world.relay.key(), &link.ticket);
        let read = read.unwrap();
        assert_eq!(code, Some(1000), "the pipe is closed in order");
        assert!(plaintext(&link.ticket, &read) == fs::read(&file).unwrap());
        // GET gives the same bytes.
        let (token, lives) = read.token.clone().unwrap();
        assert_eq!(lives, 600_000);
        for (space, range, held) in [
            ("root", "0-0".to_owned(), &read.root),
            (
                "manifest",
                format!("0-{}", read.manifest.len() - 1),
                &read.manifest,
            ),
            ("data", data(&read), &read.data),
            ("data", "1-2".to_owned(), &read.data[1..3].to_vec()),
        ] {
            let answer = browser.get(&chunks(&token, &read, space, &range));
            assert_eq!(answer.status, 200, "{space} {range}: {}", answer.head);
            assert!(answer.body == held.concat(), "{space} {range}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            assert_eq!(answer.header("cache-control"), Some("private, immutable"));
            let length = answer.header("content-length").unwrap().parse();
            assert_eq!(length, Ok(answer.body.len()));
        }
        let stats = world.relay.stats();
        println!("{}", stats["web"]);
        assert!(stats["web"]["requests"].as_u64().unwrap() >= 8);
        until("the pipe is counted as closed", || {
            (world.relay.stats()["web"]["websockets"] == 0).then_some(())
        });
        let metrics = world.relay.page("/metrics");
        assert!(
            metrics.contains("hither_relay_websockets_opened_total 1"),
            "{metrics}"
        );

        // On another device, as printed, in capitals, and cut off.
        let fetched = laptop.fetch(&text, "got");
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        println!("{:?}", fetched.sources);
        let listed = laptop
            .hither(&["fetch", "--list", &text.to_uppercase()])
            .well();
        assert_eq!(listed.lines.last().unwrap()["files"], 1);
        for lost in [
            format!("https://{HOST}:{OWN}/l"),
            format!("https://{HOST}:{OWN}/l#"),
        ] {
            let error = laptop.hither(&["fetch", &lost, "--yes"]).failed(2);
            assert!(
                error.message.contains("has lost what follows the #"),
                "{error:?}"
            );
        }

        // A share that has ended is read by nobody, whatever token there was.
        desk.up();
        desk.hither(&["unshare", &share]).well();
        until("the token is good no longer", || {
            let answer = browser.get(&chunks(&token, &read, "root", "0-0"));
            (answer.status == 403).then_some(())
        });
        let (read, _) = browser.reads(&world.relay.key(), &link.ticket);
        assert!(read.is_err());
    });
}

#[test]
fn w6_a_certificate_is_replaced_and_the_ports_of_devices_are_shared() {
    lab::run(|lab| {
        let (world, first) = served(lab, SHARED, |_| {});
        // Devices by TCP alone, on the very port that browsers come to.
        let (mut desk, mut phone) = (world.one.device("desk"), world.two.device("phone"));
        for device in [&mut desk, &mut phone] {
            device.set("quic", "false");
        }
        crate::relay_world::join_all(&[&desk, &phone], &world.relay.invitation());
        let relays = desk.hither(&["relay", "list"]).well();
        assert_eq!(relays.lines[0]["carrier"], "tcp");
        let file = fill(desk.path("notes"), 1, MIB);
        let (_, link) = share_link(&desk, &file, &[]);
        let old = browser(&phone, &world.relay, SHARED, &first);
        assert_eq!(old.get("/").status, 200);
        let (read, _) = old.reads(&world.relay.key(), &link.ticket);
        assert!(plaintext(&link.ticket, &read.unwrap()) == fs::read(&file).unwrap());
        phone.fetch(&link.to_string(), "got");
        Tree::of(&file).assert_same(&Tree::of(phone.path("got/notes")));

        // A replaced certificate is noticed by itself.
        let second = Certificate::write(&world.relay.data());
        let new = browser(&phone, &world.relay, SHARED, &second);
        until("the new certificate is shown", || {
            new.connects().then_some(())
        });
        assert!(!old.connects());
        // A broken one that is asked for leaves the one before.
        let told = || world.relay.log().matches("stays the one before").count();
        let before = told();
        fs::write(&second.certificate, "nonsense").unwrap();
        world.relay.process().signal(Signal::HUP);
        until("the broken one is told", || (told() > before).then_some(()));
        assert!(new.connects());
        let third = Certificate::write(&world.relay.data());
        world.relay.process().signal(Signal::HUP);
        let newest = browser(&phone, &world.relay, SHARED, &third);
        until("the third is shown", || newest.connects().then_some(()));
        assert_eq!(newest.get("/").status, 200);
        assert!(desk.hither(&["relay", "list"]).well().lines[0]["state"] == "connected");
    });
}

#[test]
fn w6_behind_a_proxy_the_limits_go_by_what_it_says() {
    lab::run(|lab| {
        let world = World::with(lab, |relay| {
            relay.set(&format!("web.listen=[\"0.0.0.0:{OWN}\"]"));
            relay.set(&format!("web.url=https://{HOST}"));
            relay.set("web.plain=true");
            relay.set("web.trusted_proxies=[\"0.0.0.0/1\", \"128.0.0.0/1\"]");
            relay.set("limits.address={ per_second = 0.01, burst = 12.0 }");
        });
        let phone = world.two.device("phone");
        let proxied = |from: &str| {
            Browser::new(&phone, at(&world.relay, OWN), HOST)
                .with_header(&format!("X-Forwarded-For: {from}"))
        };
        // Every IPv4 address is a proxy here; those behind it are told apart.
        let one = proxied("2001:db8::1");
        let page = one.get("/l");
        assert_eq!(page.status, 200, "{}", page.head);
        assert_eq!(page.header("strict-transport-security"), None);
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains(&format!("wss://{HOST};")), "{policy}");
        let mut answers: Vec<Answer> = (0..14).map(|_| one.get("/")).collect();
        let refused = answers.pop().unwrap();
        assert_eq!(refused.status, 429, "{}", refused.head);
        assert!(
            refused
                .header("retry-after")
                .unwrap()
                .parse::<u64>()
                .unwrap()
                >= 1
        );
        assert_eq!(proxied("2001:db8:0:1::1").get("/").status, 200);
        // Words before that of the last stranger are the stranger's own.
        assert_eq!(proxied("2001:db8:0:2::1, 2001:db8::1").get("/").status, 429);
    });
}

#[test]
fn w6_tokens_end_and_an_answer_is_bounded() {
    lab::run(|lab| {
        let (world, certificate) = served(lab, OWN, |relay| {
            relay.set("web.token=4s");
            relay.set("web.answer=4 MiB");
            relay.set("store.guest_readers=1");
        });
        let (desk, phone) = world.pair();
        let file = fill(desk.path("film.mkv"), 1, 24 * MIB);
        let (_, link) = share_link(&desk, &file, &[]);
        let browser = browser(&phone, &world.relay, OWN, &certificate);
        let reads = || browser.reads(&world.relay.key(), &link.ticket).0.unwrap();
        let read = reads();
        let (token, lives) = read.token.clone().unwrap();
        assert_eq!(lives, 4000);
        // The one place for guests is free again a moment after a reader has everything.
        let ask = |token: &str, space: &str, range: &str| {
            until("a place for a guest", || {
                let answer = browser.get(&chunks(token, &read, space, range));
                (answer.status != 503).then_some(answer.status)
            })
        };
        let none = "0".repeat(32);
        assert_eq!(ask(&token, "data", "0-0"), 200);
        assert_eq!(
            ask(&token, "data", &data(&read)),
            400,
            "24 MiB, where 4 are allowed"
        );
        assert_eq!(ask(&none, "data", "0-0"), 403);
        for nonsense in ["1-0", "0", "x-y", "0-9999", "0-4294967296", "..%2f..-0"] {
            assert_eq!(ask(&token, "data", nonsense), 400, "{nonsense}");
        }
        assert_eq!(ask(&token, "other", "0-0"), 400);
        assert_eq!(ask("short", "data", "0-0"), 400);
        let beyond = read.head.head().chunks;
        assert_eq!(ask(&token, "data", &format!("{beyond}-{beyond}")), 404);
        let version = read.head.head().version + 1;
        let other = browser.get(&format!("/hither/1/chunks/{token}/{version}/root/0-0"));
        assert_eq!(other.status, 404);
        let posted = browser.ask(
            "POST",
            &chunks(&token, &read, "root", "0-0"),
            "Content-Length: 0\r\n",
        );
        assert_eq!(posted.status, 405);
        let head = until("a place for a guest", || {
            let head = browser.ask("HEAD", &chunks(&token, &read, "data", "0-0"), "");
            (head.status != 503).then_some(head)
        });
        let length = head
            .header("content-length")
            .unwrap()
            .parse::<usize>()
            .unwrap();
        assert_eq!(
            (head.status, head.body.len(), length),
            (200, 0, read.data[0].len())
        );
        until("the token ends", || {
            (ask(&token, "root", "0-0") == 403).then_some(())
        });
        // The only place for guests goes back when a reader goes in the middle.
        let (token, _) = reads().token.unwrap();
        browser.begins(&chunks(&token, &read, "data", "0-0"), 100);
        until("the place is free", || {
            (ask(&token, "root", "0-0") == 200).then_some(())
        });
    });
}

#[test]
fn w6_hostile_http_comes_to_nothing() {
    lab::run(|lab| {
        let (world, certificate) = served(lab, OWN, |relay| {
            relay.set("web.connections_per_address=8");
        });
        let phone = world.two.device("phone");
        let browser = browser(&phone, &world.relay, OWN, &certificate);
        let status = |request: &str| browser.raw(request.as_bytes()).status;
        let end = "\r\nHost: x\r\nConnection: close\r\n\r\n";
        // Heads that are too long, too many or no HTTP.
        let long = "a".repeat(64 * 1024);
        assert_eq!(status(&format!("GET /{long} HTTP/1.1{end}")), 431);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nX: {long}{end}")), 431);
        let many = "X: y\r\n".repeat(1000);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{many}{end}")), 431);
        assert_eq!(status("nonsense\r\n\r\n"), 400);
        assert_eq!(status(&format!("GET / HTTP/1.1{end}")), 200);
        // Paths that climb or name nothing.
        for path in [
            "/../../etc/passwd",
            "/assets/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/..%2f..%2fnode.key",
            "//etc/passwd",
            "/assets//",
            "/index.html%00",
            "/lan.html",
            "/dashboard.html",
            "/metrics",
        ] {
            let answer = browser.get(path);
            assert_eq!(answer.status, 404, "{path}: {}", answer.head);
            assert!(answer.header("content-security-policy").is_some());
        }
        let posted = browser.ask("POST", "/l", "Content-Length: 9999999\r\n");
        assert_eq!(
            (posted.status, posted.header("allow")),
            (405, Some("GET, HEAD"))
        );
        let head = browser.ask("HEAD", "/l", "");
        assert_eq!((head.status, head.body.len()), (200, 0));
        // WebSockets that break the rules.
        assert_eq!(browser.get("/hither/1/pipe").status, 426);
        let refused = |more: &str| browser.upgrades(more).unwrap_err().status;
        assert_eq!(refused(""), 400, "without the subprotocol");
        assert_eq!(refused("Sec-WebSocket-Protocol: other\r\n"), 400);
        let foreign = "Sec-WebSocket-Protocol: hither.v1\r\nOrigin: https://evil.example\r\n";
        browser.upgrades(foreign).expect("any page may try");
        assert_eq!(browser.closes(TEXT, b"hello"), Some(1003));
        assert_eq!(browser.closes(BINARY, &vec![0; 2 << 20]), Some(1009));
        assert_eq!(browser.closes(BINARY, b"no TLS at all"), Some(1000));
        assert_eq!(browser.closes(3, b"an opcode of nothing"), Some(1002));
        // A head that never ends holds its place for a while and no longer.
        let borne = browser.dawdles();
        println!("a slow head was borne for {borne:?}");
        assert!((5..40).contains(&borne.as_secs()), "{borne:?}");
        // Devices and browsers are none the worse for it.
        let desk = world.one.device("desk");
        desk.join(&world.relay.invitation());
        assert_eq!(browser.get("/").status, 200);
        assert!(!world.relay.log().contains("panicked"), "a task has died");
    });
}

#[test]
fn w6_bots_that_look_at_a_link_use_nothing_up() {
    lab::run(|lab| {
        let (world, certificate) = served(lab, OWN, |_| {});
        let (desk, laptop) = world.pair();
        let file = fill(desk.path("once.bin"), 1, 2 * MIB);
        let (share, link) = share_link(&desk, &file, &["--once"]);
        let browser = browser(&laptop, &world.relay, OWN, &certificate);
        for method in ["HEAD", "GET", "GET", "HEAD"] {
            for path in ["/l", "/", "/.well-known/hither"] {
                assert_eq!(
                    browser.ask(method, path, "User-Agent: preview\r\n").status,
                    200
                );
            }
        }
        let shares = desk.hither(&["list"]).well().lines;
        assert!(
            shares.iter().any(|line| line["share"] == share),
            "{shares:?}"
        );
        laptop.fetch(&link.to_string(), "got");
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/once.bin")));
    });
}

#[test]
fn w6_without_a_page_there_is_no_link_and_nothing_is_shared() {
    lab::run(|lab| {
        let world = World::new(lab);
        let desk = world.one.device("desk");
        let file = fill(desk.path("notes"), 1, 4096);
        let share = ["share", file.to_str().unwrap(), "--link"];
        let error = desk.hither(&share).failed(3);
        assert!(error.message.contains("joined none"), "{error:?}");
        desk.join(&world.relay.invitation());
        let error = desk.hither(&share).failed(3);
        assert!(error.hint.contains("web.listen"));
        assert!(
            desk.hither(&["list"])
                .well()
                .lines
                .iter()
                .all(|line| line["share"].is_null())
        );
    });
}
