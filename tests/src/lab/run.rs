//! One run of `hither`: what it says while it runs, how it ends.

use super::process::Process;
use super::wait::PATIENCE;
use hither_api::{ApiError, Done, Event, SourceBytes, SourceKind};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A run with `--json` that has ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit status; 128 and more: ended by a signal.
    pub status: i32,
    /// What it printed, one object per line.
    pub lines: Vec<Value>,
    /// What it said on standard error.
    pub errors: String,
}

/// The end of a fetch that went well.
#[derive(Debug)]
pub struct Fetched {
    /// Where it is.
    pub path: String,
    /// Bytes of all files.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Where the bytes came from.
    pub sources: Vec<SourceBytes>,
    /// The transfer.
    pub transfer: String,
}

impl Run {
    /// Fails unless it ended well.
    #[track_caller]
    pub fn well(self) -> Self {
        assert_eq!(self.status, 0, "{:?} {}", self.lines.last(), self.errors);
        self
    }

    fn last(&self) -> Option<Event> {
        self.lines
            .last()
            .and_then(|line| serde_json::from_value(line.clone()).ok())
    }

    /// The end of a fetch that must have gone well.
    #[track_caller]
    pub fn fetched(self) -> Fetched {
        let run = self.well();
        match run.last() {
            Some(Event::Done(Done::Fetched {
                path,
                bytes,
                seconds,
                sources,
                transfer,
                ..
            })) => Fetched {
                path,
                bytes,
                seconds,
                sources,
                transfer,
            },
            other => panic!("a fetch ended with {other:?}"),
        }
    }

    /// The error of a run that must have failed with that status.
    #[track_caller]
    pub fn failed(self, status: i32) -> ApiError {
        let last = self.last();
        assert_eq!(self.status, status, "{last:?} {}", self.errors);
        match last {
            Some(Event::Error(error)) => error,
            other => panic!("a run that failed ended with {other:?}"),
        }
    }
}

impl Fetched {
    /// Bytes that one device gave.
    pub fn from(&self, device: &str) -> u64 {
        self.sources
            .iter()
            .filter(|source| source.device == device)
            .map(|source| source.bytes)
            .sum()
    }

    /// Bytes that came over ways of one kind.
    pub fn by(&self, kind: SourceKind) -> u64 {
        self.sources
            .iter()
            .filter(|source| source.kind == kind)
            .map(|source| source.bytes)
            .sum()
    }
}

/// A run without `--json` that has ended.
#[derive(Debug)]
pub struct Plain {
    /// Its exit status.
    pub status: i32,
    /// What it printed.
    pub output: Vec<u8>,
    /// What it said on standard error.
    pub errors: String,
}

/// Runs a command to its end.
pub(super) fn plain(command: Command) -> Plain {
    plain_with_input(command, b"")
}

/// Runs a command to its end; it reads `input`, which fits a pipe.
pub(super) fn plain_with_input(mut command: Command, input: &[u8]) -> Plain {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    // It need not read it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let mut ended = Ended::watch(child);
    let mut output = Vec::new();
    ended
        .child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut output)
        .unwrap();
    let (status, errors) = ended.finish();
    Plain {
        status,
        output,
        errors,
    }
}

/// Runs a command, reads so many bytes of what it prints, and closes its standard output.
pub(super) fn head(mut command: Command, bytes: usize) -> Plain {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut ended = Ended::watch(child.unwrap());
    let mut output = vec![0; bytes];
    ended
        .child
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut output)
        .unwrap();
    let (status, errors) = ended.finish();
    Plain {
        status,
        output,
        errors,
    }
}

/// A run whose standard output is read by a program that takes its time.
#[derive(Debug)]
pub struct Pipe {
    ended: Ended,
    stdout: std::process::ChildStdout,
}

impl Pipe {
    pub(super) fn start(mut command: Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut ended = Ended::watch(child.unwrap());
        let stdout = ended.child.stdout.take().unwrap();
        Self { ended, stdout }
    }

    /// Reads so many bytes more; waits for them.
    pub fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.stdout.read_exact(&mut read).unwrap();
        read
    }

    /// Reads what is left and waits until it has ended.
    pub fn finish(mut self) -> Plain {
        let mut output = Vec::new();
        self.stdout.read_to_end(&mut output).unwrap();
        let (status, errors) = self.ended.finish();
        Plain {
            status,
            output,
            errors,
        }
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.ended.handle.signal(Signal::INT);
    }
}

