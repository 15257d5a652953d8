//! Targets of fetches: what is checked first, what is replaced, what an attacker on this device
//! cannot do.
#![cfg(unix)]

use crate::common::{
    Seen, fetch, fetch_all, holding, look, names, noise, options, prepare, set_mtime, share,
};
use hither_content::{
    FetchTarget, FinishError, Handles, Holding, IfExists, Layout, PartialRef, PrepareError,
    TargetOptions, WriteError, is_partial_name,
};
use hither_proto::EntryName;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder with small files, a large one, a subfolder, an empty file and folder, and a link.
fn sample(dir: &Path, name: &str) -> Holding {
    let top = dir.join(name);
    fs::create_dir_all(top.join("sub/empty")).unwrap();
    for i in 0..20 {
        fs::write(top.join(format!("sub/{i:02}")), noise(i, 7000)).unwrap();
    }
    fs::write(top.join("large"), noise(50, 700_000)).unwrap();
    fs::write(top.join("nothing"), "").unwrap();
    symlink("sub/00", top.join("link")).unwrap();
    fs::set_permissions(top.join("sub"), fs::Permissions::from_mode(0o750)).unwrap();
    set_mtime(&top.join("sub"), 1_500_000_000, 5);
    set_mtime(&top, 1_500_000_001, 6);
    holding(&Handles::new(16), &share(&top))
}

/// The same with another mode of one folder: one that was there keeps its own.
fn with_mode(mut seen: BTreeMap<PathBuf, Seen>, folder: &str, is: u32) -> BTreeMap<PathBuf, Seen> {
    let Some(Seen::Folder { mode, .. }) = seen.get_mut(Path::new(folder)) else {
        panic!("no {folder}")
    };
    *mode = is;
    seen
}

fn sample_file(dir: &Path, name: &str, size: usize) -> Holding {
    fs::write(dir.join(name), noise(1, size)).unwrap();
    holding(&Handles::new(16), &share(&dir.join(name)))
}

struct Places {
    from: tempfile::TempDir,
    to: tempfile::TempDir,
}

fn places() -> Places {
    Places {
        from: tempfile::tempdir().unwrap(),
        to: tempfile::tempdir().unwrap(),
    }
}

#[test]
fn what_exists_is_left_alone_unless_asked() {
    let Places { from, to } = places();
    let source = sample_file(from.path(), "photo.jpg", 10_000);
    let existing = to.path().join("photo.jpg");
    fs::write(&existing, "precious").unwrap();
    let refused = prepare(to.path(), source.layout(), IfExists::Fail);
    assert!(matches!(refused, Err(PrepareError::Exists { path }) if path.ends_with("photo.jpg")));
    let renamed = prepare(to.path(), source.layout(), IfExists::Rename).unwrap();
    fetch_all(&source, &renamed);
    // Somebody takes that name as well before the end.
    fs::write(to.path().join("photo (2).jpg"), "also precious").unwrap();
    assert_eq!(renamed.finish().unwrap().place.name, "photo (3).jpg");
    assert_eq!(fs::read(&existing).unwrap(), b"precious");
    let over = prepare(to.path(), source.layout(), IfExists::Overwrite).unwrap();
    fetch_all(&source, &over);
    assert_eq!(fs::read(&existing).unwrap(), b"precious");
    over.finish().unwrap();
    assert_eq!(fs::read(&existing).unwrap(), noise(1, 10_000));
    assert_eq!(
        names(to.path()),
        ["photo (2).jpg", "photo (3).jpg", "photo.jpg"]
    );
}

#[test]
fn a_name_taken_meanwhile_is_an_error_that_can_be_answered() {
    let Places { from, to } = places();
    let source = sample(from.path(), "share");
    let target = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
    fetch_all(&source, &target);
    fs::create_dir(to.path().join("share")).unwrap();
    assert!(matches!(target.finish(), Err(FinishError::Exists { .. })));
    let finished = target.finish_with(IfExists::Rename).unwrap();
    assert_eq!(finished.place.name, "share (2)");
    assert_eq!(
        look(&from.path().join("share")),
        look(&finished.place.path())
    );
}

