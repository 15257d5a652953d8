//! `hither fetch`.

use crate::commands::pour::{self, Poured, Written};
use crate::commands::wanted;
use crate::complete;
use crate::session::{Outcome, Session};
use crate::show::{self, Progress, ProgressState};
use crate::signals;
use crate::target::Target;
use crate::{failure, input};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::engine::ArgValueCandidates;
use hither_api::{
    AcceptRequest, ApiError, Client, ClientError, CostMode, Done, ErrorCode, Event, Events,
    Existing, ExistsInfo, Exit, FetchRequest, Naming, Phase, Status, TransferInfo,
};
use hither_proto::{ShareLink, display_name};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinHandle;

const EXAMPLES: &str = "\
Examples:
  hither fetch hither1…                  into the current folder
  hither fetch hither1… -o ~/Downloads   into another folder
  hither fetch hither1… --list           what is in it
  hither fetch hither1… docs '*.jpg'     only a folder of it, and its pictures
  hither fetch desk/photos/2024          the same of what a device shares
  hither fetch able-baby-cabin           what a code of three words stands for
                                         (see hither share --code)
  hither fetch desk/photos               what your device desk shares as photos
                                         (see hither list --all): from the desk,
                                         or from where it was uploaded to
  hither fetch                           asks for the ticket, which other users
                                         of this machine cannot see then
  hither fetch hither1… -o - | tar x     a single file to standard output
  hither fetch hither1… --follow         and every later version, after Ctrl-C
                                         too, until hither transfers cancel
  hither fetch hither1… --max-cost 0.10  spend no more on paid sources

It comes from every device that has some of it at once. What this device already
has is not fetched again, and a fetch that was stopped goes on where it was when
the same command is run again. What is there already with the same content is
left as it is, and that is no error.";

/// Fetch what a ticket opens, or what another device of yours shares
#[derive(Debug, Default, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The ticket: one word that begins with hither1; read from standard input when absent or "-".
    /// Or three words that another device shows; or a device of yours and the name of something
    /// that it shares
    #[arg(value_name = "TICKET|CODE|OWNER/NAME", env = input::TICKET_VARIABLE, hide_env_values = true, add = ArgValueCandidates::new(complete::fetchable))]
    pub ticket: Option<String>,
    /// Files and folders in the share, when not all of it is wanted: paths as --list shows them, or
    /// patterns in quotes, like '*.jpg'
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Show what is in the share and fetch nothing
    #[arg(long, conflicts_with_all = ["output", "overwrite", "rename", "skip", "follow"])]
    pub list: bool,
    /// Folder to write into, made when missing. For a single file, the name to give it: that of a
    /// file that exists, or one with an ending (report.pdf). "-" writes a single file to standard
    /// output
    #[arg(long, short, value_name = "DIR|NAME")]
    pub output: Option<PathBuf>,
    /// Do not ask before fetching
    #[arg(long, short)]
    pub yes: bool,
    /// Replace files that exist
    #[arg(long, conflicts_with_all = ["rename", "skip"])]
    pub overwrite: bool,
    /// Write beside what exists, under another name
    #[arg(long, conflicts_with = "skip")]
    pub rename: bool,
    /// Leave files that exist as they are, and fetch the others
    #[arg(long)]
    pub skip: bool,
    /// Fetch every later version too, over the one before. Once the first one is here this goes on
    /// after Ctrl-C and restarts, until hither transfers cancel. What is not as it was fetched stays,
    /// and what is replaced or removed goes to .hither-trash
    #[arg(long)]
    pub follow: bool,
    /// What becomes of names that cannot be written there: rename writes them in another way, skip
    /// leaves out what is called so, refuse fetches nothing; rename unless said otherwise
    #[arg(long, value_name = "CHOICE", value_parser = naming())]
    pub names: Option<Naming>,
    /// How readily sources that cost something are used: saver, balanced or fast
    #[arg(long, value_name = "MODE", value_parser = mode())]
    pub mode: Option<CostMode>,
    /// Most that it may cost in all, in the currency of the configured prices
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    pub max_cost: Option<f64>,
    /// How long to look for a device that has it: 15s, 2m …
    #[arg(long, value_name = "TIME", env = "HITHER_WAIT", value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
}

