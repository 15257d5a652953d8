//! The daemon and its commands on one computer, met as people meet them.
//!
//! B8, siblings: `XDG_RUNTIME_DIR` with and without, another `TMPDIR`, the home through a link and
//! spelled otherwise, what a dead daemon left, a path too long for a socket, a session's folder
//! that goes away while the daemon runs, two homes with one folder for sockets. B9: the daemon is
//! killed, or told to stop, and a command follows at once; every command once. B7: a hard limit of
//! 256 open files, with 200 shares, before and after a restart. D3: folders and keys of others, or
//! open to them, a link in the place of the home, a socket that somebody else serves.

use hither_tests::lab;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A device whose home follows from `HOME` and the XDG folders.
fn at_home(device: &mut lab::Device) -> std::path::PathBuf {
    let home = device.path("user");
    fs::create_dir_all(&home).unwrap();
    device.env("HITHER_HOME", "");
    device.env("HOME", home.to_str().unwrap());
    home
}

#[test]
fn field_b8_every_environment_finds_the_daemon() {
    lab::run(|lab| {
        let mut desk = lab.device("desk");
        at_home(&mut desk);
        let runtime = desk.path("run");
        fs::create_dir_all(&runtime).unwrap();
        desk.env("XDG_RUNTIME_DIR", runtime.to_str().unwrap());
        let up = desk.up();
        assert!(runtime.join("hither.sock").exists());
        let pid = |desk: &lab::Device| {
            desk.hither(&["status"]).well().lines[0]["pid"]
                .as_u64()
                .unwrap()
        };
        assert_eq!(pid(&desk), u64::from(up.pid));
        for (name, value) in [
            ("XDG_RUNTIME_DIR", ""),
            ("TMPDIR", "/none"),
            ("XDG_RUNTIME_DIR", "/none"),
        ] {
            desk.env(name, value);
            assert_eq!(pid(&desk), u64::from(up.pid), "{name}={value}");
            assert_eq!(desk.up().pid, up.pid, "{name}={value}");
        }
        let linked = desk.path("linked");
        std::os::unix::fs::symlink(desk.path("user"), &linked).unwrap();
        desk.env("HOME", linked.to_str().unwrap());
        assert_eq!(pid(&desk), u64::from(up.pid));
        // The session ends, and its folder with it; the daemon stays.
        fs::remove_dir_all(&runtime).unwrap();
        desk.hither(&["list"]).well();
        assert_eq!(pid(&desk), u64::from(up.pid));
        desk.down();
        assert!(
            desk.hither(&["status"])
                .failed(1)
                .message
                .contains("not running")
        );
    });
}

#[test]
fn field_b8_a_long_path_is_no_obstacle() {
    lab::run(|lab| {
        let mut desk = lab.device("desk");
        let home = desk.path("x").join("y".repeat(120)).join("z".repeat(120));
        fs::create_dir_all(&home).unwrap();
        desk.env("HITHER_HOME", home.to_str().unwrap());
        let up = desk.up();
        let status = desk.hither(&["status"]).well();
        assert_eq!(status.lines[0]["pid"].as_u64(), Some(u64::from(up.pid)));
        desk.down();
    });
}

#[test]
fn field_b8_two_homes_share_a_folder_for_sockets() {
    lab::run(|lab| {
        let (mut desk, mut laptop) = (lab.device("desk"), lab.device("laptop"));
        let runtime = desk.path("run");
        fs::create_dir_all(&runtime).unwrap();
        for device in [&mut desk, &mut laptop] {
            at_home(device);
            device.env("XDG_RUNTIME_DIR", runtime.to_str().unwrap());
        }
        let (first, second) = (desk.up(), laptop.up());
        assert_ne!(first.device, second.device);
        for (device, status) in [(&desk, &first), (&laptop, &second)] {
            let told = device.hither(&["status"]).well();
            assert_eq!(
                told.lines[0]["device"].as_str(),
                Some(status.device.as_str())
            );
        }
        desk.down();
        assert!(
            desk.hither(&["status"])
                .failed(1)
                .message
                .contains("not running")
        );
        laptop.down();
    });
}

#[test]
fn field_b9_a_command_right_after_the_daemons_death_goes_on() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let file = lab::fill(desk.path("notes.txt"), 1, 1000);
        let shared = desk.share(&file);
        for round in 0..6 {
            let before = desk.status().pid;
            if round % 2 == 0 {
                let killed = std::process::Command::new("kill")
                    .args(["-9", &before.to_string()])
                    .status();
                assert!(killed.unwrap().success());
            } else {
                let stopping = desk.begin(&["down"]);
                let list = desk.hither(&["list"]).well();
                assert_eq!(list.lines.len(), 1);
                drop(stopping.finish());
            }
            assert_eq!(desk.share(&file).share, shared.share);
        }
    });
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn field_d8_what_others_could_change_or_read_is_looked_at() {
    lab::run(|lab| {
        let mut desk = lab.device("desk");
        let home = desk.path("own");
        desk.env("HITHER_HOME", home.to_str().unwrap());
        desk.up();
        desk.down();
        let (data, key) = (home.join("data"), home.join("data/device.key"));
        mode(&key, 0o644);
        let status = desk.up();
        assert!(
            status
                .warnings
                .iter()
                .any(|w| w.contains("private key could be read")),
            "{:?}",
            status.warnings
        );
        assert_eq!(
            fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        desk.down();
        let refused = |words: &str| {
            let error = desk.hither(&["up"]).failed(1);
            assert!(error.message.contains(words), "{}", error.message);
        };
        mode(&key, 0o620);
        refused("can be written by other users");
        mode(&key, 0o600);
        mode(&data, 0o777);
        refused("can be written by other users");
        mode(&data, 0o700);
        for path in [&key, &data] {
            std::os::unix::fs::chown(path, Some(12345), None).unwrap();
            refused("belongs to another user");
            std::os::unix::fs::chown(path, Some(0), None).unwrap();
        }
        let link = desk.path("link");
        std::os::unix::fs::symlink(&home, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        desk.env("HITHER_HOME", link.to_str().unwrap());
        let error = desk.hither(&["up"]).failed(1);
        assert!(error.message.contains("symbolic link"), "{}", error.message);
    });
}

#[test]
fn field_b7_few_open_files_are_enough_for_many_shares() {
    lab::run(|lab| {
        let (desk, laptop) = (lab.device("desk"), lab.device("laptop"));
        // The limit counts for whatever the command starts, the daemon above all.
        let limits = rustix::process::Rlimit {
            current: Some(256),
            maximum: Some(256),
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limits).unwrap();
        desk.up();
        let shares: Vec<_> = (0..200u64)
            .map(|number| {
                desk.share(&lab::fill(
                    desk.path(&format!("file {number}")),
                    number,
                    1000,
                ))
            })
            .collect();
        let doctor = desk.hither(&["doctor"]).well();
        let files = doctor
            .lines
            .iter()
            .find(|finding| finding["check"] == "files")
            .expect("a word about it");
        assert_eq!(files["level"], "warning");
        laptop.up();
        laptop.sees(1);
        for number in [0, 100, 199] {
            laptop.fetch(&shares[number].ticket, "got");
        }
        desk.kill();
        desk.up();
        laptop.sees(1);
        for number in [1, 101, 198] {
            laptop.fetch(&shares[number].ticket, "got");
            lab::Tree::of(desk.path(&format!("file {number}")))
                .assert_same(&lab::Tree::of(laptop.path(&format!("got/file {number}"))));
        }
    });
}
