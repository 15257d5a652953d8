//! Later versions over earlier ones: what is replaced, what stays, and modes that forbid their own
//! folder.
#![cfg(target_os = "linux")]

use crate::common::{fetch_all, holding, names, options, share};
use hither_content::{FetchTarget, Finished, Handles, Holding, IfExists, TargetOptions};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

/// Fetches what is at `from` into `to`, over what an earlier version left there.
fn update(from: &Path, to: &Path, before: Option<Holding>) -> Finished {
    let source = holding(&Handles::new(16), &share(from));
    let if_exists = if before.is_some() {
        IfExists::Update
    } else {
        IfExists::Fail
    };
    let options = TargetOptions {
        before: before.map(Arc::new),
        origin: "desk-1".into(),
        ..options(if_exists)
    };
    let target =
        FetchTarget::prepare(&Handles::new(16), to, Arc::clone(source.layout()), &options).unwrap();
    fetch_all(&source, &target);
    target.finish().unwrap()
}

#[test]
fn what_an_earlier_version_left_is_replaced_and_nothing_else() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (things, got) = (from.path().join("things"), to.path().join("things"));
    for name in ["a", "b", "both"] {
        put(&things.join(name), "1");
    }
    let first = update(&things, to.path(), None);
    put(&got.join("b"), "mine");
    put(&got.join("both"), "2");
    for name in ["a", "b", "both"] {
        put(&things.join(name), "2");
    }
    let second = update(&things, to.path(), Some(first.holding));
    let copy = got.join("b (conflict of desk-1)");
    let kept: Vec<_> = second
        .kept
        .iter()
        .map(|kept| (kept.path.clone(), kept.copy.clone()))
        .collect();
    assert_eq!(
        kept,
        [(got.join("b"), Some(copy.clone()))],
        "who wrote the same is in nobody's way"
    );
    assert_eq!(fs::read_to_string(&copy).unwrap(), "2");
    assert_eq!(fs::read_to_string(got.join("b")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(got.join("a")).unwrap(), "2");
    // A third version does not take the second for the user's, nor the user's for the second.
    put(&things.join("a"), "3");
    let third = update(&things, to.path(), Some(second.holding));
    assert_eq!(
        (third.kept, third.apart),
        (vec![], true),
        "nothing new came for it, and it was told"
    );
    assert_eq!(fs::read_to_string(got.join("a")).unwrap(), "3");
    assert_eq!(names(&got), ["a", "b", "b (conflict of desk-1)", "both"]);
    assert_eq!(names(to.path()), ["things"]);
}

#[test]
fn a_small_file_that_was_only_touched_is_replaced_whatever_became_of_its_neighbours() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (things, got) = (from.path().join("things"), to.path().join("things"));
    for name in ["edited", "gone", "touched", "touched too", "untouched"] {
        put(&things.join(name), &format!("{name} 1"));
    }
    let first = update(&things, to.path(), None);
    assert_eq!(
        first.holding.manifest().chunks().len(),
        1,
        "they share a chunk"
    );
    put(&got.join("edited"), "mine");
    fs::remove_file(got.join("gone")).unwrap();
    for name in ["touched", "touched too"] {
        fs::File::open(got.join(name))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
        put(&things.join(name), &format!("{name} 2"));
    }
    let second = update(&things, to.path(), Some(first.holding));
    let kept: Vec<_> = second
        .kept
        .iter()
        .map(|kept| (kept.path.clone(), kept.copy.clone()))
        .collect();
    assert_eq!(kept, [(got.join("edited"), None)]);
    assert_eq!(
        names(&got),
        ["edited", "gone", "touched", "touched too", "untouched"]
    );
    let read = |name: &str| fs::read_to_string(got.join(name)).unwrap();
    assert_eq!(
        (read("touched"), read("touched too")),
        ("touched 2".into(), "touched too 2".into())
    );
    // A file that was edited and is another one in the new version as well leaves nobody who could
    // vouch for the rest.
    put(&got.join("edited"), "mine again");
    put(&got.join("touched"), "mine");
    put(&things.join("edited"), "edited 3");
    put(&things.join("touched"), "touched 3");
    let third = update(&things, to.path(), Some(second.holding));
    assert!(
        third.kept.iter().all(|kept| kept.copy.is_some()),
        "{:?}",
        third.kept
    );
    assert_eq!(
        (read("edited"), read("touched")),
        ("mine again".into(), "mine".into())
    );
}

