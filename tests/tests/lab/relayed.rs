//! Devices that do not reach each other directly are joined by a relay, which learns nothing of
//! what it passes on.

use crate::common::ratio;
use crate::relay_world::{Fleet, World, join_all};
use hither_api::{ErrorCode, Finding, SourceKind};
use hither_tests::lab::{self, Device, MIB, Relay, Shared, Tree, fill, noise, until};
use std::path::Path;

/// Shares something that is uploaded nowhere.
fn share(device: &Device, path: &Path) -> Shared {
    device.share_with(path, &["--no-upload"])
}

/// One of the relay's numbers.
fn metric(relay: &Relay, name: &str) -> f64 {
    let page = relay.page("/metrics");
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("hither_relay_{name} ")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{name}: {page}"))
}

fn kept(relay: &Relay) -> u64 {
    relay.stats()["store"]["kept"].as_u64().unwrap()
}

#[test]
fn d3_devices_behind_two_routers_are_joined_by_the_relay() {
    lab::run(|lab| {
        const SIZE: u64 = 32 * MIB;
        let world = World::new(lab);
        let capture = world.relay.capture();
        let (desk, laptop) = world.pair();
        let file = fill(desk.path("Kontoauszug 2026.pdf"), 1, SIZE);
        let shared = share(&desk, &file);
        world.relay.cable.shape_up(80);
        laptop
            .hither(&["config", "set", "cost.relayed", "0.09"])
            .well();
        let mut fetch = laptop.begin_fetch(&shared.ticket, "got");
        fetch.reach(SIZE / 4);
        // While it goes on, everybody says how.
        let relay = laptop
            .status()
            .links
            .into_iter()
            .find_map(|link| link.relay);
        assert!(relay.is_some_and(|relay| relay.starts_with(world.relay.cable.address())));
        let findings: Vec<Finding> = laptop.api().get("/v1/doctor").unwrap();
        let told = findings
            .iter()
            .find(|finding| finding.check == "relayed")
            .expect("doctor tells");
        assert!(
            told.message
                .starts_with("desk is reached through the relay "),
            "{}",
            told.message
        );
        let fetched = fetch.finish().fetched();
        println!("{:.2} s, {:?}", fetched.seconds, fetched.sources);
        assert_eq!(fetched.sources.len(), 1, "{:?}", fetched.sources);
        let source = &fetched.sources[0];
        assert_eq!(
            (source.kind, source.bytes, &source.device),
            (SourceKind::Relayed, SIZE, &desk.id())
        );
        // It costs what a relayed byte costs.
        assert!(
            (source.cost - 0.09 * SIZE as f64 / (1u64 << 30) as f64).abs() < 0.001,
            "{}",
            source.cost
        );
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/Kontoauszug 2026.pdf")));
        let why = laptop.why(&fetched.transfer);
        assert!(
            why.sources[0].words.contains("through a relay"),
            "{}",
            why.sources[0].words
        );
        // The relay passed it on, and kept and learnt nothing.
        assert_eq!(kept(&world.relay), 0);
        assert!(metric(&world.relay, "circuit_bytes_total") >= SIZE as f64);
        assert!(metric(&world.relay, "circuits_opened_total") >= 2.0);
        let content = noise(1, 1 << 20);
        let secret = shared
            .ticket
            .parse::<hither_proto::Ticket>()
            .unwrap()
            .secret;
        let heard = capture.finish();
        assert!(
            heard.len() as u64 > 2 * SIZE,
            "{} bytes were heard",
            heard.len()
        );
        let haystacks = [
            ("the network", heard),
            ("the log", world.relay.log().into_bytes()),
        ];
        for wanted in [
            &content[..32],
            &content[600_000..600_032],
            b"Kontoauszug",
            secret.expose(),
        ] {
            for (place, bytes) in &haystacks {
                assert!(
                    !bytes.windows(wanted.len()).any(|window| window == wanted),
                    "{wanted:?} is in {place}"
                );
            }
        }
    });
}

