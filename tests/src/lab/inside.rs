//! Into namespaces: a test runs again, by itself, as a child of itself inside them.

use super::switch::Lab;
use std::any::type_name;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

/// Set inside to the folder that the lab may use.
const INSIDE: &str = "HITHER_LAB_INSIDE";
/// Being unable to run is a failure.
const REQUIRED: &str = "HITHER_LAB_REQUIRED";
/// Folder of the programs.
const PROGRAMS: &str = "HITHER_BIN";

/// Namespaces for processes as well, so that none outlives the test, whatever happens to it; else
/// without.
const ROOMS: [&[&str]; 2] = [
    &[
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ],
    &["--net", "--mount"],
];

/// Runs a test in a lab. Must be given a closure: the test is found again by the closure's name.
pub fn run<F: FnOnce(&Lab)>(test: F) {
    if let Some(folder) = std::env::var_os(INSIDE) {
        end_with_the_outside();
        return test(&Lab::new(folder.into(), programs()));
    }
    match room() {
        Ok(room) => again(room, name::<F>(), &programs()),
        Err(why) if std::env::var_os(REQUIRED).is_none() => {
            println!("SKIPPED: there is no lab here: {why}");
        }
        Err(why) => panic!("there is no lab here: {why}"),
    }
}

/// The name of the test that contains a closure, as the test program knows it.
fn name<F>() -> &'static str {
    let path = type_name::<F>();
    let path = path
        .strip_suffix("::{{closure}}")
        .expect("a test gives a closure of its own to the lab");
    path.split_once("::").map_or(path, |(_, rest)| rest)
}

/// The folder with `hither` and `hitherd`.
fn programs() -> PathBuf {
    let complete =
        |folder: &Path| folder.join("hither").is_file() && folder.join("hitherd").is_file();
    if let Some(folder) = std::env::var_os(PROGRAMS) {
        let folder = PathBuf::from(folder);
        assert!(
            complete(&folder),
            "{PROGRAMS}: there is no hither and hitherd in {}",
            folder.display()
        );
        return folder;
    }
    // The test is target/PROFILE/deps/lab-….
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().nth(2).unwrap();
    let beside = ["release", "debug"].map(|other| profile.with_file_name(other));
    [profile.to_owned()].into_iter().chain(beside).find(|folder| complete(folder)).unwrap_or_else(|| {
        panic!(
            "the programs are needed: cargo build --bin hither --bin hitherd, or their folder in {PROGRAMS}"
        )
    })
}

/// How namespaces are made here, or why they cannot be.
fn room() -> Result<&'static [String], &'static str> {
    static ROOM: OnceLock<Result<Vec<String>, String>> = OnceLock::new();
    let room = ROOM.get_or_init(|| {
        let user: &[&str] = if rustix::process::geteuid().is_root() {
            &[]
        } else {
            &["--user", "--map-root-user"]
        };
        let mut why = String::new();
        for room in ROOMS {
            let room: Vec<String> = user
                .iter()
                .chain(room)
                .map(|&word| word.to_owned())
                .collect();
            // A bridge is a part of the kernel that not every system has.
            let look = ["--", "ip", "link", "add", "switch", "type", "bridge"];
            match Command::new("unshare")
                .args(&room)
                .args(look)
                .stdin(Stdio::null())
                .output()
            {
                Ok(output) if output.status.success() => return Ok(room),
                Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(error) => why = format!("unshare: {error}"),
            }
        }
        Err(why)
    });
    room.as_deref().map_err(String::as_str)
}

fn again(room: &[String], name: &str, programs: &Path) {
    let folder = tempfile::Builder::new()
        .prefix("hither-lab-")
        .tempdir()
        .unwrap();
    let mut child = Command::new("unshare")
        .args(room)
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            name,
            "--nocapture",
            "--include-ignored",
            "--test-threads=1",
        ])
        .env(INSIDE, folder.path())
        .env(PROGRAMS, OsStr::new(programs))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let errors = child.stderr.take().unwrap();
    let errors = thread::spawn(move || pass_on(errors));
    let said = pass_on(child.stdout.take().unwrap());
    errors.join().unwrap();
    let status = child.wait().unwrap();
    assert!(
        said.iter().any(|line| line == "running 1 test"),
        "the test {name} was not found again"
    );
    assert!(status.success(), "the test failed inside: {status}");
}

/// Prints what the inside prints, as one of our own lines.
fn pass_on(stream: impl Read) -> Vec<String> {
    let mut said = Vec::new();
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        println!("{line}");
        said.push(line);
    }
    said
}

/// Ends this process, and with it all namespaces, when the one outside is gone: its end of our
/// input is closed then.
fn end_with_the_outside() {
    thread::spawn(|| {
        let ended = std::io::stdin().read(&mut [0; 1]);
        eprintln!("the test outside is gone ({ended:?})");
        std::process::exit(1);
    });
}
