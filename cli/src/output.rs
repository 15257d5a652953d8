//! The standard streams: the only place that writes to them.
//!
//! Standard output carries results (or, under `--json`, JSON lines), standard error everything
//! else.

use crate::cli::Global;
use crate::failure::{hint, told};
use crate::show::wrap;
use console::{Style, Term, measure_text_width};
use hither_api::{ApiError, ErrorCode, Event, Exit};
use hither_proto::display_name;
use serde::Serialize;
use std::cell::Cell;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Width of text when there is no terminal to ask.
const WIDTH: usize = 80;

/// One of the two streams, as far as it matters how it is written to.
#[derive(Debug, Clone, Copy)]
struct Stream {
    terminal: bool,
    colours: bool,
}

impl Stream {
    fn new(terminal: bool, no_color: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            terminal,
            colours: terminal && !no_color && !set("NO_COLOR") && !is_dumb(),
        }
    }
}

/// Whether the terminal can only be written on from left to right.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Where everything is written to.
#[derive(Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    stdout: Stream,
    stderr: Stream,
    failed: Cell<Option<ErrorKind>>,
}

impl Output {
    /// By the global options and by what the streams are.
    pub fn new(global: Global) -> Self {
        Self {
            json: global.json,
            quiet: global.quiet,
            stdout: Stream::new(io::stdout().is_terminal(), global.no_color),
            stderr: Stream::new(io::stderr().is_terminal(), global.no_color),
            failed: Cell::new(None),
        }
    }

    /// For a command line that could not be parsed but asks for JSON.
    pub fn for_scripts() -> Self {
        Self::new(Global {
            json: true,
            quiet: false,
            no_color: true,
        })
    }

    /// Whether standard output carries JSON.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether only results and errors are wanted.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether a person reads standard output.
    pub const fn is_read_by_person(&self) -> bool {
        self.stdout.terminal && !self.json
    }

    /// Whether standard output is a terminal on which things can be drawn anywhere.
    pub fn draws_screens(&self) -> bool {
        self.is_read_by_person() && !is_dumb()
    }

    /// Returns whether a person can be asked: both where questions go and where answers come from
    /// are a terminal.
    pub fn can_ask(&self) -> bool {
        !self.json && self.stderr.terminal && io::stdin().is_terminal()
    }

    /// Whether progress is drawn on standard error.
    pub const fn draws_progress(&self) -> bool {
        self.stderr.terminal && !self.json && !self.quiet
    }

    /// Whether standard output is coloured.
    pub const fn has_colours(&self) -> bool {
        self.stdout.colours
    }

    /// Whether standard error is coloured.
    pub const fn has_colours_on_stderr(&self) -> bool {
        self.stderr.colours
    }

    /// Columns and rows of standard output; no limit when it is no terminal.
    pub fn size(&self) -> (usize, usize) {
        if !self.stdout.terminal {
            return (usize::MAX, usize::MAX);
        }
        Term::stdout()
            .size_checked()
            .map_or((WIDTH, 24), |(rows, columns)| (columns.into(), rows.into()))
    }

    /// Columns of the terminal behind standard error.
    pub fn columns_of_stderr(&self) -> usize {
        Term::stderr()
            .size_checked()
            .map_or(WIDTH, |(_, columns)| columns.into())
    }

    /// Width to which prose is wrapped.
    pub fn prose_width(&self) -> usize {
        if self.stdout.terminal {
            self.size().0.clamp(40, 100)
        } else {
            WIDTH
        }
    }

    /// Text for standard output in a style, when it is coloured.
    pub fn paint(&self, style: Style, text: &str) -> String {
        style
            .force_styling(self.stdout.colours)
            .apply_to(text)
            .to_string()
    }

    /// A line that is the result of the command.
    pub fn result(&self, line: &str) {
        if !self.json {
            self.write(format!("{line}\n").as_bytes());
        }
    }

