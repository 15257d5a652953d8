//! `hither share`.

use crate::commands::send::{Kind, outcome};
use crate::complete;
use crate::failure::{self, shown};
use crate::giving::{Before, Waiting};
use crate::link;
use crate::pipe::{self, Spooled};
use crate::session::{Outcome, Session};
use crate::show::{Drawing, Progress, ProgressState, bytes, count, qr};
use crate::signals;
use crate::upload::wait;
use clap_complete::engine::ArgValueCandidates;
use hither_api::{
    ApiError, Client, ClientError, Done, ErrorCode, Event, Exit, SentState, ShareRequest,
};
use hither_proto::display_name;
use serde_json::{Value, json};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  hither share film.mkv                   share a file
  hither share photos/ notes.txt          several as one folder: one ticket
  hither share report.pdf --keep 7d       end the share by itself after a week
  hither share photos/ --watch            also share what appears there later
  hither share film.mkv --wait-upload     return when it is at the relay
  hither share film.mkv --to phone        also send the ticket to your phone
  hither share film.mkv --group choir     for the members of a group
  hither share film.mkv --code            three words to say, for ten minutes
  hither share film.mkv --link            a link that any browser opens
  hither share film.mkv --wait            stay until somebody has it
  hither share film.mkv --once            end it when somebody has it
  hither share src/ --exclude '*.o'       leave something out
  pg_dump db | hither share - --name db.sql
  hither share film.mkv | ssh nas hither fetch --yes

What is shared stays where it is and is not copied. The ticket is a secret:
whoever has it can fetch the share. Your own devices at the same relay need
none: hither fetch DEVICE/NAME. When standard output is no terminal, nothing but
the ticket is printed.";

/// Share files or folders; prints the ticket
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Files or folders; several make one share, a folder in which each keeps its name. "-": what
    /// comes through a pipe, as one file called by --name; it is kept until the share ends
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Call the share so instead of by the file's or folder's own name (of several: that of the
    /// folder they are in)
    #[arg(long)]
    pub name: Option<String>,
    /// Share it with this group, by its name or id: its members see it and need no ticket (see:
    /// hither group)
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Also send the ticket to this device of yours, sealed: its name, short id or id; may be
    /// given again for more
    #[arg(long, value_name = "DEVICE", add = ArgValueCandidates::new(complete::devices))]
    pub to: Vec<String>,
    /// End the share by itself after this time: 90m, 12h, 7d …, or never. Devices that fetched it keep
    /// it, and give it to whoever has the ticket. Shared again without this it ends when it would have
    #[arg(long, value_name = "TIME", value_parser = keep)]
    pub keep: Option<Duration>,
    /// Never upload it to a store, whatever the configuration says
    #[arg(long)]
    pub no_upload: bool,
    /// Do not tell your other devices of it: they cannot fetch it by its name, only with the
    /// ticket
    #[arg(long)]
    pub no_list: bool,
    /// Keep it shared as it changes: publish a new version whenever something in it changes, also
    /// after a restart
    #[arg(long)]
    pub watch: bool,
    /// Wait until all of it is uploaded to a relay, so that it can be fetched while this device is
    /// away
    #[arg(long, conflicts_with = "no_upload")]
    pub wait_upload: bool,
    /// Leave out what cannot be shared instead of failing
    #[arg(long)]
    pub skip_unsharable: bool,
    /// Show a code of three words instead of the ticket and stay until somebody used it: good for
    /// ten minutes and one attempt (on the other device: hither fetch CODE)
    #[arg(long, conflicts_with_all = ["to", "wait_upload"])]
    pub code: bool,
    /// Print a link that opens it in a browser, when it is uploaded to a relay that serves a page.
    /// Like the ticket in it a secret; hither fetch takes it as well
    #[arg(long, conflicts_with = "code")]
    pub link: bool,
    /// End the share on this device and at the relay as soon as one device has all of it; that device
    /// keeps it, and gives it to whoever has the ticket
    #[arg(long)]
    pub once: bool,
    /// Stay until this many devices (one, without a number) have all of it, and show how far each
    /// is, also over restarts of the daemon; Ctrl-C leaves it shared. Of a fetch that takes everything
    /// from the store of a relay this device's relay tells
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1", value_parser = devices)]
    pub wait: Option<u32>,
    /// Leave out what matches this pattern, as a line of a .gitignore would; may be given again.
    /// .hitherignore files in what is shared say the same
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Forget the patterns that it was shared with before: without this or --exclude they stay
    #[arg(long, conflicts_with = "exclude")]
    pub no_exclude: bool,
    /// Draw a QR code even where it does not fit the screen
    #[arg(long, conflicts_with = "no_qr")]
    pub qr: bool,
    /// Draw no QR code
    #[arg(long)]
    pub no_qr: bool,
}

