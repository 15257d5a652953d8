//! The user's program, run after something arrived.
//!
//! It is told everything in its environment, and a text as what it reads: others choose names and
//! texts, and arguments are seen by everybody on the machine. It is run once for each message, again
//! only where the daemon died while it ran; it ends with everything it began after [`PATIENCE`].

use super::ReceiveService;
use crate::mail::{self, Arrival, MessageRecord, StoredContent};
use crate::program::run_command;
use hither_proto::display_name;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

/// Most programs that run at once.
pub(super) const AT_ONCE: usize = 2;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tells the program of a message.
pub(super) async fn tell(service: Arc<ReceiveService>, number: u64, record: MessageRecord) {
    let hook = service.settings.get().hook;
    let Ok(_place) = service.hooks.acquire().await else {
        return;
    };
    if !hook.is_empty() {
        let (environment, input) = describe(&service, number, &record);
        match run_command(&hook, &environment, Some(input.as_bytes()), PATIENCE).await {
            Ok(words) => {
                let words = display_name(words.trim());
                tracing::info!(number, words, "the program of receive.hook has run");
            }
            Err(error) => {
                tracing::warn!(number, why = error.message, "receive.hook");
                let message = format!("receive.hook: {}", error.message);
                service.mail.warnings.add(message);
            }
        }
    }
    let of = Arc::clone(&service);
    let work = move || {
        of.mail.inbox.change(number, |record| {
            let was = record.untold;
            record.untold = false;
            was
        })
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::error!(%error, "that a program was run cannot be kept"),
        Err(error) => tracing::debug!(%error, "that a program was run is not kept"),
    }
}

/// The environment of the program, and what it reads.
fn describe(
    service: &ReceiveService,
    number: u64,
    record: &MessageRecord,
) -> (Vec<(String, OsString)>, String) {
    let name = mail::sender(&service.nearby.relays, record);
    let (event, title, bytes) = match &record.content {
        StoredContent::Text { text } => ("text", String::new(), text.len() as u64),
        StoredContent::Files { files } => {
            let title = files.first().map(|file| file.name.clone());
            ("files", title.unwrap_or_default(), record.content.size())
        }
        StoredContent::Ticket { share } => ("share", share.name.clone(), share.bytes),
        StoredContent::Unknown => ("unknown", String::new(), 0),
    };
    let paths = match &record.arrival {
        Some(Arrival::Arrived { paths }) => &paths[..],
        _ => &[],
    };
    let mut environment = vec![
        ("HITHER_EVENT".to_owned(), event.into()),
        ("HITHER_FROM".to_owned(), name.into()),
        ("HITHER_FROM_ID".to_owned(), record.from.clone().into()),
        ("HITHER_NAME".to_owned(), display_name(&title).into()),
        ("HITHER_BYTES".to_owned(), bytes.to_string().into()),
        ("HITHER_MESSAGE".to_owned(), number.to_string().into()),
        ("HITHER_COUNT".to_owned(), paths.len().to_string().into()),
    ];
    if let Some(visit) = &record.visit {
        // The sender has no device: its id is a key of a page, good for nothing else.
        let link = display_name(&visit.link_name);
        environment.push(("HITHER_LINK".to_owned(), link.into()));
    }
    for (place, path) in (1..).zip(paths) {
        environment.push((format!("HITHER_PATH_{place}"), path.into()));
    }
    let input = match &record.content {
        StoredContent::Text { text } => text.clone(),
        _ => String::new(),
    };
    (environment, input)
}
