//! The things this device gives: waiting until others have it, and the table of who fetches what.

use crate::output::Output;
use crate::session::Session;
use crate::show::{Align, Column, Table, ago, bytes, count, duration, kind_words};
use hither_api::{ApiError, Client, ClientError, ErrorCode, Event, Events, GivingInfo, ShareInfo};
use hither_proto::display_name;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Lines of devices at most; of more only how many.
const LINES: usize = 8;

/// Everything that is given; nothing when the daemon is of a version that does not say.
pub async fn list(client: &Client) -> Result<Vec<GivingInfo>, ApiError> {
    match client.get::<Vec<GivingInfo>>("/v1/giving").await {
        Ok(all) => Ok(all),
        Err(error) => match error.into_api() {
            error if error.code == ErrorCode::NotFound => Ok(Vec::new()),
            error => Err(error),
        },
    }
}

/// How often devices had all of something before: those fetches are not waited for.
#[derive(Debug, Default)]
pub struct Before(HashMap<(String, String), u64>);

impl Before {
    /// Asks the daemon.
    pub async fn look(client: &Client) -> Result<Self, ApiError> {
        let all = list(client).await?;
        let times = |one: GivingInfo| ((one.share, one.device), one.times);
        Ok(Self(all.into_iter().map(times).collect()))
    }

    fn is_new(&self, one: &GivingInfo) -> bool {
        let key = (one.share.clone(), one.device.clone());
        one.times > self.0.get(&key).copied().unwrap_or(0)
    }
}

/// Pause between two looks for another daemon, after one was stopped.
const AGAIN: Duration = Duration::from_millis(500);

/// A wait until so many devices have all of a share. It goes on when the daemon ends and is started
/// again, which knows who has all of it.
pub struct Waiting {
    share: String,
    /// Asks the daemon, and starts it again when it died; one that was stopped is left alone.
    client: Client,
    events: Events,
    wanted: usize,
    before: Before,
    have: HashSet<String>,
    /// Devices that count; empty: everybody.
    only: HashSet<String>,
}

impl Waiting {
    /// From here on nobody is missed.
    pub async fn begin(
        client: Client,
        share: &str,
        wanted: u32,
        before: Before,
    ) -> Result<Self, ApiError> {
        let events = client.events(&of(share)).await?;
        Ok(Self {
            share: share.to_owned(),
            client,
            events,
            wanted: wanted as usize,
            before,
            have: HashSet::new(),
            only: HashSet::new(),
        })
    }

    /// A wait of these devices only.
    pub fn of(mut self, devices: HashSet<String>) -> Self {
        self.only = devices;
        self
    }