impl Args {
    /// Returns whether it stays when it has shared.
    pub const fn stays(&self) -> bool {
        self.code || self.link || self.wait.is_some()
    }

    fn takes_pipe(&self) -> bool {
        self.paths.iter().any(|path| path.as_os_str() == "-")
    }

    fn drawn(&self) -> Qr {
        match (self.qr, self.no_qr || !self.to.is_empty()) {
            (true, _) => Qr::Always,
            (false, true) => Qr::Never,
            (false, false) => Qr::WhereItFits,
        }
    }
}

/// The cases in which a ticket is drawn as a QR code, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qr {
    /// If it and everything beside it is on the screen at once.
    WhereItFits,
    /// In any case.
    Always,
    /// Not at all.
    Never,
}

/// Most devices that can be waited for.
const MAX_DEVICES: u32 = 1000;

fn devices(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|n| (1..=MAX_DEVICES).contains(n));
    let words =
        || format!("a number of devices is 1 to {MAX_DEVICES}; a path stands before --wait");
    number.ok_or_else(words)
}

/// A time of at least one second, or none: for good.
fn keep(text: &str) -> Result<Duration, String> {
    match text {
        "never" => Ok(Duration::ZERO),
        text => span(text).map_err(|why| format!("{why}, or never")),
    }
}

/// A time of at least one second.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(span) if span >= Duration::from_secs(1) => Ok(span),
        Ok(_) => Err("at least one second is needed".into()),
        Err(_) => Err("a time is a number and a unit, like 90m, 12h or 7d".into()),
    }
}

/// Runs the command when it stays: what was shared stays shared when it is interrupted.
pub async fn attend(session: &Session<'_>, args: Args) -> Outcome {
    let (shared, code, link) = (Cell::new(false), args.code, args.link);
    tokio::select! {
        outcome = begin(session, args, &shared) => outcome,
        () = signals::interrupted() => Err(signals::stopped().with_hint(match (shared.get(), code, link) {
            (true, true, _) => "The code is over. What was shared stays shared: see hither list",
            (true, false, true) => {
                "What was shared stays shared, and its upload goes on: the same command prints the link later."
            }
            (true, false, false) => "What was shared stays shared: see hither list",
            (false, ..) => "Nothing was shared.",
        })),
    }
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    begin(session, args, &Cell::new(false)).await
}

/// Sets `shared` when it is.
async fn begin(session: &Session<'_>, args: Args, shared: &Cell<bool>) -> Outcome {
    if args.takes_pipe() {
        return share_pipe(session, &args, shared).await;
    }
    // All of them are looked at before anything is shared.
    let paths = args
        .paths
        .iter()
        .map(|path| absolute(path))
        .collect::<Result<Vec<_>, _>>()?;
    let client = session.daemon().await?;
    share(session, &client, &args, paths, shared).await
}

/// Shares what comes through a pipe.
async fn share_pipe(session: &Session<'_>, args: &Args, shared: &Cell<bool>) -> Outcome {
    let wrong = |message: &str, hint: &str| {
        Err(ApiError::new(ErrorCode::BadRequest, message).with_hint(hint))
    };
    let Some(name) = args.name.as_deref().filter(|_| args.paths.len() == 1) else {
        return match args.paths.len() {
            1 => wrong(
                "What comes through a pipe has no name.",
                "Give it one: --name NAME",
            ),
            _ => wrong(
                "A pipe is shared alone.",
                "Share the files in a command of their own.",
            ),
        };
    };
    if args.watch {
        return wrong("A pipe cannot be watched.", "Leave out --watch.");
    }
    let (client, status) = session.daemon_status().await?;
    let piped = Path::new(&status.home).join("piped");
    let spooled = pipe::spool(session.out, &piped, name).await?;
    let path = absolute(spooled.path())?;
    let on_shared = Piped(shared, Cell::new(Some(spooled)));
    share(session, &client, args, vec![path], &on_shared).await
}

