//! A device: its network, its home, its files, its daemon.

use super::api::Api;
use super::cable::{Cable, Socket};
use super::namespace::Namespace;
use super::process::Process;
use super::run::{Fetched, Pipe, Plain, Run, Running, head, plain, plain_with_input};
use super::system_bus::SystemBus;
use super::wait::{PATIENCE, until};
use hither_api::{Event, Status, TransferInfo, Why};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

/// Lines of a log that are shown when a test fails.
const LOG_LINES: usize = 60;

/// A device. Its daemon ends when it is dropped.
#[derive(Debug)]
pub struct Device {
    /// What it calls itself.
    pub name: String,
    /// Its way to the switch.
    pub cable: Cable,
    folder: PathBuf,
    programs: PathBuf,
    network: Arc<Namespace>,
    settings: Vec<(String, String)>,
}

/// A share that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Share id.
    pub share: String,
    /// What it is fetched with.
    pub ticket: String,
    /// Its version.
    pub version: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Device {
    pub(super) fn new(name: &str, socket: Socket, folder: &Path, programs: &Path) -> Self {
        fs::create_dir_all(folder.join("files")).unwrap();
        let network = Arc::new(Namespace::new());
        Self {
            name: name.to_owned(),
            cable: Cable::new(&network, socket),
            folder: folder.to_owned(),
            programs: programs.to_owned(),
            network,
            settings: vec![
                ("HITHER_DEVICE_NAME".into(), name.into()),
                ("HITHER_LOG".into(), "debug".into()),
            ],
        }
    }

    /// A bridge as containers have them: up, with an address, and with something on it.
    pub fn bridge(&self, name: &str, address: &str) {
        let port = format!("c{}", &name[name.len() - 6..]);
        for line in [
            format!("link add {name} type bridge"),
            format!("link add {port} type veth peer name {port}x"),
            format!("link set {port} master {name} up"),
            format!("link set {port}x up"),
            format!("addr add {address}/16 dev {name}"),
            format!("link set {name} up"),
        ] {
            super::tool::tool(self.network.command("ip").args(line.split(' ')));
        }
    }

    pub(super) fn second_cable(&self, socket: Socket) -> Cable {
        Cable::second(&self.network, socket)
    }

    /// A setting of this device, by its name in the configuration. Counts from the daemon's next
    /// start.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((
            format!("HITHER_{}", key.replace('.', "_").to_uppercase()),
            value.into(),
        ));
    }

    /// A variable of the environment of its programs. Counts from the daemon's next start.
    pub fn env(&mut self, name: &str, value: &str) {
        self.settings.push((name.into(), value.into()));
    }

    /// Sets the wall clock of its programs wrong by so many seconds. Counts from the daemon's next
    /// start.
    pub fn set_wall_clock(&mut self, offset: i64) {
        let library = super::wall_clock::library(&self.folder);
        self.env("LD_PRELOAD", &library.display().to_string());
        self.env(super::wall_clock::OFFSET, &offset.to_string());
    }

    /// Starts the bus over which its system tells of itself. There is none before; a daemon that
    /// runs may notice late.
    pub fn system_bus(&self) -> SystemBus {
        SystemBus::start(&self.bus())
    }

    fn bus(&self) -> PathBuf {
        self.folder.join("bus")
    }

    /// A place for files of this device.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join("files").join(name)
    }

    /// Its home: where Hither keeps what is its own.
    pub fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// The daemon's log.
    pub fn log(&self) -> String {
        let log = fs::read(self.home().join("data/hitherd.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    pub(super) fn network(&self) -> &Namespace {
        &self.network
    }

    // --- commands ---

    /// `hither` on this device.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.network.command(self.programs.join("hither"));
        command
            .args(arguments)
            .current_dir(self.folder.join("files"));
        for (name, _) in
            std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("HITHER_"))
        {
            command.env_remove(name);
        }
        command.env("HITHER_HOME", self.home());
        // Not those of the machine that the lab is on.
        for bus in ["DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"] {
            command.env(bus, format!("unix:path={}", self.bus().display()));
        }
        command.env("XDG_CACHE_HOME", self.folder.join("cache"));
        for (name, value) in &self.settings {
            command.env(name, value);
        }
        command
    }

    /// `hither` as a shell runs that has that umask.
    pub fn masked(&self, umask: u32, arguments: &[&str]) -> Plain {
        let hither = self.command(arguments);
        let mut command = self.network.command("sh");
        command
            .arg("-c")
            .arg(format!("umask {umask:o}; exec \"$0\" \"$@\""))
            .arg(self.programs.join("hither"));
        command
            .args(arguments)
            .current_dir(self.folder.join("files"));
        for (name, value) in hither.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        plain(command)
    }

    /// Starts `hither` in one of its folders, with these arguments and `--json`.
    pub fn begin_in(&self, folder: &Path, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.arg("--json").current_dir(folder);
        Running::start(command)
    }

    /// Starts `hither` with these arguments and `--json`.
    pub fn begin(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.arg("--json");
        Running::start(command)
    }

    /// Starts `hither` with these arguments and `--json`, and a file or pipe as its standard input.
    pub fn fed(&self, from: &Path, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.arg("--json");
        // For writing too: a named pipe then waits for nobody, and does not end.
        let input = fs::File::options().read(true).write(true).open(from);
        Running::fed(command, input.unwrap())
    }

    /// Runs `hither` with these arguments and `--json`.
    pub fn hither(&self, arguments: &[&str]) -> Run {
        self.begin(arguments).finish()
    }

    /// Runs `hither` with these arguments and `--json` as a user who may not do everything; what it
    /// has is given to that user. `None` where there is no such user.
    pub fn hither_as(&self, user: u32, arguments: &[&str]) -> Option<Run> {
        let id = user.to_string();
        let mut setpriv = vec!["--reuid", &id, "--regid", &id, "--clear-groups", "--"];
        let may = Command::new("setpriv").args(&setpriv).arg("true").output();
        if !may.is_ok_and(|ended| ended.status.success()) {
            println!("nobody else can be made a user here");
            return None;
        }
        if !self.home().exists() {
            fs::create_dir_all(self.home()).unwrap();
            for above in self.folder.ancestors().take(2) {
                fs::set_permissions(above, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                    .unwrap();
            }
            assert!(
                Command::new("chown")
                    .arg("-R")
                    .arg(&id)
                    .arg(&self.folder)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let plain = self.command(arguments);
        let mut command = self.network.command("setpriv");
        let program = self.programs.join("hither");
        setpriv.push(program.to_str().unwrap());
        command
            .args(&setpriv)
            .args(arguments)
            .arg("--json")
            .current_dir(self.path(""));
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Some(Running::start(command).finish())
    }

    /// Runs a program on this device as another user, and gives what it prints; `None` where nobody
    /// else can be made a user.
    pub fn program_as(&self, user: u32, line: &[&str]) -> Option<String> {
        let id = user.to_string();
        let mut command = self.network.command("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]);
        let may = Command::new("setpriv")
            .args([
                "--reuid",
                &id,
                "--regid",
                &id,
                "--clear-groups",
                "--",
                "true",
            ])
            .output();
        if !may.is_ok_and(|ended| ended.status.success()) {
            println!("nobody else can be made a user here");
            return None;
        }
        let ended = command.args(line).output().unwrap();
        Some(String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    /// Runs `hither` as it is for people and pipes.
    pub fn plain(&self, arguments: &[&str]) -> Plain {
        plain(self.command(arguments))
    }

    /// The same with something on its standard input.
    pub fn plain_with_input(&self, arguments: &[&str], input: &[u8]) -> Plain {
        plain_with_input(self.command(arguments), input)
    }

    /// Runs `hither` into a program that reads so many bytes and ends.
    pub fn into_head(&self, arguments: &[&str], bytes: usize) -> Plain {
        head(self.command(arguments), bytes)
    }

    /// Begins `hither` into a program that reads when it likes.
    pub fn pipe(&self, arguments: &[&str]) -> Pipe {
        Pipe::start(self.command(arguments))
    }

    /// Shares a path.
    pub fn share(&self, path: &Path) -> Shared {
        self.share_with(path, &[])
    }

    /// Shares a path, with options.
    pub fn share_with(&self, path: &Path, options: &[&str]) -> Shared {
        let run = self
            .hither(&[&["share", path.to_str().unwrap()], options].concat())
            .well();
        let done = run.lines.last().unwrap();
        let text = |name: &str| done[name].as_str().unwrap().to_owned();
        Shared {
            share: text("share"),
            ticket: text("ticket"),
            version: done["version"].as_u64().unwrap(),
            bytes: done["bytes"].as_u64().unwrap(),
        }
    }

    /// Starts a fetch into one of its folders.
    pub fn begin_fetch(&self, ticket: &str, into: &str) -> Running {
        self.begin(&[
            "fetch",
            ticket,
            "--yes",
            "-o",
            self.path(into).to_str().unwrap(),
        ])
    }

    /// Fetches into one of its folders.
    #[track_caller]
    pub fn fetch(&self, ticket: &str, into: &str) -> Fetched {
        self.begin_fetch(ticket, into).finish().fetched()
    }

    // --- the daemon ---

    /// Starts the daemon.
    pub fn up(&self) -> Status {
        let run = self.hither(&["up"]).well();
        serde_json::from_value(run.lines.last().unwrap().clone()).unwrap()
    }

    /// Ends the daemon in order.
    pub fn down(&self) {
        self.hither(&["down"]).well();
    }

    /// The daemon dies, as by a crash.
    pub fn kill(&self) {
        self.kill_at(|| {});
    }

    /// The same as soon as something returns: not a moment later.
    pub fn kill_at(&self, moment: impl FnOnce()) {
        let process = Process::find(self.status().pid).unwrap();
        moment();
        process.signal(Signal::KILL);
        assert!(process.ends_within(PATIENCE), "a killed daemon lives on");
        process.reap();
    }

    /// Sets a copy of its home aside, as a backup under this name; its daemon must not run.
    pub fn backup(&self, name: &str) {
        copy(&self.home(), &self.backups().join(name));
    }

    /// Puts a backup of its home in place of the home, which is gone then; its daemon must not run.
    pub fn restore(&self, name: &str) {
        fs::remove_dir_all(self.home()).unwrap();
        copy(&self.backups().join(name), &self.home());
    }

    /// Makes its home that of another device, whose daemon must not run: two machines with one key.
    pub fn become_twin_of(&self, other: &Self) {
        copy(&other.home(), &self.home());
    }

    /// Moves its home away: it is a new device with its next start.
    pub fn forget(&self) {
        fs::rename(self.home(), self.folder.join("before")).unwrap();
    }

    fn backups(&self) -> PathBuf {
        self.folder.join("backups")
    }

    /// Its local API.
    pub fn api(&self) -> Api {
        Api::new(self.home().join("hither.sock"))
    }

    /// What the daemon says of itself; it must be running.
    #[track_caller]
    pub fn status(&self) -> Status {
        self.api().get("/v1/status").unwrap()
    }

    /// Its device id.
    pub fn id(&self) -> String {
        self.status().device
    }

    /// Waits until it sees so many devices on the network.
    pub fn sees(&self, devices: u64) {
        until("devices nearby", || {
            (self.status().nearby >= devices).then_some(())
        });
    }

    /// Every transfer, the latest first.
    pub fn transfers(&self) -> Vec<TransferInfo> {
        self.api().get("/v1/transfers").unwrap()
    }

    /// The latest transfer.
    #[track_caller]
    pub fn transfer(&self) -> TransferInfo {
        self.transfers().into_iter().next().expect("a transfer")
    }

    /// Why a transfer's bytes came from where they came.
    pub fn why(&self, transfer: &str) -> Why {
        self.api()
            .get(&format!("/v1/transfers/{transfer}/why"))
            .unwrap()
    }

    /// Waits until the latest transfer, which goes on without any command, has so many bytes.
    #[track_caller]
    pub fn follow(&self, wanted: u64) {
        let mut events = self.api().events(&self.transfer().transfer).unwrap();
        let found = events.wait_for(
            &format!("{wanted} bytes of {}", self.name),
            |event| match event {
                Event::Progress { bytes, .. } if *bytes >= wanted => Some(Ok(())),
                event if event.is_last() => Some(Err(event.clone())),
                _ => None,
            },
        );
        assert!(
            matches!(found, Some(Ok(()))),
            "instead of {wanted} bytes: {found:?}"
        );
    }

    /// Waits until the latest transfer has ended; it must end well.
    #[track_caller]
    pub fn complete(&self) -> Fetched {
        let transfer = self.transfer().transfer;
        let mut events = self.api().events(&transfer).unwrap();
        let last = events.wait_for("the end of a transfer", |event| {
            event.is_last().then(|| event.clone())
        });
        let last = serde_json::to_value(last.expect("a last event")).unwrap();
        Run {
            status: 0,
            lines: vec![last],
            errors: String::new(),
        }
        .fetched()
    }
}

/// Copies a folder with all that is in it, except sockets.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(copied.success(), "{} cannot be copied", from.display());
    let _ = fs::remove_file(to.join("hither.sock"));
}

impl Drop for Device {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            println!("--- the last lines of {}'s log", self.name);
            lines[lines.len().saturating_sub(LOG_LINES)..]
                .iter()
                .for_each(|line| println!("{line}"));
        }
        // No panic in here: the test may be failing already.
        let status: Result<Status, _> = self.api().get("/v1/status");
        if let Some(process) = status.ok().and_then(|status| Process::find(status.pid)) {
            process.signal(Signal::KILL);
            process.ends_within(PATIENCE);
            process.reap();
        }
    }
}
