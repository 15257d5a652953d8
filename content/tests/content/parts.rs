//! Several paths as one share.
#![cfg(unix)]

use crate::common::{domain, fetch_all, holding, noise, prepare};
use hither_content::{
    Handles, IfExists, ImportError, ImportOptions, Imported, LARGE_FILE, Previous, ReadChunkError,
    import_parts,
};
use hither_proto::EntryName;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

fn share(paths: &[PathBuf], previous: Option<Previous<'_>>) -> Result<Imported, ImportError> {
    let (cancel, name) = (AtomicBool::new(false), EntryName::parse("things").ok());
    import_parts(
        paths,
        &domain(),
        &ImportOptions {
            name,
            previous,
            ..ImportOptions::new(&cancel)
        },
    )
}

/// A large file, a folder and a small file, in three folders; given in an order that is not that of
/// their names.
fn things(home: &Path) -> Vec<PathBuf> {
    let at = |name: &str| home.join(name);
    for folder in ["one", "two/photos/inner", "three"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    fs::write(at("one/z.bin"), noise(1, 2 * LARGE_FILE as usize)).unwrap();
    fs::write(at("two/photos/inner/a.jpg"), noise(2, 3000)).unwrap();
    fs::write(at("two/photos/b.jpg"), noise(3, 5000)).unwrap();
    fs::write(at("three/notes.txt"), "things to buy").unwrap();
    fs::write(at("three/unasked"), "stays here").unwrap();
    vec![at("one/z.bin"), at("two/photos"), at("three/notes.txt")]
}

fn names(imported: &Imported) -> Vec<String> {
    imported
        .manifest
        .entries()
        .iter()
        .map(|e| format!("{} {}", e.depth, e.name.as_str()))
        .collect()
}

#[test]
fn several_paths_arrive_as_one_folder() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let imported = share(&things(from.path()), None).unwrap();
    let expected = [
        "0 things",
        "1 notes.txt",
        "1 photos",
        "2 b.jpg",
        "2 inner",
        "3 a.jpg",
        "1 z.bin",
    ];
    assert_eq!(names(&imported), expected);
    assert!(imported.place.are_several());
    let source = holding(&Handles::new(8), &imported);
    assert!(
        source
            .examine(u64::MAX, &AtomicBool::new(false))
            .lost
            .is_empty()
    );
    let target = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
    fetch_all(&source, &target);
    let top = target.finish().unwrap().place.path();
    for (there, here) in [
        ("z.bin", "one/z.bin"),
        ("photos/inner/a.jpg", "two/photos/inner/a.jpg"),
        ("photos/b.jpg", "two/photos/b.jpg"),
        ("notes.txt", "three/notes.txt"),
    ] {
        assert_eq!(
            fs::read(top.join(there)).unwrap(),
            fs::read(from.path().join(here)).unwrap(),
            "{there}"
        );
    }
    assert_eq!(
        fs::read_dir(&top).unwrap().count(),
        3,
        "nothing that was not asked for"
    );
}

#[test]
fn the_order_of_the_paths_does_not_matter_and_what_is_unchanged_is_not_read_again() {
    let from = tempfile::tempdir().unwrap();
    let mut paths = things(from.path());
    // What changed only just now is read again in any case.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let before = share(&paths, None).unwrap();
    paths.reverse();
    let previous = || {
        Some(Previous {
            manifest: &before.manifest,
            stamps: &before.stamps,
        })
    };
    let again = share(&paths, previous()).unwrap();
    assert_eq!(
        (&again.manifest, &again.place),
        (&before.manifest, &before.place)
    );
    assert_eq!(again.read_bytes, 0);
    fs::write(from.path().join("three/notes.txt"), "other things").unwrap();
    let later = share(&paths, previous()).unwrap();
    assert!(
        later.manifest != before.manifest && later.read_bytes < LARGE_FILE,
        "{}",
        later.read_bytes
    );
}

#[test]
fn a_part_that_was_renamed_or_vanished_is_missed_alone() {
    let from = tempfile::tempdir().unwrap();
    let paths = things(from.path());
    let imported = share(&paths, None).unwrap();
    let source = holding(&Handles::new(8), &imported);
    let mut out = Vec::new();
    let last = source.layout().positions() - 1;
    source.read_sealed(last, &mut out).unwrap();
    fs::rename(&paths[0], from.path().join("one/renamed.bin")).unwrap();
    let changed = source.examine(u64::MAX, &AtomicBool::new(false)).lost;
    let file = (0..source.layout().files()).last().unwrap();
    assert_eq!(
        changed,
        [source.layout().positions_of(file)],
        "the large file alone"
    );
    assert!(matches!(
        source.read_sealed(last, &mut out),
        Err(ReadChunkError::Gone { .. })
    ));
    source.read_sealed(0, &mut out).unwrap();
    assert!(matches!(share(&paths, None), Err(ImportError::NotFound { path }) if path == paths[0]));
    fs::rename(from.path().join("one/renamed.bin"), &paths[0]).unwrap();
    source.read_sealed(last, &mut out).unwrap();
    fs::remove_dir_all(&paths[1]).unwrap();
    assert!(
        !source
            .examine(u64::MAX, &AtomicBool::new(false))
            .lost
            .is_empty()
    );
    assert!(matches!(share(&paths, None), Err(ImportError::NotFound { path }) if path == paths[1]));
}

#[test]
fn two_paths_of_one_name_are_refused_before_anything_is_read() {
    let from = tempfile::tempdir().unwrap();
    let mut paths = things(from.path());
    // Where case does not count, whoever fetches it writes one of them otherwise.
    fs::write(from.path().join("one/NOTES.TXT"), "x").unwrap();
    paths.push(from.path().join("one/NOTES.TXT"));
    assert!(names(&share(&paths, None).unwrap()).contains(&"1 NOTES.TXT".into()));
    fs::write(from.path().join("one/notes.txt"), "x").unwrap();
    paths.push(from.path().join("one/notes.txt"));
    assert!(
        matches!(share(&paths, None), Err(ImportError::SameName { name }) if name == "notes.txt")
    );
    assert!(matches!(
        share(&[], None),
        Err(ImportError::NotFound { .. })
    ));
    let one = share(&paths[..1], None).unwrap();
    assert_eq!(
        (names(&one), one.place.are_several()),
        (vec!["0 things".to_owned()], false)
    );
}
