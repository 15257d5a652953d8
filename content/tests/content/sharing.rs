//! What can be shared, what is left out, and what happens to files that change.
#![cfg(unix)]

use crate::common::{domain, fetch, holding, noise, share};
use hither_content::{
    Handles, ImportError, ImportOptions, ImportPhase, LARGE_FILE, MAX_NOTES, ReadChunkError,
    Unreadable, import,
};
use hither_proto::{EntryKind, EntryName, Manifest};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// `depth name` of every entry.
fn entries(manifest: &Manifest) -> Vec<String> {
    manifest
        .entries()
        .iter()
        .map(|entry| format!("{} {}", entry.depth, entry.name.as_str()))
        .collect()
}

fn try_share(path: &Path, skip: bool) -> Result<hither_content::Imported, ImportError> {
    let cancel = AtomicBool::new(false);
    let mut options = ImportOptions::new(&cancel);
    options.skip_unshareable = skip;
    import(path, &domain(), &options)
}

#[test]
fn order_is_that_of_bytes_and_links_stay_links() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    fs::create_dir_all(top.join("b")).unwrap();
    for name in ["b.txt", "B", "a", "b/inner", "é"] {
        fs::write(top.join(name), name).unwrap();
    }
    symlink("/etc/passwd", top.join("absolute")).unwrap();
    symlink("..", top.join("loop")).unwrap();
    let imported = share(&top);
    assert_eq!(
        imported.unportable.total, 1,
        "B and b are one somewhere, and shared all the same"
    );
    assert_eq!(imported.unportable.first[0].path, "b");
    let manifest = imported.manifest;
    let expected = [
        "0 top",
        "1 B",
        "1 a",
        "1 absolute",
        "1 b",
        "2 inner",
        "1 b.txt",
        "1 loop",
        "1 é",
    ];
    assert_eq!(entries(&manifest), expected);
    let is_link = |at: usize, to: &str| matches!(&manifest.entries()[at].kind, EntryKind::Symlink { target } if target == to);
    assert!(is_link(3, "/etc/passwd") && is_link(7, ".."));
    // A symlink to what is shared is followed, once, because the user named it.
    symlink(&top, dir.path().join("link")).unwrap();
    let linked = share(&dir.path().join("link"));
    assert_eq!(linked.manifest, manifest);
    assert_eq!(linked.place.first().path(), top.canonicalize().unwrap());
}

#[test]
fn special_files_and_unfinished_fetches_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    fs::create_dir_all(top.join("x.hither-partial/inner")).unwrap();
    fs::write(top.join("y.2.hither-partial"), "half").unwrap();
    fs::write(top.join("kept"), "all").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(top.join("socket")).unwrap();
    let imported = share(&top);
    assert_eq!(entries(&imported.manifest), ["0 top", "1 kept"]);
    assert_eq!(imported.skipped.total, 3);
    assert!(
        imported
            .skipped
            .first
            .iter()
            .any(|note| note.path == "socket" && note.reason == "it is a socket")
    );
    let special = try_share(&top.join("socket"), true);
    assert!(matches!(
        special,
        Err(ImportError::Special {
            kind: "a socket",
            ..
        })
    ));
    assert!(matches!(
        try_share(&top.join("nothing"), true),
        Err(ImportError::NotFound { .. })
    ));
}