    /// A line about the result, for people: on a terminal broken between words.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.result(&folded(line, self.size().0));
        }
    }

    /// One JSON line; nothing unless `--json`.
    pub fn json(&self, value: &impl Serialize) {
        if !self.json {
            return;
        }
        match serde_json::to_string(value) {
            Ok(line) => self.write(format!("{}\n", escaped(&line)).as_bytes()),
            Err(_) => self.failed.set(Some(ErrorKind::InvalidData)),
        }
    }

    /// Every object as a line of its own; nothing unless `--json`.
    pub fn json_lines<T: Serialize>(&self, values: &[T]) {
        values.iter().for_each(|value| self.json(value));
    }

    /// A text of somebody else as the result: as it is when a program reads it; for people without
    /// what could rewrite the terminal, and with an end of its last line.
    pub fn text(&self, text: &str) {
        if self.json {
            return;
        }
        if !self.stdout.terminal {
            return self.write(text.as_bytes());
        }
        let lines: Vec<String> = text
            .lines()
            .map(|line| display_name(&line.replace('\t', "    ")))
            .collect();
        self.write(format!("{}\n", lines.join("\n")).as_bytes());
    }

    /// Bytes that are the result, as they are.
    pub fn raw(&self, bytes: &[u8]) {
        self.write(bytes);
    }

    /// A line on standard error, for people.
    pub fn note(&self, line: &str) {
        if !self.quiet && !self.json {
            self.write_stderr(&format!("{}\n", self.folded_for_stderr(line)));
        }
    }

    /// Text on standard error that must be seen whatever was asked for: a question.
    pub fn ask(&self, text: &str) {
        self.write_stderr(text);
    }

    /// Something the user should know that stops nothing.
    pub fn warning(&self, message: &str) {
        let label = Style::new()
            .yellow()
            .bold()
            .force_styling(self.stderr.colours)
            .apply_to("Warning:");
        let text = format!("{label} {}", display_name(message));
        self.write_stderr(&format!("{}\n", self.folded_for_stderr(&text)));
    }

    /// Why the command failed: the last JSON line, or a sentence and a hint on standard error.
    pub fn error(&self, error: &ApiError) {
        if self.json {
            return self.json(&Event::Error(error.clone()));
        }
        let message = told(&error.message);
        let hint = if error.hint.is_empty() {
            hint(error.code)
        } else {
            &error.hint
        };
        let hint = display_name(hint);
        if matches!(error.code, ErrorCode::Interrupted | ErrorCode::Declined) {
            let text = format!("{message} {hint}");
            let text = self.folded_for_stderr(text.trim_end());
            return self.write_stderr(&format!("{text}\n"));
        }
        let label = Style::new()
            .red()
            .bold()
            .force_styling(self.stderr.colours)
            .apply_to("Error:");
        let text = self.folded_for_stderr(&format!("{label} {message}"));
        self.write_stderr(&format!("{text}\n"));
        if !hint.is_empty() {
            self.write_stderr(&format!("{}\n", self.folded_for_stderr(&hint)));
        }
    }

    /// Lines for standard error, broken between words where it is a terminal.
    fn folded_for_stderr(&self, text: &str) -> String {
        match self.stderr.terminal {
            true => folded(text, self.columns_of_stderr()),
            false => text.to_owned(),
        }
    }

    /// The exit status, after everything was written: a result that could not be written is none.
    pub fn finish(&self, exit: Exit) -> Exit {
        match self.failed.get() {
            // Whoever read it has seen enough (`hither list | head -1`).
            None => exit,
            Some(ErrorKind::BrokenPipe) if exit == Exit::Done => Exit::Unread,
            Some(ErrorKind::BrokenPipe) => exit,
            Some(kind) => {
                self.write_stderr(&format!(
                    "Error: standard output cannot be written: {kind}.\n"
                ));
                if exit == Exit::Done {
                    Exit::Failed
                } else {
                    exit
                }
            }
        }
    }

    /// Returns whether whoever read standard output has gone: what goes on only to tell more can
    /// end.
    pub fn is_unread(&self) -> bool {
        self.failed.get() == Some(ErrorKind::BrokenPipe)
    }

    fn write(&self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            self.failed.set(Some(error.kind()));
        }
    }

    /// Writes to standard error; when even that fails there is nobody left to tell.
    fn write_stderr(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Lines of which none is wider than `width` columns, broken between words. A line that fits stays as
/// it is; one that does not keeps its indentation, and a word that is longer than a line stays whole, so that it can be
/// copied.
fn folded(text: &str, width: usize) -> String {
    let fold = |line: &str| {
        if measure_text_width(line) <= width {
            return line.to_owned();
        }
        let indent = line.len() - line.trim_start_matches(' ').len();
        wrap(&line[..indent], line, width)
    };
    text.split('\n').map(fold).collect::<Vec<_>>().join("\n")
}

/// JSON in which nothing is left that a terminal could obey, or that could not be seen: outside of
/// its strings there is no such character, and inside it stands as an escape.
fn escaped(json: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // One by one, so that what joins emoji is escaped too: whoever reads it gets the same text.
        if display_name(c.encode_utf8(&mut [0; 4])).starts_with(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}"); // A string takes everything.
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_only_where_they_must() {
        let text = "a  b\n  one two three four\n\nlonglonglonglong x";
        assert_eq!(
            folded(text, 12),
            "a  b\n  one two\n  three four\n\nlonglonglonglong\nx"
        );
        assert_eq!(folded(text, usize::MAX), text);
    }

    #[test]
    fn json_has_nothing_that_a_terminal_obeys_and_says_the_same() {
        let text = "a\nb\u{9b}2J\u{202e}\u{7f}\u{e0061}\u{200d}é\u{1f600}";
        let line = escaped(&serde_json::to_string(text).unwrap());
        assert_eq!(display_name(&line), line);
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
