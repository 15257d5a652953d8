//! Entering a code that another device shows: finding that device, the exchange, what it gives.

use super::talk::{STEP, SealedTalk, Talk, TalkError};
use super::{CodeService, pairing, relays, spent};
use hither_api::{ApiError, Done, EnterCode, ErrorCode, Event};
use hither_carrier::{MessageReader, Stream};
use hither_proto::{
    CodeGift, CodeKeys, CodeKind, CodeMessage, CodeName, CodePake, CodeRefusal, CodeSecret,
    CodeSide, DeviceId, DevicePurpose, PairText, RelayAddress, SpokenCode, Word,
};
use hither_swarm::OpenError;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use zeroize::Zeroizing;

/// Most devices with which one code is tried: each gets one guess at it.
const MAX_TRIED: usize = 4;
/// Most ways that are tried to such devices; a device that is not reached gets no guess.
const MAX_WAYS: usize = 16;
/// How long others that show the same first word are waited for after one turned out to be another
/// one.
const OTHERS: Duration = Duration::from_secs(3);
/// Longest wait for a stream to a device.
const REACH: Duration = Duration::from_secs(10);
/// How often a device that is busy is asked again, and after how long.
const BUSY: (u32, Duration) = (5, Duration::from_secs(1));

/// A code as it was entered.
struct Entered {
    secret: CodeSecret,
    kind: CodeKind,
    /// The device that shows it, when the code says so.
    device: Option<DeviceId>,
}

impl Entered {
    fn parse(service: &CodeService, request: &EnterCode) -> Result<Self, ApiError> {
        let kind = if request.pair {
            CodeKind::Pair
        } else {
            CodeKind::Share
        };
        let wrong = |text: String| ApiError::new(ErrorCode::BadRequest, text);
        if request.pair && PairText::is_meant(&request.code) {
            let text: PairText = request
                .code
                .parse()
                .map_err(|error| wrong(format!("That is no usable code: {error}.")))?;
            service.swarm.links().hinted(text.device, &text.hints);
            return Ok(Self {
                secret: text.secret(),
                kind,
                device: Some(text.device),
            });
        }
        let code: SpokenCode = request.code.parse().map_err(|error| {
            wrong(format!("That is no code: {error}."))
                .with_hint("A code is three words, like able-baby-cabin.")
        })?;
        Ok(Self {
            secret: code.secret(),
            kind,
            device: None,
        })
    }
}

/// Enters a code. See [`super::enter()`].
pub(super) async fn enter(
    service: &Arc<CodeService>,
    request: &EnterCode,
    events: &mpsc::Sender<Event>,
) -> Result<Done, ApiError> {
    let entered = Entered::parse(service, request)?;
    let wait = request
        .wait_seconds
        .map_or_else(|| service.wait.get(), Duration::from_secs);
    let met = match (entered.device, entered.secret.name()) {
        (Some(device), _) => match attempt(service, &entered, device, Way::Direct).await {
            Attempt::Met(met) => met,
            other => return Err(other.error(entered.kind)),
        },
        (None, CodeName::Spoken(nameplate)) => {
            search(service, &entered, nameplate, wait, events).await?
        }
        (None, CodeName::Scanned(_)) => return Err(spent()),
    };
    match entered.kind {
        CodeKind::Share => receive(service, *met).await,
        CodeKind::Pair => pairing::join(service, *met, events).await,
    }
}

/// A device that has the same code.
pub(super) struct Met {
    pub(super) talk: SealedTalk,
    pub(super) device: DeviceId,
    pub(super) words: SpokenCode,
}

/// The result of trying a code with one device.
enum Attempt {
    Met(Box<Met>),
    /// The device shows no such code, or another one with this first word.
    Other,
    /// The code is for something else.
    Kind,
    Unreached(String),
}

impl Attempt {
    /// The error when nobody else is tried.
    fn error(self, kind: CodeKind) -> ApiError {
        match self {
            Self::Met(_) | Self::Other => spent(),
            Self::Kind => {
                let (what, command) = match kind {
                    CodeKind::Share => ("for pairing devices", "hither pair CODE"),
                    CodeKind::Pair => ("for fetching a share", "hither fetch CODE"),
                };
                ApiError::new(ErrorCode::BadRequest, format!("That code is {what}."))
                    .with_hint(format!("It is still good: {command}"))
            }
            Self::Unreached(why) => ApiError::new(
                ErrorCode::NoHolder,
                format!("The device that shows the code is not reached: {why}."),
            )
            .with_hint("hither doctor helps to find out why."),
        }
    }
}

