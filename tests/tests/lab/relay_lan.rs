//! Devices on one network need no relay for what they give each other.

use crate::relay_world::{World, join_all};
use hither_api::SourceKind;
use hither_proto::Ticket;
use hither_tests::lab::{self, MIB, Tree, fill};

/// What a relay may hear while a file is fetched beside it: pings, a lookup, lists of devices.
const TALK: u64 = 256 << 10;

#[test]
fn a2_d3_what_devices_on_one_lan_give_each_other_does_not_pass_the_relay() {
    lab::run(|lab| {
        const SIZE: u64 = 64 * MIB;
        let world = World::new(lab);
        let (desk, laptop) = (world.one.device("desk"), world.one.device("laptop"));
        let phone = world.two.device("phone");
        join_all(&[&desk, &laptop, &phone], &world.relay.invitation());
        // The list says who is near.
        let near = |name: &str| {
            let devices = desk.devices();
            devices
                .iter()
                .find(|device| device.name == name)
                .expect("it is listed")
                .same_network
        };
        assert!(near("laptop") && !near("phone"));
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = desk.share(&file);
        desk.uploads(&shared.share);
        let before = world.relay.cable.traffic();
        let fetched = laptop.fetch(&shared.ticket, "got");
        let passed = world.relay.cable.traffic().total() - before.total();
        println!(
            "{passed} bytes went over the relay's cable; {:?}",
            fetched.sources
        );
        assert!(passed < TALK, "{passed} bytes went over the relay's cable");
        assert_eq!(fetched.from(&desk.id()), SIZE);
        assert!(
            fetched
                .sources
                .iter()
                .all(|source| source.kind != SourceKind::Store)
        );
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn a2_an_origin_says_where_else_its_share_is() {
    lab::run(|lab| {
        const SIZE: u64 = 32 * MIB;
        let world = World::new(lab);
        let desk = world.one.device("desk");
        desk.join(&world.relay.invitation());
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = desk.share(&file);
        desk.uploads(&shared.share);
        // Whoever comes with a ticket that names no relay, and knows none, is told by the origin.
        let mut ticket: Ticket = shared.ticket.parse().unwrap();
        ticket.relays.clear();
        let guest = world.one.device("guest");
        desk.cable.shape_up(20);
        // Who saves does not pay the store while the origin gives as much as that.
        let arguments = [
            "fetch",
            &ticket.to_string(),
            "-o",
            "got",
            "--yes",
            "--mode",
            "saver",
        ];
        let mut fetch = guest.begin(&arguments);
        fetch.reach(SIZE / 4);
        desk.kill();
        let fetched = fetch.finish().fetched();
        println!("{:?}", fetched.sources);
        assert!(
            fetched.from(&world.relay.key()) > SIZE / 4,
            "{:?}",
            fetched.sources
        );
        Tree::of(&file).assert_same(&Tree::of(guest.path("got/film.mkv")));
    });
}
