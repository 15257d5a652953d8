//! The messages a user sends: each is made durable, and is perhaps already on its way when the
//! answer is given.

use super::content::{Body, Content, Letter, MAX_FILES, SmallFile, kind, share_note};
use super::outbox::{AddError, Outcome};
use super::records::OutgoingRecord;
use crate::failure;
use crate::mail::MailService;
use hither_api::{ApiError, ErrorCode, MessageKind, SendRequest, SentInfo, SentState, TicketNote};
use hither_carrier::seal::{self, SealError, SealPurpose};
use hither_content::{OwnData, OwnSeen};
use hither_proto::{DeviceId, EntryName, MessageId, Ticket, display_name};
use hither_util::clock::unix_millis;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// How long the answer waits for a reader that is here, or a relay that is connected or being
/// connected.
const PATIENCE: Duration = Duration::from_secs(5);

/// Another device of the user, which is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reader {
    device: DeviceId,
    name: String,
}

impl Reader {
    /// Its id, as text.
    pub(crate) fn device_id(&self) -> String {
        self.device.to_string()
    }
}

/// The device that a user means; not this one.
async fn reader(mail: &MailService, wanted: &str) -> Result<Reader, ApiError> {
    let found = mail.nearby.find(wanted).await?;
    Ok(Reader {
        device: found.device,
        name: found.name,
    })
}

/// The devices that a user means, each once.
pub(crate) async fn readers(
    mail: &MailService,
    wanted: &[String],
) -> Result<Vec<Reader>, ApiError> {
    let mut readers = Vec::new();
    for wanted in wanted {
        let reader = reader(mail, wanted).await?;
        if !readers.contains(&reader) {
            readers.push(reader);
        }
    }
    Ok(readers)
}

/// Sends a message: it is durable when this returns, and its state is what is known then.
pub(crate) async fn send(
    mail: &Arc<MailService>,
    request: SendRequest,
) -> Result<SentInfo, ApiError> {
    let wanted: Vec<String> = std::iter::once(&request.to)
        .chain(&request.also)
        .cloned()
        .collect();
    // One that is unknown costs nothing: nothing was sent to the others then.
    let readers = readers(mail, &wanted).await?;
    let (of, receipt) = (Arc::clone(mail), request.receipt);
    let content = tokio::task::spawn_blocking(move || content(&of.own, request))
        .await
        .map_err(failure::internal)??;
    if let [reader] = readers.as_slice() {
        return deliver(mail, reader, content, receipt).await;
    }
    let sent = deliver_all(mail, &readers, &content, receipt).await;
    let mut sent = sent.into_iter();
    let first = sent
        .next()
        .ok_or_else(|| failure::internal("a message for nobody"))?;
    Ok(SentInfo {
        others: sent.collect(),
        ..first
    })
}

/// Sends the same to several readers; for those to whom it cannot be sent the answer says why.
async fn deliver_all(
    mail: &Arc<MailService>,
    readers: &[Reader],
    content: &Content,
    receipt: bool,
) -> Vec<SentInfo> {
    let each = readers.iter().map(|reader| async move {
        let sent = deliver(mail, reader, content.clone(), receipt).await;
        sent.unwrap_or_else(|error| SentInfo {
            message: String::new(),
            to: reader.device.to_string(),
            name: reader.name.clone(),
            state: SentState::Failed,
            reason: Some(error.message.trim_end_matches('.').to_owned()),
            hint: None,
            taken: false,
            others: Vec::new(),
        })
    });
    futures::future::join_all(each).await
}

/// Sends the ticket of a share; for readers to whom it cannot be sent the answer says why.
pub(crate) async fn send_ticket(
    mail: &Arc<MailService>,
    readers: &[Reader],
    note: &TicketNote,
) -> Vec<SentInfo> {
    deliver_all(
        mail,
        readers,
        &Content::Ticket(share_note(note.clone())),
        false,
    )
    .await
}

async fn deliver(
    mail: &Arc<MailService>,
    reader: &Reader,
    content: Content,
    receipt: bool,
) -> Result<SentInfo, ApiError> {
    let (of, to) = (Arc::clone(mail), reader.device);
    let written = tokio::task::spawn_blocking(move || write(&of, to, content, receipt));
    let (message, mut told) = written.await.map_err(failure::internal)??;
    let outcome = follow(mail, to, &mut told).await;
    let name = reader.name.clone();
    Ok(describe(mail, message, to, name, outcome))
}

