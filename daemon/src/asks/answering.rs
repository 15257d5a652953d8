//! Makes an answer of what was found or chosen: in the letter where it is small, as a share where it
//! is not, as a digest where only that was asked for.

use super::AskService;
use super::providers::{self, Found, Provided};
use crate::failure;
use crate::publish::{self, Cancel};
use hither_api::{ApiError, Done, ErrorCode, Event, ShareRequest};
use hither_proto::limits::{MAX_ANSWER_CONTENT, MAX_ANSWER_TEXT, MAX_ANSWER_THINGS};
use hither_proto::{Answer, Ask, DeviceId, EntryName, Thing, Which};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::mpsc;

/// How long a share that answers a request is kept, seconds.
pub(super) const KEEP: u64 = 7 * 86_400;

/// The user's choice of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The things found for the request.
    Found,
    /// Files that the user chose.
    Files(Vec<PathBuf>),
    /// A text that the user wrote.
    Text(String),
}

/// An answer, and what it is in words.
pub(super) struct Made {
    pub(super) answer: Answer,
    pub(super) words: String,
}

/// Makes the answer to a request. `folder`: everything has to be below it.
pub(super) async fn make(
    service: &Arc<AskService>,
    from: DeviceId,
    ask: &Ask,
    choice: Choice,
    folder: Option<PathBuf>,
) -> Result<Made, ApiError> {
    let provided = match choice {
        Choice::Found if ask.which == Which::Picked && providers::has_files(ask.kind) => {
            return Err(
                ApiError::new(ErrorCode::BadRequest, "Something has to be chosen.")
                    .with_hint("Name the files: hither asks answer ID FILE…"),
            );
        }
        Choice::Found => providers::provide(service, ask, folder).await?,
        Choice::Text(text) => Provided::Text(text),
        Choice::Files(paths) => {
            let own = Arc::clone(&service.own);
            let look = move || providers::chosen(&own, &paths);
            tokio::task::spawn_blocking(look)
                .await
                .map_err(failure::internal)??
        }
    };
    match provided {
        Provided::Text(text) if text.len() > MAX_ANSWER_TEXT => Err(ApiError::new(
            ErrorCode::TooLong,
            "That is too long for an answer.",
        )),
        Provided::Text(text) => Ok(Made {
            words: "a text".into(),
            answer: Answer::Text(text),
        }),
        Provided::Files(found) => of_files(service, from, ask, found).await,
    }
}

async fn of_files(
    service: &Arc<AskService>,
    from: DeviceId,
    ask: &Ask,
    found: Vec<Found>,
) -> Result<Made, ApiError> {
    if found.is_empty() {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            "There is nothing of that kind or name.",
        ));
    }
    if found.len() > MAX_ANSWER_THINGS {
        let message = format!("An answer has at most {MAX_ANSWER_THINGS} files.");
        return Err(ApiError::new(ErrorCode::TooLong, message)
            .with_hint("Send them as a share: hither share --to DEVICE"));
    }
    let words = words(&found);
    if ask.digest {
        let work = move || found.iter().map(digest).collect::<Vec<Thing>>();
        let things = tokio::task::spawn_blocking(work)
            .await
            .map_err(failure::internal)?;
        let answer = Answer::Things {
            things,
            ticket: None,
        };
        let words = format!("what these are: {words}");
        return Ok(Made { answer, words });
    }
    let small = found
        .iter()
        .try_fold(0_u64, |sum, one| sum.checked_add(one.bytes))
        .is_some_and(|sum| sum <= MAX_ANSWER_CONTENT as u64);
    let (things, ticket) = if small {
        let work = move || found.iter().map(whole).collect::<Result<Vec<Thing>, _>>();
        let things = tokio::task::spawn_blocking(work)
            .await
            .map_err(failure::internal)??;
        (things, None)
    } else {
        let ticket = share(service, from, &found).await?;
        (found.iter().map(named).collect(), Some(ticket))
    };
    let answer = Answer::Things { things, ticket };
    Ok(Made { answer, words })
}

/// The names of what is given, the first few of them.
fn words(found: &[Found]) -> String {
    const SHOWN: usize = 3;
    let names: Vec<_> = found
        .iter()
        .take(SHOWN)
        .map(|one| one.name.as_str())
        .collect();
    match found.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// A thing without its content.
fn named(found: &Found) -> Thing {
    Thing {
        name: found.name.clone(),
        media_type: found.media_type.clone(),
        bytes: found.bytes,
        made_ms: found.made_ms,
        content: None,
        thumbnail: Vec::new().into(),
    }
}

/// The description of a thing, with a small picture where there is one. Blocks.
fn digest(found: &Found) -> Thing {
    Thing {
        thumbnail: providers::thumbnail(&found.path, &found.media_type).into(),
        ..named(found)
    }
}

/// A thing with its content. Blocks.
fn whole(found: &Found) -> Result<Thing, ApiError> {
    let unreadable = |error: std::io::Error| {
        ApiError::new(ErrorCode::Unreadable, format!("{}: {error}.", found.name))
    };
    let mut bytes = Vec::new();
    File::open(&found.path)
        .map_err(unreadable)?
        // It may have grown since it was found.
        .take(MAX_ANSWER_CONTENT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > MAX_ANSWER_CONTENT {
        let message = format!("{} was changed meanwhile.", found.name);
        return Err(ApiError::new(ErrorCode::Unreadable, message).with_hint("Try again."));
    }
    Ok(Thing {
        bytes: bytes.len() as u64,
        content: Some(bytes.into()),
        ..named(found)
    })
}

/// Shares what is too large for a letter, for the asker alone; its ticket.
async fn share(
    service: &Arc<AskService>,
    from: DeviceId,
    found: &[Found],
) -> Result<String, ApiError> {
    let request = ShareRequest {
        paths: found.iter().map(|one| one.path.clone()).collect(),
        name: match found {
            [one] => Some(one.name.as_str().to_owned()),
            _ => {
                let name = format!("for {}", service.name_of(from));
                EntryName::parse(&name)
                    .ok()
                    .map(|name| name.as_str().to_owned())
            }
        },
        keep_seconds: Some(KEEP),
        no_list: true,
        ..ShareRequest::default()
    };
    let (sender, mut events) = mpsc::unbounded_channel();
    let flag = Arc::new(AtomicBool::new(false));
    let guard = Cancel(Arc::clone(&flag));
    let publisher = Arc::clone(&service.publisher);
    service
        .tasks
        .spawn(async move { publish::share(&publisher, request, sender, flag).await });
    while let Some(event) = events.recv().await {
        match event {
            Event::Done(Done::Shared { ticket, .. }) => {
                drop(guard);
                return Ok(ticket);
            }
            Event::Error(error) => return Err(error),
            _ => {}
        }
    }
    Err(failure::internal("a share that ended without a ticket"))
}
