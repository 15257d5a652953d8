//! Streams about codes that this device shows.

use super::shown::ShownCode;
use super::talk::{STEP, SealedTalk, Talk, TalkError};
use super::{CodeService, pairing};
use hither_api::{ApiError, CodeMet, Done, ErrorCode, Event};
use hither_carrier::{MessageReader, Stream};
use hither_proto::{
    CodeGift, CodeKeys, CodeKind, CodeMessage, CodeName, CodePake, CodeRefusal, CodeSide, DeviceId,
    PakeMessage, SpokenCode,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Longest wait for the name of a code: it is sent together with the opening of the stream.
const NAME: Duration = Duration::from_secs(5);

/// How often the other device hears that the user has not answered yet.
const WAIT: Duration = Duration::from_secs(5);

/// The first message of the opener of a stream.
struct Start {
    name: CodeName,
    kind: CodeKind,
    pake: PakeMessage,
}

/// Serves one stream to its end.
pub(super) async fn serve(service: Arc<CodeService>, stream: Stream, reader: MessageReader) {
    let device = stream.device;
    let mut talk = Talk::new(stream, reader);
    let start = match begin(&service, &mut talk, device).await {
        Ok(start) => start,
        Err(Some(refusal)) => return talk.refuse(refusal).await,
        Err(None) => return, // dropped, which resets it
    };
    let code = match admit(&service, &start) {
        Ok(code) => code,
        Err(refusal) => return talk.refuse(refusal).await,
    };
    tokio::select! {
        // Dropped when the command that shows the code has gone: nobody could say yes.
        () = code.withdrawn.cancelled() => {}
        () = attempt(&service, &code, talk, &start) => {}
    }
}

/// Waits for the name of a code. Whoever lost its place to others may come again; whoever says
/// nothing, or nonsense, gets no answer.
async fn begin(
    service: &CodeService,
    talk: &mut Talk,
    device: DeviceId,
) -> Result<Start, Option<CodeRefusal>> {
    let place = service.waiting.enter(device);
    let heard = tokio::select! {
        biased;
        heard = tokio::time::timeout(NAME, talk.hear()) => heard,
        () = place.taken.cancelled() => return Err(Some(CodeRefusal::Busy)),
    };
    match heard {
        Ok(Ok(CodeMessage::Start { name, kind, pake })) => Ok(Start { name, kind, pake }),
        _ => Err(None),
    }
}

/// The code that is meant, which is spent from now on.
fn admit(service: &CodeService, start: &Start) -> Result<Arc<ShownCode>, CodeRefusal> {
    let now = service.library.time.millis();
    let code = service
        .shown
        .find(start.name, now)
        .ok_or(CodeRefusal::Spent)?;
    if code.kind != start.kind {
        return Err(CodeRefusal::Kind);
    }
    if code.spend() {
        Ok(code)
    } else {
        Err(CodeRefusal::Spent)
    }
}

/// The one attempt that a code is good for.
async fn attempt(service: &CodeService, code: &ShownCode, mut talk: Talk, start: &Start) {
    let device = talk.stream.device;
    let keys = match exchange(service, code, &mut talk, start).await {
        Ok(Some(keys)) => keys,
        Ok(None) => {
            // On its own: the command that shows the code ends when it hears of this.
            service.tasks.spawn_forever(talk.refuse(CodeRefusal::Spent));
            return code.tell(Event::Error(wrong(&device))).await;
        }
        Err(error) => {
            tracing::debug!(?device, %error, "an exchange about a code broke off");
            return code.tell(Event::Error(left(&device, &error))).await;
        }
    };
    let words = keys.words();
    let given = match talk.sealed(&keys, CodeSide::Shows) {
        Ok(sealed) => give(service, code, sealed, (device, words)).await,
        Err(error) => Err(broken(&error)),
    };
    let last = given.map_or_else(Event::Error, Event::Done);
    code.tell(last).await;
}

/// Runs the key exchange; `None`: the other side has another code.
async fn exchange(
    service: &CodeService,
    code: &ShownCode,
    talk: &mut Talk,
    start: &Start,
) -> Result<Option<CodeKeys>, TalkError> {
    let (binding, device) = (talk.stream.binding, talk.stream.device);
    let secret = code.secret(start.name).ok_or(TalkError::Unexpected)?;
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(std::io::Error::other)?;
    let pake = CodePake::show(secret, &device, &service.device, *seed);
    let own = pake.message();
    let Ok(key) = pake.finish(&start.pake) else {
        return Ok(None);
    };
    talk.say(CodeMessage::Answer(own)).await?;
    let keys = CodeKeys::new(&key, &binding, start.kind, start.name, (&start.pake, &own));
    let CodeMessage::Confirm(confirmation) = talk.hear().await? else {
        return Err(TalkError::Unexpected);
    };
    if confirmation != keys.confirmation(CodeSide::Enters) {
        return Ok(None);
    }
    let own = keys.confirmation(CodeSide::Shows);
    talk.say(CodeMessage::Confirm(own)).await?;
    Ok(Some(keys))
}

/// Gives what the code stands for.
async fn give(
    service: &CodeService,
    code: &ShownCode,
    mut talk: SealedTalk,
    (device, words): (DeviceId, SpokenCode),
) -> Result<Done, ApiError> {
    let Some(share) = code.share else {
        return pair(service, code, talk, (device, words)).await;
    };
    let share = service
        .swarm
        .shares()
        .get(share)
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "The share has ended."))?;
    let ticket = service.tickets.ticket(&share);
    let given = async {
        talk.give(&CodeGift::Ticket(Box::new(ticket))).await?;
        match talk.take(STEP).await? {
            CodeGift::Taken => Ok(()),
            _ => Err(TalkError::Unexpected),
        }
    };
    given.await.map_err(|error| broken(&error))?;
    Ok(Done::Taken {
        taken_by: device.to_string(),
        name: name_of(service, device),
        words: words.to_string(),
    })
}