/// Takes from this thread, which may be root's, what lets root pass over modes.
fn as_anybody() {
    let mut own = capabilities(None).unwrap();
    let over = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    own.effective -= over;
    own.permitted -= over;
    own.inheritable -= over;
    set_capabilities(None, own).unwrap();
}

#[test]
fn no_mode_of_a_folder_makes_a_fetch_unfinishable() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (things, got) = (from.path().join("things"), to.path().join("things"));
    for name in ["shut/in", "read/in", "blind/deep/in"] {
        put(&things.join(name), "1");
    }
    // All of it is read before this thread may not.
    let read = |text: &str| {
        let shut = ["shut", "read", "blind/deep", "blind"];
        for name in shut {
            chmod(&things.join(name), 0o755);
        }
        for name in ["shut/in", "read/in", "blind/deep/in"] {
            put(&things.join(name), text);
        }
        for (name, mode) in shut.into_iter().zip([0o000, 0o555, 0o111, 0o222]) {
            chmod(&things.join(name), mode);
        }
        holding(&Handles::new(16), &share(&things))
    };
    let (first, chunks) = (read("1"), |source: &Holding| -> Vec<Vec<u8>> {
        (0..source.layout().positions())
            .map(|position| crate::common::fetch(source, position))
            .collect()
    });
    let first_chunks = chunks(&first);
    let second = read("2");
    let second_chunks = chunks(&second);
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            as_anybody();
            let fetch = |source: &Holding, chunks: &[Vec<u8>], options: &TargetOptions| {
                let layout = Arc::clone(source.layout());
                let target =
                    FetchTarget::prepare(&Handles::new(16), to.path(), layout, options).unwrap();
                for (position, chunk) in (0u32..).zip(chunks) {
                    target.write_chunk(position, chunk).unwrap();
                }
                target.finish().unwrap()
            };
            let done = fetch(&first, &first_chunks, &options(IfExists::Fail));
            assert!(
                fs::read_dir(got.join("shut")).is_err(),
                "this thread may still do everything"
            );
            let before = Some(Arc::new(done.holding));
            let updated = fetch(
                &second,
                &second_chunks,
                &TargetOptions {
                    before,
                    ..options(IfExists::Update)
                },
            );
            assert_eq!(updated.kept, []);
            fetch(&second, &second_chunks, &options(IfExists::Overwrite));
        });
        fetching.join().unwrap();
    });
    let modes = ["shut", "read", "blind", "blind/deep"].map(|name| mode(&got.join(name)));
    assert_eq!(modes, [0o000, 0o555, 0o200, 0o111]);
    assert_eq!(names(to.path()), ["things"]);
    assert_eq!(fs::read_to_string(got.join("shut/in")).unwrap(), "2");
}

