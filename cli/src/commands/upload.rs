//! `hither upload`, and `hither list --on`.

use crate::complete;
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table, ago, bytes, device, now};
use clap_complete::engine::ArgValueCandidates;
use hither_api::{
    ApiError, Client, ClientError, DriveDone, DriveInfo, DriveListRequest, DriveListing,
    DriveRequest, ErrorCode, Event, Exit,
};
use hither_proto::display_name;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  hither list --on nas                     what nas exposes to this device
  hither upload --on nas photos/2026       nas shares it, and uploads it to the
                                           relay that it has joined
  hither upload --on nas photos --watch    later versions follow by themselves
  hither upload                            what was asked for, and what came
  hither upload --cancel 3f2a

It ends with a ticket that any device fetches it with; with
hither fetch TICKET --follow it stays in sync. Uploaded is only what is not
there yet. Ctrl-C leaves; the ticket is then found with: hither inbox";

/// Make another device share and upload a file or folder that it exposes
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The device: its name, short id or id (see hither devices)
    #[arg(long, value_name = "DEVICE", requires = "path", add = ArgValueCandidates::new(complete::devices))]
    pub on: Option<String>,
    /// The file or folder there (see hither list --on DEVICE)
    #[arg(requires = "on")]
    pub path: Option<String>,
    /// Keep it in sync: later versions follow whenever something changes there
    #[arg(long, requires = "on")]
    pub watch: bool,
    /// For how long it may be begun, while the device is away
    #[arg(long, value_name = "TIME", value_parser = super::share::span, default_value = "1d")]
    pub expires: Duration,
    /// Do not wait for the end
    #[arg(long, requires = "on")]
    pub no_wait: bool,
    /// Take it back: its id, or the beginning of it
    #[arg(long, value_name = "ID", conflicts_with = "on")]
    pub cancel: Option<String>,
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let client = session.daemon().await?;
    if let Some(id) = args.cancel {
        return cancel(session, &client, &id).await;
    }
    let (Some(on), Some(path)) = (args.on, args.path) else {
        return all(session, &client).await;
    };
    let request = DriveRequest {
        on,
        path,
        watch: args.watch,
        valid_seconds: Some(u32::try_from(args.expires.as_secs()).unwrap_or(u32::MAX)),
    };
    let asked = client
        .post::<DriveInfo>("/v1/drive/uploads", &request)
        .await?;
    let name = device(&asked.name, &asked.device);
    if args.no_wait {
        session.out.json(&Event::Drive(Box::new(asked)));
        session.out.say(&session.wrapped(&format!(
            "{name} is asked. The ticket comes to: hither inbox"
        )));
        return Ok(Exit::Done);
    }
    let ended = follow(session, &client, &asked).await?;
    match (ended.state.as_str(), &ended.done) {
        ("done", Some(done)) => {
            session.out.json(&Event::Drive(Box::new(ended.clone())));
            tell(session, &ended, done);
            Ok(Exit::Done)
        }
        ("expired", _) => Err(ApiError::new(
            ErrorCode::NoHolder,
            format!("{name} did not begin in time."),
        )),
        ("cancelled", _) => Err(ApiError::new(ErrorCode::Refused, "It was taken back.")),
        _ => Err(refused(&name, &ended)),
    }
}

/// Shows how it goes on until it ends.
async fn follow(
    session: &Session<'_>,
    client: &Client,
    asked: &DriveInfo,
) -> Result<DriveInfo, ApiError> {
    let name = device(&asked.name, &asked.device);
    let path = format!("/v1/drive/uploads/{}/events", asked.upload);
    let mut events = client.events(&path).await?;
    while let Some(event) = events.next().await? {
        let info = match event {
            Event::Drive(info) => *info,
            Event::Error(error) => return Err(error),
            _ => continue,
        };
        if info.is_final() {
            return Ok(info);
        }
        let done = match info.total {
            0 => String::new(),
            total => format!(" {} of {}", bytes(info.bytes), bytes(total)),
        };
        let note = match info.state.as_str() {
            "sent" => format!("Asking {name} …"),
            "delivered" => format!("{name} has the request. Ctrl-C leaves it there."),
            "waiting" => format!("{name} begins."),
            "reading" => format!("{name} reads{done}"),
            "uploading" => format!("{name} uploads{done}"),
            _ => String::new(),
        };
        session.out.json(&Event::Drive(Box::new(info)));
        if !note.is_empty() {
            session.out.note(&session.wrapped(&note));
        }
    }
    Err(ClientError::Broken("it stopped telling of the upload".into()).into())
}

fn tell(session: &Session<'_>, info: &DriveInfo, done: &DriveDone) {
    let name = display_name(&done.name);
    let stored = match (done.stored, done.sent_bytes) {
        (false, _) => "to be had while that device is there".to_owned(),
        (true, 0) => "on the relay already".to_owned(),
        (true, sent) => format!("on the relay; {} were not there yet", bytes(sent)),
    };
    session.out.say(&session.wrapped(&format!(
        "{name}: {} files, {}, {stored}.",
        done.files,
        bytes(done.bytes)
    )));
    session.out.result(&done.ticket);
    session.out.say(&session.wrapped(&format!(
        "Fetch it with: hither fetch TICKET    or, on your devices: hither fetch {}/{name}",
        display_name(&info.name)
    )));
}

