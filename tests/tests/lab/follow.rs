//! `fetch --follow`: later versions arrive over the one before.

use crate::common::pair;
use hither_api::Event;
use hither_tests::lab::{self, Tree, fill};

#[test]
fn later_versions_arrive_also_after_a_restart() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let files = Tree::make(&desk.path("things"), 1);
        let ticket = desk.share(&files).ticket;
        let into = laptop.path("got");
        let mut following = laptop.begin(&[
            "fetch",
            &ticket,
            "--yes",
            "--follow",
            "-o",
            into.to_str().unwrap(),
        ]);
        let version = |event: &Event| match event {
            Event::Version { version, .. } => Some(*version),
            _ => None,
        };
        assert_eq!(following.wait_for("the first version", version), 1);
        fill(files.join("later"), 7, 100_000);
        desk.share(&files);
        assert_eq!(following.wait_for("the second version", version), 2);
        Tree::of(&files).assert_same(&Tree::of(into.join("things")));
        // The command ends with the daemon; what it asked for goes on with the next one.
        let transfer = laptop.transfer().transfer;
        laptop.down();
        assert_eq!(
            following.finish().failed(130).code,
            hither_api::ErrorCode::Interrupted
        );
        laptop.up();
        let mut events = laptop.api().events(&transfer).unwrap();
        fill(files.join("latest"), 8, 100_000);
        desk.share(&files);
        assert_eq!(events.wait_for("the third version", version), Some(3));
        Tree::of(&files).assert_same(&Tree::of(into.join("things")));
    });
}
