//! Both implementations, by one set of tests.

use super::Kind;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;

macro_rules! tests {
    ($system:ident) => {
        mod $system {
            use super::super::$system::*;
            use super::*;

            fn n(name: &str) -> &OsStr {
                OsStr::new(name)
            }

            #[test]
            fn files_are_made_found_moved_and_removed() {
                let temporary = tempfile::tempdir().unwrap();
                let dir = Dir::open(temporary.path()).unwrap();
                let file = dir.create(n("a")).unwrap();
                assert_eq!(write_at(&file, b"hello", 3).unwrap(), 5);
                assert_eq!(
                    dir.create(n("a")).unwrap_err().kind(),
                    ErrorKind::AlreadyExists
                );
                let mut out = [9; 10];
                assert_eq!(
                    read_at(&dir.open_read(n("a")).unwrap(), &mut out, 0).unwrap(),
                    8
                );
                assert_eq!(&out[..8], b"\0\0\0hello");
                sync_data(&file).unwrap();
                finish_file(&file, 0o444, 1_234_567_890_123_456_700).unwrap();
                let (stat, same) = (dir.stat(n("a")).unwrap(), stat_file(&file).unwrap());
                assert_eq!(
                    (stat.kind, stat.size, stat.mode, stat.links),
                    (Kind::File, 8, 0o444, 1)
                );
                assert_eq!(
                    (stat.mtime_ns, stat.inode),
                    (1_234_567_890_123_456_700, same.inode)
                );
                assert!(dir.readable(n("a"), &stat));
                dir.make_dir(n("d")).unwrap();
                let inner = dir.open_dir(n("d")).unwrap();
                dir.rename_new(n("a"), &inner, n("b")).unwrap();
                dir.create(n("c")).unwrap();
                assert_eq!(
                    dir.rename_new(n("c"), &inner, n("b")).unwrap_err().kind(),
                    ErrorKind::AlreadyExists
                );
                dir.rename(n("c"), &inner, n("b")).unwrap();
                assert_eq!(inner.stat(n("b")).unwrap().size, 0);
                let mut names: Vec<OsString> = Vec::new();
                inner.names(&mut |name| Ok(names.push(name))).unwrap();
                assert_eq!(names, ["b"]);
                assert!(dir.remove_dir(n("d")).is_err());
                inner.remove_file(n("b")).unwrap();
                dir.remove_dir(n("d")).unwrap();
                assert!(is_gone(&dir.stat(n("d")).unwrap_err()));
                dir.sync().unwrap();
                assert!(dir.space().unwrap().max_name >= 255);
            }

            #[test]
            fn symlinks_are_seen_and_never_followed() {
                let temporary = tempfile::tempdir().unwrap();
                let dir = Dir::open(temporary.path()).unwrap();
                dir.create(n("file")).unwrap();
                dir.make_dir(n("folder")).unwrap();
                dir.symlink("file", n("to-file")).unwrap();
                dir.symlink("folder", n("to-folder")).unwrap();
                dir.symlink("nowhere", n("dangling")).unwrap();
                assert_eq!(dir.read_link(n("to-file")).unwrap(), "file");
                dir.set_symlink_mtime(n("to-file"), 1_000_000_000_000_000_000)
                    .unwrap();
                assert_eq!(
                    dir.stat(n("to-file")).unwrap().mtime_ns,
                    1_000_000_000_000_000_000
                );
                for name in ["to-file", "to-folder", "dangling"] {
                    assert_eq!(dir.stat(n(name)).unwrap().kind, Kind::Symlink);
                    assert!(dir.open_read(n(name)).is_err(), "{name}");
                    assert!(dir.open_write(n(name)).is_err(), "{name}");
                    assert!(dir.create(n(name)).is_err(), "{name}");
                    assert!(is_gone(&dir.open_dir(n(name)).unwrap_err()), "{name}");
                }
                assert!(Dir::open_exact(&temporary.path().join("to-folder")).is_err());
                Dir::open_exact(&temporary.path().canonicalize().unwrap().join("folder")).unwrap();
                dir.remove_file(n("to-folder")).unwrap();
                assert_eq!(dir.stat(n("folder")).unwrap().kind, Kind::Folder);
            }

            #[test]
            fn a_folder_stays_the_same_when_its_path_is_replaced() {
                let temporary = tempfile::tempdir().unwrap();
                let (path, moved) = (temporary.path().join("d"), temporary.path().join("moved"));
                std::fs::create_dir(&path).unwrap();
                let dir = Dir::open(&path).unwrap();
                std::fs::rename(&path, &moved).unwrap();
                std::fs::create_dir(&path).unwrap();
                dir.create(n("here")).unwrap();
                assert!(moved.join("here").exists() && !path.join("here").exists());
            }
        }
    };
}

#[cfg(unix)]
tests!(unix);
tests!(portable);

#[cfg(target_os = "linux")]
#[test]
fn holes_are_found() {
    use super::{Data, data_from, write_all_at};
    let file = tempfile::tempfile().unwrap();
    let size = 40 << 20;
    file.set_len(size).unwrap();
    assert_eq!(
        data_from(&file, 5, size),
        Some(Data {
            start: size,
            end: size
        })
    );
    write_all_at(&file, &[1; 4096], 8 << 20).unwrap();
    let data = data_from(&file, 0, size).unwrap();
    assert!(
        data.start <= 8 << 20 && data.end >= (8 << 20) + 4096 && data.end < size,
        "{data:?}"
    );
}

#[cfg(unix)]
#[test]
fn a_fifo_is_neither_waited_for_nor_read() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("fifo");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let dir = super::Dir::open(temporary.path()).unwrap();
    assert_eq!(
        dir.stat(OsStr::new("fifo")).unwrap().kind,
        Kind::Special("a named pipe")
    );
    let file = dir.open_read(OsStr::new("fifo")).unwrap();
    assert_ne!(super::stat_file(&file).unwrap().kind, Kind::File);
}
