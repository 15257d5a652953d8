//! A network namespace, kept alive by a process that does nothing.

use super::tool::tool;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

/// A network of its own, with nothing but its loopback interface. Goes when dropped.
#[derive(Debug)]
pub(super) struct Namespace {
    keeper: Child,
}

impl Namespace {
    pub(super) fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", "echo here; exec sleep infinity"]);
        let mut keeper = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let namespace = Self { keeper };
        assert_eq!(line, "here\n", "a network namespace cannot be made");
        tool(namespace.command("ip").args(["link", "set", "lo", "up"]));
        namespace
    }

    /// The process whose network this is.
    pub(super) fn pid(&self) -> u32 {
        self.keeper.id()
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.pid())
    }

    /// A program that runs in this network.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path()))
            .arg("--")
            .arg(program);
        command
    }

    /// Moves this thread, and what it starts from now on, into this network.
    pub(super) fn enter(path: &File) {
        move_into_link_name_space(path.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// For [`Self::enter`].
    pub(super) fn handle(&self) -> File {
        File::open(self.path()).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It cannot have ended by itself, and nothing can be done about a failure here.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