#[test]
fn another_name_can_be_chosen() {
    let Places { from, to } = places();
    let source = sample(from.path(), "share");
    let name = Some(EntryName::parse("mine").unwrap());
    let options = TargetOptions {
        name,
        ..options(IfExists::Fail)
    };
    let target = FetchTarget::prepare(
        &Handles::new(16),
        to.path(),
        Arc::clone(source.layout()),
        &options,
    )
    .unwrap();
    fetch_all(&source, &target);
    let finished = target.finish().unwrap();
    assert_eq!(
        look(&from.path().join("share")),
        look(&to.path().join("mine"))
    );
    fetch(&finished.holding, 0);
}

#[test]
fn overwriting_a_folder_replaces_its_files_and_keeps_the_others() {
    let Places { from, to } = places();
    let source = sample(from.path(), "share");
    let top = to.path().join("share");
    fs::create_dir_all(top.join("sub")).unwrap();
    fs::write(top.join("sub/03"), "old").unwrap();
    fs::write(top.join("sub/mine"), "kept").unwrap();
    fs::write(top.join("outside"), "kept too").unwrap();
    // A link where the share has a file is replaced itself; what it points to stays.
    symlink("outside", top.join("large")).unwrap();
    fs::set_permissions(top.join("sub"), fs::Permissions::from_mode(0o500)).unwrap();
    let target = prepare(to.path(), source.layout(), IfExists::Overwrite).unwrap();
    fetch_all(&source, &target);
    let finished = target.finish().unwrap();
    let mut seen = look(&top);
    assert!(
        matches!(seen.remove(Path::new("sub/mine")), Some(Seen::File { content, .. }) if content == b"kept")
    );
    assert!(
        matches!(seen.remove(Path::new("outside")), Some(Seen::File { content, .. }) if content == b"kept too")
    );
    assert_eq!(
        seen,
        with_mode(look(&from.path().join("share")), "sub", 0o500)
    );
    assert_eq!(names(to.path()), ["share"]);
    fetch(&finished.holding, 0);
}

#[test]
fn a_killed_replacement_goes_on() {
    let Places { from, to } = places();
    let source = sample(from.path(), "share");
    let top = to.path().join("share");
    fs::create_dir_all(top.join("sub")).unwrap();
    fs::write(top.join("sub/03"), "old").unwrap();
    let handles = Handles::new(16);
    let target = FetchTarget::prepare(
        &handles,
        to.path(),
        Arc::clone(source.layout()),
        &options(IfExists::Overwrite),
    )
    .unwrap();
    fetch_all(&source, &target);
    target.checkpoint().unwrap();
    let partial = target.partial().clone();
    // As if the daemon died after moving some files: they are in place, with their modes and times,
    // and not in the partial any more.
    drop(target);
    let unfinished = to.path().join(partial.name());
    for name in ["sub/03", "sub/04", "large"] {
        let original = from.path().join("share").join(name).metadata().unwrap();
        fs::set_permissions(unfinished.join(name), original.permissions()).unwrap();
        set_mtime(
            &unfinished.join(name),
            original.mtime(),
            original.mtime_nsec(),
        );
        fs::rename(unfinished.join(name), top.join(name)).unwrap();
    }
    let all = 0..source.layout().positions();
    let resume = |if_exists| {
        FetchTarget::resume(
            &handles,
            to.path(),
            Arc::clone(source.layout()),
            &partial,
            &options(if_exists),
            std::slice::from_ref(&all),
        )
    };
    assert!(matches!(
        resume(IfExists::Rename),
        Err(PrepareError::PartialVanished)
    ));
    resume(IfExists::Overwrite).unwrap().finish().unwrap();
    assert_eq!(
        with_mode(look(&from.path().join("share")), "sub", 0o755),
        look(&top)
    );
    assert_eq!(names(to.path()), ["share"]);
}

