//! The progress bar: one line on standard error that names the phase.

use super::{bytes, count, duration};
use crate::output::Output;
use hither_api::Phase;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Narrowest terminal with room for a bar.
const NARROW: usize = 70;
/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// Where long work stands: the numbers of a progress event.
#[derive(Debug, Clone, Copy)]
pub struct ProgressState {
    /// What is being done.
    pub phase: Phase,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes in all; 0 while not known.
    pub total: u64,
    /// Files done or in the share.
    pub files: u64,
    /// Bytes per second.
    pub rate: u64,
    /// Expected seconds left.
    pub remaining: Option<u64>,
    /// Devices that are giving.
    pub devices: u32,
}

impl ProgressState {
    fn label(&self) -> &'static str {
        match self.phase {
            Phase::Reading => "Reading",
            Phase::Connecting => "Looking for devices that have it…",
            Phase::Offered => "Waiting for an answer…",
            Phase::Comparing => "Comparing",
            Phase::Fetching => "Fetching",
            Phase::Writing => "Writing",
            Phase::Uploading => "Uploading",
            Phase::Waiting => "Waiting for a device that has the rest…",
            Phase::Following => "Waiting for a new version…",
            Phase::Paused => "Paused; go on with hither transfers resume",
            Phase::Done => "Done",
            Phase::Failed => "Failed",
        }
    }

    /// Whether a bar says more than a spinner.
    fn has_bar(&self) -> bool {
        let counts = matches!(
            self.phase,
            Phase::Reading | Phase::Comparing | Phase::Fetching | Phase::Writing | Phase::Uploading
        );
        counts && self.total > 0
    }

    /// What stands behind the bar or the label.
    fn numbers(&self) -> String {
        let mut parts = Vec::new();
        if (self.total > 0 && self.bytes > 0) || self.has_bar() {
            parts.push(format!("{} of {}", bytes(self.bytes), bytes(self.total)));
        } else if self.bytes > 0 {
            parts.push(bytes(self.bytes));
        }
        if self.phase == Phase::Reading && self.total == 0 && self.files > 0 {
            parts.push(count(self.files, "file"));
        }
        if self.rate > 0 && self.has_bar() {
            parts.push(format!("{}/s", bytes(self.rate)));
        }
        if let Some(seconds) = self.remaining.filter(|_| self.has_bar()) {
            parts.push(format!("{} left", duration(seconds)));
        }
        if self.phase == Phase::Fetching && self.devices > 0 {
            parts.push(count(self.devices.into(), "device"));
        }
        parts.join(", ")
    }
}

/// The line on the terminal; nothing at all when nobody would see it.
#[derive(Debug)]
pub struct Progress {
    visible: bool,
    colours: bool,
    /// No room for a bar beside the numbers.
    narrow: bool,
    line: Option<Line>,
}

#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    barred: bool,
}

impl Progress {
    /// Nothing is drawn until the first [`Progress::show`].
    pub fn new(out: &Output) -> Self {
        let narrow = out.columns_of_stderr() < NARROW;
        Self {
            visible: out.draws_progress(),
            colours: out.has_colours_on_stderr(),
            narrow,
            line: None,
        }
    }

    /// Draws where the work stands.
    pub fn show(&mut self, standing: &ProgressState) {
        if !self.visible {
            return;
        }
        let barred = standing.has_bar() && !self.narrow;
        if self.line.as_ref().is_some_and(|line| line.barred != barred) {
            self.clear();
        }
        let (fresh, colours) = (self.line.is_none(), self.colours);
        let Line { bar, .. } = self.line.get_or_insert_with(|| Line::new(barred, colours));
        bar.set_prefix(standing.label());
        bar.set_message(standing.numbers());
        if barred {
            bar.set_length(standing.total);
            bar.set_position(standing.bytes);
        }
        if fresh {
            bar.enable_steady_tick(TICK);
        }
    }

    /// Does something that writes to the terminal.
    pub fn suspend<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.line {
            Some(line) => line.bar.suspend(f),
            None => f(),
        }
    }

    /// Takes the line away; the next [`Progress::show`] brings it back.
    pub fn clear(&mut self) {
        if let Some(line) = self.line.take() {
            line.bar.finish_and_clear();
        }
    }
}

impl Line {
    fn new(barred: bool, colours: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style(barred, colours));
        Self { bar, barred }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(bar: bool, colours: bool) -> ProgressStyle {
    let template = match (bar, colours) {
        (true, true) => "{prefix}  {wide_bar:.cyan/dim}  {msg}",
        (true, false) => "{prefix}  {wide_bar}  {msg}",
        (false, true) => "{spinner:.cyan} {prefix} {wide_msg}",
        (false, false) => "{spinner} {prefix} {wide_msg}",
    };
    let plain = if bar {
        ProgressStyle::default_bar()
    } else {
        ProgressStyle::default_spinner()
    };
    let plain = plain.progress_chars("━╸─").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ");
    match ProgressStyle::with_template(template) {
        Ok(style) => style.progress_chars("━╸─").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "),
        Err(_) => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FETCHING: ProgressState = ProgressState {
        phase: Phase::Fetching,
        bytes: 1_200_000_000,
        total: 3_000_000_000,
        files: 3,
        rate: 118_000_000,
        remaining: Some(15),
        devices: 3,
    };

    #[test]
    fn fetching_names_rate_remaining_time_and_devices() {
        assert_eq!(
            FETCHING.numbers(),
            "1.2 GB of 3 GB, 118 MB/s, 15 s left, 3 devices"
        );
        assert!(FETCHING.has_bar());
        let begun = ProgressState {
            bytes: 0,
            rate: 0,
            remaining: None,
            devices: 1,
            ..FETCHING
        };
        assert_eq!(begun.numbers(), "0 B of 3 GB, 1 device");
    }

    #[test]
    fn phases_without_numbers_have_a_spinner() {
        let looking = ProgressState {
            phase: Phase::Connecting,
            bytes: 0,
            total: 0,
            ..FETCHING
        };
        assert!(!looking.has_bar());
        assert_eq!(looking.numbers(), "");
        let reading = ProgressState {
            phase: Phase::Reading,
            total: 0,
            ..FETCHING
        };
        assert_eq!(reading.numbers(), "1.2 GB, 3 files");
        let waiting = ProgressState {
            phase: Phase::Waiting,
            ..FETCHING
        };
        assert_eq!(
            (waiting.numbers().as_str(), waiting.has_bar()),
            ("1.2 GB of 3 GB", false)
        );
    }

    #[test]
    fn templates_are_valid() {
        for template in [
            "{prefix}  {wide_bar:.cyan/dim}  {msg}",
            "{spinner:.cyan} {prefix} {wide_msg}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
