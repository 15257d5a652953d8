//! Files of shares as browsers download them: whole, or a range of bytes.
//!
//! A file that is not what was shared any more is refused where that shows before the first byte;
//! where it shows later, the connection breaks, so that no browser takes a part for the whole.

use super::shares::ShownFile;
use crate::failure;
use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use hither_api::{ApiError, ErrorCode};
use hither_content::ReadChunkError;
use hither_proto::SignedHead;
use std::io;
use std::ops::Range;
use tokio_util::sync::CancellationToken;

/// Bytes that are read at a time, about.
const PIECE: usize = 1 << 20;

/// Reads a range of a file, chunk by chunk.
pub(super) struct Reading {
    file: ShownFile,
    /// The rest of it, bytes of the file.
    left: Range<u64>,
    chunk: Vec<u8>,
}

impl Reading {
    pub(super) const fn new(file: ShownFile, range: Range<u64>) -> Self {
        Self {
            file,
            left: range,
            chunk: Vec::new(),
        }
    }

    /// The next bytes, about [`PIECE`]; `None` at the end. Blocks.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, ReadChunkError> {
        let mut piece = Vec::new();
        while !self.left.is_empty() && piece.len() < PIECE {
            let layout = self.file.layout();
            let at = self.file.offset + self.left.start;
            let position = layout.position_at(at);
            let begins = layout.chunk_start(position);
            let begins = begins.ok_or(ReadChunkError::Position(position))?;
            self.file.holding.read_chunk(position, &mut self.chunk)?;
            let skip = usize::try_from(at - begins).unwrap_or(usize::MAX);
            let wanted = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
            let rest = self.chunk.get(skip..).unwrap_or_default();
            let taken = &rest[..rest.len().min(wanted)];
            if taken.is_empty() {
                return Err(ReadChunkError::Position(position));
            }
            piece.extend_from_slice(taken);
            self.left.start += taken.len() as u64;
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

/// The reason why a file cannot be given.
pub(super) fn unreadable(error: &ReadChunkError) -> ApiError {
    let code = match error {
        ReadChunkError::Changed { .. } | ReadChunkError::Gone { .. } => ErrorCode::Changing,
        ReadChunkError::Position(_) | ReadChunkError::Io { .. } => ErrorCode::Unreadable,
    };
    ApiError::new(code, format!("{error}."))
        .with_hint("Whoever shared it can share it again; then look at this page anew.")
}

/// Answers with a file, or with the range that is asked for.
pub(super) async fn answer(
    file: ShownFile,
    head: &SignedHead,
    headers: &HeaderMap,
    inline: bool,
    ended: CancellationToken,
) -> Result<Response, ApiError> {
    let name = file.name().to_owned();
    let tag = format!("\"{}-{}\"", hex(head), file.entry);
    let wanted = match range(headers, &tag, file.size) {
        Ok(wanted) => wanted,
        Err(NotThere) => return Ok(not_there(file.size)),
    };
    let (size, whole) = (file.size, 0..file.size);
    let bytes = wanted.clone().unwrap_or(whole);
    let length = bytes.end - bytes.start;
    let mut reading = Reading::new(file, bytes.clone());
    let (first, reading) = tokio::task::spawn_blocking(move || (reading.next(), reading))
        .await
        .map_err(failure::internal)?;
    let first = first.map_err(|error| unreadable(&error))?;
    let body = Body::from_stream(pieces(first, reading, ended));
    let shown = inline.then(|| shown_type(&name)).flatten();
    let mut response = (StatusCode::OK, body).into_response();
    if wanted.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
        set(&mut response, CONTENT_RANGE, &range);
    }
    set(&mut response, CONTENT_LENGTH, &length.to_string());
    set(&mut response, ACCEPT_RANGES, "bytes");
    set(&mut response, ETAG, &tag);
    set(
        &mut response,
        CONTENT_TYPE,
        shown.unwrap_or("application/octet-stream"),
    );
    set(
        &mut response,
        CONTENT_DISPOSITION,
        &disposition(shown.is_some(), &name),
    );
    // Nothing in a file runs, whatever it is.
    set(
        &mut response,
        CONTENT_SECURITY_POLICY,
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; media-src 'self'; img-src 'self'",
    );
    Ok(response)
}

fn set(response: &mut Response, name: axum::http::HeaderName, value: &str) {
    // Every value here is made of printable ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The beginning of the root's id: another version has another.
fn hex(head: &SignedHead) -> String {
    hither_util::hex::encode(&head.head().root.as_bytes()[..8])
}

/// The rest of a file, broken off at the end of the page.
fn pieces(
    first: Option<Bytes>,
    reading: Reading,
    ended: CancellationToken,
) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::unfold(
        (first, Some(reading), ended),
        |(first, reading, ended)| async move {
            if let Some(first) = first {
                return Some((Ok(first), (None, reading, ended)));
            }
            let mut reading = reading?;
            if ended.is_cancelled() {
                let over = io::Error::other("the page has ended");
                return Some((Err(over), (None, None, ended)));
            }
            let read = tokio::task::spawn_blocking(move || (reading.next(), reading)).await;
            match read {
                Ok((Ok(Some(piece)), reading)) => Some((Ok(piece), (None, Some(reading), ended))),
                Ok((Ok(None), _)) => None,
                Ok((Err(error), _)) => {
                    tracing::info!(%error, "a download breaks off");
                    Some((Err(io::Error::other(error)), (None, None, ended)))
                }
                Err(error) => Some((Err(io::Error::other(error)), (None, None, ended))),
            }
        },
    )
}

/// No byte of the range is in the file.
#[derive(Debug, PartialEq, Eq)]
struct NotThere;

fn not_there(size: u64) -> Response {
    let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    set(&mut response, CONTENT_RANGE, &format!("bytes */{size}"));
    response
}

/// The range that a request asks for (RFC 9110, 14.1.2); `None` for the whole: none is asked for,
/// several are, it cannot be understood, or it is of another version.
fn range(headers: &HeaderMap, tag: &str, size: u64) -> Result<Option<Range<u64>>, NotThere> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(&IF_RANGE).is_some_and(|of| of != tag) {
        return Ok(None);
    }
    let Some(asked) = text(&RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
        return Ok(None);
    };
    let Some((from, to)) = asked.split_once('-').filter(|_| !asked.contains(',')) else {
        return Ok(None);
    };
    let number = |text: &str| match text.trim() {
        "" => Ok(None),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Some(digits.parse().unwrap_or(u64::MAX)))
        }
        _ => Err(()),
    };
    let (Ok(from), Ok(to)) = (number(from), number(to)) else {
        return Ok(None);
    };
    let range = match (from, to) {
        (None, None) => return Ok(None),
        (Some(from), Some(to)) if to < from => return Ok(None),
        (Some(from), to) => from..to.map_or(size, |to| to.saturating_add(1).min(size)),
        (None, Some(last)) => size.saturating_sub(last)..size,
    };
    match range.is_empty() {
        true => Err(NotThere),
        false => Ok(Some(range)),
    }
}

