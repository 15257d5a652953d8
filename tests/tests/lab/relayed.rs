//! Devices that do not reach each other directly are joined by a relay, which learns nothing of what it passes on.

use crate::common::ratio;
use crate::relay_world::{Fleet, World, join_all};
use hither_api::{ErrorCode, Finding, SourceKind};
use hither_tests::lab::{self, Device, MIB, Relay, Shared, Tree, fill, noise, until};
use serde_json::Value;
use std::path::Path;

/// Shares something that is uploaded nowhere.
fn share(device: &Device, path: &Path) -> Shared {
    let run = device.hither(&["share", path.to_str().unwrap(), "--no-upload"]).well();
    let done = run.lines.last().unwrap();
    let text = |name: &str| done[name].as_str().unwrap().to_owned();
    Shared {
        share: text("share"),
        ticket: text("ticket"),
        version: done["version"].as_u64().unwrap(),
        bytes: done["bytes"].as_u64().unwrap(),
    }
}

/// One of the relay's numbers.
fn metric(relay: &Relay, name: &str) -> f64 {
    let page = relay.page("/metrics");
    let line = page.lines().find(|line| line.starts_with(&format!("hither_relay_{name} ")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{name}: {page}"))
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
        let mut fetch = laptop.begin_fetch(&shared.ticket, "got");
        fetch.reach(SIZE / 4);
        // While it goes on, everybody says how.
        let relay = laptop.status().links.into_iter().find_map(|link| link.relay);
        assert!(relay.is_some_and(|relay| relay.starts_with(world.relay.cable.address())));
        let findings: Vec<Finding> = laptop.api().get("/v1/doctor").unwrap();
        let told = findings.iter().find(|finding| finding.check == "relayed").expect("doctor tells");
        assert!(told.message.starts_with("desk is reached through the relay "), "{}", told.message);
        let fetched = fetch.finish().fetched();
        println!("{:.2} s, {:?}", fetched.seconds, fetched.sources);
        assert_eq!(fetched.sources.len(), 1, "{:?}", fetched.sources);
        let source = &fetched.sources[0];
        assert_eq!((source.kind, source.bytes, &source.device), (SourceKind::Relayed, SIZE, &desk.id()));
        // It costs what a relayed byte costs.
        assert!((source.cost - 0.09 * SIZE as f64 / (1u64 << 30) as f64).abs() < 0.001, "{}", source.cost);
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/Kontoauszug 2026.pdf")));
        let why = laptop.why(&fetched.transfer);
        assert!(why.sources[0].words.contains("through a relay"), "{}", why.sources[0].words);
        // The relay passed it on, and kept and learnt nothing.
        assert_eq!(kept(&world.relay), 0);
        assert!(metric(&world.relay, "circuit_bytes_total") >= SIZE as f64);
        assert!(metric(&world.relay, "circuits_opened_total") >= 2.0);
        let content = noise(1, 1 << 20);
        let secret = shared.ticket.parse::<hither_proto::Ticket>().unwrap().secret;
        let heard = capture.finish();
        assert!(heard.len() as u64 > 2 * SIZE, "{} bytes were heard", heard.len());
        let haystacks = [("the network", heard), ("the log", world.relay.log().into_bytes())];
        for wanted in [&content[..32], &content[600_000..600_032], b"Kontoauszug", secret.expose()] {
            for (place, bytes) in &haystacks {
                assert!(!bytes.windows(wanted.len()).any(|window| window == wanted), "{wanted:?} is in {place}");
            }
        }
    });
}
