//! The codes that this device shows.

use super::{CodeService, EVENTS, MAX_SHOWN};
use crate::failure;
use crate::relay_named::{self, Among};
use hither_api::{ApiError, CodeInfo, ErrorCode, Event, ShowCode};
use hither_proto::{CodeKind, CodeName, CodeSecret, PairText, ShareId, SpokenCode, Word};
use hither_relay_client::Relay;
use hither_util::sync::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// One code, under one or two names: said and scanned are the same code, and one attempt spends
/// both.
pub(super) struct ShownCode {
    pub(super) id: String,
    pub(super) kind: CodeKind,
    secrets: Vec<CodeSecret>,
    /// The share that it stands for; `None`: pairing.
    pub(super) share: Option<ShareId>,
    /// The relay whose page it is for; `None`: it is for a device with Hither.
    pub(super) page: Option<Arc<Relay>>,
    /// When it ends, milliseconds of [`Library::time`](crate::library::Library::time).
    pub(super) ends: u64,
    spent: AtomicBool,
    events: mpsc::Sender<Event>,
    /// Is cancelled when it was withdrawn.
    pub(super) withdrawn: CancellationToken,
    /// The question to the user, which waits for yes or no.
    pub(super) question: Mutex<Option<oneshot::Sender<bool>>>,
}

impl ShownCode {
    /// Spends it. False: it was spent before.
    pub(super) fn spend(&self) -> bool {
        !self.spent.swap(true, Ordering::AcqRel)
    }

    pub(super) fn secret(&self, name: CodeName) -> Option<&CodeSecret> {
        self.secrets.iter().find(|secret| secret.name() == name)
    }

    /// Reports something to the user; who does not listen hears nothing.
    pub(super) async fn tell(&self, event: Event) {
        let _ = self.events.send(event).await;
    }

    /// Its first word.
    fn nameplate(&self) -> Option<Word> {
        self.secrets.iter().find_map(|secret| match secret.name() {
            CodeName::Spoken(word) => Some(word),
            CodeName::Scanned(_) => None,
        })
    }
}

/// All that are shown. Those that are spent stay until they would have ended, so that whoever enters
/// one then hears that it is spent, and not that nobody shows it.
#[derive(Default)]
pub(crate) struct Shown(Mutex<Vec<Arc<ShownCode>>>);

impl Shown {
    /// The code of a name, spent or not.
    pub(super) fn find(&self, name: CodeName, now: u64) -> Option<Arc<ShownCode>> {
        let codes = self.0.lock();
        let found = codes
            .iter()
            .find(|code| code.ends > now && code.secret(name).is_some());
        found.cloned()
    }

    /// Answers the question that a code asks. False: it asks none.
    pub(crate) fn answer(&self, id: &str, yes: bool) -> bool {
        let code = self.0.lock().iter().find(|code| code.id == id).cloned();
        let question = code.and_then(|code| code.question.lock().take());
        question.is_some_and(|question| question.send(yes).is_ok())
    }

    /// The names of those for scanning that are good.
    fn scanned(&self) -> Vec<[u8; CodeName::SCANNED]> {
        let codes = self.0.lock();
        let names = codes.iter().flat_map(|code| &code.secrets);
        let scanned = names.filter_map(|secret| match secret.name() {
            CodeName::Spoken(_) => None,
            CodeName::Scanned(name) => Some(name),
        });
        scanned.collect()
    }

    fn nameplates(&self) -> Vec<Word> {
        self.0
            .lock()
            .iter()
            .filter_map(|code| code.nameplate())
            .collect()
    }
}

/// A code that is shown as long as this lives.
pub(crate) struct Showing {
    service: Arc<CodeService>,
    code: Arc<ShownCode>,
}

impl Drop for Showing {
    fn drop(&mut self) {
        self.code.withdrawn.cancel();
        if !self.code.spent.load(Ordering::Acquire) {
            remove(&self.service, &self.code);
        }
    }
}

fn remove(service: &CodeService, code: &Arc<ShownCode>) {
    service
        .shown
        .0
        .lock()
        .retain(|other| !Arc::ptr_eq(other, code));
    announce(service);
}

/// Has what is shown found: first words on this network, circuits about codes for scanning.
fn announce(service: &CodeService) {
    service.swarm.nameplates().show(service.shown.nameplates());
    service.swarm.scanned().show(service.shown.scanned());
}

/// The relay whose page a code is for.
fn page(service: &CodeService, request: &ShowCode) -> Result<Option<Arc<Relay>>, ApiError> {
    if !request.web {
        return Ok(None);
    }
    if request.share.is_some() {
        let message = "A code for a page in a browser is for pairing.";
        return Err(ApiError::new(ErrorCode::BadRequest, message));
    }
    let relay = relay_named::named(&service.relays, request.relay.as_deref(), Among::Pages)?;
    if relay.connection().is_none() {
        let message = format!("The relay {} is not connected now.", relay.url.at);
        return Err(ApiError::new(ErrorCode::NoRelay, message));
    }
    Ok(Some(relay))
}

