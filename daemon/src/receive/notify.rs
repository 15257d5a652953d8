//! Notifications on the desktop: what waits for an answer, with accept and refuse.
//!
//! A desktop that is not there is no error: what waits is in the inbox all the same.

use super::ReceiveService;
use crate::desktop::{self, Decision};
use crate::mail::{self, Arrival, MessageRecord, StoredContent};
use hither_api::ArrivalDecision;
use hither_proto::display_name;
use std::sync::Arc;

/// Most names in one notification.
const NAMES: usize = 3;

/// Shows one message and does what the user says there.
pub(super) async fn present(service: Arc<ReceiveService>, number: u64, record: MessageRecord) {
    let Some((title, text)) = words(&service, &record) else {
        return;
    };
    let decision = match desktop::ask(&title, &text, "Accept").await {
        Ok(Decision::Accept) => ArrivalDecision::Accept,
        Ok(Decision::Refuse) => ArrivalDecision::Refuse,
        Ok(Decision::Nothing) => return,
        Err(error) => {
            return tracing::debug!(%error, "an offer is not shown on the desktop");
        }
    };
    // It may have been decided elsewhere while it was shown.
    let now = service.record(number).await.ok().flatten();
    let waits = now.is_some_and(|now| {
        now.message == record.message && matches!(now.arrival, Some(Arrival::Asked { .. }))
    });
    if !waits {
        return;
    }
    if let Err(error) = service.decide(number, decision).await {
        tracing::info!(error = %error, "an offer was not answered from the desktop");
    }
}

/// The title and the text of a notification.
fn words(service: &ReceiveService, record: &MessageRecord) -> Option<(String, String)> {
    let name = mail::sender(&service.nearby.relays, record);
    let what = match &record.content {
        StoredContent::Files { files } => {
            let mut names: Vec<String> = files
                .iter()
                .take(NAMES)
                .map(|file| display_name(&file.name))
                .collect();
            if files.len() > NAMES {
                names.push(format!("{} more", files.len() - NAMES));
            }
            names.join(", ")
        }
        StoredContent::Ticket { share } => {
            let name = display_name(&share.name);
            format!("{name} ({} files, {} bytes)", share.files, share.bytes)
        }
        StoredContent::Text { .. } | StoredContent::Unknown => return None,
    };
    let why = match &record.arrival {
        Some(Arrival::Asked { reason: Some(why) }) => format!("\n{why}"),
        _ => String::new(),
    };
    let title = match record.content {
        StoredContent::Ticket { .. } => format!("{name} offers a share"),
        _ => format!("{name} sends files"),
    };
    Some((title, what + &why))
}
