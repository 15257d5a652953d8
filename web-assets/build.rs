//! Writes the table of the page's files: what `web/dist` holds, with types and hashes.
//!
//! `web/dist` is committed, so that a build needs neither npm nor a network. Without it the table is
//! empty, and the programs say that they have no page.

use sha2::{Digest, Sha384};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Deepest folder below `web/dist`.
const MAX_DEPTH: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let dist = here.join("../web/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut files = BTreeMap::new();
    if dist.is_dir() {
        collect(&dist.canonicalize()?, "", 0, &mut files)?;
    }
    let out = PathBuf::from(env::var("OUT_DIR")?).join("assets.rs");
    fs::write(out, table(&files)?)?;
    Ok(())
}

/// Every file below `folder`, by its path with `/` between the names.
fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    into: &mut BTreeMap<String, PathBuf>,
) -> Result<(), Box<dyn Error>> {
    if depth > MAX_DEPTH {
        return Err(format!("{}: too deep", folder.display()).into());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or("a name in web/dist is not UTF-8")?;
        let path = format!("{prefix}{name}");
        match entry.file_type()? {
            kind if kind.is_dir() => {
                collect(&entry.path(), &format!("{path}/"), depth + 1, into)?;
            }
            kind if kind.is_file() => drop(into.insert(path, entry.path())),
            _ => return Err(format!("web/dist/{path} is neither a file nor a folder").into()),
        }
    }
    Ok(())
}

/// The table as Rust, sorted by path.
fn table(files: &BTreeMap<String, PathBuf>) -> Result<String, Box<dyn Error>> {
    let mut rows = String::from("&[\n");
    for (path, file) in files {
        if let Some(plain) = path.strip_suffix(".br").or(path.strip_suffix(".gz")) {
            if !files.contains_key(plain) {
                return Err(format!("web/dist/{path}: there is no {plain} beside it").into());
            }
            continue;
        }
        let digest = Sha384::digest(fs::read(file)?);
        let packed = |ending: &str| match files.get(&format!("{path}{ending}")) {
            Some(file) => format!("Some(include_bytes!({file:?}))"),
            None => "None".to_owned(),
        };
        writeln!(
            rows,
            "    Asset {{ path: {path:?}, bytes: include_bytes!({file:?}), br: {br}, gz: {gz}, \
             integrity: \"sha384-{sri}\", etag: {etag:?}, etag_br: {etag_br:?}, etag_gz: {etag_gz:?}, \
             content_type: {kind:?} }},",
            br = packed(".br"),
            gz = packed(".gz"),
            sri = base64(&digest),
            etag = format!("\"{}\"", hex(&digest[..16])),
            etag_br = format!("\"{}-br\"", hex(&digest[..16])),
            etag_gz = format!("\"{}-gz\"", hex(&digest[..16])),
            kind = content_type(path),
        )?;
    }
    rows.push(']');
    Ok(rows)
}

/// The type by the ending of the name; what has none of these is bytes to a browser, and never run.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// RFC 4648, section 4; the digest's 48 bytes need no padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[(bits & 63) as usize]);
    bytes
        .chunks_exact(3)
        .flat_map(|three| {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            [
                digit(bits >> 18),
                digit(bits >> 12),
                digit(bits >> 6),
                digit(bits),
            ]
        })
        .collect()
}
