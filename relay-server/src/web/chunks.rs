//! Chunks by GET: ciphertexts of a share to whoever has a token for it (SPEC.md, "Chunks by GET").
//!
//! Limits on streams of readers hold here: their places, the operator's word about guests, the
//! end of a device's rights. A batch is read while the one before it is sent, and no more: a reader
//! that takes slowly has some 4 MiB in memory here.

use super::Served;
use super::pages::{later, no_sniff};
use crate::node::Node;
use crate::ops::Counted;
use crate::serve::read_auth::Places;
use crate::serve::tokens::Grant;
use crate::serve::{read_auth, read_bulk};
use crate::store::{Buffers, ReadError, Store, StoredVersion};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream;
use hither_proto::limits::MAX_GET_POSITIONS;
use hither_proto::{ChunkToken, PositionRange, Refusal, Space};
use hither_util::pieces::pieces;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// When to come back after being one too many, or after the store has failed.
const LATER: Duration = Duration::from_secs(2);

/// The request, understood.
struct Wanted {
    version: u64,
    space: Space,
    range: PositionRange,
}

impl Wanted {
    /// As the path says it; `None`: nonsense.
    fn parse(version: &str, space: &str, range: &str) -> Option<Self> {
        let space = match space {
            "root" => Space::Root,
            "manifest" => Space::Manifest,
            "data" => Space::Data,
            _ => return None,
        };
        let (first, last) = range.split_once('-')?;
        let (first, last) = (position(first)?, position(last)?);
        let count = last.checked_sub(first)?.checked_add(1)?;
        let range = PositionRange::new(first, count).filter(|_| count <= MAX_GET_POSITIONS)?;
        Some(Self {
            version: number(version)?,
            space,
            range,
        })
    }
}

/// Digits alone: `parse` would take a sign.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn position(text: &str) -> Option<u32> {
    u32::try_from(number(text)?).ok()
}

/// Lower case alone, so that there is one name for one thing.
fn token(text: &str) -> Option<ChunkToken> {
    let lower = text.bytes().all(|byte| !byte.is_ascii_uppercase());
    lower.then(|| ChunkToken::from_hex(text).ok()).flatten()
}

/// `GET /hither/1/chunks/<token>/<version>/<space>/<first>-<last>`
pub(super) async fn give(
    State(served): State<Served>,
    method: Method,
    Path((said, version, space, range)): Path<(String, String, String, String)>,
) -> Response {
    let mut response = match answer(&served.node, &method, &said, &version, &space, &range).await {
        Ok(response) => response,
        Err(No::Is(status, why)) => (status, why).into_response(),
        Err(No::Later(status)) => later(status, LATER),
    };
    let into = response.headers_mut();
    allow_any_page(into);
    no_sniff(into);
    response
}

/// Ciphertext is no secret from other pages, and the token is the right to it.
fn allow_any_page(into: &mut HeaderMap) {
    let any = HeaderValue::from_static("*");
    into.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
}

/// Reasons why nothing is given.
enum No {
    Is(StatusCode, &'static str),
    Later(StatusCode),
}

async fn answer(
    node: &Arc<Node>,
    method: &Method,
    said: &str,
    version: &str,
    space: &str,
    range: &str,
) -> Result<Response, No> {
    let nonsense = || No::Is(StatusCode::BAD_REQUEST, "no such request\n");
    let forbidden = || {
        No::Is(
            StatusCode::FORBIDDEN,
            "the token is not good, or no longer\n",
        )
    };
    let gone = || No::Is(StatusCode::NOT_FOUND, "not held here, or not any more\n");
    let wanted = Wanted::parse(version, space, range).ok_or_else(nonsense)?;
    let token = token(said).ok_or_else(nonsense)?;
    let store = node.store.as_ref().ok_or_else(gone)?;
    let grant = node.services.tokens.find(&token).ok_or_else(forbidden)?;
    // Before the device is looked up, so that no revocation falls in between.
    let revoked = node.services.revocation_of(grant.device);
    let places = read_auth::places(node, grant.device).await;
    let places = places.map_err(|refusal| match refusal {
        Refusal::Busy(_) => No::Later(StatusCode::SERVICE_UNAVAILABLE),
        Refusal::NotFound | Refusal::Gone | Refusal::Protocol => forbidden(),
    })?;
    let versions = grant.subject.versions(node).await;
    if versions.is_empty() {
        return Err(forbidden());
    }
    let number = |version: &StoredVersion| version.head.head().version;
    let version = versions
        .into_iter()
        .find(|version| number(version) == wanted.version)
        .ok_or_else(gone)?;
    let length = store.length_of(&version, wanted.space, wanted.range).await;
    let length = length.map_err(|error| match error {
        ReadError::NotFound | ReadError::NotHeld { .. } | ReadError::Damaged { .. } => gone(),
        ReadError::Store(error) => {
            tracing::error!(%error, "chunks could not be looked up");
            No::Later(StatusCode::SERVICE_UNAVAILABLE)
        }
    })?;
    if length > node.config.web.answer.0 && wanted.range.count() > 1 {
        return Err(nonsense());
    }
    let body = match method == Method::HEAD {
        true => Body::empty(),
        false => {
            let giving = Giving::new(node, store, version, &wanted, grant, places);
            Body::from_stream(giving.until(Box::pin(revoked)))
        }
    };
    let mut response = body.into_response();
    let into = response.headers_mut();
    into.insert(header::CONTENT_LENGTH, length.into());
    into.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    into.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, immutable"),
    );
    Ok(response)
}

