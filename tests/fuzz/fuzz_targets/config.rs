//! Configuration files of devices and of relays, and the record that says where a daemon listens.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("hither-fuzz-{}.toml", std::process::id())));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::fs::write(&*FILE, data).expect("a temporary file");
    let _ = hither_api::Config::load(&FILE);
    let _ = hither_relay::config::load(Some(&FILE), &hither_relay::config::Overrides::default());
});
