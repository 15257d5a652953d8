//! A real browser in the network of a device: the scripts of `web/tests` drive Chromium there.

use super::device::Device;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Being unable to run a browser is a failure.
const REQUIRED: &str = "HITHER_BROWSER_REQUIRED";
/// The browser, where Debian has it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// The folder of the pages' sources and tests.
fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../web")
}

/// A script that drives a browser, and prints one line of JSON at its end.
#[derive(Debug)]
pub struct Driven {
    child: Child,
    /// The home of the browser, which goes with it.
    _home: tempfile::TempDir,
}

impl Driven {
    /// Waits for the end; gives what it printed last.
    #[track_caller]
    pub fn finish(self) -> Value {
        let ended = self.child.wait_with_output().unwrap();
        let output = String::from_utf8_lossy(&ended.stdout).into_owned();
        let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
        let line = output.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {output}\n{errors}"))
    }
}

impl Device {
    /// Begins to drive a browser on this device by a script of `web/tests`; `None`, said plainly,
    /// where there is no browser, node or playwright-core (`npm ci` in `web`).
    pub fn drive(&self, script: &str, arguments: &[&str]) -> Option<Driven> {
        let web = web();
        let missing = [
            PathBuf::from(CHROMIUM),
            web.join("node_modules/playwright-core"),
        ]
        .into_iter()
        .find(|wanted| !wanted.exists());
        if let Some(missing) = missing {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "there is no {}",
                missing.display()
            );
            println!("SKIPPED: there is no {}", missing.display());
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let child = self
            .network()
            .command("node")
            .arg(web.join("tests").join(script))
            .args(arguments)
            .env("HOME", home.path())
            .env("XDG_CONFIG_HOME", home.path())
            .env("XDG_CACHE_HOME", home.path())
            .env("TMPDIR", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Driven { child, _home: home })
    }
}
