//! What the system says of the link and the battery, and what follows from it.

use crate::relay_world::World;
use hither_api::{BatteryInfo, UploadState, WorldInfo};
use hither_tests::lab::{self, Device, MIB, fill, until};

/// Waits until the daemon says so.
fn says(device: &Device, what: &str, wanted: &WorldInfo) {
    until(what, || (device.status().world == *wanted).then_some(()));
}

#[test]
fn a7_the_system_tells_of_link_and_battery() {
    lab::run(|lab| {
        let mut laptop = lab.device("laptop");
        laptop.set("battery.low", "30%");
        let mut bus = laptop.system_bus();
        laptop.up();
        let mut world = WorldInfo::default();
        says(&laptop, "nothing, where nobody says anything", &world);
        // Services appear, say something else, and go.
        bus.network(1);
        world.metered = Some(true);
        says(&laptop, "a metered link", &world);
        bus.power(55.4, 2);
        world.battery = Some(BatteryInfo {
            percent: 55,
            discharging: true,
        });
        says(&laptop, "a battery", &world);
        bus.network(4);
        bus.power(29.0, 2);
        world.metered = Some(false);
        world.battery = Some(BatteryInfo {
            percent: 29,
            discharging: true,
        });
        world.reluctant = true;
        says(&laptop, "a low battery", &world);
        let shown = String::from_utf8(laptop.plain(&["status"]).output).unwrap();
        assert!(
            shown.contains("not metered") && shown.contains("29 %, low"),
            "{shown}"
        );
        let found = String::from_utf8(laptop.plain(&["doctor"]).output).unwrap();
        let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(found.contains("gives to others reluctantly"), "{found}");
        bus.power(29.0, 1);
        world.battery = Some(BatteryInfo {
            percent: 29,
            discharging: false,
        });
        world.reluctant = false;
        says(&laptop, "a battery that is charged", &world);
        bus.leave();
        says(&laptop, "nothing again", &WorldInfo::default());
        bus.network(3);
        let metered = WorldInfo {
            metered: Some(true),
            ..WorldInfo::default()
        };
        says(&laptop, "a link that is said to be metered", &metered);
        // What the user says goes before that, and the bus may go without a harm.
        laptop.down();
        laptop.set("network.metered", "no");
        laptop.up();
        says(
            &laptop,
            "the user's word",
            &WorldInfo {
                metered: Some(false),
                ..WorldInfo::default()
            },
        );
        drop(bus);
        says(
            &laptop,
            "the user's word alone",
            &WorldInfo {
                metered: Some(false),
                ..WorldInfo::default()
            },
        );
    });
}

#[test]
fn a1_a7_uploads_wait_while_the_link_is_metered() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, _laptop) = world.pair();
        desk.down();
        let mut bus = desk.system_bus();
        bus.network(1);
        desk.up();
        desk.is_connected();
        let shared = desk.share(&fill(desk.path("film.mkv"), 1, 4 * MIB));
        until("a word about it", || {
            desk.upload(&shared.share)
                .words
                .contains("metered")
                .then_some(())
        });
        let upload = desk.upload(&shared.share);
        assert_eq!((upload.state, upload.bytes), (UploadState::Waiting, 0));
        bus.network(2);
        desk.uploads(&shared.share);
    });
}
