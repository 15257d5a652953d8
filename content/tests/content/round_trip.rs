//! Whatever is shared arrives as it was, in whatever order its chunks come and however often the
//! fetch is killed.
#![cfg(unix)]

use crate::common::{
    domain, fetch, fetch_all, holding, look, names, noise, options, prepare, set_mtime, share,
    shuffled,
};
use hither_content::{
    FetchTarget, Handles, Holding, IfExists, ImportOptions, LARGE_FILE, Layout, import,
};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// An entry to be made, in the folder that `folder` picks of those made before it.
#[derive(Debug, Clone)]
struct Wish {
    folder: prop::sample::Index,
    name: String,
    mode: u32,
    mtime: (i64, i64),
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    File { size: usize, seed: u64, hole: bool },
    Folder,
    Symlink(String),
}

fn wish() -> impl Strategy<Value = Wish> {
    let name = prop_oneof![
        "[a-z]{1,8}",
        "[A-Za-z0-9 ._-]{1,20}[a-z]",
        Just("日本語 ☃ ünïcödé".to_owned()),
        Just("x".repeat(255)),
        Just("é".repeat(127)),
        Just("-rf *".to_owned()),
        Just("%s%n$(reboot)'\"".to_owned()),
    ];
    let file = |sizes: std::ops::Range<usize>| {
        (sizes, any::<u64>(), any::<bool>()).prop_map(|(size, seed, hole)| What::File {
            size,
            seed,
            hole,
        })
    };
    let what = prop_oneof![
        2 => Just(What::Folder),
        2 => Just(What::File { size: 0, seed: 0, hole: false }),
        6 => file(1..20_000),
        2 => file(100_000..600_000),
        2 => "(\\.\\./)*[a-z/]{1,30}".prop_map(What::Symlink),
    ];
    // Modes that let us read our own files: what cannot be read is not shared.
    let mode = prop_oneof![
        Just(0o644),
        Just(0o755),
        Just(0o600),
        Just(0o777),
        Just(0o555),
        Just(0o400),
        Just(0o4755)
    ];
    let mtime = prop_oneof![
        (0i64..2_000_000_000, 0i64..1_000_000_000),
        Just((-1, 999_999_999)),
        Just((4_000_000_000, 1)),
    ];
    (any::<prop::sample::Index>(), name, mode, mtime, what).prop_map(
        |(folder, name, mode, mtime, what)| Wish {
            folder,
            name,
            mode,
            mtime,
            what,
        },
    )
}