fn mode() -> impl TypedValueParser<Value = CostMode> {
    let names = CostMode::ALL.map(|(name, _)| name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<CostMode>())
}

fn naming() -> impl TypedValueParser<Value = Naming> {
    PossibleValuesParser::new(["rename", "skip", "refuse"]).map(|name| match name.as_str() {
        "skip" => Naming::Skip,
        "refuse" => Naming::Refuse,
        _ => Naming::Rename,
    })
}

fn amount(text: &str) -> Result<f64, String> {
    let amount = text
        .parse::<f64>()
        .ok()
        .filter(|amount| amount.is_finite() && *amount >= 0.0);
    amount.ok_or_else(|| "an amount is a number from 0 on, like 0.50".into())
}

impl Args {
    fn to_stdout(&self) -> bool {
        self.output.as_deref() == Some(Path::new("-"))
    }

    /// Makes one ticket of the words that it was broken into; what follows are paths.
    fn join_ticket(&mut self) {
        let words = self.ticket.take().into_iter();
        (self.ticket, self.paths) = input::joined(words.chain(self.paths.drain(..)).collect());
    }

    const fn existing(&self) -> Existing {
        match (self.overwrite, self.rename, self.skip) {
            (true, ..) => Existing::Overwrite,
            (_, true, _) => Existing::Rename,
            (.., true) => Existing::Skip,
            _ => Existing::Fail,
        }
    }
}

/// How far the daemon has come with the fetch, as far as stopping it must know.
#[derive(Debug, Default)]
struct Begun {
    client: Option<Client>,
    share: String,
    transfer: Option<String>,
    /// It is on its way to standard output: what was stopped cannot go on.
    pouring: bool,
}

/// Runs the command; an interrupt stops the transfer, which can go on later.
pub async fn run(session: &Session<'_>, mut args: Args) -> Outcome {
    args.join_ticket();
    if args.to_stdout() && session.out.is_json() {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            "Standard output cannot carry the file and JSON at once.",
        )
        .with_hint("Leave out --json, or choose a folder with -o DIR."));
    }
    if !args.yes && !args.list && !session.out.can_ask() {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            "Nobody can be asked whether to fetch it.",
        )
        .with_hint("Pass --yes to fetch without asking."));
    }
    let begun = RefCell::new(Begun::default());
    let mut fetch = pin!(fetch(session, &args, &begun));
    tokio::select! {
        outcome = &mut fetch => outcome,
        // The stream of events, held by `fetch`, is closed only after the daemon was told.
        () = signals::interrupted() => Err(stop(session, begun.take(), args.follow).await),
    }
}

async fn fetch(session: &Session<'_>, args: &Args, begun: &RefCell<Begun>) -> Outcome {
    let mut paths = args.paths.clone();
    let (text, ticket) = match args
        .ticket
        .as_deref()
        .filter(|text| text.contains('/') && !ShareLink::is_meant(text))
    {
        Some(named) => {
            let (found, below) = wanted::by_name(session, named).await?;
            paths.extend(below);
            found
        }
        None => match input::ticket(session.out, args.ticket.clone()).await? {
            input::Wanted::Ticket(text, ticket) => (text, *ticket),
            input::Wanted::Code(code) => wanted::by_code(session, code, args.wait).await?,
        },
    };
    if args.list {
        return super::listing::show(session, text, paths, args.wait).await;
    }
    let target = if args.to_stdout() {
        None
    } else {
        Some(Target::open(args.output.as_deref())?)
    };
    let client = session.daemon().await?;
    let share = ticket.share().to_string();
    *begun.borrow_mut() = Begun {
        client: Some(client.clone()),
        share,
        ..Begun::default()
    };
    let request = FetchRequest {
        ticket: text,
        folder: target.as_ref().map(|target| target.folder().to_owned()),
        file_name: target.as_ref().and_then(Target::file_name),
        paths,
        from: 0,
        existing: args.existing(),
        accept: args.yes,
        wait_seconds: args.wait.map(|wait| wait.as_secs().max(1)),
        follow: args.follow,
        mode: args.mode,
        max_cost: args.max_cost,
        umask: Some(hither_api::umask()),
        names: args.names,
    };
    let following = Following {
        session,
        args,
        client: &client,
        begun,
        shown: RefCell::default(),
        pouring: RefCell::default(),
    };
    let outcome = following.follow(&request).await;
    if let (Err(error), Some(target)) = (&outcome, &target)
        && error.code != ErrorCode::Interrupted
    {
        target.undo();
    }
    outcome
}