/// Acts as soon as it is shared.
trait OnShared {
    fn shared(&self);
}

impl OnShared for Cell<bool> {
    fn shared(&self) {
        self.set(true);
    }
}

/// The same for what came through a pipe: the daemon has it now, and removes it.
struct Piped<'a>(&'a Cell<bool>, Cell<Option<Spooled>>);

impl OnShared for Piped<'_> {
    fn shared(&self) {
        self.0.set(true);
        if let Some(spooled) = self.1.take() {
            spooled.keep();
        }
    }
}

/// Returns what a path leads to, from the root, as the file system resolves it here and now:
/// symbolic links, `.` and `..` mean what they mean to every other program that is given this path.
pub fn absolute(path: &Path) -> Result<PathBuf, ApiError> {
    let absolute = std::fs::canonicalize(path)
        .map_err(|error| failure::io(ErrorCode::Unreadable, shown(path), &error))?;
    in_text(absolute)
}

/// The same for what keeps the name that it was given, also when that is a symbolic link's.
pub fn named(path: &Path) -> Result<PathBuf, ApiError> {
    let unreadable =
        |error: &std::io::Error| failure::io(ErrorCode::Unreadable, shown(path), error);
    std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    let ends_in_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let Some(name) = path.file_name().filter(|_| !ends_in_slash) else {
        return absolute(path);
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let folder = std::fs::canonicalize(folder).map_err(|error| unreadable(&error))?;
    in_text(folder.join(name))
}

/// A path that the local API can carry.
fn in_text(path: PathBuf) -> Result<PathBuf, ApiError> {
    if path.to_str().is_none() {
        let message = format!("The path is not UTF-8: {}.", shown(&path));
        return Err(ApiError::new(ErrorCode::Unsharable, message).with_hint("Rename it."));
    }
    Ok(path)
}

async fn share(
    session: &Session<'_>,
    client: &Client,
    args: &Args,
    paths: Vec<PathBuf>,
    on_shared: &impl OnShared,
) -> Outcome {
    let request = ShareRequest {
        paths,
        name: args.name.clone(),
        piped: args.takes_pipe(),
        keep_seconds: args.keep.map(|keep| keep.as_secs()),
        no_upload: args.no_upload,
        no_list: args.no_list,
        skip_unsharable: args.skip_unsharable,
        watch: args.watch,
        group: args.group.clone(),
        to: args.to.clone(),
        offer: false,
        once: args.once,
        exclude: (!args.exclude.is_empty() || args.no_exclude).then(|| args.exclude.clone()),
    };
    let pages = match args.link {
        true => link::pages(client).await?,
        false => Vec::new(),
    };
    let before = match args.wait {
        Some(_) => Some(Before::look(client).await?),
        None => None,
    };
    let mut done = follow(session, client, &request).await?;
    on_shared.shared();
    // Before anybody can have the ticket: who is quick is not missed.
    let waiting = match (before, &done, args.wait) {
        (Some(before), Done::Shared { share, .. }, Some(devices)) => {
            // A daemon that was stopped is not started again by who only waits.
            let client = crate::daemon::client_of_the_dead(&session.paths()?);
            Some(Waiting::begin(client, share, devices, before).await?)
        }
        _ => None,
    };
    if waiting.is_some() || args.link {
        session.out.json(&shared_event(&done));
    }
    let mut exit = Exit::Done;
    if args.code {
        done = crate::commands::code::show_share(session, client, done).await?;
    } else if args.link {
        print_summary(session, &done, args);
        let found = link::of(session, client, &done, &pages, args.no_upload).await?;
        if let Done::Shared { link, .. } = &mut done {
            link.clone_from(&found);
        }
        exit = print_sent(session, &done);
        if let Some(found) = &found {
            print_link(session, found, args.drawn());
        }
    } else {
        // People and pipes get the ticket at once; the last line of JSON says that all is done.
        print(session, &done, args);
        exit = print_sent(session, &done);
    }
    if let (true, false, Done::Shared { share, .. }) = (args.wait_upload, args.link, &done) {
        wait(session, client, share).await?;
    }
    if let Some(waiting) = waiting {
        waiting.end(session).await?;
    }
    session.out.json(&Event::Done(done));
    Ok(exit)
}

/// The fields of `done` as an event that is not the last one: a program gets the ticket while this
/// one waits.
fn shared_event(done: &Done) -> Value {
    let mut event = json!({ "event": "shared" });
    if let (Some(event), Ok(Value::Object(fields))) =
        (event.as_object_mut(), serde_json::to_value(done))
    {
        event.extend(fields);
    }
    event
}

/// Says what became of the ticket at the devices it was sent to; beside the ticket, which a program
/// may read.
pub fn print_sent(session: &Session<'_>, done: &Done) -> Exit {
    let Done::Shared { sent, .. } = done else {
        return Exit::Done;
    };
    for one in sent {
        let text = session.wrapped(&outcome(one, Kind::Offer));
        if session.out.is_read_by_person() {
            session.out.say(&text);
        } else {
            session.out.note(&text);
        }
    }
    let mut states = sent.iter().map(|one| one.state);
    if states.any(|state| matches!(state, SentState::Failed | SentState::Declined)) {
        Exit::Refused
    } else {
        Exit::Done
    }
}

/// Shares and shows how it goes; the end is for the caller to show.
pub async fn follow(
    session: &Session<'_>,
    client: &Client,
    request: &ShareRequest,
) -> Result<Done, ApiError> {
    // A share that is made again keeps its ticket; a ticket that is sent again would be there
    // twice.
    let mut events = match request.to.is_empty() {
        true => client.work("/v1/shares", request).await?,
        false => client.work_once("/v1/shares", request).await?,
    };
    let mut progress = Progress::new(session.out);
    while let Some(event) = events.next().await? {
        if !event.is_last() {
            session.out.json(&event);
        }
        match event {
            Event::Progress {
                phase,
                bytes,
                total,
                files,
                rate,
                remaining,
                devices,
            } => {
                progress.show(&ProgressState {
                    phase,
                    bytes,
                    total,
                    files,
                    rate,
                    remaining,
                    devices,
                });
            }
            Event::Warning { message } => progress.suspend(|| session.warn_people(&message)),
            Event::Error(error) => return Err(error),
            Event::Done(done) => return Ok(done),
            Event::Offer { .. }
            | Event::Conflict { .. }
            | Event::Names { .. }
            | Event::Entry(_)
            | Event::Transfer(_)
            | Event::Changed { .. }
            | Event::Version { .. }
            | Event::Upload(_)
            | Event::Code(_)
            | Event::CodeMet(_)
            | Event::Message(_)
            | Event::Nearby(_)
            | Event::Ask(_)
            | Event::Asks(_)
            | Event::Giving(_)
            | Event::Fetched(_)
            | Event::Drive(_) => {}
        }
    }
    Err(ClientError::Broken("it stopped before the share was complete".into()).into())
}

fn print(session: &Session<'_>, done: &Done, args: &Args) {
    print_summary(session, done, args);
    if let Done::Shared { ticket, .. } = done {
        print_ticket(session, ticket, args.drawn());
    }
}

/// Says to people what was shared.
fn print_summary(session: &Session<'_>, done: &Done, args: &Args) {
    let Done::Shared {
        name,
        files,
        bytes: size,
        excluded,
        ..
    } = done
    else {
        return;
    };
    if !session.out.is_read_by_person() {
        return;
    }
    let text = format!(
        "{}: {}, {}",
        display_name(name),
        count(*files, "file"),
        bytes(*size)
    );
    session.out.say(&format!("Shared {text}"));
    if *excluded > 0 {
        let entries = match excluded {
            1 => "1 entry".into(),
            number => format!("{number} entries"),
        };
        session.out.say(&format!("Left out by patterns: {entries}"));
    }
    if let Some(words) = until(args, name) {
        session.out.say(&words);
    }
    session.out.say("");
}

/// The command that ends a share without an end of its own.
fn until(args: &Args, name: &str) -> Option<String> {
    let has_an_end = args.keep.is_some_and(|keep| !keep.is_zero()) || args.once;
    let name = display_name(name);
    (!has_an_end).then(|| format!("It stays shared until: hither unshare {}", quoted(&name)))
}

/// A name as a shell takes it.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "._-+@%/,".contains(c);
    match !name.is_empty() && name.chars().all(is_plain) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', "'\\''")),
    }
}