fn make(top: &Path, wishes: &[Wish]) {
    fs::create_dir(top).unwrap();
    let mut folders = vec![top.to_owned()];
    let mut made: Vec<(PathBuf, u32, (i64, i64))> = Vec::new();
    for wish in wishes {
        let path = folders[wish.folder.index(folders.len())].join(&wish.name);
        // The same name again, or one that differs in case only.
        let collides = |a: &Path| {
            a.parent() == path.parent()
                && a.file_name().unwrap().to_str().unwrap().to_lowercase()
                    == wish.name.to_lowercase()
        };
        if path.as_os_str().len() > 3000 || made.iter().any(|(made, ..)| collides(made)) {
            continue;
        }
        match &wish.what {
            What::Folder => {
                fs::create_dir(&path).unwrap();
                folders.push(path.clone());
            }
            What::File { size, seed, hole } => {
                let mut content = noise(*seed, *size);
                if *hole {
                    content[size / 4..size / 2].fill(0);
                }
                fs::write(&path, content).unwrap();
            }
            What::Symlink(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
        }
        made.push((path, wish.mode, wish.mtime));
    }
    for (path, mode, (seconds, nanoseconds)) in made.iter().rev() {
        if !path.is_symlink() {
            let mode = if path.is_dir() { mode | 0o700 } else { *mode };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        set_mtime(path, *seconds, *nanoseconds);
    }
    set_mtime(top, 1_600_000_000, 123_456_789);
}

/// Fetches in an odd order; the fetcher is dropped ("killed") now and then and goes on from its
/// last checkpoint.
fn fetch_with_kills(source: &Holding, dir: &Path, seed: u64, kills: u32) -> PathBuf {
    let layout = source.layout();
    let handles = Handles::new(8);
    let mut target = prepare(dir, layout, IfExists::Fail).unwrap();
    let stored = target.partial().encode();
    let mut durable = vec![false; layout.positions() as usize];
    let mut since = Vec::new();
    for life in 0..=kills {
        let missing: Vec<u32> = shuffled(layout.positions(), seed + u64::from(life))
            .into_iter()
            .filter(|p| !durable[*p as usize])
            .collect();
        let last = life == kills;
        let lived = if last {
            missing.len()
        } else {
            missing.len() / 2
        };
        for (count, position) in missing.into_iter().take(lived).enumerate() {
            target
                .write_chunk(position, &fetch(source, position))
                .unwrap();
            since.push(position);
            if count % 5 == 4 {
                target.checkpoint().unwrap();
                since
                    .drain(..)
                    .for_each(|position| durable[position as usize] = true);
            }
        }
        if !last {
            since.clear();
            drop(target);
            let partial = hither_content::PartialRef::decode(&stored).unwrap();
            let ranges: Vec<_> = (0..layout.positions())
                .filter(|p| durable[*p as usize])
                .map(|p| p..p + 1)
                .collect();
            target = FetchTarget::resume(
                &handles,
                dir,
                Arc::clone(layout),
                &partial,
                &options(IfExists::Fail),
                &ranges,
            )
            .unwrap();
        }
    }
    let finished = target.finish().unwrap();
    let mut out = Vec::new();
    for position in 0..layout.positions() {
        finished.holding.read_sealed(position, &mut out).unwrap();
    }
    finished.place.path()
}

/// Files and folders as they arrive: without the bits that no fetch sets.
fn expected(path: &Path) -> std::collections::BTreeMap<PathBuf, crate::common::Seen> {
    let mut seen = look(path);
    for entry in seen.values_mut() {
        if let crate::common::Seen::File { mode, .. } | crate::common::Seen::Folder { mode, .. } =
            entry
        {
            *mode &= 0o755;
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn trees_arrive_as_they_were(
        wishes in proptest::collection::vec(wish(), 0..40),
        seed in any::<u32>(),
        kills in 0u32..4,
    ) {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let top = from.path().join("share");
        make(&top, &wishes);
        let imported = share(&top);
        prop_assert_eq!(imported.skipped.total, 0);
        prop_assert_eq!(&share(&top).manifest, &imported.manifest);
        let source = holding(&Handles::new(4), &imported);
        let arrived = fetch_with_kills(&source, to.path(), u64::from(seed), kills);
        prop_assert_eq!(expected(&top), look(&arrived));
        prop_assert_eq!(names(to.path()), ["share"]);
    }
}

#[test]
fn a_single_file_arrives_alone() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, size) in [
        ("empty.bin", 0),
        ("one", 1),
        ("Bär 🐻.bin", 300_000),
        ("big", 3_000_000),
    ] {
        let path = from.path().join(name);
        fs::write(&path, noise(1, size)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let imported = share(&path);
        assert!(imported.manifest.is_single_file());
        let arrived = fetch_with_kills(&holding(&Handles::new(4), &imported), to.path(), 5, 2);
        assert_eq!(arrived, to.path().canonicalize().unwrap().join(name));
        assert_eq!(look(&path), look(&arrived));
    }
    assert_eq!(names(to.path()).len(), 4);
}

#[test]
fn chunks_are_written_from_many_threads() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let top = from.path().join("share");
    for folder in 0..20 {
        fs::create_dir_all(top.join(format!("{folder}/deeper"))).unwrap();
        for file in 0..30 {
            let path = top.join(format!("{folder}/deeper/{file}"));
            fs::write(path, noise(file, 500 + 300 * file as usize)).unwrap();
        }
        fs::write(
            top.join(format!("{folder}/large")),
            noise(1000 + folder, LARGE_FILE as usize * 2),
        )
        .unwrap();
    }
    let imported = share(&top);
    let source = holding(&Handles::new(4), &imported);
    let target = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
    let next = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let position = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if position >= source.layout().positions() {
                        break;
                    }
                    target
                        .write_chunk(position, &fetch(&source, position))
                        .unwrap();
                    if position.is_multiple_of(7) {
                        target.checkpoint().unwrap();
                    }
                }
            });
        }
    });
    let finished = target.finish().unwrap();
    assert_eq!(look(&top), look(&finished.place.path()));
}

