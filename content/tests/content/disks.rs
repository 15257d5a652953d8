//! Full disks, read-only disks, and file systems that share blocks. Needs root for mounting;
//! skipped plainly without.
#![cfg(target_os = "linux")]

use crate::common::{fetch, fetch_all, holding, look, names, noise, options, prepare, share};
use hither_content::{FetchTarget, Handles, Holding, IfExists, PrepareError, WriteError};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A file system mounted for one test.
struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    fn new(arguments: &[&str], source: &Path) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = run(Command::new("mount")
            .args(arguments)
            .arg(source)
            .arg(dir.path()));
        if !mounted {
            eprintln!("skipped: mounting is not possible here");
        }
        mounted.then_some(Self { dir })
    }

    fn tmpfs(size: &str) -> Option<Self> {
        Self::new(
            &["-t", "tmpfs", "-o", &format!("size={size}")],
            Path::new("none"),
        )
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn remount(&self, options: &str) {
        assert!(run(Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.path())));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(self.path()));
    }
}

fn run(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn sample(dir: &Path, size: usize) -> Holding {
    fs::write(dir.join("file"), noise(1, size)).unwrap();
    holding(&Handles::new(16), &share(&dir.join("file")))
}

#[test]
fn a_share_that_does_not_fit_is_refused_before_anything_is_written() {
    let Some(disk) = Mount::tmpfs("4m") else {
        return;
    };
    let from = tempfile::tempdir().unwrap();
    let source = sample(from.path(), 5_000_000);
    match prepare(disk.path(), source.layout(), IfExists::Fail) {
        Err(PrepareError::NoSpace {
            needed: 5_000_000,
            free,
        }) => assert!(free <= 4 << 20),
        other => panic!("{other:?}"),
    }
    assert_eq!(names(disk.path()).len(), 0);
    // Zeros need no room.
    let sparse = from.path().join("sparse");
    fs::File::create(&sparse)
        .unwrap()
        .set_len(50_000_000)
        .unwrap();
    let source = holding(&Handles::new(16), &share(&sparse));
    let target = prepare(disk.path(), source.layout(), IfExists::Fail).unwrap();
    fetch_all(&source, &target);
    target.finish().unwrap();
}

#[test]
fn a_disk_that_fills_up_stops_the_fetch_and_nothing_durable_is_lost() {
    let Some(disk) = Mount::tmpfs("8m") else {
        return;
    };
    let from = tempfile::tempdir().unwrap();
    let source = sample(from.path(), 5_000_000);
    let target = prepare(disk.path(), source.layout(), IfExists::Fail).unwrap();
    let filler = disk.path().join("filler");
    fs::write(&filler, noise(9, 5_000_000)).unwrap();
    let mut written = 0..0;
    let error = loop {
        match target.write_chunk(written.end, &fetch(&source, written.end)) {
            Ok(()) => written.end += 1,
            Err(error) => break error,
        }
        target.checkpoint().unwrap();
    };
    assert!(matches!(error, WriteError::NoSpace), "{error}");
    assert!(!written.is_empty() && written.end < source.layout().positions());
    fs::remove_file(filler).unwrap();
    let stored = target.partial().clone();
    drop(target);
    let (handles, layout) = (Handles::new(4), Arc::clone(source.layout()));
    let durable = std::slice::from_ref(&written);
    let target = FetchTarget::resume(
        &handles,
        disk.path(),
        layout,
        &stored,
        &options(IfExists::Fail),
        durable,
    )
    .unwrap();
    for position in written.end..source.layout().positions() {
        target
            .write_chunk(position, &fetch(&source, position))
            .unwrap();
    }
    let finished = target.finish().unwrap();
    assert_eq!(
        look(&from.path().join("file")),
        look(&finished.place.path())
    );
}

#[test]
fn small_files_fill_a_disk_too() {
    let Some(disk) = Mount::tmpfs("8m") else {
        return;
    };
    let from = tempfile::tempdir().unwrap();
    let top = from.path().join("top");
    fs::create_dir(&top).unwrap();
    for i in 0..500 {
        fs::write(top.join(format!("{i}")), noise(i, 10_000)).unwrap();
    }
    let source = holding(&Handles::new(16), &share(&top));
    let target = prepare(disk.path(), source.layout(), IfExists::Fail).unwrap();
    fs::write(disk.path().join("filler"), noise(9, 6_000_000)).unwrap();
    let full = (0..source.layout().positions())
        .try_for_each(|position| target.write_chunk(position, &fetch(&source, position)));
    assert!(matches!(full, Err(WriteError::NoSpace)), "{full:?}");
    fs::remove_file(disk.path().join("filler")).unwrap();
    fetch_all(&source, &target);
    assert_eq!(look(&top), look(&target.finish().unwrap().place.path()));
}

#[test]
fn a_read_only_disk_is_named() {
    let Some(disk) = Mount::tmpfs("8m") else {
        return;
    };
    let from = tempfile::tempdir().unwrap();
    let source = sample(from.path(), 1_000_000);
    let target = prepare(disk.path(), source.layout(), IfExists::Fail).unwrap();
    disk.remount("ro");
    assert!(matches!(
        target.write_chunk(0, &fetch(&source, 0)),
        Err(WriteError::ReadOnly)
    ));
    assert!(matches!(
        prepare(disk.path(), source.layout(), IfExists::Fail),
        Err(PrepareError::ReadOnly { .. })
    ));
}

#[test]
fn names_longer_than_the_file_system_takes_are_refused_first() {
    // FAT counts 255 UTF-16 units, which statvfs reports as many more bytes; tmpfs takes 255 bytes.
    let Some(disk) = Mount::tmpfs("8m") else {
        return;
    };
    let from = tempfile::tempdir().unwrap();
    let name = "x".repeat(255);
    fs::write(from.path().join(&name), "content").unwrap();
    let source = holding(&Handles::new(16), &share(&from.path().join(&name)));
    let target = prepare(disk.path(), source.layout(), IfExists::Fail).unwrap();
    assert!(target.partial().name().len() <= 255);
    fetch_all(&source, &target);
    assert_eq!(target.finish().unwrap().place.name.len(), 255);
}

/// An XFS on a file of 320 MiB, which can share blocks.
fn xfs(dir: &Path) -> Option<Mount> {
    let image: PathBuf = dir.join("xfs.img");
    fs::File::create(&image)
        .unwrap()
        .set_len(320 << 20)
        .unwrap();
    if !run(Command::new("mkfs.xfs")
        .args(["-q", "-m", "reflink=1"])
        .arg(&image))
    {
        eprintln!("skipped: there is no mkfs.xfs");
        return None;
    }
    Mount::new(&["-t", "xfs", "-o", "loop"], &image)
}

fn free(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_bfree * stat.f_frsize
}

#[test]
fn local_copies_share_blocks_where_the_file_system_can() {
    let image = tempfile::tempdir().unwrap();
    let Some(disk) = xfs(image.path()) else {
        return;
    };
    let from = disk.path().join("from");
    fs::create_dir(&from).unwrap();
    let source = sample(&from, 50_000_000);
    rustix::fs::syncfs(fs::File::open(disk.path()).unwrap()).unwrap();
    let before = free(disk.path());
    let target = prepare(disk.path(), source.layout(), IfExists::Fail).unwrap();
    let mut buffer = Vec::new();
    for position in 0..source.layout().positions() {
        target
            .copy_local(position, &source, position, &mut buffer)
            .unwrap();
    }
    let finished = target.finish().unwrap();
    assert_eq!(look(&from.join("file")), look(&finished.place.path()));
    let taken = before.saturating_sub(free(disk.path()));
    // The blocks at which chunks meet are copied: one of 4 KiB for each of 64 KiB.
    assert!(taken < 10_000_000, "{taken} bytes for a copy of 50 MB");
}
