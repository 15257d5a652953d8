//! A relay, and whoever takes its disk, its log or its network, learns nothing of what goes through
//! it.

use crate::relay_world::{World, join_all};
use hither_api::SentState;
use hither_proto::{RelayUrl, Ticket};
use hither_tests::lab::{self, MIB, Tree, fill, noise, until};
use std::fs;
use std::path::Path;

/// Something that can be searched, and what it is.
pub(crate) type Haystack = (String, Vec<u8>);

/// Every file below a folder.
pub(crate) fn files(folder: &Path, found: &mut Vec<Haystack>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&path, found);
        } else if kind.is_file() {
            found.push((format!("{}", path.display()), fs::read(&path).unwrap()));
        }
    }
}

/// Where some bytes are.
pub(crate) fn search<'a>(haystacks: &'a [Haystack], wanted: &[u8]) -> Vec<&'a str> {
    let here = |haystack: &[u8]| {
        haystack
            .windows(wanted.len())
            .any(|window| window == wanted)
    };
    haystacks
        .iter()
        .filter(|(_, bytes)| here(bytes))
        .map(|(name, _)| name.as_str())
        .collect()
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into_bytes()
}

/// What the test itself leaves in every place that is searched, so that it is known to be searched.
pub(crate) const MARKER: &str = "kaninchen-under-the-hat";

#[test]
fn a_relay_learns_no_names_no_contents_and_no_secrets() {
    lab::run(|lab| {
        let world = World::new(lab);
        let capture = world.relay.capture();
        let (desk, laptop) = (
            world.one.device("Adas Rechner"),
            world.two.device("Bertas Laptop"),
        );
        let phone = world.two.device("Carlas Telefon");
        let invitation = world.relay.invitation();
        join_all(&[&desk, &laptop, &phone], &invitation);
        // A share: uploaded, read by one of the user's devices and by somebody with the ticket.
        let plan = "the plan for Thursday, and nobody is to know of it";
        let folder = desk.path("Geheimnisse of Ada");
        fill(folder.join("Kontoauszug 2026.pdf"), 1, 2 * MIB);
        fs::write(folder.join("plan.txt"), plan.repeat(10)).unwrap();
        let shared = desk.share(&folder);
        desk.uploads(&shared.share);
        let guest = world.two.device("Dorians Tablet");
        for device in [&laptop, &guest] {
            device.fetch(&shared.ticket, "got");
            Tree::of(&folder).assert_same(&Tree::of(device.path("got/Geheimnisse of Ada")));
        }
        // Messages: passed on, and kept.
        let (now, later) = (
            "meet me at the bandstand",
            "bring the umbrella with the parrot",
        );
        assert_eq!(desk.send("Bertas Laptop", now).state, SentState::Delivered);
        phone.down();
        desk.sees_that("Carlas Telefon", false);
        assert_eq!(desk.send("Carlas Telefon", later).state, SentState::AtRelay);
        desk.hither(&[
            "send",
            "Carlas Telefon",
            folder.join("plan.txt").to_str().unwrap(),
        ])
        .well();
        // Everything of the relay, while it still keeps what it keeps.
        fs::write(world.relay.data().join(MARKER), MARKER).unwrap();
        let page = world.relay.page("/metrics");
        assert!(page.contains("hither_relay"), "{page}");
        world.relay.page(&format!("/{MARKER}"));
        let mut haystacks = vec![
            (
                "the log".to_owned(),
                format!("{}{MARKER}", world.relay.log()).into_bytes(),
            ),
            (
                "the metrics".to_owned(),
                format!("{page}{MARKER}").into_bytes(),
            ),
            ("the network".to_owned(), capture.finish()),
        ];
        let log = String::from_utf8_lossy(&haystacks[0].1);
        let registered = log.matches("a device was registered").count();
        assert_eq!(registered, 3, "{log}");
        // The upload and the laptop's fetch; the index says at once that the tablet has the laptop
        // beside it.
        assert!(
            haystacks[2].1.len() as u64 > 4 * MIB,
            "{} bytes were heard",
            haystacks[2].1.len()
        );
        world.relay.stop();
        files(&world.relay.data(), &mut haystacks);
        let chunks: usize = haystacks
            .iter()
            .filter(|(name, _)| name.contains("packs"))
            .map(|(_, b)| b.len())
            .sum();
        assert!(chunks as u64 >= 2 * MIB, "{chunks} bytes are kept");
        let searched: Vec<_> = search(&haystacks, MARKER.as_bytes());
        assert_eq!(searched.len(), 4, "the marker is in {searched:?}");

        let ticket: Ticket = shared.ticket.parse().unwrap();
        let url: RelayUrl = invitation.parse().unwrap();
        let token = url.invitation.unwrap();
        let (secret, content) = (ticket.secret.expose(), noise(1, 2 << 20));
        let secrets: Vec<(&str, Vec<u8>)> = vec![
            ("a folder's name", b"Geheimnisse".into()),
            ("a file's name", b"Kontoauszug".into()),
            ("another file's name", b"plan.txt".into()),
            ("a text in a file", b"nobody is to know".into()),
            ("content", content[1_000_000..1_000_032].into()),
            ("more content", content[..32].into()),
            (
                "an address inside a network",
                format!("{}:47447", desk.cable.address()).into(),
            ),
            ("a device's name", b"Rechner".into()),
            ("another device's name", b"Laptop".into()),
            ("the name of one that is off", b"Telefon".into()),
            ("a guest's name", b"Tablet".into()),
            ("a message that was passed on", b"bandstand".into()),
            ("a message that is kept", b"umbrella".into()),
            ("the ticket", shared.ticket.as_bytes()[8..40].into()),
            ("the share's secret", secret.to_vec()),
            ("the share's secret in digits", hex(secret)),
            ("the invitation", token.expose().to_vec()),
            ("the invitation in digits", hex(token.expose())),
        ];
        for (what, bytes) in secrets {
            let places = search(&haystacks, &bytes);
            assert!(places.is_empty(), "{what} is in {places:?}");
        }
        // It was all worth something: what was kept is delivered after all.
        world.relay.start();
        phone.up();
        until("what was kept", || (phone.inbox().len() == 2).then_some(()));
    });
}
