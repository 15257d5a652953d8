//! Requests between devices, as the local API shows them.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::ToSchema;

/// The user's settings about requests of other devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskRules {
    /// Folders searched for pictures, films, recordings and files; empty: the user's folders.
    pub folders: Vec<String>,
    /// True if requests are shown on the desktop.
    pub notify: bool,
    /// The place of this device, when that is always the same; empty: the system is asked.
    pub location: String,
    /// Programs that answer.
    pub commands: Vec<AskCommand>,
}

impl Default for AskRules {
    fn default() -> Self {
        Self {
            folders: Vec::new(),
            notify: true,
            location: String::new(),
            commands: Vec::new(),
        }
    }
}

impl AskRules {
    /// The folders in which files are looked for.
    pub fn folders(&self) -> Vec<PathBuf> {
        if !self.folders.is_empty() {
            return self.folders.iter().map(PathBuf::from).collect();
        }
        let all = [
            dirs::picture_dir(),
            dirs::video_dir(),
            dirs::audio_dir(),
            dirs::document_dir(),
            dirs::download_dir(),
        ];
        all.into_iter().flatten().collect()
    }

    /// The program that answers requests of a kind, and its arguments.
    pub fn command(&self, kind: &str, live: bool) -> Option<&[String]> {
        let fits = |one: &&AskCommand| one.kind == kind && one.live == live;
        self.commands.iter().find(fits).map(|one| &one.line[..])
    }
}

/// A program that answers requests of a kind: `KIND[.live] PROGRAM ARGUMENT…`, with quotes as in a
/// shell and nothing else of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskCommand {
    /// The kind.
    pub kind: String,
    /// For what is recorded now.
    pub live: bool,
    /// The program and its arguments.
    pub line: Vec<String>,
}

impl std::str::FromStr for AskCommand {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = shell_words::split(text).map_err(|_| ())?;
        if words.len() < 2 {
            return Err(());
        }
        let what = words.remove(0);
        let (kind, live) = match what.strip_suffix(".live") {
            Some(kind) => (kind, true),
            None => (what.as_str(), false),
        };
        hither_proto::AskKind::parse(kind).ok_or(())?;
        Ok(Self {
            kind: kind.to_owned(),
            live,
            line: words,
        })
    }
}

impl std::fmt::Display for AskCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let live = if self.live { ".live" } else { "" };
        write!(f, "{}{live} {}", self.kind, shell_words::join(&self.line))
    }
}

/// `POST /v1/asks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskRequest {
    /// The device: its name, short id or id.
    pub to: String,
    /// The kind that is asked for: `photo`, `video`, `audio`, `file`, `qr`, `location`, `playing`,
    /// `clipboard` or `place`.
    pub kind: String,
    /// The latest one, instead of one that the other user picks.
    #[serde(default)]
    pub latest: bool,
    /// The latest one whose name fits this pattern with `*` and `?`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Recorded now for so many seconds; 0: a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_seconds: Option<u32>,
    /// Only what it is: name, size, type, a small picture.
    #[serde(default)]
    pub digest: bool,
    /// Words for the other user.
    #[serde(default)]
    pub reason: String,
    /// For how long it may be answered, seconds; an hour if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_seconds: Option<u32>,
}

/// A thing of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AskThing {
    /// Its name, safe to show.
    pub name: String,
    /// Its media type; may be empty.
    pub media_type: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// When it was made, by the other device's clock, Unix seconds; 0: not known.
    pub made: u64,
    /// A small picture of it (JPEG), hexadecimal; only in a digest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub thumbnail: String,
}

/// One request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AskInfo {
    /// Its id.
    pub ask: String,
    /// The other device: who is asked, or who asks.
    pub device: String,
    /// The name of that device, safe to show.
    pub name: String,
    /// The kind that is asked for.
    pub kind: String,
    /// The same in words, safe to show.
    pub what: String,
    /// Only what it is.
    pub digest: bool,
    /// The asker's words, safe to show.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Of a request of this device: `sent`, `delivered`, `seen`, `answered`, `refused`, `expired`
    /// or `cancelled`. Of another one's: `waiting`, `answering`, `answered`, `refused`, `expired`
    /// or `cancelled`.
    pub state: String,
    /// When it was made or came, Unix seconds.
    pub made: u64,
    /// For how long it may still be answered, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_seconds: Option<u64>,
    /// An allowance answers it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_grant: bool,
    /// Why there is no answer: `declined`, `nothing`, `unsupported`, `busy`, `failed` or `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The answer, or why there is none, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
    /// A text that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Things that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub things: Vec<AskThing>,
    /// The message that brought the answer, as the inbox names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Every request (`GET /v1/asks`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AsksInfo {
    /// Requests of others to this device, the latest last.
    pub received: Vec<AskInfo>,
    /// Requests of this device to others, the latest last.
    pub sent: Vec<AskInfo>,
}

/// `POST /v1/asks/{ask}/answer`: with nothing, what the device finds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// Absolute paths of files that the user chose.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub files: Vec<PathBuf>,
    /// A text that the user wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A file that may answer a request (`GET /v1/asks/{ask}/candidates`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CandidateInfo {
    /// Its absolute path.
    pub path: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// When it was changed, Unix seconds.
    pub made: u64,
}

/// `POST /v1/asks/grants`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// The asker: its name, short id or id.
    pub device: String,
    /// The kind; absent: every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only things below this folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub folder: Option<PathBuf>,
    /// Recordings and pictures that are made for it too.
    #[serde(default)]
    pub live: bool,
    /// For how long, seconds; absent: until it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// Requests that are answered without the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantInfo {
    /// Its number.
    pub grant: u64,
    /// The asker.
    pub device: String,
    /// The name of that device, safe to show.
    pub name: String,
    /// The kind; absent: every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only things below this folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Recordings and pictures that are made for it too.
    pub live: bool,
    /// For how long it still counts, seconds; absent: until it is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_seconds: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_kind_and_words_and_no_shell() {
        let command: AskCommand = "photo.live cam -o '{out}' \"a b\" $HOME".parse().unwrap();
        assert_eq!((command.kind.as_str(), command.live), ("photo", true));
        assert_eq!(command.line, ["cam", "-o", "{out}", "a b", "$HOME"]);
        assert_eq!(command.to_string().parse(), Ok(command));
        for wrong in ["", "photo", "dance cam", "photo 'cam"] {
            assert!(wrong.parse::<AskCommand>().is_err(), "{wrong}");
        }
    }
}