/// A question, as the daemon must be told of it.
struct Question<'a> {
    transfer: &'a str,
    head: &'a str,
    /// It was answered before.
    agreed: bool,
    /// The things that are there already.
    exists: Option<&'a ExistsInfo>,
    /// The share is one file.
    single_file: bool,
}

/// How often in a row a daemon that dies is started again, while the fetch comes no further.
const REVIVALS: u32 = 3;

/// A fetch whose events are followed.
struct Following<'a> {
    session: &'a Session<'a>,
    args: &'a Args,
    client: &'a Client,
    begun: &'a RefCell<Begun>,
    /// What was offered last, as the daemon names it.
    shown: RefCell<String>,
    pouring: RefCell<Pouring>,
}

/// A file on its way to standard output.
#[derive(Default)]
struct Pouring {
    written: Written,
    task: Option<JoinHandle<Poured>>,
    /// The version that is written, as the daemon names it.
    head: String,
}

/// The next thing that a fetch hears of.
enum Next {
    Event(Box<Event>),
    /// The daemon has ended.
    Died,
    Poured(Poured),
}

impl Following<'_> {
    /// Follows a fetch to its end. A daemon that dies meanwhile is started again, and goes on with
    /// the same transfer.
    async fn follow(&self, request: &FetchRequest) -> Outcome {
        let mut progress = Progress::new(self.session.out);
        let (mut deaths, mut furthest) = (0, 0);
        loop {
            let request = FetchRequest {
                from: self.pouring.borrow().written.load(Ordering::Relaxed),
                ..request.clone()
            };
            let events = self.client.work("/v1/fetches", &request).await?;
            if let Some(end) = self
                .listen(events, &mut progress, &mut furthest, &mut deaths)
                .await?
            {
                return Ok(end);
            }
            deaths += 1;
            if deaths > REVIVALS {
                return Err(
                    ClientError::Broken("it stopped before the fetch was complete".into()).into(),
                );
            }
            let message = "The Hither daemon ended in the middle; it is started again, and the fetch goes on.";
            self.session.out.json(&Event::Warning {
                message: message.into(),
            });
            progress.suspend(|| self.session.warn_people(message));
            let task = self.pouring.borrow_mut().task.take();
            if let Some(task) = task
                && let Some(end) = self.poured(poured(task.await)).await?
            {
                return Ok(end);
            }
            if let Some(done) = self.done_already().await? {
                return self.finish(&done).await;
            }
        }
    }

    /// Waits for what comes next: an event, or the end of what is written to standard output.
    async fn next(&self, events: &mut Events) -> Result<Next, ApiError> {
        let mut task = self.pouring.borrow_mut().task.take();
        let ended = async {
            match &mut task {
                Some(task) => task.await,
                None => std::future::pending().await,
            }
        };
        let next = tokio::select! {
            event = events.next() => match event {
                Ok(Some(event)) => Next::Event(Box::new(event)),
                Ok(None) | Err(ClientError::Gone) => Next::Died,
                Err(error) => return Err(error.into()),
            },
            ended = ended => return Ok(Next::Poured(poured(ended))),
        };
        self.pouring.borrow_mut().task = task;
        Ok(next)
    }

    /// Acts on the end of what is written to standard output; `None`: the daemon says how it goes
    /// on.
    async fn poured(&self, poured: Poured) -> Result<Option<Exit>, ApiError> {
        let end = match poured {
            Poured::Whole | Poured::BrokenOff => return Ok(None),
            Poured::Unread => Ok(Some(Exit::Unread)),
            Poured::Failed(error) => Err(error),
        };
        let transfer = self.begun.borrow().transfer.clone();
        forget(self.client, &transfer).await?;
        end
    }

    /// Begins to write to standard output what was agreed to.
    fn pour(&self, transfer: &str, head: &str) {
        self.begun.borrow_mut().pouring = true;
        let mut pouring = self.pouring.borrow_mut();
        head.clone_into(&mut pouring.head);
        let written = Written::clone(&pouring.written);
        pouring.task = Some(pour::begin(self.client, transfer, written));
    }

    /// What there is to be told of a transfer that was done when the daemon died.
    async fn done_already(&self) -> Result<Option<Done>, ApiError> {
        let Some(id) = self.begun.borrow().transfer.clone() else {
            return Ok(None);
        };
        let all = self
            .client
            .get::<Vec<TransferInfo>>("/v1/transfers")
            .await?;
        let done = all
            .into_iter()
            .find(|info| info.transfer == id && info.phase == Phase::Done);
        let done = done.map(
            |TransferInfo {
                 transfer,
                 path,
                 total,
                 seconds,
                 sources,
                 ..
             }| Done::Fetched {
                path,
                bytes: total,
                seconds,
                sources,
                transfer,
                already: false,
            },
        );
        if let Some(done) = &done {
            self.session.out.json(&Event::Done(done.clone()));
        }
        Ok(done)
    }

    /// Listens until the fetch ends; `None` when the daemon died before. `deaths` counts anew when
    /// it came further than `furthest`.
    async fn listen(
        &self,
        mut events: Events,
        progress: &mut Progress,
        furthest: &mut u64,
        deaths: &mut u32,
    ) -> Result<Option<Exit>, ApiError> {
        loop {
            let event = match self.next(&mut events).await? {
                Next::Event(event) => *event,
                Next::Died => return Ok(None),
                Next::Poured(poured) => match self.poured(poured).await? {
                    None => continue,
                    end => return Ok(end),
                },
            };
            if let Event::Progress { bytes, .. } = event
                && bytes > *furthest
            {
                (*furthest, *deaths) = (bytes, 0);
            }
            if !matches!(event, Event::Error(_)) {
                self.session.out.json(&event);
            }
            match event {
                Event::Progress {
                    phase: Phase::Offered,
                    ..
                } => {}
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
                Event::Warning { message } => {
                    progress.suspend(|| self.session.warn_people(&message))
                }
                Event::Conflict { path, copy, .. } => {
                    let message = show::conflict(&path, copy.as_deref());
                    progress.suspend(|| self.session.warn_people(&message));
                }
                Event::Names { names, .. } if !self.args.to_stdout() => {
                    progress.suspend(|| {
                        show::names(&names)
                            .iter()
                            .for_each(|line| self.session.out.note(line))
                    });
                }
                Event::Offer {
                    transfer,
                    name,
                    single_file,
                    files,
                    bytes,
                    path,
                    owner,
                    head,
                    agreed,
                    exists,
                    ..
                } => {
                    self.begun.borrow_mut().transfer = Some(transfer.clone());
                    progress.clear();
                    let path = (!self.args.to_stdout()).then_some(path.as_str());
                    let owner = self.owner(&owner).await;
                    let offer = show::Offer {
                        name: &name,
                        single_file,
                        files,
                        bytes,
                        owner: &owner,
                        path,
                    };
                    // After the daemon was started again it is told once more.
                    let again = self.shown.replace(head.clone()) == head;
                    let poured = self.pouring.borrow().head.clone();
                    if !poured.is_empty() {
                        self.go_on(&transfer, &head, &poured).await?;
                    } else if !(again && (agreed || self.args.yes)) {
                        self.answer(
                            &Question {
                                transfer: &transfer,
                                head: &head,
                                agreed,
                                exists: exists.as_ref(),
                                single_file,
                            },
                            &offer,
                        )
                        .await?;
                    }
                    if self.args.to_stdout() {
                        self.pour(&transfer, &head);
                    }
                }
                Event::Version {
                    version,
                    path,
                    bytes,
                    seconds,
                    sources,
                    ..
                } => {
                    progress.clear();
                    let summary = show::fetched(&path, bytes, seconds, &sources);
                    self.session.out.say(
                        &self
                            .session
                            .wrapped(&format!("Version {version}: {summary}")),
                    );
                }
                Event::Names { .. }
                | Event::Entry(_)
                | Event::Transfer(_)
                | Event::Changed { .. }
                | Event::Upload(_)
                | Event::Message(_)
                | Event::Nearby(_)
                | Event::Ask(_)
                | Event::Asks(_)
                | Event::Code(_)
                | Event::CodeMet(_)
                | Event::Giving(_)
                | Event::Fetched(_)
                | Event::Drive(_) => {}
                Event::Error(error) => return Err(error),
                Event::Done(done) => {
                    progress.clear();
                    return self.finish(&done).await.map(Some);
                }
            }
        }
    }

    /// The owner as people know it: by name when it is connected and has told its name.
    async fn owner(&self, id: &str) -> String {
        let known = self.client.get::<Status>("/v1/status").await.ok();
        let links = known.map(|status| status.links).unwrap_or_default();
        let name = links
            .into_iter()
            .find(|link| link.device == id)
            .map(|link| link.name);
        match name.filter(|name| !name.is_empty()) {
            Some(name) => format!("{name} ({})", show::device("", id)),
            None => format!("device {}", show::device("", id)),
        }
    }

    /// A part of it was written by a daemon that has ended: only the same goes on.
    async fn go_on(&self, transfer: &str, head: &str, poured: &str) -> Result<(), ApiError> {
        let path = format!("/v1/transfers/{transfer}/accept");
        if head == poured {
            let request = AcceptRequest {
                head: head.into(),
                existing: None,
            };
            return Ok(self
                .client
                .post::<serde_json::Value>(&path, &request)
                .await
                .map(drop)?);
        }
        forget(self.client, &Some(transfer.to_owned())).await?;
        Err(ApiError::new(
            ErrorCode::OfferChanged,
            "The share changed while it was written to standard output.",
        )
        .with_hint("Run the same command again: it begins with the new version."))
    }

    /// Shows what is offered and, unless the user agreed beforehand, asks.
    async fn answer(
        &self,
        question: &Question<'_>,
        offer: &show::Offer<'_>,
    ) -> Result<(), ApiError> {
        let transfer = question.transfer;
        if self.args.yes || question.agreed {
            self.session.out.note(&show::offer(offer));
            return Ok(());
        }
        self.session.out.ask(&format!("{}\n", show::offer(offer)));
        let answer = match question.exists {
            None => {
                let yes = input::yes(self.session.out, "Fetch it?").await;
                yes.map(|yes| yes.then_some(None))
            }
            Some(exists) => {
                let there = show::exists(exists, question.single_file);
                self.session.out.ask(&format!("{there}\n"));
                let choice = input::existing(self.session.out, question.single_file).await;
                choice.map(|choice| choice.map(Some))
            }
        };
        match answer {
            Some(Some(existing)) => {
                let path = format!("/v1/transfers/{transfer}/accept");
                let request = AcceptRequest {
                    head: question.head.into(),
                    existing,
                };
                match self.client.post::<serde_json::Value>(&path, &request).await {
                    // What is offered now is on its way, and is asked about.
                    Err(ClientError::Api(error)) if error.code == ErrorCode::OfferChanged => {
                        self.session
                            .out
                            .note("The share changed while you were asked.");
                        Ok(())
                    }
                    answered => Ok(answered.map(drop)?),
                }
            }
            Some(None) => {
                self.client
                    .delete::<TransferInfo>(&format!("/v1/transfers/{transfer}"))
                    .await?;
                Err(ApiError::new(
                    ErrorCode::Declined,
                    "Declined: nothing was written.",
                ))
            }
            // The input ended: no answer is not a no, which would discard what is here already.
            None => Err(stop(self.session, self.begun.take(), false).await),
        }
    }

    async fn finish(&self, done: &Done) -> Outcome {
        let Done::Fetched {
            path,
            bytes,
            seconds,
            sources,
            already,
            ..
        } = done
        else {
            return Ok(Exit::Done);
        };
        if !self.args.to_stdout() {
            let summary = if *already {
                show::already(path, *bytes)
            } else {
                show::fetched(path, *bytes, *seconds, sources)
            };
            self.session.out.say(&self.session.wrapped(&summary));
            return Ok(Exit::Done);
        }
        let task = self.pouring.borrow_mut().task.take();
        if let Some(task) = task
            && let Some(end) = self.poured(poured(task.await)).await?
        {
            return Ok(end);
        }
        self.session
            .out
            .note(&show::fetched("standard output", *bytes, *seconds, sources));
        Ok(Exit::Done)
    }
}