/// The same as a mirror: what the new version replaces or does not have goes to the trash.
fn mirror(from: &Path, to: &Path, before: Holding, when: &str) -> Finished {
    let source = holding(&Handles::new(16), &share(from));
    let options = TargetOptions {
        before: Some(Arc::new(before)),
        origin: "desk-1".into(),
        trash: Some(when.into()),
        ..options(IfExists::Update)
    };
    let target =
        FetchTarget::prepare(&Handles::new(16), to, Arc::clone(source.layout()), &options).unwrap();
    fetch_all(&source, &target);
    target.finish().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_mirror_keeps_in_the_trash_what_a_version_replaces_or_does_not_have() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (things, got) = (from.path().join("things"), to.path().join("things"));
    for name in [
        "same",
        "changed",
        "gone",
        "deep/er/gone",
        "kind/inner",
        "mine/a",
        "edited",
        "touched",
    ] {
        put(&things.join(name), &format!("{name} 1"));
    }
    // Of a chunk of its own: what was only touched is known by its content.
    let large: String = (0..300_000).map(|number| format!("{number} ")).collect();
    put(&things.join("touched"), &large);
    std::os::unix::fs::symlink("same", things.join("link")).unwrap();
    let first = update(&things, to.path(), None);
    put(&got.join("edited"), "edited by me");
    put(&got.join("mine/b"), "my own");
    fs::File::open(got.join("touched"))
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    for name in ["gone", "edited", "link", "touched"] {
        fs::remove_file(things.join(name)).unwrap();
    }
    for name in ["deep", "kind", "mine"] {
        fs::remove_dir_all(things.join(name)).unwrap();
    }
    put(&things.join("changed"), "changed 2");
    put(&things.join("kind"), "a file now");
    let second = mirror(&things, to.path(), first.holding, "2026-11-29_12-30-05");
    let trashed = second.trashed.unwrap();
    let trash = trashed.trash.join(&trashed.name);
    assert_eq!(trash, got.join(".hither-trash/2026-11-29_12-30-05"));
    for name in ["changed", "gone", "deep/er/gone", "kind/inner", "mine/a"] {
        assert_eq!(read(&trash.join(name)), format!("{name} 1"));
    }
    assert_eq!(read(&trash.join("touched")), large);
    assert_eq!(
        fs::read_link(trash.join("link")).unwrap(),
        Path::new("same")
    );
    assert!(!trash.join("same").exists() && !trash.join("edited").exists());
    assert_eq!(read(&got.join("changed")), "changed 2");
    assert_eq!(read(&got.join("kind")), "a file now");
    assert!(!got.join("deep").exists(), "empty folders go");
    assert_eq!(read(&got.join("mine/b")), "my own");
    assert!(!got.join("mine/a").exists());
    let kept: Vec<_> = second
        .kept
        .iter()
        .map(|kept| (&kept.path, &kept.copy))
        .collect();
    assert_eq!(kept, [(&got.join("edited"), &None)]);
    assert_eq!(read(&got.join("edited")), "edited by me");
    // Nothing changes: nothing is put aside.
    let third = mirror(&things, to.path(), second.holding, "2026-11-29_12-30-06");
    assert_eq!(third.trashed, None);
    // Everything goes, and what is the user's stays.
    fs::remove_dir_all(&things).unwrap();
    fs::create_dir(&things).unwrap();
    let fourth = mirror(&things, to.path(), third.holding, "2026-11-29_12-30-06");
    assert!(fourth.trashed.is_some() && fourth.kept.is_empty());
    let mut left = names(&got);
    left.sort();
    assert_eq!(left, [".hither-trash", "edited", "mine"]);
    for one in [trashed, fourth.trashed.unwrap()] {
        one.remove().unwrap();
    }
    assert!(!got.join(".hither-trash").exists(), "an empty trash goes");
}

#[test]
fn a_mirror_goes_through_no_link() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (things, got) = (from.path().join("things"), to.path().join("things"));
    put(&things.join("folder/file"), "1");
    put(&things.join("file"), "1");
    let first = update(&things, to.path(), None);
    // The folder moves outside, and a link leads there: what is in it is what was fetched.
    let outside = to.path().join("outside");
    fs::rename(got.join("folder"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, got.join("folder")).unwrap();
    fs::remove_dir_all(things.join("folder")).unwrap();
    let second = mirror(&things, to.path(), first.holding, "2026-11-29_12-30-05");
    assert_eq!(read(&outside.join("file")), "1");
    assert_eq!(second.kept[0].path, got.join("folder"));
    assert_eq!(second.trashed, None);
    // A link in place of the trash is an error; nothing is lost, and it goes on when that is away.
    let elsewhere = to.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, got.join(".hither-trash")).unwrap();
    put(&things.join("file"), "2");
    let source = holding(&Handles::new(16), &share(&things));
    let options = TargetOptions {
        before: Some(Arc::new(second.holding)),
        trash: Some("2026-11-29_12-30-06".into()),
        ..options(IfExists::Update)
    };
    let layout = Arc::clone(source.layout());
    let target = FetchTarget::prepare(&Handles::new(16), to.path(), layout, &options).unwrap();
    fetch_all(&source, &target);
    assert!(target.finish().is_err());
    assert_eq!(read(&got.join("file")), "1");
    assert!(names(&elsewhere).is_empty());
    fs::remove_file(got.join(".hither-trash")).unwrap();
    target.finish().unwrap();
    assert_eq!(read(&got.join("file")), "2");
    assert_eq!(
        read(&got.join(".hither-trash/2026-11-29_12-30-06/file")),
        "1"
    );
}
