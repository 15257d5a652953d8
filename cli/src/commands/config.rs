//! `hither config`.

use crate::complete;
use crate::failure::{self, shown};
use crate::input::{RELAY_VARIABLE, TICKET_VARIABLE};
use crate::session::{Outcome, Session};
use crate::show::{Align, Column, Table};
use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use hither_api::{
    ApiError, Client, ClientError, Config, ConfigChange, ConfigSource, ErrorCode, Exit, KEYS,
    TEMPLATE,
};
use serde_json::json;
use std::path::Path;
use std::process::Command;

const EXAMPLES: &str = "\
Examples:
  hither config get                       every key and what it means
  hither config get port                  one value
  hither config set device_name laptop    change one key, keep comments
  hither config unset device_name         its default again
  hither config edit                      open it in $VISUAL, $EDITOR or vi

A change is in force at once where the daemon can do that; it says so where it
must be restarted: hither down && hither up. An environment variable HITHER_KEY
(HITHER_PORT …) wins over the file.";

/// Read and change the configuration
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print one value, or all of them
    Get {
        /// The key; all of them when absent
        #[arg(add = ArgValueCandidates::new(complete::keys))]
        key: Option<String>,
    },
    /// Change one value
    Set {
        /// The key
        #[arg(add = ArgValueCandidates::new(complete::keys))]
        key: String,
        /// Its new value; a list is separated by commas
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Take one key out of the file: its default is in force again
    Unset {
        /// The key
        #[arg(add = ArgValueCandidates::new(complete::keys))]
        key: String,
    },
    /// Open the file in an editor and check it afterwards
    Edit,
    /// Put into force what was changed in the file by other means
    Reload,
    /// Print where the file is
    Path,
}

const COLUMNS: [Column; 3] = [
    Column::new("KEY", Align::Left),
    Column::new("VALUE", Align::Left).flexible(),
    Column::new("MEANING", Align::Left).optional(),
];

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    let path = session.paths()?.config;
    match args.action {
        Action::Get { key } => get(session, &path, key.as_deref())?,
        Action::Set { key, value } => {
            Config::write(&path, &key, &value).map_err(|error| failure::config(&error))?;
            changed(session, Some(&key)).await?;
        }
        Action::Unset { key } => {
            let stood = Config::unset(&path, &key).map_err(|error| failure::config(&error))?;
            if !stood {
                let words = format!("{key} is not in the file: its default is in force already.");
                session.out.note(&session.wrapped(&words));
            }
            if load(session, &path)?.source(&key) == ConfigSource::Environment {
                let words = format!("An environment variable sets {key}, and wins.");
                session.out.note(&session.wrapped(&words));
            }
            changed(session, Some(&key)).await?;
        }
        Action::Edit => {
            edit(&path)?;
            load(session, &path)?;
            changed(session, None).await?;
        }
        Action::Reload => {
            load(session, &path)?;
            changed(session, None).await?;
        }
        Action::Path => {
            session.out.json(&json!({"path": path}));
            session.out.result(&path.display().to_string());
        }
    }
    Ok(Exit::Done)
}

/// Has a daemon that runs take over the file, and says what is in force now. With `key`, only that
/// one was changed.
async fn changed(session: &Session<'_>, key: Option<&str>) -> Result<(), ApiError> {
    let client = Client::of(&session.paths()?);
    let nothing = serde_json::json!({});
    let change = match client
        .post::<ConfigChange>("/v1/config/reload", &nothing)
        .await
    {
        Ok(change) => change,
        // The next one reads the file when it starts.
        Err(ClientError::NotRunning) => ConfigChange::default(),
        Err(error) => return Err(error.into()),
    };
    session
        .out
        .json(&json!({"event": "done", "changed": change.changed, "pending": change.pending}));
    let said = |keys: &[String], words: &str| {
        if !keys.is_empty() {
            let line = format!("{}: {words}", keys.join(", "));
            session.out.note(&session.wrapped(&line));
        }
    };
    said(&change.changed, "in force now.");
    let limits = change.changed.iter().any(|key| key.starts_with("limits."));
    if limits && !load(session, &session.paths()?.config)?.limits.lan {
        let note = "The local network is left alone: hither config set limits.lan true";
        session.out.note(note);
    }
    let mut pending = change.pending;
    pending.retain(|pending| key.is_none_or(|key| key == pending));
    let restart = "in force when the daemon is restarted: hither down && hither up";
    said(&pending, restart);
    Ok(())
}

/// Returns what is in force; keys that count for nothing are told.
fn load(session: &Session<'_>, path: &Path) -> Result<Config, ApiError> {
    let config = Config::load(path).map_err(|error| failure::config(&error))?;
    config
        .unknown
        .iter()
        .for_each(|words| session.out.warning(words));
    Ok(config)
}

fn get(session: &Session<'_>, path: &Path, wanted: Option<&str>) -> Result<(), ApiError> {
    let config = load(session, path)?;
    let value = |key: &str| config.get(key).map_err(|error| failure::config(&error));
    if let Some(key) = wanted {
        let value = value(key)?;
        let source = config.source(key);
        session
            .out
            .json(&json!({"key": key, "value": value, "source": source}));
        session.out.result(&value);
        return Ok(());
    }
    let mut table = Table::new(&COLUMNS);
    for key in &KEYS {
        let value = value(key.name)?;
        let source = config.source(key.name);
        session
            .out
            .json(&json!({"key": key.name, "value": value, "source": source}));
        table.row([key.name.into(), value, key.about.into()]);
    }
    session.table(table);
    Ok(())
}

/// Opens the file, made from the template when there is none, and waits for the editor to end.
fn edit(path: &Path) -> Result<(), ApiError> {
    let not_writable = |error| failure::io(ErrorCode::NotWritable, shown(path), &error);
    if !path.exists() {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(not_writable)?;
        }
        std::fs::write(path, TEMPLATE).map_err(not_writable)?;
    }
    let editor = editor(|name| std::env::var(name).ok());
    // Editors are given as a shell command with options ("code --wait"), as other programs take
    // them.
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(path)
        .env_remove(TICKET_VARIABLE)
        .env_remove(RELAY_VARIABLE)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(ApiError::new(
            ErrorCode::Internal,
            format!("The editor ({editor}) failed."),
        )
        .with_hint("Choose another one with VISUAL or EDITOR.")),
        Err(error) => Err(failure::io(
            ErrorCode::Internal,
            "The editor cannot be started",
            &error,
        )),
    }
}

fn editor(variable: impl Fn(&str) -> Option<String>) -> String {
    let set = |name| variable(name).filter(|value| !value.trim().is_empty());
    set("VISUAL")
        .or_else(|| set("EDITOR"))
        .unwrap_or_else(|| "vi".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_editor_is_the_users() {
        let with = |set: &[(&str, &str)]| {
            editor(|name| {
                set.iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, value)| (*value).into())
            })
        };
        assert_eq!(
            with(&[("VISUAL", "code --wait"), ("EDITOR", "ed")]),
            "code --wait"
        );
        assert_eq!(with(&[("VISUAL", " "), ("EDITOR", "ed")]), "ed");
        assert_eq!(with(&[]), "vi");
    }
}
