//! Codes of three words, as `hither share --code` and `hither fetch CODE` have them.

use crate::session::Session;
use hither_api::{
    ApiError, Client, ClientError, CodeInfo, CodeMet, Done, EnterCode, ErrorCode, Event, Events,
    ShowCode,
};
use hither_proto::{SpokenCode, display_name};
use std::time::Duration;

/// A device as it is named to people.
pub fn named(name: &str, device: &str) -> String {
    let short = device
        .get(device.len().saturating_sub(8)..)
        .unwrap_or(device);
    match name {
        "" => format!("the device {short}"),
        name => format!("{} ({short})", display_name(name)),
    }
}

/// Shows a code for what was shared, until somebody used it or it is over.
pub async fn show_share(
    session: &Session<'_>,
    client: &Client,
    mut done: Done,
) -> Result<Done, ApiError> {
    let Done::Shared { share, .. } = &done else {
        return Err(ClientError::Broken("something else was shared".into()).into());
    };
    let request = ShowCode {
        share: Some(share.clone()),
        ..ShowCode::default()
    };
    let mut events = client.work_once("/v1/codes", &request).await?;
    let shown = first(session, &mut events).await?;
    print(session, &shown, &format!("hither fetch {}", shown.code));
    match follow(session, &mut events).await {
        Ok(Done::Taken {
            taken_by,
            name,
            words,
        }) => {
            let who = named(&name, &taken_by);
            session.out.say(&format!(
                "\nTaken by {who}. Both screens show: {words}\nIt stays shared: hither list"
            ));
            session.out.json(&Event::CodeMet(CodeMet {
                device: taken_by,
                name,
                words,
                ..CodeMet::default()
            }));
            if let Done::Shared { code, .. } = &mut done {
                *code = Some(shown.code);
            }
            Ok(done)
        }
        Ok(_) => Err(ClientError::Broken("something else was given".into()).into()),
        Err(error) => Err(stays(error)),
    }
}

/// The error of a code, which is not the end of the share.
fn stays(error: ApiError) -> ApiError {
    let hint = "It stays shared: hither ticket prints its ticket, the same command a new code.";
    ApiError {
        hint: hint.into(),
        ..error
    }
}

/// The first event: the code itself.
pub async fn first(session: &Session<'_>, events: &mut Events) -> Result<CodeInfo, ApiError> {
    match events.next().await? {
        Some(Event::Code(info)) => {
            session.out.json(&Event::Code(info.clone()));
            Ok(info)
        }
        Some(Event::Error(error)) => Err(error),
        _ => Err(ClientError::Broken("it showed no code".into()).into()),
    }
}

/// Prints a code: for people with what to do with it, else alone on its line.
pub fn print(session: &Session<'_>, info: &CodeInfo, command: &str) {
    let out = session.out;
    out.result(&info.code);
    if !out.is_read_by_person() || out.is_quiet() {
        return;
    }
    let minutes = info.expires_seconds.div_ceil(60);
    out.say(&format!(
        "\nOn the other device: {command}\nGood for one attempt and {minutes} min; Ctrl-C ends it."
    ));
}

/// Follows the events of a code to the last one.
async fn follow(session: &Session<'_>, events: &mut Events) -> Result<Done, ApiError> {
    while let Some(event) = events.next().await? {
        match event {
            Event::Done(done) => return Ok(done),
            Event::Error(error) => return Err(error),
            event => {
                session.out.json(&event);
                if let Event::Warning { message } = event {
                    session.warn_people(&message);
                }
            }
        }
    }
    Err(ClientError::Broken("it stopped before the code was used".into()).into())
}

/// The ticket that a code stands for.
pub async fn enter_share(
    session: &Session<'_>,
    client: &Client,
    code: SpokenCode,
    wait: Option<Duration>,
) -> Result<String, ApiError> {
    let request = EnterCode {
        code: code.to_string(),
        pair: false,
        wait_seconds: wait.map(|wait| wait.as_secs().max(1)),
    };
    let mut events = client.work_once("/v1/codes/enter", &request).await?;
    match follow(session, &mut events).await? {
        Done::Opened {
            ticket,
            from,
            name,
            words,
        } => {
            let who = named(&name, &from);
            let both = format!("The code is right. Both screens show: {words} ({who})");
            session.out.note(&both);
            session.out.json(&Event::CodeMet(CodeMet {
                device: from,
                name,
                words,
                ..CodeMet::default()
            }));
            Ok(ticket)
        }
        _ => Err(ApiError::new(
            ErrorCode::HostileShare,
            "The code stands for something else.",
        )),
    }
}
