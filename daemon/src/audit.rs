//! A file of who asked this device for what, and the result: JSON lines that the user can read.
//!
//! Bounds: the file is begun anew at [`MAX_BYTES`]; the one before is kept beside it. It says no
//! contents, and is never read by the program.

use hither_proto::{DeviceId, display_name};
use hither_util::clock::unix_seconds;
use hither_util::sync::Mutex;
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Longest file, bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Longest word that others chose, in bytes.
const MAX_WORD: usize = 512;

/// The file.
pub(crate) struct AuditLog {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl AuditLog {
    /// A log at a path; the file is made with the first line.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: Mutex::new(None),
        }
    }

    /// Adds a line. A disk that takes none stops nothing. Blocks.
    pub(crate) fn note(&self, device: DeviceId, name: &str, what: &str, outcome: &str) {
        let line = json!({
            "at": unix_seconds(),
            "device": device.to_string(),
            "name": cut(name),
            "what": cut(what),
            "outcome": cut(outcome),
        });
        if let Err(error) = self.write(&line.to_string()) {
            tracing::warn!(%error, "the audit log cannot be written");
        }
    }

    fn write(&self, line: &str) -> io::Result<()> {
        let mut file = self.file.lock();
        let full = match file.as_ref() {
            Some(file) => file.metadata()?.len() >= MAX_BYTES,
            None => fs::metadata(&self.path).is_ok_and(|meta| meta.len() >= MAX_BYTES),
        };
        if full {
            *file = None;
            fs::rename(&self.path, before(&self.path))?;
        }
        let to = match file.as_mut() {
            Some(file) => file,
            None => file.insert(open(&self.path)?),
        };
        to.write_all(format!("{line}\n").as_bytes())
    }
}

fn before(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn cut(text: &str) -> String {
    let mut shown = display_name(text);
    while shown.len() > MAX_WORD {
        shown.pop();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_the_file_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = AuditLog::new(path.clone());
        let device = hither_carrier::Identity::generate().unwrap().device_id();
        let what = "x".repeat(2 * MAX_WORD);
        let lines = MAX_BYTES as usize / MAX_WORD + 10;
        for _ in 0..lines {
            log.note(device, "a\nb\u{1b}[2J", &what, "refused");
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() < MAX_BYTES as usize);
        for line in text
            .lines()
            .chain(fs::read_to_string(before(&path)).unwrap().lines())
        {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(!line["name"].as_str().unwrap().contains(['\n', '\u{1b}']));
        }
        // Another run goes on where this one ended.
        drop(log);
        AuditLog::new(path.clone()).note(device, "c", "photo", "answered");
        assert!(fs::read_to_string(&path).unwrap().starts_with(&text));
    }
}