/// Asks the user, and makes the other device one of theirs after a yes.
async fn pair(
    service: &CodeService,
    code: &ShownCode,
    mut talk: SealedTalk,
    (device, words): (DeviceId, SpokenCode),
) -> Result<Done, ApiError> {
    let introduced = talk.take(STEP).await.map_err(|error| broken(&error))?;
    let CodeGift::Introduction(name) = introduced else {
        return Err(broken(&TalkError::Unexpected));
    };
    let offer = pairing::Offer::make(service, device, code.page.as_deref());
    let (question, answer) = oneshot::channel();
    *code.question.lock() = Some(question);
    code.tell(Event::CodeMet(CodeMet {
        id: code.id.clone(),
        device: device.to_string(),
        name: name.as_str().to_owned(),
        words: words.to_string(),
        relays: offer.hosts.clone(),
        devices: offer.devices.len() as u64,
        web: code.page.is_some(),
    }))
    .await;
    if !answered(service, code, &mut talk, answer).await? {
        // It may have gone; nothing is granted either way.
        let _ = talk.give_last(&CodeGift::Declined).await;
        return Err(ApiError::new(
            ErrorCode::Declined,
            "You said no: nothing was granted.",
        ));
    }
    let devices = offer.devices.len() as u64;
    let (grant, relays) = offer.grant(service, (device, name.clone()), code).await?;
    let given = async {
        talk.give(&CodeGift::Grant(Box::new(grant))).await?;
        match talk.take(STEP).await? {
            CodeGift::Taken => Ok(()),
            _ => Err(TalkError::Unexpected),
        }
    };
    given.await.map_err(|error| {
        let message = format!("What you granted may not have arrived: {error}.");
        ApiError::new(ErrorCode::NoHolder, message)
            .with_hint("If the other device does not show it, pair again; hither devices lists it.")
    })?;
    Ok(Done::Paired {
        paired: device.to_string(),
        name: name.as_str().to_owned(),
        words: words.to_string(),
        devices,
        relays,
    })
}

/// Waits for the user's yes or no, and tells the other device meanwhile that somebody is there.
async fn answered(
    service: &CodeService,
    code: &ShownCode,
    talk: &mut SealedTalk,
    mut answer: oneshot::Receiver<bool>,
) -> Result<bool, ApiError> {
    loop {
        if service.library.time.millis() >= code.ends {
            return Err(ApiError::new(
                ErrorCode::Refused,
                "Nobody answered in time: nothing was granted.",
            ));
        }
        tokio::select! {
            yes = &mut answer => return Ok(yes.unwrap_or(false)),
            // It has nothing to say before the answer.
            said = talk.next() => {
                let error = said.err().unwrap_or(TalkError::Unexpected);
                return Err(broken(&error));
            }
            () = tokio::time::sleep(WAIT) => {
                talk.give(&CodeGift::Wait).await.map_err(|error| broken(&error))?;
            }
        }
    }
}

/// The name a device calls itself, as far as is known.
fn name_of(service: &CodeService, device: DeviceId) -> String {
    let name = service.swarm.links().name(device);
    name.map(|name| name.as_str().to_owned())
        .unwrap_or_default()
}

fn wrong(device: &DeviceId) -> ApiError {
    ApiError::new(
        ErrorCode::Refused,
        format!(
            "Somebody entered a wrong code, on the device {}: the code is spent, and nothing was given.",
            device.short()
        ),
    )
    .with_hint("Run the same command again for a new one.")
}

fn left(device: &DeviceId, error: &TalkError) -> ApiError {
    ApiError::new(
        ErrorCode::Refused,
        format!(
            "The device {} began to enter the code, but then {error}: the code is spent, and nothing was given.",
            device.short()
        ),
    )
    .with_hint("Run the same command again for a new one.")
}

fn broken(error: &TalkError) -> ApiError {
    ApiError::new(
        ErrorCode::NoHolder,
        format!("The code was right, but then {error}. It is spent."),
    )
    .with_hint("Run the same command again for a new one.")
}
