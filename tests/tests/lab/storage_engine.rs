//! A device whose metadata store changes its engine and changes it back.

use crate::common::pair;
use hither_api::ShareInfo;
use hither_tests::lab::{self, Device, Tree};
use std::path::PathBuf;

fn shares(device: &Device) -> Vec<ShareInfo> {
    device.api().get("/v1/shares").unwrap()
}

fn store(device: &Device) -> PathBuf {
    let data: Vec<PathBuf> = walk(device.home());
    data.into_iter()
        .find(|path| path.file_name().is_some_and(|name| name == "store"))
        .unwrap()
}

/// Every folder below one.
fn walk(folder: PathBuf) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            all.extend(walk(entry.path()));
        }
    }
    all.push(folder);
    all
}

#[test]
fn a_daemon_changes_its_engine_and_back_and_keeps_what_it_shares() {
    lab::run(|lab| {
        let (mut desk, laptop) = pair(lab);
        let things = Tree::make(&desk.path("things"), 1);
        let ticket = desk.share(&things).ticket;
        let before = shares(&desk);
        let changes = [
            ("sled", "conf", "store.redb"),
            ("redb", "store.redb", "conf"),
            ("sled", "conf", "store.redb"),
        ];
        for (number, (engine, file, other)) in changes.into_iter().enumerate() {
            desk.down();
            desk.set("storage.engine", engine);
            desk.up();
            let status = desk.status();
            assert!(status.losses.is_empty(), "{:?}", status.losses);
            assert_eq!(shares(&desk)[0].share, before[0].share);
            let store = store(&desk);
            assert!(store.join(file).exists() && !store.join(other).exists());
            let beside = store.parent().unwrap();
            for rest in ["store.new", "store.copied", "store.old"] {
                assert!(!beside.join(rest).exists(), "{engine}: {rest}");
            }
            let into = format!("got-{number}");
            laptop.fetch(&ticket, &into);
            Tree::of(&things).assert_same(&Tree::of(laptop.path(&into).join("things")));
        }
        // A daemon that is killed takes up its engine where it was.
        desk.kill();
        desk.up();
        assert_eq!(shares(&desk).len(), 1);
        assert!(store(&desk).join("conf").exists());
    });
}