/// The way to a device that shows the first word.
#[derive(Clone)]
enum Way {
    /// It is on this network, or its address is known.
    Direct,
    /// A relay names it.
    Relay(Box<RelayAddress>, Word),
}

/// The devices and ways that were tried.
#[derive(Default)]
struct Tried {
    /// True: through a relay.
    ways: HashSet<(DeviceId, bool)>,
    /// Those that had their guess.
    devices: HashSet<DeviceId>,
}

impl Tried {
    fn contains(&self, device: DeviceId, way: &Way) -> bool {
        let relayed = matches!(way, Way::Relay(..));
        self.devices.contains(&device) || self.ways.contains(&(device, relayed))
    }

    fn has_room(&self) -> bool {
        self.devices.len() < MAX_TRIED && self.ways.len() < MAX_WAYS
    }

    /// A device that is not reached one way may be reached the other one.
    fn add(&mut self, device: DeviceId, way: &Way, attempt: &Attempt) {
        self.ways.insert((device, matches!(way, Way::Relay(..))));
        if !matches!(attempt, Attempt::Unreached(_)) {
            self.devices.insert(device);
        }
    }
}

/// Tries the devices that show the first word, on this network and at the relays, until one has the
/// other two.
async fn search(
    service: &Arc<CodeService>,
    entered: &Entered,
    nameplate: Word,
    wait: Duration,
    events: &mpsc::Sender<Event>,
) -> Result<Box<Met>, ApiError> {
    let mut changes = service.swarm.nameplates().changes();
    let (sender, mut named) = mpsc::channel(MAX_TRIED);
    let mut asking = std::pin::pin!(relays::ask(&service.relays, nameplate, sender));
    let mut end = Instant::now() + wait;
    let (mut tried, mut last) = (Tried::default(), None);
    let mut through: HashMap<DeviceId, RelayAddress> = HashMap::new();
    loop {
        changes.mark_unchanged();
        let near = service.swarm.nameplates().showing(nameplate);
        let near = near.into_iter().map(|device| (device, Way::Direct));
        let far = through
            .iter()
            .map(|(device, relay)| (*device, Way::Relay(Box::new(relay.clone()), nameplate)));
        let next = near
            .chain(far)
            .find(|(device, way)| !tried.contains(*device, way));
        match next {
            Some((device, way)) if tried.has_room() => {
                let attempt = attempt(service, entered, device, way.clone()).await;
                tried.add(device, &way, &attempt);
                match attempt {
                    Attempt::Met(met) => return Ok(met),
                    // It is the only one that is meant, most likely; and it is still good.
                    kind @ Attempt::Kind => return Err(kind.error(entered.kind)),
                    other => {
                        warn(events, &device, &other).await;
                        last = Some(match (last, other) {
                            // That somebody refused says more than that somebody is not reached.
                            (Some(Attempt::Other), Attempt::Unreached(_)) => Attempt::Other,
                            (_, other) => other,
                        });
                        end = end.min(Instant::now() + OTHERS);
                    }
                }
                continue;
            }
            Some(_) => break,
            None => {}
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { break },
            Some((device, relay)) = named.recv() => {
                if through.len() < MAX_TRIED && device != service.device {
                    through.insert(device, relay);
                }
            }
            () = &mut asking => {}
            () = sleep_until(end) => break,
        }
    }
    Err(match last {
        Some(attempt) => attempt.error(entered.kind),
        None => ApiError::new(
            ErrorCode::NoHolder,
            format!("Nobody shows a code that begins with \"{nameplate}\"."),
        )
        .with_hint(
            "Is the other device in this network or at a relay of yours, and its code not older than ten minutes?",
        ),
    })
}