/// Rows around a QR code: what was shared, until when, and an empty one, an empty one below it, the
/// line above the command, and the prompt that follows.
const AROUND: usize = 6;

/// Prints a ticket: for programs alone on its line; for people as the command to type on the other
/// device, which is the last line.
pub fn print_ticket(session: &Session<'_>, ticket: &str, wanted: Qr) {
    let command = format!("hither fetch {ticket}");
    print_secret(session, ticket, &command, "On the other device:", wanted);
}

/// Prints a link: alone on its line, which is the last one.
fn print_link(session: &Session<'_>, link: &str, wanted: Qr) {
    let words = "In any browser, or with hither fetch 'LINK':";
    print_secret(session, link, link, words, wanted);
}

/// Prints a secret for programs, and for people as a code above `words` and the last line.
fn print_secret(session: &Session<'_>, secret: &str, last: &str, words: &str, wanted: Qr) {
    let out = session.out;
    if !out.is_read_by_person() || out.is_quiet() {
        return out.result(secret);
    }
    let (columns, rows) = out.size();
    let drawing = Drawing {
        columns,
        rows,
        colours: out.has_colours(),
    };
    let used = AROUND + last.len().div_ceil(columns.max(1));
    let fits = |code: &String| wanted == Qr::Always || code.lines().count() + used <= rows;
    if let Some(code) = qr(secret, drawing).filter(|code| wanted != Qr::Never && fits(code)) {
        out.say(&format!("{code}\n"));
    }
    out.say(words);
    out.result(last);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_what_they_mean_to_the_file_system() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(home.join("deep/inner")).unwrap();
        std::fs::write(home.join("deep/s"), "in deep").unwrap();
        std::fs::write(home.join("s"), "at home").unwrap();
        std::os::unix::fs::symlink("deep/inner", home.join("link")).unwrap();
        std::os::unix::fs::symlink("s", home.join("to s")).unwrap();
        assert_eq!(
            absolute(&home.join("link")).unwrap(),
            home.join("deep/inner")
        );
        assert_eq!(
            absolute(&home.join("link/")).unwrap(),
            home.join("deep/inner")
        );
        assert_eq!(
            absolute(&home.join("link/../s")).unwrap(),
            home.join("deep/s")
        );
        assert_eq!(absolute(&home.join("deep/..")).unwrap(), home);
        assert_eq!(
            absolute(&home.join("./deep//inner/.")).unwrap(),
            home.join("deep/inner")
        );
        assert_eq!(
            absolute(Path::new(".")).unwrap(),
            std::env::current_dir().unwrap().canonicalize().unwrap()
        );
        for wrong in ["none", "s/", "s/.."] {
            assert_eq!(
                absolute(&home.join(wrong)).unwrap_err().code,
                ErrorCode::Unreadable,
                "{wrong}"
            );
        }
        assert_eq!(named(&home.join("to s")).unwrap(), home.join("to s"));
        assert_eq!(named(&home.join("link/../s")).unwrap(), home.join("deep/s"));
        assert_eq!(named(&home.join("link/..")).unwrap(), home.join("deep"));
        assert_eq!(
            named(&home.join("none")).unwrap_err().code,
            ErrorCode::Unreadable
        );
    }

    #[test]
    fn times_are_at_least_a_second() {
        assert_eq!(span("7d").unwrap().as_secs(), 604_800);
        assert!(span("1ms").is_err() && span("soon").is_err());
        assert_eq!(keep("never"), Ok(Duration::ZERO));
        assert_eq!(keep("12h").unwrap().as_secs(), 43_200);
        assert!(keep("0s").is_err());
    }

    #[test]
    fn names_are_quoted_for_a_shell() {
        for (name, quotes) in [
            ("film.mkv", "film.mkv"),
            ("my film", "'my film'"),
            ("it's", r"'it'\''s'"),
            ("$x", "'$x'"),
        ] {
            assert_eq!(quoted(name), quotes);
        }
    }
}
