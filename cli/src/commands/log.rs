//! `hither log`.

use crate::failure::{self, shown};
use crate::session::{Outcome, Session};
use chrono::{DateTime, Local};
use clap::ValueEnum;
use console::Style;
use hither_api::{Client, DeviceInfo, ErrorCode, Exit};
use hither_proto::display_name;
use serde_json::Value;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  hither log                   the last 50 lines
  hither log --follow          and whatever comes, until Ctrl-C
  hither log --level warn      what went wrong
  hither log --json            as it stands in the file

How much is logged: hither config set log debug";

/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// Longest line that is shown, bytes; the rest of it is left out.
const MAX_LINE: usize = 16 << 10;

/// Show the daemon's log in a readable form
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Show what comes too, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Lines that are shown
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    lines: usize,
    /// Only what is at least as grave
    #[arg(long, value_name = "LEVEL", default_value = "trace")]
    level: Level,
}

/// How grave a line is, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    fn of(line: &Value) -> Self {
        let level = line["level"].as_str().unwrap_or_default();
        Self::from_str(level, true).unwrap_or(Self::Info)
    }

    fn style(self) -> Style {
        match self {
            Self::Error => Style::new().red().bold(),
            Self::Warn => Style::new().yellow(),
            Self::Info => Style::new(),
            Self::Debug | Self::Trace => Style::new().dim(),
        }
    }
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let path = session.paths()?.log();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => hither_api::ApiError::new(
            ErrorCode::NotFound,
            "There is no log: the daemon has not run yet, or not in the background.",
        ),
        _ => failure::io(ErrorCode::Unreadable, shown(&path), &error),
    };
    let mut file = Followed::open(&path).map_err(failed)?;
    let mut last = VecDeque::new();
    while let Some(line) = file.line().map_err(failed)? {
        if line.1 <= args.level {
            last.push_back(line);
        }
        if last.len() > args.lines {
            last.pop_front();
        }
    }
    let names = Names::look(session).await;
    last.iter().for_each(|line| tell(session, line, &names));
    if !args.follow {
        return Ok(Exit::Done);
    }
    loop {
        tokio::time::sleep(LOOK).await;
        file.turn(&path).map_err(failed)?;
        while let Some(line) = file.line().map_err(failed)? {
            if line.1 <= args.level {
                tell(session, &line, &names);
            }
        }
    }
}

/// The names of the devices that the daemon knows, by the end of their ids.
struct Names(Vec<(String, String)>);

/// Characters of an id by which a device is told apart.
const SHORT: usize = 8;

impl Names {
    /// Asks the daemon, if it runs: it is not started for that.
    async fn look(session: &Session<'_>) -> Self {
        let Ok(paths) = session.paths() else {
            return Self(Vec::new());
        };
        let client = Client::of(&paths);
        let devices = client.get::<Vec<DeviceInfo>>("/v1/devices").await;
        let devices = devices.unwrap_or_default().into_iter();
        let named = devices.filter(|one| !one.name.is_empty() && one.device.len() >= SHORT);
        let end = |id: &str| id.get(id.len() - SHORT..).unwrap_or(id).to_owned();
        Self(named.map(|one| (end(&one.device), one.name)).collect())
    }

    /// The particulars of a line, with the name before each id that is known.
    fn put_into(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (short, name) in &self.0 {
            let id = format!("DeviceId(…{short})");
            text = text.replace(&id, &format!("{name} (…{short})"));
        }
        text
    }
}

fn tell(session: &Session<'_>, (line, level): &(Value, Level), names: &Names) {
    session.out.json(line);
    session
        .out
        .result(&session.out.paint(level.style(), &words(line, names)));
}