/// Tells a browser how to keep what it gets (RFC 6266): under this name.
pub(super) fn disposition(inline: bool, name: &str) -> String {
    let kind = if inline { "inline" } else { "attachment" };
    let plain: String = name
        .chars()
        .map(|c| match c {
            ' '..='~' if c != '"' && c != '\\' && c != '%' => c,
            _ => '_',
        })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'-' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

/// The type under which a file is shown in the browser; `None` for what is only downloaded: a page
/// or a picture that is a program would run here.
fn shown_type(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "bmp" => "image/bmp",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "mov" => "video/quicktime",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "txt" | "md" | "log" | "csv" | "json" | "toml" | "yaml" | "yml" => {
            "text/plain; charset=utf-8"
        }
        _ => return None,
    })
}

/// A reading of a whole file.
pub(super) fn whole(file: ShownFile) -> Reading {
    let range = 0..file.size;
    Reading::new(file, range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range_text: &str, condition: Option<&str>) -> Result<Option<Range<u64>>, NotThere> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range_text.parse().unwrap());
        if let Some(condition) = condition {
            headers.insert(IF_RANGE, condition.parse().unwrap());
        }
        range(&headers, "\"a-1\"", 1000)
    }

    #[test]
    fn ranges_are_those_of_the_standard() {
        for (text, expected) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=10-19", Some(10..20)),
            ("bytes=990-", Some(990..1000)),
            ("bytes=990-5000", Some(990..1000)),
            ("bytes=-10", Some(990..1000)),
            ("bytes=-5000", Some(0..1000)),
            ("bytes=0-99999999999999999999999", Some(0..1000)),
            ("bytes=5-4", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=0-1,5-6", None),
            ("lines=0-1", None),
        ] {
            assert_eq!(asked(text, None), Ok(expected), "{text}");
        }
        for text in ["bytes=1000-", "bytes=5000-6000", "bytes=-0"] {
            assert_eq!(asked(text, None), Err(NotThere), "{text}");
        }
        assert_eq!(asked("bytes=1-2", Some("\"a-1\"")), Ok(Some(1..3)));
        assert_eq!(asked("bytes=1-2", Some("\"b-1\"")), Ok(None));
    }

    #[test]
    fn names_are_told_so_that_no_browser_takes_them_for_anything_else() {
        assert_eq!(
            disposition(false, "a b\"\r\nX: y\u{202e}é.txt"),
            "attachment; filename=\"a b___X: y__.txt\"; filename*=UTF-8''a%20b%22%0D%0AX%3A%20y%E2%80%AE%C3%A9.txt"
        );
    }

    #[test]
    fn what_could_run_in_a_browser_is_only_downloaded() {
        for name in [
            "a.html",
            "a.svg",
            "a.xml",
            "a.pdf",
            "a.js",
            "png",
            "a.",
            "a.PNG.exe",
        ] {
            assert_eq!(shown_type(name), None, "{name}");
        }
        assert_eq!(shown_type("a.b.JPG"), Some("image/jpeg"));
    }
}