/// Shows a code. See [`super::show`].
pub(super) fn show(
    service: &Arc<CodeService>,
    request: &ShowCode,
) -> Result<(Showing, mpsc::Receiver<Event>), ApiError> {
    let page = page(service, request)?;
    let share = request.share.as_deref();
    let share = share.map(|id| own_share(service, id)).transpose()?;
    let (sender, receiver) = mpsc::channel(EVENTS);
    let mut id = [0; 8];
    getrandom::fill(&mut id).map_err(failure::internal)?;
    let scanned = match share {
        None => Some(scan_text(service, page.is_some())?),
        Some(_) => None,
    };
    // Nobody says three words to a page that is opened by a link.
    let spoken = match page {
        None => Some(spoken(service)?),
        Some(_) => None,
    };
    let mut secrets: Vec<CodeSecret> = spoken.iter().map(SpokenCode::secret).collect();
    secrets.extend(scanned.as_ref().map(PairText::secret));
    let scan = scanned.map(|text| text.to_string());
    let said = spoken.map(|code| code.to_string());
    let lifetime = u64::try_from(service.expires.get().as_millis()).unwrap_or(u64::MAX);
    let code = Arc::new(ShownCode {
        id: hither_util::hex::encode(&id),
        kind: if share.is_some() {
            CodeKind::Share
        } else {
            CodeKind::Pair
        },
        secrets,
        share,
        page,
        ends: service.library.time.millis().saturating_add(lifetime),
        spent: AtomicBool::new(false),
        events: sender.clone(),
        withdrawn: CancellationToken::new(),
        question: Mutex::default(),
    });
    {
        let mut codes = service.shown.0.lock();
        // Spent ones make room; those that are good do not.
        while codes.len() >= MAX_SHOWN {
            let Some(at) = codes.iter().position(|c| c.spent.load(Ordering::Acquire)) else {
                return Err(ApiError::new(
                    ErrorCode::BadRequest,
                    format!("{MAX_SHOWN} codes are shown already."),
                )
                .with_hint("End one of them with Ctrl-C."));
            };
            codes.remove(at);
        }
        codes.push(Arc::clone(&code));
    }
    announce(service);
    let web = code.page.as_ref().and_then(|relay| relay.web());
    let info = Event::Code(CodeInfo {
        code: said.or_else(|| scan.clone()).unwrap_or_default(),
        link: web
            .zip(scan.as_ref())
            .map(|(web, text)| format!("{web}/p#{text}")),
        scan,
        expires_seconds: service.expires.get().as_secs(),
        id: code.id.clone(),
    });
    // The queue is empty, so that there is a place.
    let _ = sender.try_send(info);
    let (of, until) = (Arc::clone(service), Arc::clone(&code));
    service
        .tasks
        .spawn_forever(async move { expire(&of, &until).await });
    let showing = Showing {
        service: Arc::clone(service),
        code,
    };
    Ok((showing, receiver))
}

/// The id of a share that this device can give the ticket of.
fn own_share(service: &CodeService, id: &str) -> Result<ShareId, ApiError> {
    let found = service
        .library
        .share_records()
        .into_iter()
        .find(|(share, _)| share.id.to_string() == id);
    found
        .map(|(share, _)| share.id)
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "There is no such share."))
}

/// A random code whose nameplate is no other code's here or, as far as is seen, on this network.
fn spoken(service: &CodeService) -> Result<SpokenCode, ApiError> {
    let own = service.shown.nameplates();
    let mut bytes = Zeroizing::new([0; 5]);
    // Any word will do where every one is taken (somebody announces all of them).
    for _ in 0..64 {
        getrandom::fill(&mut *bytes).map_err(failure::internal)?;
        let nameplate = SpokenCode::of_random(*bytes).nameplate();
        let taken = !service.swarm.nameplates().showing(nameplate).is_empty();
        if !own.contains(&nameplate) && !taken {
            break;
        }
    }
    Ok(SpokenCode::of_random(*bytes))
}

/// A random code for scanning. A page in a browser dials no addresses.
fn scan_text(service: &CodeService, page: bool) -> Result<PairText, ApiError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret).map_err(failure::internal)?;
    Ok(PairText {
        secret,
        device: service.device,
        hints: match page {
            true => Vec::new(),
            false => service.swarm.addresses(),
        },
    })
}

/// Ends a code when its time is over, by the clock that counts sleep too.
async fn expire(service: &CodeService, code: &Arc<ShownCode>) {
    loop {
        let left = code.ends.saturating_sub(service.library.time.millis());
        if left == 0 {
            break;
        }
        // A machine that sleeps sleeps through this too: it looks again soon after it woke.
        let pause = std::time::Duration::from_millis(left.min(5_000));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = code.withdrawn.cancelled(), if !code.spent.load(Ordering::Acquire) => return,
        }
    }
    let unused = code.spend();
    remove(service, code);
    if unused {
        let error = ApiError::new(
            ErrorCode::Refused,
            "Nobody used the code in time: it is over.",
        )
        .with_hint("Run the same command again for a new one.");
        code.tell(Event::Error(error)).await;
    }
}
