//! What a command works with: where to write, where things live, and the daemon.

use crate::output::Output;
use crate::show::{Table, wrap};
use crate::{daemon, failure};
use console::Style;
use hither_api::{ApiError, Client, Exit, Paths, Status};

/// How a command ends.
pub type Outcome = Result<Exit, ApiError>;

/// One run of the program.
#[derive(Debug)]
pub struct Session<'a> {
    /// The standard streams.
    pub out: &'a Output,
}

impl<'a> Session<'a> {
    /// A session that writes to `out`.
    pub const fn new(out: &'a Output) -> Self {
        Self { out }
    }

    /// Where this device's things live.
    pub fn paths(&self) -> Result<Paths, ApiError> {
        Paths::from_env().map_err(failure::paths)
    }

    /// A client of the daemon, which is started when it does not run.
    pub async fn daemon(&self) -> Result<Client, ApiError> {
        self.daemon_status().await.map(|(client, _)| client)
    }

    /// The same with what the daemon says of itself.
    pub async fn daemon_status(&self) -> Result<(Client, Status), ApiError> {
        let paths = self.paths()?;
        let status = daemon::running(&paths).await?;
        self.heed(&status);
        Ok((daemon::client(&paths), status))
    }

    /// A warning that under `--json` is on standard output already.
    pub fn warn_people(&self, message: &str) {
        if !self.out.is_json() {
            self.out.warning(message);
        }
    }

    /// Lines that fit the terminal, broken between words; as they are when there is none.
    pub fn wrapped(&self, text: &str) -> String {
        let width = self.out.size().0;
        text.lines()
            .map(|line| wrap("", line, width))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// A table as a result, its titles set off.
    pub fn table(&self, table: Table) {
        self.table_lines(table)
            .iter()
            .for_each(|line| self.out.result(line));
    }

    /// The lines of the same.
    pub fn table_lines(&self, table: Table) -> Vec<String> {
        let mut lines = table.lines(self.out.size().0);
        if let Some(titles) = lines.first_mut() {
            *titles = self.out.paint(Style::new().bold(), titles);
        }
        lines
    }

    /// Says so when the daemon is another version than this program, and what of Hither's data was
    /// lost.
    pub fn heed(&self, status: &Status) {
        let own = env!("CARGO_PKG_VERSION");
        if status.version != own {
            self.out.warning(&format!(
                "The daemon is version {}, this is {own}. Restart it: hither down, then hither up.",
                status.version
            ));
        }
        for loss in &status.losses {
            self.out.warning(&format!(
                "{loss} (When you have read this: hither status --acknowledge)"
            ));
        }
    }
}