#[test]
fn folders_and_files_do_not_replace_each_other() {
    let Places { from, to } = places();
    let (folder, file) = (
        sample(from.path(), "share"),
        sample_file(from.path(), "file", 10),
    );
    let conflict = |source: &Holding| match prepare(to.path(), source.layout(), IfExists::Overwrite)
    {
        Err(PrepareError::Conflict {
            path,
            found,
            wanted,
        }) => (path, found, wanted),
        other => panic!("{other:?}"),
    };
    fs::create_dir(to.path().join("file")).unwrap();
    assert_eq!(conflict(&file), ("file".into(), "a folder", "a file"));
    fs::write(to.path().join("share"), "a file").unwrap();
    assert_eq!(conflict(&folder), ("share".into(), "a file", "a folder"));
    fs::remove_file(to.path().join("share")).unwrap();
    fs::create_dir_all(to.path().join("share/sub/07")).unwrap();
    assert_eq!(
        conflict(&folder),
        ("share/sub/07".into(), "a folder", "a file")
    );
    fs::remove_dir(to.path().join("share/sub/07")).unwrap();
    fs::create_dir(to.path().join("share/link")).unwrap();
    assert_eq!(
        conflict(&folder),
        ("share/link".into(), "a folder", "a symbolic link")
    );
    fs::remove_dir(to.path().join("share/link")).unwrap();
    // A link to a folder is not a folder, wherever it points.
    fs::remove_dir(to.path().join("share/sub")).unwrap();
    fs::create_dir(to.path().join("elsewhere")).unwrap();
    symlink("../elsewhere", to.path().join("share/sub")).unwrap();
    assert_eq!(
        conflict(&folder),
        ("share/sub".into(), "a symbolic link", "a folder")
    );
    assert!(
        names(to.path()).iter().all(|name| !is_partial_name(name)),
        "nothing was written"
    );
    // And when the conflict comes up later, the end is refused and nothing is lost.
    fs::remove_file(to.path().join("share/sub")).unwrap();
    let target = prepare(to.path(), folder.layout(), IfExists::Overwrite).unwrap();
    fetch_all(&folder, &target);
    fs::create_dir(to.path().join("share/large")).unwrap();
    assert!(
        matches!(target.finish(), Err(FinishError::Conflict { path, .. }) if path == "share/large")
    );
    fs::remove_dir(to.path().join("share/large")).unwrap();
    target.finish().unwrap();
    assert_eq!(
        look(&from.path().join("share")),
        look(&to.path().join("share"))
    );
}

#[test]
fn impossible_folders_are_refused_in_plain_words() {
    let Places { from, to } = places();
    let source = sample_file(from.path(), "file", 10);
    let missing = prepare(&to.path().join("missing"), source.layout(), IfExists::Fail);
    assert!(matches!(missing, Err(PrepareError::NotFound { .. })));
    fs::write(to.path().join("plain"), "").unwrap();
    let no_folder = prepare(&to.path().join("plain"), source.layout(), IfExists::Fail);
    assert!(matches!(no_folder, Err(PrepareError::NotAFolder { .. })));
    let kernel = prepare(Path::new("/proc"), source.layout(), IfExists::Fail);
    assert!(kernel.is_err());
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may write everywhere");
        return;
    }
    let closed = to.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    let denied = prepare(&closed, source.layout(), IfExists::Fail);
    assert!(matches!(denied, Err(PrepareError::Denied { .. })));
}

#[test]
fn the_target_folder_may_be_reached_through_a_link() {
    let Places { from, to } = places();
    let source = sample_file(from.path(), "file", 10);
    fs::create_dir(to.path().join("real")).unwrap();
    symlink("real", to.path().join("link")).unwrap();
    let target = prepare(&to.path().join("link"), source.layout(), IfExists::Fail).unwrap();
    fetch_all(&source, &target);
    // The link is followed once, when the fetch begins.
    fs::remove_file(to.path().join("link")).unwrap();
    fs::create_dir(to.path().join("link")).unwrap();
    let finished = target.finish().unwrap();
    assert_eq!(
        finished.place.path(),
        to.path().canonicalize().unwrap().join("real/file")
    );
    assert_eq!(names(&to.path().join("link")).len(), 0);
}

