//! Requests as the local API shows them, and as users make them.

use super::AskService;
use super::records::{self, AskRecord, SentRecord, WhichRecord};
use crate::failure;
use hither_api::{ApiError, AskInfo, AskRequest, AskThing, AsksInfo, ErrorCode};
use hither_proto::limits::{MAX_ASK_PATTERN, MAX_ASK_REASON, MAX_ASK_SECONDS, MAX_ASK_VALID};
use hither_proto::{Ask, AskId, AskKind, Which, display_name};
use std::sync::Arc;

/// For how long a request may be answered when nobody says, seconds.
const VALID: u32 = 3_600;
/// The kinds that can be asked for, for hints.
pub(super) const KINDS: &str =
    "There are: photo, video, audio, file, qr, location, playing, clipboard, place.";

fn bad(message: impl Into<String>, hint: &str) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, message).with_hint(hint)
}

/// The request that a user makes.
///
/// Errors: there is no such kind, or what is wanted of it is impossible.
pub(super) fn parse(request: &AskRequest) -> Result<Ask, ApiError> {
    let kind = AskKind::parse(&request.kind).ok_or_else(|| {
        let kind = display_name(&request.kind);
        bad(
            format!("Nothing of the kind {kind} can be asked for."),
            KINDS,
        )
    })?;
    let which = match (request.latest, &request.name, request.live_seconds) {
        (false, None, None) if super::providers::has_files(kind) => Which::Picked,
        (_, None, None) => Which::Latest,
        (false, Some(name), None) if !name.is_empty() && name.len() <= MAX_ASK_PATTERN => {
            Which::Named(name.clone())
        }
        (false, None, Some(seconds)) if seconds <= MAX_ASK_SECONDS => Which::Live(seconds),
        _ => {
            return Err(bad(
                "One of the latest, a name and a recording is asked for.",
                "A name has at most 255 bytes, a recording at most 600 seconds.",
            ));
        }
    };
    let live = matches!(which, Which::Live(_));
    let recordable = matches!(
        kind,
        AskKind::Photo | AskKind::Video | AskKind::Audio | AskKind::Qr
    );
    if live && !recordable {
        return Err(bad(
            format!("Nothing of the kind {} can be recorded.", kind.name()),
            "Pictures, films, sound and QR codes can.",
        ));
    }
    let valid_s = request.valid_seconds.unwrap_or(VALID);
    if valid_s == 0 || valid_s > MAX_ASK_VALID {
        return Err(bad("A request lasts from one second to 30 days.", ""));
    }
    let mut reason = display_name(request.reason.trim());
    while reason.len() > MAX_ASK_REASON {
        reason.pop();
    }
    let mut id = [0; AskId::LEN];
    getrandom::fill(&mut id).map_err(failure::internal)?;
    Ok(Ask {
        id: AskId::new(id),
        kind,
        which,
        digest: request.digest,
        reason,
        valid_s,
    })
}

/// A request in words, as in "the latest photo".
pub(super) fn in_words(ask: &AskRecord) -> String {
    let kind = display_name(&ask.kind);
    let what = match &ask.which {
        WhichRecord::Picked => format!("a {kind} of your choice"),
        WhichRecord::Latest => match ask.kind.as_str() {
            "clipboard" => "the clipboard".into(),
            "location" => "where this device is".into(),
            "playing" => "what is playing".into(),
            "place" => "where you are in what is playing".into(),
            _ => format!("the latest {kind}"),
        },
        WhichRecord::Named(name) => format!("the {kind} \"{}\"", display_name(name)),
        WhichRecord::Live(0) => format!("a {kind} taken now"),
        WhichRecord::Live(seconds) => format!("{kind} recorded now for {seconds} s"),
    };
    match ask.digest {
        true => format!("{what} (only what it is)"),
        false => what,
    }
}

fn base(service: &AskService, device: &str, ask: &AskRecord) -> AskInfo {
    let now = service.time.seconds();
    AskInfo {
        ask: ask.id.clone(),
        device: device.to_owned(),
        name: device
            .parse()
            .map(|device| service.name_of(device))
            .unwrap_or_default(),
        kind: ask.kind.clone(),
        what: in_words(ask),
        digest: ask.digest,
        reason: ask.reason.clone(),
        made: ask.at,
        left_seconds: Some(ask.until.saturating_sub(now)),
        ..AskInfo::default()
    }
}

fn sent(service: &AskService, one: &SentRecord) -> AskInfo {
    let open = !one.state.is_final();
    let base = base(service, &one.to, &one.ask);
    AskInfo {
        state: records::asker_name(one.state).into(),
        left_seconds: base.left_seconds.filter(|_| open),
        refusal: one.refusal.clone(),
        words: one.words.clone(),
        text: one.text.clone(),
        things: one
            .things
            .iter()
            .map(|thing| AskThing {
                name: display_name(&thing.name),
                media_type: thing.media_type.clone(),
                bytes: thing.bytes,
                made: thing.made_ms / 1000,
                thumbnail: thing.thumbnail.clone(),
            })
            .collect(),
        message: one.letter.clone(),
        ..base
    }
}

impl AskService {
    /// One request of this device.
    pub(super) fn info_of_sent(&self, id: AskId) -> Option<AskInfo> {
        let one = self.state().sent.get(&id).cloned()?;
        Some(sent(self, &one))
    }
}

/// Every request, the latest last; those of others that wait count as seen from now on. Blocks.
///
/// Errors: that they were seen cannot be kept.
pub(crate) fn list(service: &Arc<AskService>) -> Result<AsksInfo, ApiError> {
    let list = peek(service);
    service.mark_seen().map_err(|e| failure::storage(&e))?;
    Ok(list)
}

/// The same without anybody being told.
pub(super) fn peek(service: &AskService) -> AsksInfo {
    let (mine, others) = {
        let state = service.state();
        let mine: Vec<_> = state.sent.values().cloned().collect();
        let others: Vec<_> = state.received.values().cloned().collect();
        (mine, others)
    };
    let mut received: Vec<AskInfo> = others
        .iter()
        .map(|one| {
            let base = base(service, &one.from, &one.ask);
            AskInfo {
                state: records::asked_name(one.state).into(),
                left_seconds: base.left_seconds.filter(|_| !one.state.is_final()),
                words: one.words.clone(),
                by_grant: one.by_grant,
                ..base
            }
        })
        .collect();
    received.sort_by_key(|one| one.made);
    let mut all: Vec<AskInfo> = mine.iter().map(|one| sent(service, one)).collect();
    all.sort_by_key(|one| one.made);
    AsksInfo {
        received,
        sent: all,
    }
}

/// One request of this device, by its id or the beginning of it.
///
/// Errors: there is none.
pub(crate) fn show(service: &AskService, wanted: &str) -> Result<AskInfo, ApiError> {
    let found = service
        .sent_id(wanted)
        .and_then(|id| service.info_of_sent(id));
    found.ok_or_else(|| super::asking::missing(wanted))
}