/// A run with `--json` that goes on.
#[derive(Debug)]
pub struct Running {
    process: Ended,
    heard: Receiver<Value>,
    lines: Vec<Value>,
}

impl Running {
    pub(super) fn start(mut command: Command) -> Self {
        command.stderr(Stdio::piped());
        Self::spawn(command)
    }

    /// The same for what says much: its standard error goes to the end of a file.
    pub(super) fn logging(mut command: Command, log: File) -> Self {
        command.stderr(log);
        Self::spawn(command)
    }

    /// The same with something on its standard input.
    pub(super) fn fed(mut command: Command, input: File) -> Self {
        command.stderr(Stdio::piped());
        Self::spawn_with(command, input.into())
    }

    fn spawn(command: Command) -> Self {
        Self::spawn_with(command, Stdio::null())
    }

    fn spawn_with(mut command: Command, input: Stdio) -> Self {
        let child = command.stdin(input).stdout(Stdio::piped()).spawn();
        let mut process = Ended::watch(child.unwrap());
        let stdout = process.child.stdout.take().unwrap();
        let (sender, heard) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let parsed =
                    serde_json::from_str(&line).unwrap_or_else(|e| panic!("no JSON: {line}: {e}"));
                if sender.send(parsed).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            heard,
            lines: Vec::new(),
        }
    }

    /// Waits for the first event from now on of which `wanted` makes something.
    #[track_caller]
    pub fn wait_for<T>(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        self.line(what, |line| {
            wanted(&serde_json::from_value(line.clone()).expect("an event"))
        })
    }

    /// The same for lines that are no events.
    #[track_caller]
    pub fn line<T>(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self
                .heard
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    let found = wanted(&line);
                    self.lines.push(line);
                    if let Some(found) = found {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!(
                        "waited in vain: {what}; the last was {:?}",
                        self.lines.last()
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!(
                        "it ended before: {what}; the last was {:?}",
                        self.lines.last()
                    )
                }
            }
        }
    }

    /// Waits until so many bytes are here.
    #[track_caller]
    pub fn reach(&mut self, wanted: u64) {
        self.wait_for(&format!("{wanted} bytes"), |event| match event {
            Event::Progress { bytes, .. } if *bytes >= wanted => Some(()),
            _ => None,
        });
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Ends it without a chance to tidy up.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Sends a signal.
    pub(super) fn signal(&self, signal: Signal) {
        self.process.handle.signal(signal);
    }

    /// Waits until it has ended.
    pub fn finish(self) -> Run {
        self.finish_within(PATIENCE)
    }

    /// The same with another patience.
    pub fn finish_within(mut self, patience: Duration) -> Run {
        self.process.patience = patience;
        let (status, errors) = self.process.finish();
        self.lines.extend(self.heard.iter());
        Run {
            status,
            lines: self.lines,
            errors,
        }
    }
}

/// A child that is waited for, and killed when nobody waits.
#[derive(Debug)]
struct Ended {
    child: Child,
    handle: Process,
    errors: Option<JoinHandle<String>>,
    patience: Duration,
}

impl Ended {
    fn watch(mut child: Child) -> Self {
        let errors = child.stderr.take().map(|mut stderr| {
            thread::spawn(move || {
                let mut text = Vec::new();
                let read = stderr.read_to_end(&mut text);
                read.map_or_else(
                    |e| e.to_string(),
                    |_| String::from_utf8_lossy(&text).into_owned(),
                )
            })
        });
        let handle = Process::find(child.id()).unwrap();
        Self {
            child,
            handle,
            errors,
            patience: PATIENCE,
        }
    }

    fn finish(mut self) -> (i32, String) {
        assert!(
            self.handle.ends_within(self.patience),
            "a command runs longer than {:?}",
            self.patience
        );
        let status = self.child.wait().unwrap();
        let errors = self.errors.take().map(|errors| errors.join().unwrap());
        (code(status), errors.unwrap_or_default())
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

impl Drop for Ended {
    fn drop(&mut self) {
        // It has ended, or the test has failed and nothing better can be done.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