#[test]
fn field_b13_what_cannot_be_written_elsewhere_is_told_and_shared() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    fs::create_dir_all(top.join("deep")).unwrap();
    for name in [
        "con",
        "a\\b",
        "line\nbreak",
        "deep/nul.txt",
        "README",
        "ReadMe",
        "good",
    ] {
        fs::write(top.join(name), name).unwrap();
    }
    fs::write(top.join(OsStr::from_bytes(b"latin\xe9")), "x").unwrap();
    symlink(OsStr::from_bytes(b"\xff"), top.join("bad-link")).unwrap();
    for i in 0..200 {
        fs::write(top.join(format!("deep/tab\t{i}")), "x").unwrap();
    }
    let imported = try_share(&top, false).unwrap();
    assert_eq!(imported.manifest.files(), 207);
    // What is no text is left out, and keeps nothing else from being shared.
    let left_out: Vec<_> = imported
        .skipped
        .first
        .iter()
        .map(|note| note.path.as_str())
        .collect();
    assert_eq!(left_out, ["bad-link", "latin\u{fffd}"]);
    let notes = &imported.unportable;
    assert_eq!((notes.total, notes.first.len()), (205, MAX_NOTES));
    let text = notes.to_string();
    assert!(
        text.contains("and 202 more") && !text.contains('\n'),
        "{text}"
    );
    assert!(
        notes.first.iter().any(|note| note.path == "a\\b")
            && !notes.first.iter().any(|note| note.path == "README")
    );
}

#[test]
fn a_share_can_have_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(OsStr::from_bytes(b"latin\xe9"));
    fs::write(&path, "x").unwrap();
    assert!(matches!(
        try_share(&path, true),
        Err(ImportError::Unshareable { .. })
    ));
    let cancel = AtomicBool::new(false);
    let mut options = ImportOptions::new(&cancel);
    options.name = Some(EntryName::parse("other.txt").unwrap());
    let imported = import(&path, &domain(), &options).unwrap();
    assert_eq!(imported.manifest.name().as_str(), "other.txt");
    assert_eq!(fetch(&holding(&Handles::new(4), &imported), 0), b"x");
}

#[test]
fn unreadable_files_are_reported_before_anything_is_read() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may read everything");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    fs::create_dir_all(top.join("closed")).unwrap();
    fs::write(top.join("secret"), "x").unwrap();
    fs::write(top.join("open"), "x").unwrap();
    for name in ["secret", "closed"] {
        fs::set_permissions(top.join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let Err(ImportError::Unshareable { notes }) = try_share(&top, false) else {
        panic!("it is shareable")
    };
    assert_eq!(notes.total, 2);
    assert_eq!(
        entries(&try_share(&top, true).unwrap().manifest),
        ["0 top", "1 open"]
    );
    let alone = try_share(&top.join("secret"), true);
    assert!(matches!(alone, Err(ImportError::Read { .. })));
    fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn progress_is_told_and_imports_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big");
    fs::write(&path, noise(1, 8_000_000)).unwrap();
    let cancel = AtomicBool::new(false);
    let last = std::cell::Cell::new(None);
    let mut options = ImportOptions::new(&cancel);
    let progress = |progress| last.set(Some(progress));
    options.progress = &progress;
    import(&path, &domain(), &options).unwrap();
    let told = last.get().unwrap();
    assert_eq!(
        (told.phase, told.bytes, told.total_bytes, told.total_files),
        (ImportPhase::Reading, 8_000_000, 8_000_000, 1)
    );
    let mut options = ImportOptions::new(&cancel);
    let stop = |progress: hither_content::ImportProgress| {
        if progress.bytes > 1_000_000 {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    options.progress = &stop;
    assert!(matches!(
        import(&path, &domain(), &options),
        Err(ImportError::Cancelled)
    ));
}

#[test]
fn a_file_that_keeps_changing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    fs::create_dir(&top).unwrap();
    fs::write(top.join("calm"), noise(2, 100_000)).unwrap();
    fs::write(top.join("log"), noise(1, LARGE_FILE as usize * 40)).unwrap();
    let cancel = AtomicBool::new(false);
    let mut options = ImportOptions::new(&cancel);
    // While its beginning has been read and its end has not, every time.
    let write = |progress: hither_content::ImportProgress| {
        if progress.bytes > 100_000 {
            fs::File::options()
                .append(true)
                .open(top.join("log"))
                .unwrap()
                .write_all(b"more")
                .unwrap();
        }
    };
    options.progress = &write;
    match import(&top, &domain(), &options) {
        Err(ImportError::Read {
            path,
            source: Unreadable::Changing,
        }) => assert_eq!(path, "log"),
        result => panic!("{result:?}"),
    }
    assert_eq!(share(&top).manifest.files(), 2);
}

#[test]
fn a_file_that_changes_once_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big");
    let before = noise(1, 20_000_000);
    fs::write(&path, &before).unwrap();
    let cancel = AtomicBool::new(false);
    let changed = AtomicBool::new(false);
    let mut options = ImportOptions::new(&cancel);
    // Somewhere in the middle of the reading, once: the file gets longer and its beginning another.
    let change = |progress: hither_content::ImportProgress| {
        if progress.bytes > 5_000_000 && !changed.swap(true, Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(20));
            fs::write(&path, noise(2, 21_000_000)).unwrap();
        }
    };
    options.progress = &change;
    let imported = import(&path, &domain(), &options).unwrap();
    assert!(changed.load(Ordering::Relaxed));
    assert_eq!(imported.manifest, share(&path).manifest);
    assert_eq!(imported.manifest.bytes(), 21_000_000);
}