/// A line as people read it: the local time, how grave it is, what happened, and the particulars.
fn words(line: &Value, names: &Names) -> String {
    let at = line["timestamp"].as_str().unwrap_or_default();
    let at = DateTime::parse_from_rfc3339(at).map_or_else(
        |_| String::new(),
        |at| {
            at.with_timezone(&Local)
                .format("%b %d %H:%M:%S")
                .to_string()
        },
    );
    let fields = line["fields"].as_object();
    let message = fields.and_then(|fields| fields["message"].as_str());
    let particulars = fields
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "message");
    let particulars: String = particulars
        .map(|(key, value)| match value.as_str() {
            Some(text) => format!(" {key}={}", names.put_into(text)),
            None => format!(" {key}={value}"),
        })
        .collect();
    let level = line["level"].as_str().unwrap_or_default();
    // Whatever others sent is shown as text.
    display_name(&format!(
        "{at} {level:<5} {}{particulars}",
        names.put_into(message.unwrap_or_default())
    ))
}

/// A log that is written to, and begun anew now and then.
struct Followed {
    file: BufReader<File>,
    /// A line whose end is not there yet.
    begun: Vec<u8>,
}

impl Followed {
    fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            file: BufReader::new(File::open(path)?),
            begun: Vec::new(),
        })
    }

    /// Goes over to the file that has the path now, when that is another one or shorter.
    fn turn(&mut self, path: &Path) -> std::io::Result<()> {
        let at = self.file.stream_position()?;
        let there = match path.metadata() {
            // Between two files.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            there => there?,
        };
        if there.len() < at {
            *self = Self::open(path)?;
            self.file.seek(SeekFrom::Start(0))?;
        }
        Ok(())
    }

    /// The next line that is whole, of JSON.
    fn line(&mut self) -> std::io::Result<Option<(Value, Level)>> {
        loop {
            self.file.read_until(b'\n', &mut self.begun)?;
            if self.begun.last() != Some(&b'\n') {
                return Ok(None);
            }
            let line = std::mem::take(&mut self.begun);
            // A line that is no JSON was not written by the daemon, or was cut by a full disk.
            if line.len() <= MAX_LINE
                && let Ok(line) = serde_json::from_slice::<Value>(&line)
            {
                let level = Level::of(&line);
                return Ok(Some((line, level)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write;

    #[test]
    fn a_line_says_when_how_grave_what_and_with_what() {
        let line = json!({"timestamp": "2026-11-30T12:59:33.497947Z", "level": "INFO",
            "fields": {"message": "the daemon runs", "name": "x\u{1b}[2J", "port": 47447}});
        let none = Names(Vec::new());
        let words = words(&line, &none);
        assert!(
            words.ends_with(" INFO  the daemon runs name=x\u{fffd}[2J port=47447"),
            "{words}"
        );
        assert!(Level::of(&line) == Level::Info && Level::Warn < Level::Info);
    }

    #[test]
    fn a_device_is_called_by_its_name() {
        let line = json!({"level": "INFO", "fields": {"message": "a session ended",
            "device": "DeviceId(…abcdefgh)", "other": "DeviceId(…hgfedcba)"}});
        let names = Names(vec![("abcdefgh".into(), "phone".into())]);
        let words = words(&line, &names);
        assert!(
            words.ends_with("a session ended device=phone (…abcdefgh) other=DeviceId(…hgfedcba)"),
            "{words}"
        );
    }

    #[test]
    fn half_a_line_is_waited_for_and_a_new_file_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        let mut file = File::create(&path).unwrap();
        write!(file, "{{\"level\":\"WARN\"}}\nnonsense\n{{\"level\":").unwrap();
        let mut log = Followed::open(&path).unwrap();
        assert_eq!(log.line().unwrap().unwrap().1, Level::Warn);
        assert!(log.line().unwrap().is_none());
        writeln!(file, "\"ERROR\"}}").unwrap();
        assert_eq!(log.line().unwrap().unwrap().1, Level::Error);
        std::fs::write(&path, "{\"level\":\"DEBUG\"}\n").unwrap();
        log.turn(&path).unwrap();
        assert_eq!(log.line().unwrap().unwrap().1, Level::Debug);
    }
}