/// The end of a task that writes to standard output.
fn poured(ended: Result<Poured, tokio::task::JoinError>) -> Poured {
    ended.unwrap_or_else(|error| {
        Poured::Failed(ApiError::new(ErrorCode::Internal, error.to_string()))
    })
}

/// Ends a transfer of which nothing is wanted any more; one that has ended by itself is fine.
async fn forget(client: &Client, transfer: &Option<String>) -> Result<(), ApiError> {
    let Some(transfer) = transfer else {
        return Ok(());
    };
    let path = format!("/v1/transfers/{transfer}");
    match client.delete::<TransferInfo>(&path).await {
        Err(ClientError::Api(error)) if error.code == ErrorCode::NotFound => Ok(()),
        ended => Ok(ended.map(drop)?),
    }
}

/// Tells the daemon to stop the transfer, so that it can go on later. A second interrupt does not
/// wait for that.
async fn stop(session: &Session<'_>, begun: Begun, follows: bool) -> ApiError {
    let Some(client) = begun.client.clone() else {
        return signals::stopped();
    };
    if follows {
        let kept = tokio::select! {
            kept = kept_up(&client, &begun) => kept,
            () = signals::interrupted() => None,
        };
        if let Some(kept) = kept {
            return kept;
        }
    }
    let paused = tokio::select! {
        paused = pause(&client, &begun) => paused,
        () = signals::interrupted() => Ok(()),
    };
    if let Err(error) = paused {
        session.out.warning(&format!(
            "The transfer may still run: {}",
            failure::told(&error.message)
        ));
    }
    signals::stopped().with_hint("Run the same command to go on.")
}

