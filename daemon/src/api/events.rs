//! One stream of everything that happens: what a program beside the command line lives on.
//!
//! It is made of the streams that there are: messages, transfers, what others fetch from here,
//! requests, what is nearby, and which lists changed.

use super::work::frame;
use crate::asks::{self, AskService};
use crate::catalogue::CatalogueService;
use crate::exposed::ExposedService;
use crate::giving::{self, GivingService};
use crate::groups::Groups;
use crate::library::LibraryNews;
use crate::mail::{self, MailService};
use crate::nearby::{self, NearbyService};
use crate::page::PageService;
use crate::settings::SettingsService;
use crate::transfer::TransferService;
use crate::visitors::VisitorService;
use axum::extract::State;
use axum::response::sse::{self, Sse};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use hither_api::{ChangedList, Event, TransferInfo};
use hither_relay_client::RelayClient;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often transfers are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Everything that the stream is made of.
#[derive(Clone)]
pub(crate) struct EventSources {
    pub transfers: Arc<TransferService>,
    pub mail: Arc<MailService>,
    pub nearby: Arc<NearbyService>,
    pub asks: Arc<AskService>,
    pub giving: Arc<GivingService>,
    pub settings: Arc<SettingsService>,
    pub shares: Arc<LibraryNews>,
    pub groups: Arc<Groups>,
    pub relays: Arc<RelayClient>,
    pub pages: Arc<PageService>,
    pub exposed: Arc<ExposedService>,
    pub catalogue: Arc<CatalogueService>,
    pub visitors: Arc<VisitorService>,
}

/// Everything as it happens: `message`, `transfer`, `giving`, `fetched`, `asks`, `nearby` and
/// `changed`, beginning with how transfers, what others fetch, requests and what is nearby stand.
/// Ends with the service.
#[utoipa::path(get, path = "/v1/events", responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn events(
    State(of): State<Arc<EventSources>>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let stop = of.mail.tasks.token.clone().cancelled_owned();
    let all = stream::select_all([
        transfers(Arc::clone(&of.transfers)),
        messages(Arc::clone(&of.mail)),
        requests(Arc::clone(&of.asks)),
        nearby(Arc::clone(&of.nearby)),
        giving::watch(Arc::clone(&of.giving), None).boxed(),
        changed(of.shares.changes(), ChangedList::Shares),
        changed(of.settings.settings.changes(), ChangedList::Config),
        changed(of.groups.changes(), ChangedList::Groups),
        // Relays tell of their connections and of the user's devices by one count.
        changed(of.relays.changes(), ChangedList::Relays),
        changed(of.relays.changes(), ChangedList::Devices),
        changed(of.nearby.known().changes(), ChangedList::Devices),
        changed(of.mail.inbox.changes(), ChangedList::Inbox),
        changed(of.mail.outbox.changes(), ChangedList::Outbox),
        changed(of.visitors.changes(), ChangedList::Links),
        changed(of.pages.changes(), ChangedList::Pages),
        changed(of.exposed.changes(), ChangedList::Drive),
        changed(of.catalogue.changes(), ChangedList::Catalogue),
    ]);
    Sse::new(all.take_until(stop).map(|event| frame(&event)))
}

/// Each transfer whenever it stands otherwise than it was told.
fn transfers(service: Arc<TransferService>) -> BoxStream<'static, Event> {
    type Told = (
        Arc<TransferService>,
        HashMap<String, TransferInfo>,
        VecDeque<TransferInfo>,
    );
    let begin: Told = (service, HashMap::new(), VecDeque::new());
    let next = |(service, mut told, mut queue): Told| async move {
        loop {
            if let Some(info) = queue.pop_front() {
                return Some((Event::Transfer(Box::new(info)), (service, told, queue)));
            }
            if !told.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
            let all = service.transfers.all();
            let all = all.iter().filter(|one| !one.is_listing());
            let now: Vec<TransferInfo> = all.map(|one| one.info(&service)).collect();
            queue.extend(
                now.iter()
                    .filter(|info| told.get(&info.transfer) != Some(info))
                    .cloned(),
            );
            told = now
                .into_iter()
                .map(|info| (info.transfer.clone(), info))
                .collect();
            if queue.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    stream::unfold(begin, next).boxed()
}

/// Messages that arrive from now on.
fn messages(service: Arc<MailService>) -> BoxStream<'static, Event> {
    let latest = service.inbox.latest();
    let after = *latest.borrow();
    let begin = (service, latest, after, VecDeque::new());
    stream::unfold(
        begin,
        |(service, mut latest, mut after, mut queue)| async move {
            while queue.is_empty() {
                latest.changed().await.ok()?;
                let of = Arc::clone(&service);
                let listed = tokio::task::spawn_blocking(move || mail::list(&of, after)).await;
                queue = listed.ok()?.ok()?.into();
            }
            let message: hither_api::MessageInfo = queue.pop_front()?;
            after = after.max(message.id);
            Some((Event::Message(message), (service, latest, after, queue)))
        },
    )
    .boxed()
}

/// All requests whenever one changes.
fn requests(service: Arc<AskService>) -> BoxStream<'static, Event> {
    let mut changes = service.changes();
    changes.mark_changed();
    stream::unfold((service, changes), |(service, mut changes)| async move {
        changes.changed().await.ok()?;
        let of = Arc::clone(&service);
        let listed = tokio::task::spawn_blocking(move || asks::list(&of)).await;
        let event = match listed.ok()? {
            Ok(info) => Event::Asks(Box::new(info)),
            Err(error) => Event::Warning {
                message: error.message,
            },
        };
        Some((event, (service, changes)))
    })
    .boxed()
}

fn nearby(service: Arc<NearbyService>) -> BoxStream<'static, Event> {
    let mut changes = service.changes();
    changes.mark_changed();
    stream::unfold((service, changes), |(service, mut changes)| async move {
        changes.changed().await.ok()?;
        let event = Event::Nearby(nearby::info(&service));
        Some((event, (service, changes)))
    })
    .boxed()
}

/// Tells each change of a list; several that come together are told once.
fn changed<T: Send + Sync + 'static>(
    changes: watch::Receiver<T>,
    what: ChangedList,
) -> BoxStream<'static, Event> {
    stream::unfold(changes, move |mut changes| async move {
        changes.changed().await.ok()?;
        Some((Event::Changed { what }, changes))
    })
    .boxed()
}
