//! Names of buckets, keys, queues, subjects and nodes: `A`–`Z`, `a`–`z`, `0`–`9`, `-`, `_`, `=`
//! and, between parts, `/`.
//!
//! With `/` mapped to `.` every name is a subject or key of NATS, and every prefix a wildcard of
//! one.

use super::StateError;

/// Longest name of a bucket, bytes. It has no parts.
pub const MAX_BUCKET: usize = 64;
/// Longest key, queue, subject or node, bytes (three device keys in hex fit).
pub const MAX_NAME: usize = 240;

/// Checks the name of a bucket.
pub fn bucket(name: &str) -> Result<(), StateError> {
    check(
        "a bucket",
        name,
        name.len() <= MAX_BUCKET && !name.contains('/'),
    )
}

/// Checks a key.
pub fn key(name: &str) -> Result<(), StateError> {
    check("a key", name, true)
}

/// Checks a prefix of keys: empty, or whole parts with a `/` at the end.
pub fn prefix(prefix: &str) -> Result<(), StateError> {
    match prefix.strip_suffix('/') {
        Some(parts) => check("a prefix", parts, true),
        None if prefix.is_empty() => Ok(()),
        None => Err(StateError::BadName("a prefix".into())),
    }
}

/// Checks the name of a queue.
pub fn queue(name: &str) -> Result<(), StateError> {
    check("a queue", name, true)
}

/// Checks a subject.
pub fn subject(name: &str) -> Result<(), StateError> {
    check("a subject", name, true)
}

/// Checks the name of a node.
pub fn node(name: &str) -> Result<(), StateError> {
    check("a node", name, true)
}

fn check(what: &'static str, name: &str, also: bool) -> Result<(), StateError> {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'='))
    };
    if also && name.len() <= MAX_NAME && name.split('/').all(part) {
        return Ok(());
    }
    Err(StateError::BadName(what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_and_nothing_else() {
        for good in ["a", "mail/0af3", "A-b_c=", "a/b/c", &"x".repeat(MAX_NAME)] {
            key(good).unwrap();
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a.b",
            "a b",
            "ä",
            "a\0",
            "*",
            ">",
            &"x".repeat(MAX_NAME + 1),
        ] {
            key(bad).unwrap_err();
            queue(bad).unwrap_err();
        }
        bucket("a/b").unwrap_err();
        prefix("").unwrap();
        prefix("a/b/").unwrap();
        prefix("a").unwrap_err();
        prefix("/").unwrap_err();
    }
}