/// The state of a sent message, by its id; waits at most so long for its reader's word, if that
/// has not come.
///
/// Errors: it is not known, or the store failed.
pub(crate) async fn sent(
    mail: &Arc<MailService>,
    id: MessageId,
    wait: Duration,
) -> Result<SentInfo, ApiError> {
    let deadline = Instant::now() + wait;
    let mut changes = mail.outbox.changes();
    loop {
        changes.mark_unchanged();
        let of = Arc::clone(mail);
        let found = tokio::task::spawn_blocking(move || of.outbox.find(id));
        let found = found.await.map_err(failure::internal)?;
        let found = found.map_err(|error| failure::storage(&error))?;
        let Some(found) = found else {
            let message = "There is no such message, or it was sent long ago.";
            return Err(ApiError::new(ErrorCode::NotFound, message));
        };
        let ended = matches!(found.state, SentState::Declined | SentState::Failed);
        let waits = !found.taken && !ended;
        if !waits || !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
            let to: DeviceId = found.to.parse().map_err(failure::internal)?;
            let outcome = Outcome {
                state: found.state,
                reason: found.reason,
            };
            let name = mail.relays.name_of(to);
            let info = describe(mail, id.to_string(), to, name, outcome);
            return Ok(SentInfo {
                taken: found.taken,
                ..info
            });
        }
    }
}

/// A message as it stands; what waits for what never comes by itself says what must be done.
pub(super) fn describe(
    mail: &MailService,
    message: String,
    to: DeviceId,
    name: String,
    outcome: Outcome,
) -> SentInfo {
    let mut sent = SentInfo {
        message,
        to: to.to_string(),
        name,
        state: outcome.state,
        reason: outcome.reason,
        hint: None,
        taken: false,
        others: Vec::new(),
    };
    if sent.state == SentState::Waiting
        && let Some((host, trouble)) = mail.relays.stuck(to)
    {
        sent.reason = Some(format!("it cannot be given to {host}: {}", trouble.why));
        sent.hint = Some(trouble.hint.to_owned());
    }
    sent
}

/// Seals and keeps a message. Blocks.
fn write(
    mail: &MailService,
    to: DeviceId,
    content: Content,
    receipt: bool,
) -> Result<(String, oneshot::Receiver<Outcome>), ApiError> {
    let (files, bytes) = content.extent();
    let outgoing = Outgoing {
        kind: kind(&content),
        summary: content.summary(),
        files,
        bytes,
        until: None,
    };
    let letter = Letter {
        made_ms: unix_millis(),
        content,
        receipt,
        visitor: None,
        after: mail.outbox.before(to, mail.time.seconds()),
    };
    keep(mail, to, message_id()?, outgoing, &letter.encode())
}

/// The facts that stand beside the sealed bytes of a message.
struct Outgoing {
    kind: MessageKind,
    summary: String,
    files: u64,
    bytes: u64,
    until: Option<u64>,
}

/// Sends something to a service of another device: it is durable here when this returns, and
/// forgotten when `until` (seconds of the clock of deadlines) is past. The service hears what became
/// of it under `id`, and who waits for what the first attempt finds out is told that. Blocks.
///
/// Errors: it is too long, too much waits already, or the store failed.
pub(crate) fn post(
    mail: &MailService,
    to: DeviceId,
    id: MessageId,
    body: &Body,
    until: Option<u64>,
) -> Result<oneshot::Receiver<Outcome>, ApiError> {
    let outgoing = Outgoing {
        kind: MessageKind::Request,
        summary: body.kind.clone(),
        files: 0,
        bytes: body.payload.len() as u64,
        until,
    };
    let body = Body {
        after: mail.outbox.before(to, mail.time.seconds()),
        ..body.clone()
    };
    keep(mail, to, id, outgoing, &body.encode()).map(|(_, told)| told)
}

/// A new id for a message.
pub(crate) fn message_id() -> Result<MessageId, ApiError> {
    let mut id = [0_u8; MessageId::LEN];
    getrandom::fill(&mut id).map_err(failure::internal)?;
    Ok(MessageId::new(id))
}

/// Seals what a message says, and keeps it in the outbox. Blocks.
fn keep(
    mail: &MailService,
    to: DeviceId,
    id: MessageId,
    outgoing: Outgoing,
    inside: &[u8],
) -> Result<(String, oneshot::Receiver<Outcome>), ApiError> {
    let sealed = seal::seal(&mail.identity, to, SealPurpose::Message, &id, inside);
    let sealed = sealed.map_err(|error| match error {
        SealError::TooLong { .. } => too_long(),
        error => failure::internal(error),
    })?;
    // It may leave by any relay that lists the reader: the one that takes the least decides.
    let relays = mail.relays.all();
    let takes = relays
        .iter()
        .filter(|relay| relay.presence(to).is_some())
        .map(|relay| relay.max_message());
    if takes.min().is_some_and(|most| sealed.len() > most) {
        return Err(too_long());
    }
    let record = OutgoingRecord {
        message: id.to_string(),
        to: to.to_string(),
        made: mail.time.seconds(),
        kind: outgoing.kind,
        summary: outgoing.summary,
        files: outgoing.files,
        bytes: outgoing.bytes,
        until: outgoing.until,
        sealed: sealed.len() as u64,
        failed: None,
        declined: false,
    };
    let told = mail
        .outbox
        .add(record, &sealed)
        .map_err(|error| match error {
            AddError::Full => ApiError::new(
                ErrorCode::OverQuota,
                "Too many messages wait on this device for their readers.",
            )
            .with_hint("See them with: hither outbox"),
            AddError::Storage(error) => failure::storage(&error),
        })?;
    Ok((id.to_string(), told))
}