#[test]
fn d3_a_relay_that_restarts_in_the_middle_of_a_circuit_is_waited_for() {
    lab::run(|lab| {
        const SIZE: u64 = 48 * MIB;
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = share(&desk, &file);
        world.relay.cable.shape_up(40);
        let before = world.relay.cable.traffic().sent;
        let mut fetch = laptop.begin_fetch(&shared.ticket, "got");
        world.restarts_during(&mut fetch, SIZE);
        let fetched = fetch.finish().fetched();
        println!("{:.1} s; {:?}", fetched.seconds, fetched.sources);
        assert_eq!(fetched.from(&desk.id()), SIZE);
        assert!(
            fetched
                .sources
                .iter()
                .all(|source| source.kind == SourceKind::Relayed)
        );
        let sent = world.relay.cable.traffic().sent - before;
        let sent = ratio("the relay sent", sent, SIZE);
        let wasted: u64 = laptop
            .why(&fetched.transfer)
            .sources
            .iter()
            .map(|source| source.wasted)
            .sum();
        println!("{wasted} bytes came in vain");
        // Data that was on its way at each end, and what no checkpoint had covered, is sent again;
        // nothing that was durable.
        assert!(sent < 1.25, "{sent}");
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        assert_eq!(kept(&world.relay), 0);
    });
}

