//! A device of its own for one test, and the program run on it.

use crate::fake::Fake;
use hither_proto::{DeviceId, ShareSecret, Ticket};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Writes a program by a process of its own: a file that this one wrote could still be open in a
/// child that another test has just forked, and then it cannot be executed ("text file busy").
pub fn write_program(path: &Path, content: &[u8]) {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(path)
        .stdin(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A folder for everything of one device.
pub struct Home {
    pub folder: tempfile::TempDir,
    program: PathBuf,
}

impl Home {
    /// A device without a daemon and without the daemon's program.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A copy: nothing else, above all no hitherd, is beside it.
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let program = bin.join("hither");
        if std::fs::hard_link(env!("CARGO_BIN_EXE_hither"), &program).is_err() {
            write_program(
                &program,
                &std::fs::read(env!("CARGO_BIN_EXE_hither")).unwrap(),
            );
        }
        Self { folder, program }
    }

    /// A device whose daemon runs.
    pub fn running() -> (Self, Fake) {
        let home = Self::empty();
        let fake = Fake::start(&home.socket());
        (home, fake)
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("hither.sock")
    }

    /// The program with arguments, in this home, with no terminal.
    pub fn hither(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(line.split(' ').filter(|word| !word.is_empty()));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
            .env_clear()
            .env("HITHER_HOME", self.folder.path())
            .env("PATH", "/usr/bin:/bin");
        command.env("TERM", "xterm-256color");
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        Ran::from(self.hither(line).output().unwrap())
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub exit: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            exit: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ran {
    /// Standard output as JSON lines.
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A valid ticket.
pub fn ticket() -> String {
    let secret = libp2p_identity::ed25519::SecretKey::try_from_bytes([5u8; 32]).unwrap();
    let owner = libp2p_identity::ed25519::Keypair::from(secret)
        .public()
        .to_bytes();
    Ticket {
        secret: ShareSecret::new([9; 16]),
        owner: DeviceId::from_slice(&owner).unwrap(),
        hints: vec!["192.168.1.7:47447".parse().unwrap()],
        relays: Vec::new(),
        pin: None,
    }
    .to_string()
}