#[test]
fn holes_cost_neither_reading_nor_disk() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = from.path().join("sparse.img");
    let file = fs::File::create(&path).unwrap();
    let size: u64 = 40 << 30;
    file.set_len(size).unwrap();
    for (seed, at) in [
        (1, 0),
        (2, 5 << 30),
        (3, (20 << 30) + 12_345),
        (4, size - 100_000),
    ] {
        std::os::unix::fs::FileExt::write_all_at(&file, &noise(seed, 100_000), at).unwrap();
    }
    let started = std::time::Instant::now();
    let imported = share(&path);
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    assert_eq!(imported.manifest.bytes(), size);
    // Only a little around the data was looked at; the rest is one chunk, many times.
    let distinct: std::collections::HashSet<_> = imported
        .manifest
        .chunks()
        .iter()
        .map(|chunk| chunk.id)
        .collect();
    assert!(distinct.len() < 30, "{}", distinct.len());
    let source = holding(&Handles::new(4), &imported);
    let target = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
    let mut by_id = std::collections::HashMap::<_, Vec<u32>>::new();
    for (position, chunk) in (0u32..).zip(imported.manifest.chunks()) {
        by_id.entry(chunk.id).or_default().push(position);
    }
    for positions in by_id.values() {
        target
            .write_chunks(positions, &fetch(&source, positions[0]))
            .unwrap();
    }
    let finished = target.finish().unwrap();
    let metadata = finished.place.path().metadata().unwrap();
    assert_eq!(metadata.size(), size);
    assert!(
        metadata.blocks() * 512 < 100 << 20,
        "{} bytes on disk",
        metadata.blocks() * 512
    );
    let mut out = Vec::new();
    for positions in by_id.values() {
        finished
            .holding
            .read_sealed(*positions.last().unwrap(), &mut out)
            .unwrap();
    }
}

#[test]
fn sparse_files_are_cut_as_if_they_were_read() {
    let dir = tempfile::tempdir().unwrap();
    // Data of odd lengths at odd places, holes shorter and longer than the longest chunk.
    let mut content = vec![0u8; 6_000_000];
    for (seed, at, length) in [
        (1, 70_000, 5000),
        (2, 300_000, 400_000),
        (3, 2_000_001, 99_999),
        (4, 5_900_000, 1),
    ] {
        content[at..at + length].copy_from_slice(&noise(seed, length));
    }
    let dense = dir.path().join("dense");
    fs::write(&dense, &content).unwrap();
    let sparse = dir.path().join("sparse");
    let file = fs::File::create(&sparse).unwrap();
    file.set_len(content.len() as u64).unwrap();
    for (at, block) in content
        .chunks(4096)
        .enumerate()
        .filter(|(_, block)| block.iter().any(|byte| *byte != 0))
    {
        std::os::unix::fs::FileExt::write_all_at(&file, block, at as u64 * 4096).unwrap();
    }
    assert!(sparse.metadata().unwrap().blocks() * 512 < 2_000_000);
    assert_eq!(
        share(&sparse).manifest.chunks(),
        share(&dense).manifest.chunks()
    );
}