/// A copy that is here and followed is kept up to date by the daemon: only the command ends.
async fn kept_up(client: &Client, begun: &Begun) -> Option<ApiError> {
    let all = client
        .get::<Vec<TransferInfo>>("/v1/transfers")
        .await
        .ok()?;
    let kept = all.into_iter().find(|info| {
        let here = info.follow.as_ref().is_some_and(|f| f.version.is_some());
        let named = begun.transfer.as_ref();
        let this = named.map_or(info.share == begun.share, |id| info.transfer == *id);
        here && this && info.ended.is_none()
    })?;
    let message = format!("{} is still kept up to date.", display_name(&kept.path));
    let hint = format!(
        "See it with hither list; end it with: hither transfers cancel {}",
        kept.transfer
    );
    Some(ApiError::new(ErrorCode::Interrupted, message).with_hint(hint))
}

async fn pause(client: &Client, begun: &Begun) -> Result<(), ApiError> {
    let transfer = match &begun.transfer {
        Some(transfer) if begun.pouring => {
            return forget(client, &Some(transfer.clone())).await;
        }
        Some(transfer) => transfer.clone(),
        // Nothing was offered yet: the transfer is found by its share, if it exists at all.
        None => {
            let all = client.get::<Vec<TransferInfo>>("/v1/transfers").await?;
            match all
                .into_iter()
                .find(|t| t.share == begun.share && t.ended.is_none())
            {
                Some(found) => found.transfer,
                None => return Ok(()),
            }
        }
    };
    client
        .post::<TransferInfo>(
            &format!("/v1/transfers/{transfer}/pause"),
            &serde_json::json!({}),
        )
        .await?;
    Ok(())
}
