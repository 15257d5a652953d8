//! Codes and relays: this device's nameplates at the relays that it has joined, who shows a
//! nameplate there, and invitations for the device that is paired.

use super::CodeService;
use crate::failure;
use crate::relay_named::{self, Unheard};
use futures::future::join_all;
use hither_api::{ApiError, ErrorCode};
use hither_proto::{
    CodeAnswer, CodeRequest, DeviceId, OwnAnswer, OwnRequest, RelayAddress, RelayRefusalCode,
    RelayUrl, Word,
};
use hither_relay_client::{Relay, RelayClient, RelayConnection, RequestError};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How often the relays are told again what is shown: a relay that lost it has it back soon.
const AGAIN: Duration = Duration::from_secs(60);
/// How often relays are asked who shows a code.
const ASK: Duration = Duration::from_secs(3);
/// Longest wait for an invitation: the other device, which waits for the answer, waits no longer than
/// [`STEP`](super::talk::STEP).
const INVITE: Duration = Duration::from_secs(4);

/// How long a page that was granted may take to join, seconds.
const PAGE: u32 = 600;

/// Tells every relay which nameplates this device shows, for as long as the daemon runs.
pub(super) async fn tell(service: Arc<CodeService>) {
    let (mut shown, mut relays) = (
        service.swarm.nameplates().own_changes(),
        service.relays.changes(),
    );
    // At which connections what was told.
    let mut told: Vec<(Arc<RelayConnection>, HashSet<Word>)> = Vec::new();
    let mut renews = false;
    loop {
        let wanted: HashSet<Word> = shown.borrow_and_update().iter().copied().collect();
        relays.mark_unchanged();
        let connected = service.relays.connected();
        told.retain(|(connection, _)| connected.iter().any(|c| Arc::ptr_eq(c, connection)));
        let mut telling = Vec::new();
        for connection in connected {
            let before = told.iter_mut().find(|(c, _)| Arc::ptr_eq(c, &connection));
            let before = match before {
                Some((_, before)) => before,
                None if wanted.is_empty() => continue,
                None => {
                    told.push((Arc::clone(&connection), HashSet::new()));
                    let Some((_, before)) = told.last_mut() else {
                        continue;
                    };
                    before
                }
            };
            let is_news = |word: &&Word| renews || !before.contains(*word);
            let changes = before
                .difference(&wanted)
                .map(|gone| (*gone, true))
                .chain(wanted.iter().filter(is_news).map(|word| (*word, false)));
            let changes: Vec<_> = changes.collect();
            *before = wanted.clone();
            telling.push(tell_one(connection, changes));
        }
        // Beside each other: a relay that does not answer delays no other one.
        join_all(telling).await;
        let again = async {
            match told.is_empty() || shown.borrow().is_empty() {
                true => std::future::pending().await,
                false => sleep(AGAIN).await,
            }
        };
        let mut shows = shown.clone();
        renews = tokio::select! {
            changed = shows.changed() => if changed.is_err() { return } else { false },
            changed = relays.changed() => if changed.is_err() { return } else { false },
            () = again => true,
        };
    }
}

/// Tells one relay what is shown, or (true) no more.
async fn tell_one(connection: Arc<RelayConnection>, changes: Vec<(Word, bool)>) {
    for (nameplate, ends) in changes {
        let request = CodeRequest::Show { nameplate, ends };
        if let Err(error) = connection.code(request).await {
            tracing::debug!(%error, "a relay was not told of a code");
        }
    }
}

/// Asks the relays, again and again, who shows a nameplate; whoever is named goes to `found`.
pub(super) async fn ask(
    relays: &RelayClient,
    nameplate: Word,
    found: mpsc::Sender<(DeviceId, RelayAddress)>,
) {
    loop {
        let asked = relays
            .connected()
            .into_iter()
            .map(|connection| ask_one(connection, nameplate, found.clone()));
        join_all(asked).await;
        if found.is_closed() {
            return;
        }
        sleep(ASK).await;
    }
}

/// Asks one relay.
async fn ask_one(
    connection: Arc<RelayConnection>,
    nameplate: Word,
    found: mpsc::Sender<(DeviceId, RelayAddress)>,
) {
    match connection.code(CodeRequest::Find { nameplate }).await {
        Ok(CodeAnswer::Found(devices)) => {
            for device in devices {
                // The asker may have found the device otherwise.
                let _ = found.send((device, connection.relay.clone())).await;
            }
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "a relay did not say who shows a code"),
    }
}

/// Invitations for one more device of this user, of every relay that gives one; and why others do
/// not, in words.
pub(super) async fn invitations(relays: &RelayClient) -> (Vec<RelayUrl>, Vec<String>) {
    let all = relays.all();
    let asked = all.iter().filter_map(|relay| {
        let connection = relay.connection()?;
        Some(async move {
            let answer = timeout(INVITE, connection.code(CodeRequest::Invite)).await;
            (relay, answer)
        })
    });
    let (mut urls, mut refused) = (Vec::new(), Vec::new());
    for (relay, answer) in join_all(asked).await {
        let at = relay.url.at.to_string();
        match answer {
            Ok(Ok(CodeAnswer::Invited(invitation))) => urls.push(RelayUrl {
                at: relay.url.at.clone(),
                key: relay.url.key,
                invitation: Some(invitation),
            }),
            Ok(Err(RequestError::Refused(refusal))) if refusal.code == RelayRefusalCode::Role => {
                refused.push(format!(
                    "The operator of the relay {at} does not let devices invite others: the new device does not join it."
                ));
            }
            Ok(Err(error)) => {
                refused.push(format!("The relay {at} gave no invitation: {error}."));
            }
            Ok(Ok(_)) | Err(_) => {
                refused.push(format!("The relay {at} gave no invitation in time."));
            }
        }
    }
    (urls, refused)
}

/// An invitation for one page in a browser, of the relay that serves it.
///
/// Errors: the relay gives none.
pub(super) async fn page_invitation(relay: &Relay) -> Result<RelayUrl, ApiError> {
    let what = OwnRequest::Invite {
        devices: 1,
        seconds: PAGE,
        web: true,
    };
    let host = &relay.url.at;
    match relay_named::ask(relay, what).await {
        Ok(OwnAnswer::Invited(invitation)) => Ok(RelayUrl {
            at: relay.url.at.clone(),
            key: relay.url.key,
            invitation: Some(invitation),
        }),
        Ok(_) => Err(failure::internal("another answer than to an invitation")),
        Err(Unheard::Never) => {
            let message = format!("The operator of {host} does not let devices invite others.");
            Err(ApiError::new(ErrorCode::Refused, message)
                .with_hint("Without that a page cannot become a device: ask them."))
        }
        Err(Unheard::Because(why)) => {
            let message = format!("The relay {host} gave no invitation: {why}.");
            Err(ApiError::new(ErrorCode::NoRelay, message))
        }
    }
}

/// Hosts of the relays that are connected, which could give invitations.
pub(super) fn hosts(relays: &RelayClient) -> Vec<String> {
    let all = relays.all();
    let connected = all.iter().filter(|relay| relay.connection().is_some());
    connected.map(|relay| relay.url.at.to_string()).collect()
}
