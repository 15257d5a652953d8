//! Desktop notifications: a request that waits is shown with its asker, and answered from there.
//!
//! A desktop that is not there is no error: requests wait in the list all the same.

use super::AskService;
use super::answering::Choice;
use super::describe;
use crate::desktop::{self, Decision};
use std::collections::HashSet;
use std::sync::Arc;

/// Shows notifications where the user wants them.
pub(super) struct Notifier {
    wanted: bool,
}

impl Notifier {
    pub(super) const fn new(wanted: bool) -> Self {
        Self { wanted }
    }
}

/// Shows requests as they come.
pub(super) fn start(service: &Arc<AskService>) {
    if !service.notifier.wanted {
        return;
    }
    let of = Arc::clone(service);
    service.tasks.spawn_forever(async move {
        let mut changes = of.changes();
        let mut shown: HashSet<String> = HashSet::new();
        loop {
            let waiting: Vec<_> = describe::peek(&of)
                .received
                .into_iter()
                .filter(|one| one.state == "waiting" && !one.by_grant)
                .collect();
            shown.retain(|ask| waiting.iter().any(|one| one.ask == *ask));
            for one in waiting {
                if shown.insert(one.ask.clone()) {
                    let service = Arc::clone(&of);
                    of.tasks.spawn(async move { present(service, one).await });
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    });
}

async fn present(service: Arc<AskService>, one: hither_api::AskInfo) {
    let title = format!("{} asks for {}", one.name, one.what);
    let decision = desktop::ask(&title, &one.reason, "Answer").await;
    let settled = match decision {
        Ok(Decision::Accept) => service.accept(&one.ask, Choice::Found).await.map(|_| ()),
        Ok(Decision::Refuse) => service.refuse(&one.ask).await,
        Ok(Decision::Nothing) => Ok(()),
        Err(error) => {
            tracing::debug!(%error, "a request is not shown on the desktop");
            return;
        }
    };
    if let Err(error) = settled {
        tracing::info!(error = %error, "a request was not answered from the desktop");
    }
}