#[test]
fn d3_a_device_that_comes_near_is_not_asked_through_the_relay_any_more() {
    lab::run(|lab| {
        const SIZE: u64 = 64 * MIB;
        let world = World::new(lab);
        let (desk, mut laptop) = world.pair();
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = share(&desk, &file);
        world.one.router.shape(40, 40);
        let mut fetch = laptop.begin_fetch(&shared.ticket, "got");
        fetch.reach(SIZE / 4);
        laptop.cable.unplug();
        world.one.welcome(&mut laptop);
        // The first half mebibyte or so may have been asked for before it is noticed.
        until("it is near", || {
            let links = laptop.status().links;
            links
                .iter()
                .any(|link| link.device == desk.id() && link.carrier != "relay")
                .then_some(())
        });
        let before = world.relay.cable.traffic().total();
        let fetched = fetch.finish().fetched();
        let passed = world.relay.cable.traffic().total() - before;
        println!(
            "{:.1} s; {:?}; {passed} bytes more passed the relay",
            fetched.seconds, fetched.sources
        );
        assert_eq!(
            fetched.by(SourceKind::Relayed) + fetched.by(SourceKind::Lan),
            SIZE
        );
        assert!(
            fetched.by(SourceKind::Relayed) >= SIZE / 8 && fetched.by(SourceKind::Lan) > SIZE / 4
        );
        assert!(
            passed < SIZE / 4,
            "{passed} bytes passed the relay although the way is direct"
        );
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn d3_a_direct_way_that_opens_in_the_middle_is_taken_without_a_move() {
    lab::run(|lab| {
        const SIZE: u64 = 64 * MIB;
        let internet = lab.internet();
        let (site, home) = (internet.site(), internet.lan());
        let relay = crate::relay_world::quick(internet.relay("relay"));
        relay.start();
        let (desk, laptop) = (site.device("desk"), home.device("laptop"));
        join_all(&[&desk, &laptop], &relay.invitation());
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        // Nobody comes in at first.
        site.router.shut();
        let shared = share(&desk, &file);
        relay.cable.shape_up(40);
        let mut fetch = laptop.begin_fetch(&shared.ticket, "got");
        fetch.reach(SIZE / 8);
        assert!(
            laptop
                .status()
                .links
                .iter()
                .any(|link| link.device == desk.id() && link.carrier == "relay")
        );
        site.router.open();
        let fetched = fetch.finish().fetched();
        println!("{:.1} s; {:?}", fetched.seconds, fetched.sources);
        assert_eq!(
            fetched.by(SourceKind::Relayed) + fetched.by(SourceKind::Direct),
            SIZE
        );
        assert!(fetched.by(SourceKind::Relayed) >= SIZE / 8);
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn d3_a_guest_with_a_ticket_is_joined() {
    lab::run(|lab| {
        const SIZE: u64 = 8 * MIB;
        let world = World::new(lab);
        let desk = world.one.device("desk");
        desk.join(&world.relay.invitation());
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = share(&desk, &file);
        let guest = world.two.device("guest");
        let fetched = guest.fetch(&shared.ticket, "got");
        println!("{:.2} s; {:?}", fetched.seconds, fetched.sources);
        assert!(
            fetched
                .sources
                .iter()
                .all(|source| source.kind == SourceKind::Relayed)
        );
        assert_eq!(fetched.from(&desk.id()), SIZE);
        Tree::of(&file).assert_same(&Tree::of(guest.path("got/film.mkv")));
    });
}

#[test]
fn d3_where_the_operator_forbids_it_a_guest_is_refused_and_told_why() {
    lab::run(|lab| {
        let world = World::with(lab, |relay| relay.set("circuit.guests=false"));
        let (desk, laptop) = world.pair();
        let file = fill(desk.path("film.mkv"), 1, MIB);
        let shared = share(&desk, &file);
        let guest = world.two.device("guest");
        // Not beside the laptop, which would be a way of its own.
        let error = guest
            .hither(&[
                "fetch",
                &shared.ticket,
                "--yes",
                "-o",
                "got",
                "--wait",
                "5s",
            ])
            .failed(3);
        println!("{} {}", error.message, error.hint);
        assert_eq!(error.code, ErrorCode::NoHolder);
        assert!(
            error
                .message
                .contains("connects only devices that have joined it"),
            "{}",
            error.message
        );
        assert!(error.hint.contains("hither relay add"), "{}", error.hint);
        // Who has joined is not concerned.
        laptop.fetch(&shared.ticket, "got");
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn d3_devices_at_two_fronts_of_a_fleet_are_joined_at_one_of_them() {
    lab::run(|lab| {
        const SIZE: u64 = 16 * MIB;
        let fleet = Fleet::new(lab, &["front", "front"]);
        let invitation = fleet.control.invitation();
        // A front is picked by the device's key: there are enough devices for both.
        let homes = [&fleet.one, &fleet.two];
        let desk = fleet.one.device("desk");
        desk.join(&invitation);
        let front = desk.is_connected().front.unwrap();
        let far = (0..8).find_map(|number| {
            let device = homes[1].device(&format!("laptop-{number}"));
            device.join(&invitation);
            (device.is_connected().front.unwrap() != front).then_some(device)
        });
        let laptop = far.expect("one of eight is at the other front");
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = share(&desk, &file);
        // A guest asks where the ticket says, and gives nothing to the others afterwards.
        let guest = fleet.two.device("guest");
        guest.fetch(&shared.ticket, "got");
        Tree::of(&file).assert_same(&Tree::of(guest.path("got/film.mkv")));
        guest.down();
        let fetched = laptop.fetch(&shared.ticket, "got");
        println!("{:.2} s; {:?}", fetched.seconds, fetched.sources);
        assert_eq!(fetched.from(&desk.id()), SIZE);
        assert!(
            fetched
                .sources
                .iter()
                .all(|source| source.kind == SourceKind::Relayed)
        );
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        // The bytes passed the desk's front and no other.
        for member in &fleet.members {
            let passed = metric(member, "circuit_bytes_total");
            assert_eq!(
                member.key() == front,
                passed >= 2.0 * SIZE as f64,
                "{}: {passed}",
                member.name
            );
            assert_eq!(
                member.key() == front,
                passed > 0.0,
                "{}: {passed}",
                member.name
            );
        }
    });
}

#[test]
fn d3_who_finds_no_place_for_a_circuit_waits_and_harms_nobody() {
    lab::run(|lab| {
        const SIZE: u64 = 16 * MIB;
        // One transfer takes three.
        let world = World::with(lab, |relay| relay.set("circuit.device=3"));
        let (desk, laptop) = world.pair();
        let phone = world.two.device("phone");
        phone.join(&world.relay.invitation());
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let other = fill(desk.path("song.flac"), 2, SIZE);
        let (shared, second) = (share(&desk, &file), share(&desk, &other));
        world.one.router.shape(40, 40);
        let mut fetch = laptop.begin_fetch(&shared.ticket, "got");
        fetch.reach(SIZE / 4);
        let waits = phone.begin_fetch(&second.ticket, "got");
        until("the phone is refused", || {
            let page = world.relay.page("/metrics");
            let refused = "hither_relay_refusals_total{service=\"circuit\",reason=\"busy\"}";
            page.lines()
                .any(|line| line.starts_with(refused))
                .then_some(())
        });
        let fetched = fetch.finish().fetched();
        assert_eq!(fetched.from(&desk.id()), SIZE);
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        // The places are given back, and it is its turn.
        let fetched = waits.finish().fetched();
        println!("{:.1} s; {:?}", fetched.seconds, fetched.sources);
        Tree::of(&other).assert_same(&Tree::of(phone.path("got/song.flac")));
    });
}