#[test]
fn nothing_is_readable_by_others_before_the_end() {
    let Places { from, to } = places();
    let source = sample(from.path(), "share");
    let target = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
    let partial = to.path().join(target.partial().name());
    fetch_all(&source, &target);
    assert_eq!(
        partial.metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_eq!(
        partial
            .join("large")
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    target.finish().unwrap();
    let mode = |name: &str| {
        to.path()
            .join("share")
            .join(name)
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!((mode("large"), mode("sub")), (0o644, 0o750));
}

#[test]
fn links_planted_in_the_partial_are_not_followed() {
    let Places { from, to } = places();
    let source = sample(from.path(), "share");
    let victim = to.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    let outside = to.path().join("outside");
    fs::create_dir(&outside).unwrap();
    // In place of a file that is made later: one written in parts, one written whole, an empty one,
    // a link.
    let target = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
    let partial = to.path().join(target.partial().name());
    fs::create_dir(partial.join("sub")).unwrap();
    symlink(&victim, partial.join("large")).unwrap();
    for name in ["sub/00", "sub/01", "nothing", "link"] {
        symlink(&victim, partial.join(name)).unwrap();
    }
    let result: Result<(), _> = (0..source.layout().positions())
        .try_for_each(|position| target.write_chunk(position, &fetch(&source, position)));
    assert!(
        matches!(&result, Err(WriteError::PartialVanished { path }) if path == "share/large"),
        "{result:?}"
    );
    fs::remove_file(partial.join("large")).unwrap();
    fetch_all(&source, &target);
    assert!(
        matches!(target.finish(), Err(FinishError::Incomplete { path }) if path == "share/nothing")
    );
    fs::remove_file(partial.join("nothing")).unwrap();
    target.finish().unwrap();
    assert_eq!(
        look(&from.path().join("share")),
        look(&to.path().join("share"))
    );
    // In place of a folder.
    fs::remove_dir_all(to.path().join("share")).unwrap();
    let target = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
    let partial = to.path().join(target.partial().name());
    symlink(&outside, partial.join("sub")).unwrap();
    let last = source.layout().positions() - 1;
    let result = target.write_chunk(last, &fetch(&source, last));
    assert!(
        matches!(result, Err(WriteError::PartialVanished { .. })),
        "{result:?}"
    );
    target.discard().unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    assert_eq!(names(&outside).len(), 0);
    assert_eq!(names(to.path()), ["outside", "victim"]);
}

#[test]
fn a_partial_that_is_replaced_is_not_written_to() {
    let Places { from, to } = places();
    let source = sample(from.path(), "share");
    let outside = to.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("keep"), "x").unwrap();
    let target = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
    let partial = to.path().join(target.partial().name());
    target.write_chunk(0, &fetch(&source, 0)).unwrap();
    target.checkpoint().unwrap();
    fs::rename(&partial, to.path().join("stolen")).unwrap();
    symlink(&outside, &partial).unwrap();
    // Handles that are open still lead to the real one, which has been moved; the checkpoint tells.
    let _ = target.write_chunk(1, &fetch(&source, 1));
    assert!(matches!(
        target.checkpoint(),
        Err(WriteError::PartialVanished { .. })
    ));
    assert!(matches!(
        target.finish(),
        Err(FinishError::Write(WriteError::PartialVanished { .. }))
    ));
    let stored = target.partial().clone();
    target.discard().unwrap();
    let durable = std::slice::from_ref(&(0..1));
    let layout = Arc::clone(source.layout());
    let resumed = FetchTarget::resume(
        &Handles::new(4),
        to.path(),
        layout,
        &stored,
        &options(IfExists::Fail),
        durable,
    );
    assert!(matches!(resumed, Err(PrepareError::NotOurs)));
    FetchTarget::discard_partial(to.path(), &stored).unwrap();
    assert_eq!(names(&outside), ["keep"]);
    assert!(partial.is_symlink());
}

#[test]
fn only_the_very_partial_is_taken_up_again() {
    let Places { from, to } = places();
    let (one, two) = (
        sample(from.path(), "share"),
        sample_file(from.path(), "file", 500_000),
    );
    let resume = |layout: &Arc<Layout>, partial: &PartialRef, durable: &[std::ops::Range<u32>]| {
        FetchTarget::resume(
            &Handles::new(4),
            to.path(),
            Arc::clone(layout),
            partial,
            &options(IfExists::Fail),
            durable,
        )
    };
    let target = prepare(to.path(), two.layout(), IfExists::Fail).unwrap();
    target.write_chunk(0, &fetch(&two, 0)).unwrap();
    target.checkpoint().unwrap();
    let stored = PartialRef::decode(&target.partial().encode()).unwrap();
    let path = to.path().join(stored.name());
    drop(target);
    // A second fetch of something with the same name has its own partial.
    let other = prepare(to.path(), two.layout(), IfExists::Fail).unwrap();
    assert_ne!(other.partial().name(), stored.name());
    other.discard().unwrap();
    assert!(
        matches!(
            resume(one.layout(), &stored, &[]),
            Err(PrepareError::NotOurs)
        ),
        "a folder was expected"
    );
    let durable = std::slice::from_ref(&(0..1));
    resume(two.layout(), &stored, durable).unwrap();
    // Cut short: what was durable is lost.
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(10)
        .unwrap();
    assert!(matches!(
        resume(two.layout(), &stored, durable),
        Err(PrepareError::PartialVanished)
    ));
    fs::rename(&path, to.path().join("aside")).unwrap();
    assert!(matches!(
        resume(two.layout(), &stored, &[]),
        Err(PrepareError::PartialVanished)
    ));
    fs::write(&path, noise(1, 500_000)).unwrap();
    assert!(matches!(
        resume(two.layout(), &stored, &[]),
        Err(PrepareError::NotOurs)
    ));
    FetchTarget::discard_partial(to.path(), &stored).unwrap();
    assert!(path.exists(), "what is not ours is not removed");
    FetchTarget::discard_partial(&to.path().join("missing"), &stored).unwrap();
}

#[test]
fn files_lost_from_a_partial_are_missed() {
    let Places { from, to } = places();
    let source = sample(from.path(), "share");
    for (lost, early) in [
        ("large", false),
        ("sub/05", false),
        ("sub", true),
        ("", true),
    ] {
        let target = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
        let partial = to.path().join(target.partial().name());
        fetch_all(&source, &target);
        if !early {
            target.checkpoint().unwrap();
        }
        let path = partial.join(lost);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap()
        } else {
            fs::remove_file(&path).unwrap()
        }
        if early {
            assert!(
                matches!(target.checkpoint(), Err(WriteError::PartialVanished { .. })),
                "{lost:?}"
            );
        }
        let finished = target.finish();
        let told = matches!(
            finished,
            Err(FinishError::Incomplete { .. }
                | FinishError::Write(WriteError::PartialVanished { .. }))
        );
        assert!(told, "{lost:?}: {finished:?}");
        let (stored, layout) = (target.partial().clone(), Arc::clone(source.layout()));
        drop(target);
        let all = std::slice::from_ref(&(0..layout.positions())).to_vec();
        let resumed = FetchTarget::resume(
            &Handles::new(4),
            to.path(),
            layout,
            &stored,
            &options(IfExists::Fail),
            &all,
        );
        assert!(
            matches!(resumed, Err(PrepareError::PartialVanished)),
            "{lost:?}"
        );
        FetchTarget::discard_partial(to.path(), &stored).unwrap();
        assert_eq!(names(to.path()).len(), 0);
    }
}

#[test]
fn wrong_positions_and_lengths_are_refused() {
    let Places { from, to } = places();
    let source = sample(from.path(), "share");
    let target = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
    assert!(matches!(
        target.write_chunk(source.layout().positions(), b"x"),
        Err(WriteError::Position(_))
    ));
    assert!(matches!(
        target.write_chunk(0, b"too short"),
        Err(WriteError::Position(0))
    ));
    assert!(matches!(
        target.write_chunk(u32::MAX, b""),
        Err(WriteError::Position(_))
    ));
    assert!(matches!(
        target.finish(),
        Err(FinishError::Incomplete { .. })
    ));
    target.discard().unwrap();
    assert_eq!(names(to.path()).len(), 0);
}

#[test]
fn a_set_user_id_bit_does_not_travel() {
    let Places { from, to } = places();
    let path = from.path().join("tool");
    fs::write(&path, noise(1, 5000)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6755)).unwrap();
    let source = holding(&Handles::new(4), &share(&path));
    let target = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
    fetch_all(&source, &target);
    let arrived = target.finish().unwrap().place.path();
    assert_eq!(
        arrived.metadata().unwrap().permissions().mode() & 0o7777,
        0o755
    );
}
