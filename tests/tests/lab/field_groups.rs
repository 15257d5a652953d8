//! B14: a device that is told of a removal still gives for a while.
//!
//! What else has this shape? A removed member's running fetch, on its control stream and on its
//! bulk streams; its new sessions (`groups_sharing.rs`); an ended or expired share
//! (`field_share_files.rs`); a revoked device (`relay_rights.rs`).

use crate::groups::{group, shares, stands, stranger, text};
use crate::relay_world::World;
use hither_api::GroupState;
use hither_tests::lab::{self, MIB, fill, until};
use std::time::{Duration, Instant};

#[test]
fn field_b14_a_removed_member_gets_nothing_more_of_what_it_is_fetching() {
    lab::run(|lab| {
        const SIZE: u64 = 60 * MIB;
        let world = World::new(lab);
        let (anna, bert) = (
            stranger(&world, &world.one, "anna"),
            stranger(&world, &world.one, "bert"),
        );
        group(
            &anna,
            &["create", "choir", "--findable", "--policy", "open"],
        );
        group(&bert, &["join", "choir"]);
        let film = fill(anna.path("film"), 1, SIZE);
        anna.hither(&["share", text(&film), "--group", "choir", "--no-upload"])
            .well();
        shares(&bert, "choir", "anna", &["film"]);
        anna.cable.shape_up(20);
        let mut fetch = bert.begin(&[
            "fetch",
            "anna/film",
            "--yes",
            "--wait",
            "4s",
            "-o",
            text(&bert.path("got")),
        ]);
        fetch.reach(SIZE / 10);
        group(&anna, &["remove", "choir", "bert"]);
        stands(&bert, "choir", GroupState::Removed);
        // What was on its way may still arrive; then nothing does.
        let mut last = (bert.transfer().bytes, Instant::now());
        until("nothing comes any more", || {
            let bytes = bert.transfer().bytes;
            if bytes != last.0 {
                last = (bytes, Instant::now());
            }
            (last.1.elapsed() > Duration::from_secs(2)).then_some(())
        });
        let run = fetch.finish();
        assert_ne!(run.status, 0, "{:?}", run.lines.last());
        assert!(last.0 < SIZE / 2, "{} bytes came all the same", last.0);
    });
}
