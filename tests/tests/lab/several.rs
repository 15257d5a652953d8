//! Several paths are one share with one ticket.

use crate::common::pair;
use hither_api::ShareInfo;
use hither_tests::lab::{self, Device, MIB, Tree, fill, until};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn share(device: &Device, paths: &[&Path], more: &[&str]) -> Value {
    let paths = paths.iter().map(|path| path.to_str().unwrap());
    let arguments: Vec<_> = ["share"]
        .into_iter()
        .chain(paths)
        .chain(more.iter().copied())
        .collect();
    device.hither(&arguments).well().lines.pop().unwrap()
}

#[test]
fn several_paths_are_one_share_also_after_a_crash_and_as_they_change() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = fill(desk.path("one/film.mkv"), 1, 20 * MIB);
        let photos = desk.path("two/photos");
        fill(photos.join("inner/a.jpg"), 2, MIB);
        let done = share(&desk, &[&film, &photos], &["--name", "things", "--watch"]);
        let ticket = done["ticket"].as_str().unwrap();
        laptop.fetch(ticket, "got");
        let arrived = |name: &str| Tree::of(laptop.path(&format!("got/things/{name}")));
        Tree::of(&film).assert_same(&arrived("film.mkv"));
        Tree::of(&photos).assert_same(&arrived("photos"));
        assert_eq!(fs::read_dir(laptop.path("got/things")).unwrap().count(), 2);
        // The desk alone can give what comes now; it knows all of its parts again.
        desk.kill();
        fill(photos.join("b.jpg"), 3, MIB);
        desk.up();
        let shares = || desk.api().get::<Vec<ShareInfo>>("/v1/shares").unwrap();
        until("the version with the new photo", || {
            (shares()[0].version >= 2).then_some(())
        });
        fs::rename(fill(desk.path("new"), 4, 2 * MIB), &film).unwrap();
        until("the version with the other film", || {
            (shares()[0].version >= 3).then_some(())
        });
        let one = shares().pop().unwrap();
        assert_eq!(
            (one.chunks, one.files, one.more_paths.len()),
            (one.held, 3, 1)
        );
        let again = laptop.path("got");
        laptop
            .hither(&[
                "fetch",
                ticket,
                "--yes",
                "--overwrite",
                "-o",
                again.to_str().unwrap(),
            ])
            .well();
        Tree::of(&film).assert_same(&arrived("film.mkv"));
        Tree::of(&photos).assert_same(&arrived("photos"));
        // A part that is gone is missed, and said to be.
        fs::remove_dir_all(&photos).unwrap();
        until("trouble", || shares()[0].trouble.clone());
        assert!(shares()[0].held < one.held);
        desk.hither(&["unshare", "things"]).well();
        assert!(shares().is_empty() && film.exists());
    });
}

#[test]
fn several_paths_have_a_sensible_name_and_no_two_the_same() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let [a, b, other] =
            ["trip/a.jpg", "trip/b.jpg", "else/a.jpg"].map(|name| fill(desk.path(name), 1, 1000));
        let done = share(&desk, &[&a, &b], &[]);
        assert_eq!(
            (done["name"].as_str(), done["files"].as_u64()),
            (Some("trip"), Some(2))
        );
        // The same in another order, and one twice, is the same share.
        let again = share(&desk, &[&b, &a, &b], &[]);
        assert_eq!(
            (&again["share"], &again["version"]),
            (&done["share"], &done["version"])
        );
        let two = share(&desk, &[&b, &other], &[]);
        assert_eq!(two["name"], "2 items");
        let [a, other] = [&a, &other].map(|path| path.to_str().unwrap());
        let run = desk.hither(&["share", a, other]);
        let error = run.lines.last().unwrap();
        assert_eq!(
            (run.status, error["code"].as_str()),
            (2, Some("bad_request")),
            "{error}"
        );
        assert!(
            error["message"].as_str().unwrap().contains("a.jpg"),
            "{error}"
        );
        laptop.fetch(two["ticket"].as_str().unwrap(), "got");
        assert!(laptop.path("got/2 items/b.jpg").exists());
    });
}
