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
        Provided::Text(text) if text.len() > MAX_ANSWER_TEXT.min(service.room_for(from)) => Err(
            ApiError::new(ErrorCode::TooLong, "That is too long for an answer."),
        ),
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
    let room = service.room_for(from);
    if ask.digest {
        let work = move || digests(&found, room);
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
        .is_some_and(|sum| sum <= room as u64);
    let (things, ticket) = if small {
        let work = move || found.iter().map(whole).collect::<Result<Vec<Thing>, _>>();
        let things = tokio::task::spawn_blocking(work)
            .await
            .map_err(failure::internal)??;
        // They may have grown since they were found.
        if things.iter().map(|thing| thing.bytes).sum::<u64>() > room as u64 {
            let message = "The files were changed meanwhile.";
            return Err(ApiError::new(ErrorCode::Unreadable, message).with_hint("Try again."));
        }
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

/// The digests of things, with small pictures as long as there is room for them in one letter. Blocks.
fn digests(found: &[Found], room: usize) -> Vec<Thing> {
    let mut left = room;
    let bounded = |found: &Found| {
        let mut thing = digest(found);
        match left.checked_sub(thing.thumbnail.len()) {
            Some(rest) => left = rest,
            None => thing.thumbnail = Vec::new().into(),
        }
        thing
    };
    found.iter().map(bounded).collect()
}

impl AskService {
    /// Bytes of things that one letter to a device takes: what the protocol allows, less where a
    /// relay that lists the device takes less.
    fn room_for(&self, device: DeviceId) -> usize {
        let relays = self.nearby.relays.all();
        let listing = relays.iter().filter(|one| one.presence(device).is_some());
        // A quarter is left for names, types and the seal.
        let least = listing.map(|relay| relay.max_message() / 4 * 3).min();
        least.map_or(MAX_ANSWER_CONTENT, |least| least.min(MAX_ANSWER_CONTENT))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pictures_end_where_a_letter_is_full_and_no_thing_is_left_out() {
        let home = tempfile::tempdir().unwrap();
        let found: Vec<Found> = (0..3)
            .map(|number| {
                let name = format!("{number}.png");
                let path = home.path().join(&name);
                image::RgbImage::from_fn(200, 200, |x, y| image::Rgb([x as u8, y as u8, number]))
                    .save(&path)
                    .unwrap();
                Found {
                    path,
                    name: EntryName::parse(&name).unwrap(),
                    media_type: "image/png".into(),
                    bytes: 1,
                    made_ms: 0,
                }
            })
            .collect();
        let one = digest(&found[0]).thumbnail.len();
        assert!(one > 0);
        let with_pictures = |room| {
            let things = digests(&found, room);
            assert_eq!(things.len(), 3);
            let sizes = things.iter().map(|thing| thing.thumbnail.len());
            assert!(sizes.clone().sum::<usize>() <= room);
            sizes.filter(|size| *size > 0).count()
        };
        assert_eq!(with_pictures(0), 0);
        assert_eq!(with_pictures(one), 1);
        assert_eq!(with_pictures(10 * one), 3);
    }
}