#[test]
fn what_this_device_has_is_copied() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (old, new) = (from.path().join("old"), from.path().join("new"));
    let content = noise(3, 5_000_000);
    fs::write(&old, &content).unwrap();
    fs::write(
        &new,
        [&content[..2_000_000], b"inserted", &content[2_000_000..]].concat(),
    )
    .unwrap();
    let handles = Handles::new(16);
    let (old, new) = (
        holding(&handles, &share(&old)),
        holding(&handles, &share(&new)),
    );
    let target = prepare(to.path(), new.layout(), IfExists::Fail).unwrap();
    let (mut copied, mut buffer) = (0, Vec::new());
    for (position, chunk) in (0u32..).zip(new.manifest().chunks()) {
        match old
            .manifest()
            .chunks()
            .iter()
            .position(|known| known.id == chunk.id)
        {
            Some(at) => {
                target
                    .copy_local(position, &old, at as u32, &mut buffer)
                    .unwrap();
                copied += 1;
            }
            None => {
                let wrong = target.copy_local(position, &old, 0, &mut buffer);
                assert!(matches!(wrong, Err(hither_content::CopyError::Mismatch)));
                target
                    .write_chunk(position, &fetch(&new, position))
                    .unwrap();
            }
        }
    }
    assert!(copied + 3 >= new.layout().positions() && copied > 10);
    assert_eq!(
        look(&from.path().join("new")),
        look(&target.finish().unwrap().place.path())
    );
}

#[test]
fn an_unfinished_fetch_serves_what_it_has() {
    let (from, to, onward) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let top = from.path().join("share");
    fs::create_dir(&top).unwrap();
    for i in 0..50 {
        fs::write(top.join(format!("{i}")), noise(i, 10_000)).unwrap();
    }
    fs::write(top.join("large"), noise(99, 1_000_000)).unwrap();
    let source = holding(&Handles::new(4), &share(&top));
    let first = prepare(to.path(), source.layout(), IfExists::Fail).unwrap();
    let second = prepare(onward.path(), source.layout(), IfExists::Fail).unwrap();
    let partial = first.holding();
    let mut out = Vec::new();
    assert!(partial.read_sealed(0, &mut out).is_err());
    for position in shuffled(source.layout().positions(), 1) {
        first
            .write_chunk(position, &fetch(&source, position))
            .unwrap();
        second
            .write_chunk(position, &fetch(&partial, position))
            .unwrap();
    }
    assert_eq!(look(&top), look(&second.finish().unwrap().place.path()));
    // The very same position again is harmless.
    fetch_all(&source, &first);
    assert_eq!(look(&top), look(&first.finish().unwrap().place.path()));
}

#[test]
fn a_new_version_reads_only_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("share");
    fs::create_dir_all(top.join("small")).unwrap();
    for i in 0..100 {
        fs::write(top.join(format!("small/{i:03}")), noise(i, 5000)).unwrap();
    }
    for (name, seed) in [("a.bin", 1), ("z.bin", 2)] {
        fs::write(top.join(name), noise(seed, 2_000_000)).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_secs(3));
    let first = share(&top);
    let cancel = AtomicBool::new(false);
    let again = |previous: &hither_content::Imported| {
        let mut options = ImportOptions::new(&cancel);
        options.previous = Some(hither_content::Previous {
            manifest: &previous.manifest,
            stamps: &previous.stamps,
        });
        import(&top, &domain(), &options).unwrap()
    };
    assert_eq!(
        (again(&first).read_bytes, again(&first).manifest),
        (0, Arc::clone(&first.manifest))
    );
    fs::write(top.join("z.bin"), noise(3, 2_000_000)).unwrap();
    fs::write(top.join("b.bin"), noise(4, 300_000)).unwrap();
    let second = again(&first);
    assert_eq!(second.read_bytes, 2_300_000);
    assert_eq!(second.manifest, share(&top).manifest);
    fs::remove_file(top.join("small/050")).unwrap();
    // Data that was written just now is not trusted yet, so it is read again with the pack that has
    // changed.
    let third = again(&second);
    assert_eq!(third.read_bytes, 2_300_000 + 99 * 5000);
    assert_eq!(third.manifest, share(&top).manifest);
    let layout = Layout::new(Arc::clone(&third.manifest));
    assert_eq!(layout.files(), 102);
}