    /// Shows how far each device is, until enough have all of it.
    ///
    /// Fails when the share ends before that.
    pub async fn end(mut self, session: &Session<'_>) -> Result<(), ApiError> {
        let mut lines = Lines::new(session.out, self.words());
        while self.have.len() < self.wanted {
            let event = match self.events.next().await {
                Ok(Some(event)) => event,
                Ok(None) => {
                    self.events = self.after_the_end(&lines).await?;
                    continue;
                }
                Err(ClientError::Gone | ClientError::NotRunning) => {
                    self.events = match self.client.events(&of(&self.share)).await {
                        Ok(events) => events,
                        // The daemon was stopped and did not die.
                        Err(_) => self.after_the_end(&lines).await?,
                    };
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match event {
                Event::Giving(one) => {
                    session.out.json(&event_of("progress", &one));
                    lines.show(&one);
                    if self.before.is_new(&one) {
                        self.has(session, &mut lines, &one);
                    }
                }
                Event::Fetched(one) => self.has(session, &mut lines, &one),
                Event::Error(error) => return Err(error),
                _ => return Err(ClientError::Broken("it tells something else".into()).into()),
            }
        }
        lines.clear();
        Ok(())
    }

    /// The events ended: with the share, or with a daemon that was stopped. The next one is waited for.
    async fn after_the_end(&self, lines: &Lines) -> Result<Events, ApiError> {
        let watching = self.client.clone().watching();
        lines.head("Waiting until the daemon runs again; Ctrl-C leaves it shared.".into());
        loop {
            match watching.get::<Vec<ShareInfo>>("/v1/shares").await {
                Ok(shares) if shares.iter().any(|one| one.share == self.share) => {
                    match watching.events(&of(&self.share)).await {
                        Ok(events) => {
                            lines.head(self.words());
                            return Ok(events);
                        }
                        Err(ClientError::Gone | ClientError::NotRunning) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(_) => {
                    let message = "The share ended before so many devices had all of it.";
                    let error = ApiError::new(ErrorCode::NotFound, message);
                    return Err(error.with_hint("See: hither list"));
                }
                Err(ClientError::Gone | ClientError::NotRunning) => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn has(&mut self, session: &Session<'_>, lines: &mut Lines, one: &GivingInfo) {
        let counts = self.only.is_empty() || self.only.contains(&one.device);
        if counts && self.have.insert(one.device.clone()) {
            session.out.json(&event_of("fetched", one));
            let name = display_name(&one.device_name);
            lines.suspend(|| session.out.note(&format!("{name} has all of it.")));
            lines.head(self.words());
        }
    }

    fn words(&self) -> String {
        match (self.wanted, self.have.len()) {
            (1, _) => "Waiting until somebody has all of it; Ctrl-C leaves it shared.".into(),
            (wanted, have) => format!(
                "Waiting until {} have all of it: {have} so far; Ctrl-C leaves it shared.",
                count(wanted as u64, "device")
            ),
        }
    }
}

/// The call that tells of a share.
fn of(share: &str) -> String {
    format!("/v1/giving/events?share={share}")
}

/// An event about one device, in JSON.
fn event_of(kind: &str, one: &GivingInfo) -> Value {
    let mut event = json!({ "event": kind, "phase": "giving" });
    if let (Some(event), Ok(Value::Object(fields))) =
        (event.as_object_mut(), serde_json::to_value(one))
    {
        event.extend(fields);
    }
    event
}

/// One line for each device on standard error, while somebody looks.
struct Lines {
    all: MultiProgress,
    head: ProgressBar,
    of: Vec<(String, ProgressBar)>,
    width: usize,
}

impl Lines {
    fn new(out: &Output, words: String) -> Self {
        let target = match out.draws_progress() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let all = MultiProgress::with_draw_target(target);
        let head = all.add(line());
        head.set_message(words);
        Self {
            all,
            head,
            of: Vec::new(),
            width: out.columns_of_stderr().saturating_sub(1),
        }
    }

    fn head(&self, words: String) {
        self.head.set_message(words);
    }

    fn show(&mut self, one: &GivingInfo) {
        let place = self.of.iter().position(|(device, _)| *device == one.device);
        let place = match place {
            Some(place) => place,
            None if self.of.len() < LINES => {
                self.of.push((one.device.clone(), self.all.add(line())));
                self.of.len() - 1
            }
            None => return,
        };
        let text = standing(one);
        let cut = console::truncate_str(&text, self.width, "…").into_owned();
        self.of[place].1.set_message(cut);
    }

    fn suspend(&self, f: impl FnOnce()) {
        self.all.suspend(f);
    }

    fn clear(&self) {
        self.of.iter().for_each(|(_, line)| line.finish_and_clear());
        self.head.finish_and_clear();
    }
}

fn line() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}");
    ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// How far a device is, in one line.
fn standing(one: &GivingInfo) -> String {
    let mut parts = vec![format!(
        "{}: {}",
        display_name(&one.device_name),
        state(one)
    )];
    if one.rate > 0 && !one.complete {
        parts.push(format!("{}/s", bytes(one.rate)));
    }
    if let Some(left) = one.remaining.filter(|_| !one.complete) {
        parts.push(format!("{} left", duration(left)));
    }
    parts.push(kind_words(one.kind).into());
    parts.join(", ")
}

/// The activity of a device, with how much it has.
fn state(one: &GivingInfo) -> String {
    let percent = one.bytes.saturating_mul(100).checked_div(one.total);
    match (one.complete, one.open, percent) {
        (true, ..) => "has all".into(),
        (false, true, Some(percent)) if one.version > 0 => {
            format!("fetching {}%", percent.min(100))
        }
        (false, true, _) => "looking".into(),
        // A device that is gone may have wanted no more than that part.
        (false, false, _) if one.times > 0 => "gone, had all".into(),
        (false, false, Some(percent)) if one.version > 0 => {
            format!("gone, has {}%", percent.min(100))
        }
        (false, false, _) => "gone".into(),
    }
}

const COLUMNS: [Column; 7] = [
    Column::new("GIVING", Align::Left).flexible(),
    Column::new("TO", Align::Left).flexible(),
    Column::new("STATE", Align::Left),
    Column::new("GIVEN", Align::Right).optional(),
    Column::new("RATE", Align::Right),
    Column::new("LEFT", Align::Right).optional().sparse(),
    Column::new("HOW", Align::Left).optional(),
];

/// The devices that fetch, as a table.
pub fn table(all: &[GivingInfo], now: u64) -> Table {
    let mut table = Table::new(&COLUMNS);
    let some = |number: u64, text: String| if number > 0 { text } else { "–".into() };
    for one in all {
        let left = match (
            one.remaining.filter(|_| one.open && !one.complete),
            one.done,
        ) {
            (Some(left), _) => duration(left),
            (None, Some(done)) if one.complete => ago(done, now),
            (None, _) => String::new(),
        };
        let name = if one.name.is_empty() {
            "(name not known yet)".into()
        } else {
            display_name(&one.name)
        };
        table.row([
            name,
            display_name(&one.device_name),
            state(one),
            some(one.given, bytes(one.given)),
            some(one.rate, format!("{}/s", bytes(one.rate))),
            left,
            kind_words(one.kind).into(),
        ]);
    }
    table
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use hither_api::{Giving, SourceKind};

    /// Somebody who has 40 % of 3 GB.
    pub fn giving(device: &str) -> GivingInfo {
        GivingInfo {
            direction: Giving::Giving,
            share: "s".into(),
            name: "film.mkv".into(),
            device: device.into(),
            device_name: device.into(),
            kind: SourceKind::Lan,
            open: true,
            given: 700_000_000,
            giving_rate: 60_000_000,
            version: 1,
            bytes: 1_200_000_000,
            total: 3_000_000_000,
            rate: 118_000_000,
            remaining: Some(15),
            complete: false,
            times: 0,
            since: 10,
            done: None,
            by_store: false,
        }
    }

    pub fn complete(device: &str) -> GivingInfo {
        GivingInfo {
            open: false,
            bytes: 3_000_000_000,
            rate: 0,
            giving_rate: 0,
            remaining: None,
            complete: true,
            times: 1,
            done: Some(15),
            kind: SourceKind::Relayed,
            ..giving(device)
        }
    }

    #[test]
    fn the_table_fits_80_and_50_columns() {
        let stranger = GivingInfo {
            version: 0,
            given: 0,
            rate: 0,
            remaining: None,
            ..giving("ab\u{1b}cdefgh")
        };
        let all = [giving("phone"), stranger, complete("laptop")];
        assert_eq!(
            table(&all, 75).lines(80),
            [
                "GIVING    TO         STATE          GIVEN      RATE       LEFT  HOW",
                "film.mkv  phone      fetching 40%  700 MB  118 MB/s       15 s  same network",
                "film.mkv  ab\u{fffd}cdefgh  looking            –         –             same network",
                "film.mkv  laptop     has all       700 MB         –  1 min ago  through a relay",
            ]
        );
        let narrow = table(&all, 75).lines(50);
        assert!(
            narrow
                .iter()
                .all(|line| console::measure_text_width(line) <= 50),
            "{narrow:#?}"
        );
        assert!(
            narrow[1].contains("fetching 40%") && narrow[1].contains("118 MB/s"),
            "{narrow:#?}"
        );
    }

    #[test]
    fn who_had_it_before_is_not_waited_for() {
        let had = complete("laptop");
        let key = (had.share.clone(), had.device.clone());
        let before = Before(HashMap::from([(key, 1)]));
        assert!(!before.is_new(&had));
        assert!(before.is_new(&GivingInfo { times: 2, ..had }));
        assert!(before.is_new(&complete("phone")) && !before.is_new(&giving("desk")));
    }

    #[test]
    fn a_line_says_how_far_a_device_is() {
        assert_eq!(
            standing(&giving("phone")),
            "phone: fetching 40%, 118 MB/s, 15 s left, same network"
        );
        assert_eq!(
            standing(&complete("laptop")),
            "laptop: has all, through a relay"
        );
        let left = GivingInfo {
            open: false,
            rate: 0,
            remaining: None,
            ..giving("a")
        };
        assert_eq!(standing(&left), "a: gone, has 40%, same network");
        assert_eq!(event_of("progress", &left)["phase"], "giving");
    }
}
