//! A process of which only the number is known.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use std::time::Duration;

/// A running process, held by a file descriptor: its number cannot come to mean another one.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    fd: OwnedFd,
}

impl Process {
    /// The process of this number; `None` when there is none.
    pub fn find(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(pid as i32)?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Some(Self { pid, fd }),
            Err(Errno::SRCH) => None,
            Err(error) => panic!("process {pid:?}: {error}"),
        }
    }

    /// Sends a signal; a process that has ended gets none.
    pub fn signal(&self, signal: Signal) {
        match kill_process(self.pid, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => panic!("process {:?}: {error}", self.pid),
        }
    }

    /// Waits until it has ended; `false` when it still runs after `patience`.
    pub fn ends_within(&self, patience: Duration) -> bool {
        let timeout = Timespec::try_from(patience).unwrap();
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        loop {
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(Errno::INTR) => {}
                Err(error) => panic!("process {:?}: {error}", self.pid),
            }
        }
    }

    /// Takes it off the system's list, when whoever started it is gone and it has come to us.
    pub fn reap(&self) {
        match waitpid(Some(self.pid), WaitOptions::NOHANG) {
            Ok(_) | Err(Errno::CHILD) => {}
            Err(error) => panic!("process {:?}: {error}", self.pid),
        }
    }
}