/// One answer on its way.
struct Giving {
    node: Arc<Node>,
    store: Arc<Store>,
    buffers: Arc<Buffers>,
    version: StoredVersion,
    space: Space,
    /// Positions that are not read yet.
    rest: Option<PositionRange>,
    /// Bytes that are read and not given yet.
    ready: VecDeque<Bytes>,
    grant: Arc<Grant>,
    _places: Places,
    _counted: Counted,
}

impl Giving {
    fn new(
        node: &Arc<Node>,
        store: &Arc<Store>,
        version: StoredVersion,
        wanted: &Wanted,
        grant: Arc<Grant>,
        places: Places,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            store: Arc::clone(store),
            buffers: Buffers::new(read_bulk::KEPT),
            version,
            space: wanted.space,
            rest: Some(wanted.range),
            ready: VecDeque::new(),
            grant,
            _places: places,
            _counted: node.metrics.download(),
        }
    }

    /// The bytes, in pieces. Ends with an error, and so short of its length, when a chunk is not to
    /// be had any more, the share has ended here, or `end` comes.
    fn until(self, end: BoxFuture<'static, ()>) -> impl Stream<Item = io::Result<Bytes>> {
        stream::unfold(Some((self, end)), |state| async {
            let (mut giving, mut end) = state?;
            let node = Arc::clone(&giving.node);
            let next = tokio::select! {
                next = giving.next() => next,
                () = &mut end => Err(io::ErrorKind::ConnectionAborted.into()),
                () = node.stopped() => Err(io::ErrorKind::ConnectionAborted.into()),
            };
            match next {
                Ok(Some(bytes)) => Some((Ok(bytes), Some((giving, end)))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.ready.is_empty() {
            let Some(rest) = self.rest else {
                return Ok(None);
            };
            self.read(rest).await?;
        }
        let piece = self.ready.pop_front();
        let bytes = piece.as_ref().map_or(0, Bytes::len) as u64;
        self.node.metrics.downloaded.add(bytes);
        Ok(piece)
    }

    /// Reads the next batch.
    async fn read(&mut self, rest: PositionRange) -> io::Result<()> {
        // It may have been given up since the first batch.
        if self.grant.subject.versions(&self.node).await.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let batch = read_bulk::batch(&self.version, self.space, rest);
        let chunks = self
            .store
            .read_into(&self.buffers, &self.version, self.space, batch)
            .await
            .map_err(io::Error::other)?;
        let next = rest.start() + chunks.len() as u32;
        self.rest = PositionRange::new(next, rest.end().saturating_sub(next));
        self.node.metrics.chunks_out.add(chunks.len() as u64);
        let chunks = chunks.into_iter().map(|chunk| chunk.bytes);
        self.ready.extend(chunks.flat_map(pieces));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_no_request() {
        let parse = |version, space, range| Wanted::parse(version, space, range);
        let wanted = parse("7", "data", "3-5").unwrap();
        assert_eq!((wanted.version, wanted.space), (7, Space::Data));
        assert_eq!((wanted.range.start(), wanted.range.count()), (3, 3));
        assert!(parse("7", "root", "0-0").is_some() && parse("7", "manifest", "0-4095").is_some());
        for (version, space, range) in [
            ("", "data", "0-0"),
            ("-1", "data", "0-0"),
            ("7", "Data", "0-0"),
            ("7", "..", "0-0"),
            ("7", "data", "0"),
            ("7", "data", "5-3"),
            ("7", "data", "+1-3"),
            ("7", "data", "0-4096"),
            ("7", "data", "0-4294967295"),
            ("7", "data", "4294967295-4294967296"),
            ("99999999999999999999", "data", "0-0"),
        ] {
            assert!(
                parse(version, space, range).is_none(),
                "{version} {space} {range}"
            );
        }
        assert!(token(&"0a".repeat(16)).is_some());
        for wrong in [
            "",
            "0A",
            &"0A".repeat(16),
            &"0a".repeat(17),
            &"0g".repeat(16),
        ] {
            assert!(token(wrong).is_none(), "{wrong}");
        }
    }
}
