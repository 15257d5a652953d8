//! A relay: its place on the internet, its folder, its process.

use super::cable::{Cable, Socket};
use super::capture::Capture;
use super::namespace::Namespace;
use super::process::Process;
use super::run::{Run, Running};
use rustix::process::Signal;
use serde_json::Value;
use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

/// Lines of a log that are shown when a test fails.
const LOG_LINES: usize = 60;
/// Exit status of what was killed.
const KILLED: i32 = 128 + 9;

/// A relay. It ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    /// What the test calls it.
    pub name: String,
    /// Its way to the internet.
    pub cable: Cable,
    folder: PathBuf,
    programs: PathBuf,
    network: Arc<Namespace>,
    settings: Vec<String>,
    secret: Option<String>,
    running: RefCell<Option<Running>>,
    ready: RefCell<Value>,
    invitation: RefCell<Option<String>>,
}

impl Relay {
    pub(super) fn new(name: &str, socket: Socket, folder: &Path, programs: &Path) -> Self {
        let network = Arc::new(Namespace::new());
        let cable = Cable::new(&network, socket);
        cable.connect();
        Self {
            name: name.to_owned(),
            cable,
            folder: folder.to_owned(),
            programs: programs.to_owned(),
            network,
            settings: vec!["ops.log=debug".into()],
            secret: None,
            running: RefCell::default(),
            ready: RefCell::default(),
            invitation: RefCell::default(),
        }
    }

    /// Sets a key of its configuration, `section.key=value`. Counts from its next start.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.into());
    }

    /// Makes it one of a fleet, whose nodes know this secret.
    pub fn know(&mut self, secret: &str) {
        self.secret = Some(secret.into());
    }

    /// Where it keeps everything.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Everything that it logged, since its first start.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("log")).unwrap_or_default()).into_owned()
    }

    fn command(&self) -> Command {
        let program = self.programs.join("hither-relay");
        assert!(
            program.is_file(),
            "the relay is needed as well: cargo build --bin hither-relay"
        );
        let mut command = self.network.command(program);
        for (name, _) in
            std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("HITHER_"))
        {
            command.env_remove(name);
        }
        command
            .current_dir(&self.folder)
            .arg("--data")
            .arg(self.data());
        command.args(["--address", self.cable.address(), "--json"]);
        command.args(self.settings.iter().flat_map(|setting| ["--set", setting]));
        if let Some(secret) = &self.secret {
            command.env("HITHER_RELAY_FLEET_TOKEN", secret);
        }
        command
    }

    // --- the process ---

    /// Starts it; it is ready when this returns.
    #[track_caller]
    pub fn start(&self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let mut running = Running::logging(self.command(), log);
        let ready = running.line("a relay that is ready", |line| {
            match line["event"].as_str() {
                Some("ready") => Some(line.clone()),
                _ => panic!("a relay does not start: {line}"),
            }
        });
        if let Some(invitation) = ready["invitation"].as_str() {
            self.invitation.replace(Some(invitation.into()));
        }
        self.ready.replace(ready);
        let before = self.running.replace(Some(running));
        assert!(before.is_none(), "it runs already");
    }

    /// Ends it in order.
    #[track_caller]
    pub fn stop(&self) {
        self.end(Signal::TERM, 0);
    }

    /// It dies, as by a crash.
    #[track_caller]
    pub fn kill(&self) {
        self.end(Signal::KILL, KILLED);
    }

    /// The process that runs.
    #[track_caller]
    pub fn process(&self) -> Process {
        self.running
            .borrow()
            .as_ref()
            .and_then(|running| Process::find(running.pid()))
            .expect("it runs")
    }

    #[track_caller]
    fn end(&self, signal: Signal, status: i32) {
        let running = self.running.take().expect("it runs");
        running.signal(signal);
        let run = running.finish();
        assert_eq!(run.status, status, "{:?}", run.lines);
    }

    // --- what it says ---

    /// Its key.
    pub fn key(&self) -> String {
        self.ready.borrow()["node"].as_str().unwrap().into()
    }

    /// Its URL, without an invitation.
    pub fn url(&self) -> String {
        self.ready.borrow()["url"].as_str().unwrap().into()
    }

    /// The invitation that it printed at its very first start.
    pub fn invitation(&self) -> String {
        self.invitation
            .borrow()
            .clone()
            .expect("the first start prints an invitation")
    }

    /// Runs a sub-command of `hither-relay`.
    pub fn admin(&self, arguments: &[&str]) -> Run {
        let mut command = self.command();
        command.args(arguments);
        Running::start(command).finish()
    }

    /// Has it saved into a new folder, as a backup under this name.
    pub fn backup(&self, name: &str) {
        self.admin(&["backup", self.folder.join(name).to_str().unwrap()])
            .well();
    }

    /// Puts a backup in place of all that it keeps; it must not run.
    pub fn restore(&self, name: &str) {
        fs::remove_dir_all(self.data()).unwrap();
        self.admin(&["restore", self.folder.join(name).to_str().unwrap()])
            .well();
    }

    /// What it says about itself.
    pub fn stats(&self) -> Value {
        self.admin(&["stats"]).well().lines.pop().unwrap()
    }

    /// A page of its HTTP address, such as `/metrics`.
    pub fn page(&self, path: &str) -> String {
        let (network, at) = (
            self.network.handle(),
            self.ready.borrow()["http"].as_str().unwrap().to_owned(),
        );
        let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        let asking = thread::spawn(move || {
            Namespace::enter(&network);
            let mut stream = TcpStream::connect(at).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        });
        asking.join().unwrap()
    }

    /// Hears everything that goes through its cable from now on.
    pub fn capture(&self) -> Capture {
        Capture::start(Some(self.network.handle()))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Whatever runs is killed with what we hold of it.
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            println!("--- the last lines of {}'s log", self.name);
            lines[lines.len().saturating_sub(LOG_LINES)..]
                .iter()
                .for_each(|line| println!("{line}"));
        }
    }
}