#[test]
fn folders_and_files_that_vanish_meanwhile_are_walked_anew() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    fs::create_dir_all(top.join("z")).unwrap();
    fs::write(top.join("a"), noise(1, 3_000_000)).unwrap();
    fs::write(top.join("z/gone"), noise(2, 10_000)).unwrap();
    fs::write(top.join("z/swapped"), noise(2, 10_000)).unwrap();
    let cancel = AtomicBool::new(false);
    let once = AtomicBool::new(false);
    let mut options = ImportOptions::new(&cancel);
    let vanish = |progress: hither_content::ImportProgress| {
        if progress.bytes > 1_000_000 && !once.swap(true, Ordering::Relaxed) {
            fs::remove_file(top.join("z/gone")).unwrap();
            fs::remove_file(top.join("z/swapped")).unwrap();
            symlink("/etc/passwd", top.join("z/swapped")).unwrap();
        }
    };
    options.progress = &vanish;
    let manifest = import(&top, &domain(), &options).unwrap().manifest;
    assert_eq!(entries(&manifest), ["0 top", "1 a", "1 z", "2 swapped"]);
    assert_eq!(manifest.bytes(), 3_000_000);
}

#[test]
fn chunks_of_changed_and_vanished_files_are_not_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    fs::create_dir(&top).unwrap();
    let content = noise(1, 2_000_000);
    for name in ["changed", "cut", "gone", "linked", "touched"] {
        fs::write(top.join(name), [&content[..], name.as_bytes()].concat()).unwrap();
    }
    let imported = share(&top);
    let source = holding(&Handles::new(4), &imported);
    let mut buffer = Vec::new();
    let all = 0..source.layout().positions();
    all.clone()
        .for_each(|position| source.read_sealed(position, &mut buffer).unwrap());
    let mut changed = content.clone();
    changed[1_000_000] ^= 1;
    fs::write(top.join("changed"), [&changed[..], b"changed"].concat()).unwrap();
    fs::File::options()
        .write(true)
        .open(top.join("cut"))
        .unwrap()
        .set_len(1000)
        .unwrap();
    fs::remove_file(top.join("gone")).unwrap();
    fs::rename(top.join("linked"), dir.path().join("elsewhere")).unwrap();
    symlink("../elsewhere", top.join("linked")).unwrap();
    fs::write(top.join("touched"), [&content[..], b"touched"].concat()).unwrap();
    let (mut bad, mut failed) = ([0; 5], Vec::new());
    let file_at = |position| {
        source
            .layout()
            .extents(position)
            .unwrap()
            .next()
            .unwrap()
            .file as usize
    };
    for position in all.clone() {
        let (sealed, plain) = (
            source.read_sealed(position, &mut buffer),
            source.read_chunk(position, &mut Vec::new()),
        );
        assert_eq!(sealed.is_ok(), plain.is_ok());
        let Err(error) = sealed else { continue };
        assert!(buffer.is_empty());
        bad[file_at(position)] += 1;
        failed.push(position);
        match (file_at(position), error) {
            (0, ReadChunkError::Changed { path }) => assert_eq!(path, "top/changed"),
            (1, ReadChunkError::Changed { path }) => assert_eq!(path, "top/cut"),
            (2, ReadChunkError::Gone { path }) => assert_eq!(path, "top/gone"),
            (3, ReadChunkError::Gone { path }) => assert_eq!(path, "top/linked"),
            (file, error) => panic!("{file}: {error}"),
        }
    }
    let chunks_each = source.layout().positions_of(2).len();
    assert_eq!(bad, [1, chunks_each, chunks_each, chunks_each, 0]);
    // A look finds the same: contents decide, so that the last, rewritten with the same bytes, is
    // still held.
    let findings = source.examine(u64::MAX, &AtomicBool::new(false));
    let lost: Vec<u32> = findings.lost.iter().cloned().flatten().collect();
    assert_eq!(lost, failed);
    let of = |affected: &hither_content::Affected| (affected.files, affected.first.clone());
    assert_eq!(
        (of(&findings.changed), of(&findings.gone)),
        ((2, "changed".into()), (2, "gone".into()))
    );
    assert!(findings.stamps.is_some() && !findings.more && findings.unreadable.files == 0);
    // What would take too long is left for later, and counts as held.
    let later = source.examine(1000, &AtomicBool::new(false));
    assert!(later.more && later.changed.files == 0 && later.gone.files == 2);
    // Everything moved away.
    fs::rename(&top, dir.path().join("moved")).unwrap();
    let fresh = holding(&Handles::new(4), &imported);
    assert!(matches!(
        fresh.read_sealed(0, &mut buffer),
        Err(ReadChunkError::Gone { .. })
    ));
    assert!(matches!(
        fresh.read_sealed(all.end, &mut buffer),
        Err(ReadChunkError::Position(_))
    ));
    symlink(dir.path().join("moved"), &top).unwrap();
    let linked = fresh.read_sealed(source.layout().positions_of(4).start, &mut buffer);
    assert!(
        matches!(linked, Err(ReadChunkError::Gone { .. })),
        "the top must not be a symlink"
    );
}

