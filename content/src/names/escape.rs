//! Writing a name in another way, so that it can be read back.
//!
//! A character that cannot be written becomes `%` and two hexadecimal digits for each of its bytes
//! in UTF-8; in a name that is changed, `%` itself is `%25`. Where a name is taken already (as
//! `a.pdf` beside `A.pdf` is on a file system that does not tell case), its first characters are
//! written so too, as many as it takes. [`unescape`] gives the name back. A name that gets too long
//! is cut, and ends with `%~` and a hash of what it was: only the device that wrote it knows that.

use super::NameRules;
use std::fmt::Write as _;

/// Ends a name that was cut, before the digits of its hash.
const CUT: &str = "%~";
/// Digits of the hash, and of a name that is cut all that must be left of it.
const DIGITS: usize = 16;
/// Longest extension that a name that is cut keeps, bytes with its dot.
const EXTENSION: usize = 16;

/// The name with everything escaped that cannot be written, and its first `more` characters.
fn escape(rules: &NameRules, name: &str, more: usize) -> String {
    let mut written = String::with_capacity(name.len() + 16);
    for (at, c) in name.chars().enumerate() {
        if at < more || c == '%' || rules.refuses(name, at, c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(written, "%{byte:02X}"); // A string takes everything.
            }
        } else {
            written.push(c);
        }
    }
    written
}

/// The name as it is written where it cannot be as it is: the first form that can be, and that
/// `free` says nobody has.
pub(crate) fn escape_free(rules: &NameRules, name: &str, free: &dyn Fn(&str) -> bool) -> String {
    for more in 0..=name.chars().count() {
        let written = escape(rules, name, more);
        if written.len() > rules.longest {
            break;
        }
        if written != name && rules.takes(&written) && free(&written) {
            return written;
        }
    }
    // A hash that nobody has is found at the first attempt, unless somebody made names to that end.
    let attempts = (0u32..).map(|attempt| cut(rules, name, attempt));
    attempts
        .take(1 << 16)
        .find(|written| free(written))
        .unwrap_or_else(|| cut(rules, name, 0))
}

/// Returns what of a name there is room for, with a hash of all of it.
fn cut(rules: &NameRules, name: &str, attempt: u32) -> String {
    let whole = escape(rules, name, 0);
    let plain = |extension: &str| extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let extension = match whole.rsplit_once('.') {
        Some((stem, extension))
            if !stem.is_empty() && extension.len() < EXTENSION && plain(extension) =>
        {
            &whole[whole.len() - extension.len() - 1..]
        }
        _ => "",
    };
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(name.as_bytes())
        .update(&attempt.to_le_bytes());
    let hash = hasher.finalize().to_hex();
    let end = format!("{CUT}{}{extension}", &hash[..DIGITS]);
    let room = rules.longest.saturating_sub(end.len());
    let stem = whole.strip_suffix(extension).unwrap_or(&whole);
    format!("{}{end}", &stem[..stem.floor_char_boundary(room)])
}

/// Returns what a name was before it was escaped; `None` for one that was cut, or that nothing was
/// escaped in.
pub fn unescape(written: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(written.len());
    let (mut rest, mut any) = (written, false);
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend(before.as_bytes());
        let digits = after
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        (rest, any) = (&after[2..], true);
    }
    bytes.extend(rest.as_bytes());
    if any {
        String::from_utf8(bytes).ok()
    } else {
        None
    }
}