/// Says that somebody with the same first word was tried in vain.
async fn warn(events: &mpsc::Sender<Event>, device: &DeviceId, attempt: &Attempt) {
    let short = device.short();
    let message = match attempt {
        Attempt::Other => {
            format!("The device {short} shows the same first word, and not this code (any more).")
        }
        Attempt::Unreached(why) => {
            format!("The device {short} shows the same first word and is not reached: {why}.")
        }
        Attempt::Met(_) | Attempt::Kind => return,
    };
    let _ = events.send(Event::Warning { message }).await;
}

/// Tries the code with one device.
async fn attempt(
    service: &Arc<CodeService>,
    entered: &Entered,
    device: DeviceId,
    way: Way,
) -> Attempt {
    let mut busy = BUSY.0;
    loop {
        let (swarm, way) = (&service.swarm, way.clone());
        let opening = async {
            match way {
                Way::Direct => swarm.open_device_stream(device, DevicePurpose::Code).await,
                Way::Relay(relay, nameplate) => {
                    swarm.open_code_circuit(*relay, device, nameplate).await
                }
            }
        };
        let (stream, reader) = match timeout(REACH, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Attempt::Unreached(unreached(&error)),
            Err(_) => return Attempt::Unreached("it does not answer".into()),
        };
        match exchange(service, entered, stream, reader).await {
            Ok(met) => return Attempt::Met(Box::new(met)),
            Err(TalkError::Refused(CodeRefusal::Busy)) if busy > 0 => {
                busy -= 1;
                tokio::time::sleep(BUSY.1).await;
            }
            Err(TalkError::Refused(CodeRefusal::Kind)) => return Attempt::Kind,
            Err(error) => {
                tracing::debug!(?device, %error, "a code was tried in vain");
                return Attempt::Other;
            }
        }
    }
}

fn unreached(error: &OpenError) -> String {
    match error {
        OpenError::Link(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Runs the key exchange on a stream.
async fn exchange(
    service: &CodeService,
    entered: &Entered,
    stream: Stream,
    reader: MessageReader,
) -> Result<Met, TalkError> {
    let (binding, device) = (stream.binding, stream.device);
    let (name, kind) = (entered.secret.name(), entered.kind);
    let mut talk = Talk::new(stream, reader);
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(std::io::Error::other)?;
    let run = CodePake::enter(&entered.secret, &service.device, &device, *seed);
    let pake = run.message();
    talk.say(CodeMessage::Start { name, kind, pake }).await?;
    let CodeMessage::Answer(answer) = talk.hear().await? else {
        return Err(TalkError::Unexpected);
    };
    let key = run.finish(&answer).map_err(|_| TalkError::Unexpected)?;
    let keys = CodeKeys::new(&key, &binding, kind, name, (&pake, &answer));
    let own = keys.confirmation(CodeSide::Enters);
    talk.say(CodeMessage::Confirm(own)).await?;
    match talk.hear().await? {
        CodeMessage::Confirm(theirs) if theirs == keys.confirmation(CodeSide::Shows) => {}
        _ => return Err(TalkError::Unexpected),
    }
    Ok(Met {
        words: keys.words(),
        talk: talk.sealed(&keys, CodeSide::Enters)?,
        device,
    })
}

/// Takes what the other device gives.
async fn receive(service: &CodeService, mut met: Met) -> Result<Done, ApiError> {
    let taken = async {
        match met.talk.take(STEP).await? {
            CodeGift::Ticket(ticket) => Ok(ticket),
            _ => Err(TalkError::Unexpected),
        }
    };
    let ticket = taken.await.map_err(|error| broken(&error))?;
    // The ticket is here, whether the other side hears of it or not.
    let _ = met.talk.give_last(&CodeGift::Taken).await;
    let name = service.swarm.links().name(met.device);
    Ok(Done::Opened {
        ticket: ticket.to_string(),
        from: met.device.to_string(),
        name: name
            .map(|name| name.as_str().to_owned())
            .unwrap_or_default(),
        words: met.words.to_string(),
    })
}

pub(super) fn broken(error: &TalkError) -> ApiError {
    let code = match error {
        // The device that shows the code is to blame.
        TalkError::Gift(_) | TalkError::Unexpected | TalkError::Sealed(_) => {
            ErrorCode::HostileShare
        }
        _ => ErrorCode::NoHolder,
    };
    ApiError::new(code, format!("The code was right, but then {error}."))
        .with_hint("The code is spent: ask for a new one.")
}