#[test]
fn a_restored_folder_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    let make = || {
        fs::create_dir_all(top.join("sub")).unwrap();
        fs::write(top.join("sub/file"), noise(1, 1000)).unwrap();
    };
    make();
    let source = holding(&Handles::new(4), &share(&top));
    assert_eq!(fetch(&source, 0), noise(1, 1000));
    fs::remove_dir_all(&top).unwrap();
    assert!(source.read_sealed(0, &mut Vec::new()).is_err());
    make();
    assert_eq!(fetch(&source, 0), noise(1, 1000));
}

#[test]
fn manifests_do_not_depend_on_the_place() {
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("sub")).unwrap();
        for (name, seed, size) in [("sub/a", 1, 10_000), ("b", 2, 700_000), ("c", 3, 200)] {
            fs::write(top.join(name), noise(seed, size)).unwrap();
            crate::common::set_mtime(&top.join(name), 1000, seed as i64);
        }
        for folder in ["sub", ""] {
            crate::common::set_mtime(&top.join(folder), 2000, 0);
        }
        (share(&top).manifest, dir)
    };
    let ((first, _a), (second, _b)) = (make(), make());
    assert_eq!(first, second);
    // The large file has the same chunks wherever it stands.
    let alone = tempfile::tempdir().unwrap();
    fs::write(alone.path().join("other name"), noise(2, 700_000)).unwrap();
    let alone: Arc<Manifest> = share(&alone.path().join("other name")).manifest;
    let ids: Vec<_> = first.chunks().iter().map(|chunk| chunk.id).collect();
    assert!(alone.chunks().iter().all(|chunk| ids.contains(&chunk.id)));
}