fn refused(name: &str, info: &DriveInfo) -> ApiError {
    let path = display_name(&info.path);
    let (code, message) = match info.refusal.as_deref() {
        Some("nothing") => (
            ErrorCode::NotFound,
            format!("{name} exposes nothing like {path} to this device."),
        ),
        Some("unsuitable") => (ErrorCode::Unsharable, format!("{path} cannot be shared.")),
        Some("silent") => (
            ErrorCode::Refused,
            format!("The disk of {path} does not answer at {name}."),
        ),
        Some("busy") => (
            ErrorCode::Refused,
            format!("{name} was asked too much; try again in a minute."),
        ),
        Some("expired") => (
            ErrorCode::NoHolder,
            format!("{name} could not begin in time."),
        ),
        Some("failed") => (ErrorCode::Refused, format!("{name} cannot share {path}.")),
        _ => (ErrorCode::Refused, format!("It cannot be sent to {name}.")),
    };
    ApiError::new(code, message).with_hint("See what there is: hither list --on DEVICE")
}

async fn cancel(session: &Session<'_>, client: &Client, id: &str) -> Outcome {
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_hexdigit()) {
        let message = format!("There is no upload {}.", display_name(id));
        return Err(ApiError::new(ErrorCode::NotFound, message)
            .with_hint("See them all with: hither upload"));
    }
    let path = format!("/v1/drive/uploads/{id}");
    let info = client.delete::<DriveInfo>(&path).await?;
    session.out.json(&info);
    session.out.say("It was taken back.");
    Ok(Exit::Done)
}

const COLUMNS: [Column; 5] = [
    Column::new("ID", Align::Left),
    Column::new("DEVICE", Align::Left).flexible(),
    Column::new("PATH", Align::Left).flexible(),
    Column::new("STATE", Align::Left).flexible(),
    Column::new("WHEN", Align::Left),
];

/// Characters of an id that are shown.
const SHORT: usize = 8;

async fn all(session: &Session<'_>, client: &Client) -> Outcome {
    let all = client.get::<Vec<DriveInfo>>("/v1/drive/uploads").await?;
    session.out.json_lines(&all);
    if all.is_empty() {
        session
            .out
            .say("Nothing was asked for. See what a device exposes: hither list --on DEVICE");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&COLUMNS);
    for one in &all {
        let state = match one.refusal.as_deref() {
            Some(why) => format!("{} ({why})", one.state),
            None => one.state.clone(),
        };
        table.row([
            one.upload.chars().take(SHORT).collect(),
            device(&one.name, &one.device),
            display_name(&one.path),
            display_name(&state),
            ago(one.made, now()),
        ]);
    }
    session.table(table);
    Ok(Exit::Done)
}

const ENTRIES: [Column; 3] = [
    Column::new("NAME", Align::Left).flexible(),
    Column::new("SIZE", Align::Right),
    Column::new("CHANGED", Align::Left),
];

/// `hither list --on DEVICE [PATH]`.
pub(super) async fn list(
    session: &Session<'_>,
    client: &Client,
    on: String,
    path: String,
) -> Outcome {
    let (mut after, mut table, mut is_empty) = (None, Table::new(&ENTRIES), true);
    loop {
        let request = DriveListRequest {
            on: on.clone(),
            path: path.clone(),
            after,
        };
        let page = client
            .post::<DriveListing>("/v1/drive/list", &request)
            .await?;
        session.out.json_lines(&page.entries);
        is_empty &= page.entries.is_empty();
        for entry in &page.entries {
            let (mark, size) = match entry.kind.as_str() {
                "folder" => ("/", String::new()),
                "symlink" => (" (a symbolic link)", String::new()),
                _ => ("", bytes(entry.bytes)),
            };
            let changed = match entry.modified {
                0 => String::new(),
                modified => ago(modified, now()),
            };
            table.row([
                format!("{}{mark}", display_name(&entry.name)),
                size,
                changed,
            ]);
        }
        after = page.entries.last().map(|last| last.name.clone());
        if !page.more || after.is_none() {
            break;
        }
    }
    match is_empty {
        true => session.out.say("There is nothing."),
        false => session.table(table),
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nothing_came_of_it_is_a_sentence() {
        let mut info = DriveInfo {
            path: "docs/\u{1b}x".into(),
            refusal: Some("nothing".into()),
            ..DriveInfo::default()
        };
        let error = refused("nas", &info);
        assert_eq!(error.code, ErrorCode::NotFound);
        assert_eq!(
            error.message,
            "nas exposes nothing like docs/\u{fffd}x to this device."
        );
        info.refusal = None;
        assert_eq!(refused("nas", &info).message, "It cannot be sent to nas.");
    }
}
