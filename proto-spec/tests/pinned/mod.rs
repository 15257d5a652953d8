//! What the tests of vectors share: a file that pins the bytes, and SPEC.md that quotes them.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Name and bytes (or text) of a vector.
pub type Vector = (&'static str, String);

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        write!(text, "{b:02x}").unwrap();
        text
    })
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../proto-spec")
        .join(name)
}

/// The file has what the code makes. With `HITHER_WRITE_VECTORS` it is written anew first.
pub fn assert_pinned(file: &str, vectors: &[Vector]) {
    let text: String = vectors
        .iter()
        .map(|(name, value)| format!("# {name}\n{value}\n\n"))
        .collect();
    if std::env::var_os("HITHER_WRITE_VECTORS").is_some() {
        std::fs::write(path(file), &text).unwrap();
    }
    let pinned = std::fs::read_to_string(path(file)).unwrap();
    assert_eq!(text, pinned, "the wire format changed; is that meant?");
}

/// SPEC.md has a row of each.
pub fn assert_quoted(vectors: &[Vector]) {
    let spec = std::fs::read_to_string(path("SPEC.md")).unwrap();
    for (name, value) in vectors {
        let row = format!("| {name} | `{value}` |");
        assert!(spec.contains(&row), "SPEC.md must have this row:\n{row}");
    }
}