fn too_long() -> ApiError {
    ApiError::new(ErrorCode::TooLong, "That is too long for a message.")
        .with_hint("Put it into a file and send that: large files travel as a share.")
}

fn content(own: &OwnData, request: SendRequest) -> Result<Content, ApiError> {
    match (request.text, request.files.is_empty(), request.ticket) {
        (Some(text), true, None) if !text.is_empty() => Ok(Content::Text(text)),
        (None, false, None) => files(&own.look(), &request.files),
        (None, true, Some(note)) => ticket(note),
        _ => Err(ApiError::new(
            ErrorCode::BadRequest,
            "A message is a text, files or a ticket: one of them, and not empty.",
        )),
    }
}

fn ticket(note: TicketNote) -> Result<Content, ApiError> {
    let ticket: Ticket = note
        .ticket
        .parse()
        .map_err(|error| failure::ticket(&error))?;
    Ok(Content::Ticket(share_note(TicketNote {
        ticket: ticket.to_string(),
        ..note
    })))
}

fn files(own: &OwnSeen, paths: &[PathBuf]) -> Result<Content, ApiError> {
    if paths.len() > MAX_FILES {
        return Err(too_long());
    }
    let mut left = SealPurpose::Message.max_payload() as u64;
    let mut files: Vec<SmallFile> = Vec::new();
    for path in paths {
        if let Some(reason) = own.refuses_path(path) {
            let shown = display_name(&path.to_string_lossy());
            let message = format!("{shown} is never sent: {reason}.");
            return Err(
                ApiError::new(ErrorCode::Refused, message).with_hint("Send something else.")
            );
        }
        let file = read(path, left)?;
        left -= file.bytes.len() as u64;
        if files.iter().any(|other| other.name == file.name) {
            let message = format!("Two of the files are called {}.", file.name);
            return Err(
                ApiError::new(ErrorCode::BadRequest, message).with_hint("Send them one by one.")
            );
        }
        files.push(file);
    }
    Ok(Content::Files(files))
}

/// A file of at most `most` bytes.
fn read(path: &Path, most: u64) -> Result<SmallFile, ApiError> {
    let shown = display_name(&path.to_string_lossy());
    let unreadable = |why: &dyn std::fmt::Display| {
        ApiError::new(
            ErrorCode::Unreadable,
            format!("{shown} cannot be read: {why}."),
        )
    };
    if !path.is_absolute() {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            "Paths must be absolute.",
        ));
    }
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let name = EntryName::parse(name).map_err(|error| {
        ApiError::new(
            ErrorCode::Unsharable,
            format!("{shown} cannot be sent: {error}."),
        )
    })?;
    let mut file = File::open(path).map_err(|error| unreadable(&error))?;
    let meta = file.metadata().map_err(|error| unreadable(&error))?;
    if !meta.is_file() {
        return Err(unreadable(&"it is no file"));
    }
    if meta.len() > most {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    Read::by_ref(&mut file)
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > most {
        return Err(too_long());
    }
    Ok(SmallFile {
        name,
        mode: mode(&meta),
        bytes,
    })
}

#[cfg(unix)]
fn mode(meta: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(meta) & 0o777
}

#[cfg(not(unix))]
fn mode(_: &std::fs::Metadata) -> u32 {
    0o644
}

/// Follows a message while its reader or a relay is there, or may be there any moment.
async fn follow(
    mail: &MailService,
    to: DeviceId,
    told: &mut oneshot::Receiver<Outcome>,
) -> Outcome {
    let waiting = |reason: &str| Outcome {
        state: SentState::Waiting,
        reason: Some(reason.into()),
    };
    let mut changes = mail.relays.changes();
    let deadline = Instant::now() + PATIENCE;
    loop {
        changes.mark_unchanged();
        let reason = if mail.nearby.is_here(to) {
            "it has not answered yet"
        } else if mail.relays.way_to(to).is_some() {
            "the relay has not answered yet"
        } else if mail.nearby.known().relation(to).is_some() && !mail.relays.connected().is_empty()
        {
            "no relay has answered yet"
        } else if mail.relays.connecting() {
            "no relay is reached yet"
        } else {
            return told.try_recv().unwrap_or_else(|_| {
                waiting(match mail.nearby.is_listed(to) {
                    true => "no relay is reached",
                    false => "it is not on this network",
                })
            });
        };
        tokio::select! {
            outcome = &mut *told => return outcome.unwrap_or_else(|_| waiting("it is taken back")),
            changed = timeout_at(deadline, changes.changed()) => match changed {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return waiting(reason),
            },
        }
    }
}
