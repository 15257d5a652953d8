//! The system's own tools: `ip`, `tc`, `nft`, `mount`.

use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a tool that must succeed; gives what it printed.
pub(super) fn tool(command: &mut Command) -> String {
    fed(command, "")
}

/// The same with something on its standard input.
pub(super) fn fed(command: &mut Command, input: &str) -> String {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} failed: {}{input}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `program` with the words of `line` as arguments.
pub(super) fn command(program: &str, line: &str) -> Command {
    let mut command = Command::new(program);
    command.args(line.split_whitespace());
    command
}
