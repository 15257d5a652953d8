//! Recordings and pictures that are made for an answer, by what this machine has.

use super::{Provided, command, unsupported};
use crate::asks::AskService;
use hither_api::ApiError;
use hither_proto::AskKind;
use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a film or recording is when nobody says.
const SECONDS: u32 = 5;
/// How long a program may take beside what it records.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program that records, and its arguments.
struct Recorder {
    program: &'static str,
    ending: &'static str,
    arguments: &'static [&'static str],
}

/// The programs that are looked for, in this order.
const fn recorders(kind: AskKind) -> &'static [Recorder] {
    match kind {
        AskKind::Photo => &[
            Recorder {
                program: "termux-camera-photo",
                ending: "jpg",
                arguments: &["{out}"],
            },
            Recorder {
                program: "rpicam-still",
                ending: "jpg",
                arguments: &["-n", "-o", "{out}"],
            },
            Recorder {
                program: "libcamera-still",
                ending: "jpg",
                arguments: &["-n", "-o", "{out}"],
            },
            Recorder {
                program: "ffmpeg",
                ending: "jpg",
                arguments: &[
                    "-loglevel",
                    "error",
                    "-y",
                    "-f",
                    "v4l2",
                    "-i",
                    "/dev/video0",
                    "-frames:v",
                    "1",
                    "{out}",
                ],
            },
        ],
        AskKind::Video => &[Recorder {
            program: "ffmpeg",
            ending: "mp4",
            arguments: &[
                "-loglevel",
                "error",
                "-y",
                "-f",
                "v4l2",
                "-i",
                "/dev/video0",
                "-t",
                "{seconds}",
                "{out}",
            ],
        }],
        AskKind::Audio => &[
            Recorder {
                program: "termux-microphone-record",
                ending: "m4a",
                arguments: &["-f", "{out}", "-l", "{seconds}"],
            },
            Recorder {
                program: "timeout",
                ending: "wav",
                arguments: &[
                    "-s",
                    "INT",
                    "--preserve-status",
                    "{seconds}",
                    "pw-record",
                    "{out}",
                ],
            },
            Recorder {
                program: "arecord",
                ending: "wav",
                arguments: &["-q", "-f", "cd", "-d", "{seconds}", "{out}"],
            },
        ],
        _ => &[],
    }
}

/// Records with the first program that is there.
///
/// Errors: none is there, or it fails.
pub(super) async fn record(
    service: &Arc<AskService>,
    kind: AskKind,
    seconds: u32,
) -> Result<Provided, ApiError> {
    let Some(recorder) = recorders(kind).iter().find(|one| is_there(one)) else {
        let what = match kind {
            AskKind::Photo => "take pictures",
            AskKind::Video => "film",
            _ => "record sound",
        };
        return Err(unsupported(&format!(
            "This device has no program to {what} (see: asks.commands in the configuration)."
        )));
    };
    let seconds = if seconds == 0 { SECONDS } else { seconds };
    let out = command::new_file(service, kind, recorder.ending)?;
    let words = std::iter::once(&recorder.program).chain(recorder.arguments);
    let line: Vec<String> = words.map(|word| (*word).to_owned()).collect();
    let line = command::fill(&line, &out, Some(seconds));
    let patience = PATIENCE + Duration::from_secs(u64::from(seconds));
    crate::program::run_command(&line, &[], None, patience).await?;
    command::made(out).await
}

fn is_there(recorder: &Recorder) -> bool {
    // A program that only ends another one is there when that one is.
    let needed = match recorder.program {
        "timeout" => "pw-record",
        program => program,
    };
    let camera = recorder.arguments.contains(&"/dev/video0");
    in_path(needed).is_some() && (!camera || PathBuf::from("/dev/video0").exists())
}

/// The path of a program.
pub(super) fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
