//! What somebody sees who watches a transfer.

use crate::common::pair;
use hither_api::{MapState, Phase, TransferInfo, TransferView};
use hither_tests::lab::{self, MIB, Tree, fill};

/// Cells of the map that show this.
fn cells(view: &TransferView, state: MapState) -> u32 {
    let runs = view
        .map
        .iter()
        .flat_map(|map| &map.runs)
        .filter(|run| run.state == state);
    runs.map(|run| run.cells).sum()
}

/// Cells that came from a device.
fn given(view: &TransferView, device: &str) -> u32 {
    let of = |source: Option<u32>| source.and_then(|place| view.sources.get(place as usize));
    let runs = view
        .map
        .iter()
        .flat_map(|map| &map.runs)
        .filter(|run| run.state == MapState::Source);
    runs.filter(|run| of(run.source).is_some_and(|source| source.device == device))
        .map(|run| run.cells)
        .sum()
}

#[test]
fn a6_a_watcher_sees_who_gives_which_part() {
    lab::run(|lab| {
        const SIZE: u64 = 80 * MIB;
        let (desk, laptop) = pair(lab);
        let phone = lab.device("phone");
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        laptop.fetch(&ticket, "got");
        for device in [&desk, &laptop] {
            device.cable.shape_up(40);
        }
        let holders = [desk.id(), laptop.id()];
        phone.up();
        phone.sees(2);
        let mut fetch = phone.begin_fetch(&ticket, "got");
        fetch.reach(1);
        let id = phone.transfer().transfer;

        let mut views = phone.api().views(&id).unwrap();
        let early = views.wait_for("both as sources", |view| {
            let gives = |holder: &String| {
                let source = view.sources.iter().find(|source| source.device == *holder);
                source.is_some_and(|s| s.bytes > 0 && s.rate > 0 && s.open && s.rtt_ms.is_some())
            };
            let shown = holders
                .iter()
                .all(|holder| gives(holder) && given(view, holder) > 0);
            (shown && cells(view, MapState::InFlight) > 0).then(|| view.clone())
        });
        let early = early.expect("a view of two sources");
        println!(
            "{:?} of {:?}",
            early.transfer.bytes,
            early.map.as_ref().map(|map| map.cells)
        );
        assert!(
            cells(&early, MapState::Missing) > 0 && cells(&early, MapState::Earlier) == 0,
            "{early:?}"
        );
        let fuller = views.wait_for("a fuller map", |view| {
            (cells(view, MapState::Source) > cells(&early, MapState::Source) + 30)
                .then(|| view.clone())
        });
        let fuller = fuller.expect("a fuller map");
        assert!(cells(&fuller, MapState::Missing) < cells(&early, MapState::Missing));
        assert!(
            !fuller.history.is_empty() || fuller.transfer.bytes < SIZE / 2,
            "{:?}",
            fuller.history
        );

        // By now several checkpoints made parts durable. What was durable is not fetched again, and
        // shown as what was here before.
        phone.kill();
        drop(fetch.finish());
        phone.up();
        let mut views = phone.api().views(&id).unwrap();
        let goes_on = |view: &TransferView| {
            (cells(view, MapState::Earlier) > 0 && cells(view, MapState::Source) > 0).then_some(())
        };
        views
            .wait_for("something new beside what was here", goes_on)
            .expect("a view of the second run");
        for call in ["pause", "resume"] {
            let path = format!("/v1/transfers/{id}/{call}");
            phone
                .api()
                .post::<TransferInfo>(&path, &serde_json::json!({}))
                .unwrap();
        }
        let mut views = phone.api().views(&id).unwrap();
        let done = views.wait_for("the end", |view| {
            (view.transfer.phase == Phase::Done).then(|| view.clone())
        });
        let done = done.expect("the last view");
        let (earlier, now) = (
            cells(&done, MapState::Earlier),
            cells(&done, MapState::Source),
        );
        println!("{earlier} cells were here before, {now} came afterwards");
        assert!(earlier > 0 && now > 0, "{done:?}");
        assert_eq!(
            done.transfer.bytes, SIZE,
            "what was here before counts once"
        );
        assert_eq!(
            Some(earlier + now),
            done.map.as_ref().map(|map| map.cells),
            "{done:?}"
        );
        assert!(
            done.sources
                .iter()
                .all(|source| source.in_flight == 0 && source.rate == 0),
            "{done:?}"
        );
        Tree::of(&file).assert_same(&Tree::of(phone.path("got/film.mkv")));

        let why = String::from_utf8(phone.plain(&["why"]).output).unwrap();
        println!("{why}");
        for text in [
            "From desk: same network",
            "A part took",
            " parts  it was expected to be done first",
        ] {
            assert!(why.contains(text), "{text}: {why}");
        }
    });
}
