//! `fetch --follow`: a copy that is kept as its owner has it (P9), on several devices (D5).
//!
//! Siblings considered. Staying in step: a change, a device that was off, a network that was gone,
//! a command that ended (`convergence`). The trash: deletions, changes, renames, everything gone, a
//! single file, changes of kind, renames in case only, retention by age and by size (`trash`).
//! Harm: an entry called as the trash, links, a file edited while it moves, crashes in the middle,
//! a full disk (`hostile`).

mod convergence;
mod hostile;
mod trash;

use hither_api::{Event, FollowInfo, FollowState, ShareInfo};
use hither_content::TRASH;
use hither_tests::lab::{Device, Running, until};
use std::fs;
use std::path::{Path, PathBuf};

fn follow(device: &Device, ticket: &str) -> Running {
    let into = device.path("got");
    let into = into.to_str().unwrap();
    device.begin(&["fetch", ticket, "--yes", "--follow", "-o", into])
}

#[track_caller]
fn version(following: &mut Running, number: u64) {
    following.wait_for(&format!("version {number}"), |event| match event {
        Event::Version { version, .. } if *version == number => Some(()),
        _ => None,
    });
}

/// How a device's only followed copy stands, as `hither list` says.
#[track_caller]
fn listed(device: &Device) -> FollowInfo {
    let run = device.hither(&["list"]).well();
    let shares = run.lines.into_iter();
    let mut shares = shares.map(|line| serde_json::from_value::<ShareInfo>(line).unwrap());
    shares
        .find_map(|share| share.follow)
        .expect("a followed copy")
}

/// Waits until a version is here and nothing newer is known.
#[track_caller]
fn up_to_date(device: &Device, version: u64) -> FollowInfo {
    until(&format!("version {version} everywhere"), || {
        let info = device.transfer().follow?;
        (info.state == FollowState::UpToDate && info.version == Some(version)).then_some(info)
    })
}

fn put(path: impl AsRef<Path>, text: &str) -> PathBuf {
    let path = path.as_ref().to_owned();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

#[track_caller]
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref())
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder.as_ref()).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Every file below a folder, by its path in it, with its content.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for name in names(&at) {
            let path = at.join(name);
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                let below = path.strip_prefix(folder).unwrap();
                all.push((below.to_str().unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    all.sort();
    all
}

/// The contents of a copy beside its trash.
fn copy_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = files(folder);
    all.retain(|(path, _)| !path.starts_with(TRASH));
    all
}

/// Everything that all versions put aside, by its path in the share.
fn trashed(above: &Path) -> Vec<(String, Vec<u8>)> {
    let all = files(&above.join(TRASH)).into_iter();
    let mut all: Vec<_> = all
        .map(|(path, bytes)| (path.split_once('/').unwrap().1.to_owned(), bytes))
        .collect();
    all.sort();
    all
}
