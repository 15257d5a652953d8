//! Calls about the daemon itself.

use super::Answer;
use crate::diagnostics::Diagnostics;
use crate::failure;
use axum::Json;
use axum::extract::{Query, State};
use hither_api::{Finding, Status};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

type Ctx = State<Arc<Diagnostics>>;

/// Most lines of the log in one answer.
const MAX_LINES: usize = 1000;
/// The part of the log's end that is looked at, bytes.
const LOG_END: u64 = 4 << 20;

/// The daemon and its links.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(diagnostics): Ctx) -> Json<Status> {
    Json(diagnostics.status())
}

/// Stops the daemon, in order.
#[utoipa::path(post, path = "/v1/shutdown", responses((status = 200)))]
pub(super) async fn shutdown(State(diagnostics): Ctx) -> Json<Value> {
    diagnostics.tasks.token.cancel();
    Json(json!({}))
}

/// The user has read the losses: they are not reported any more.
#[utoipa::path(post, path = "/v1/losses/acknowledge", responses((status = 200)))]
pub(super) async fn acknowledge(State(diagnostics): Ctx) -> Answer<Value> {
    let acknowledged = tokio::task::spawn_blocking(move || diagnostics.losses.acknowledge()).await;
    acknowledged
        .map_err(failure::internal)?
        .map_err(failure::internal)?;
    Ok(Json(json!({})))
}

/// The lines that are wanted.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    /// The number of lines, the latest; at most 1,000.
    #[serde(default = "usual_lines")]
    #[param(default = 50, maximum = 1000)]
    lines: usize,
}

const fn usual_lines() -> usize {
    50
}

/// The latest lines of the daemon's log, oldest first, each as it stands in the file.
#[utoipa::path(get, path = "/v1/log", params(LogQuery), responses((status = 200, body = [Value])))]
pub(super) async fn log(
    State(diagnostics): Ctx,
    Query(query): Query<LogQuery>,
) -> Answer<Vec<Value>> {
    let lines = query.lines.min(MAX_LINES);
    let read = move || latest_lines(&diagnostics.paths.log(), lines);
    let read = tokio::task::spawn_blocking(read).await;
    Ok(Json(
        read.map_err(failure::internal)?
            .map_err(failure::internal)?,
    ))
}

/// The latest lines of a file of JSON lines, among its last [`LOG_END`] bytes. A file that is not
/// there has none: a daemon in the foreground logs to its terminal.
fn latest_lines(path: &Path, lines: usize) -> io::Result<Vec<Value>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_END)))?;
    let mut end = Vec::new();
    file.take(LOG_END).read_to_end(&mut end)?;
    // A line that was cut at the beginning, or is being written, is no JSON.
    let all = end.split(|byte| *byte == b'\n').rev();
    let parsed = all.filter_map(|line| serde_json::from_slice(line).ok());
    let mut latest: Vec<Value> = parsed.take(lines).collect();
    latest.reverse();
    Ok(latest)
}

/// Reports the things that work, those that do not, and possible remedies.
#[utoipa::path(get, path = "/v1/doctor", responses((status = 200, body = [Finding])))]
pub(super) async fn doctor(State(diagnostics): Ctx) -> Answer<Vec<Finding>> {
    Ok(Json(crate::doctor::examine(&diagnostics).await))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_whole_lines_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(latest_lines(&path, 5).unwrap().is_empty());
        std::fs::write(&path, "{\"n\":1}\nno json\n{\"n\":2}\n{\"n\":3}\n{\"n\":").unwrap();
        assert_eq!(
            latest_lines(&path, 2).unwrap(),
            [json!({"n": 2}), json!({"n": 3})]
        );
        assert_eq!(latest_lines(&path, 9).unwrap().len(), 3);
        assert!(latest_lines(&path, 0).unwrap().is_empty());
    }
}
