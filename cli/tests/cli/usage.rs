//! Wrong usage, help, configuration and what packagers need.

use crate::fake::transfer;
use crate::home::Home;
use serde_json::json;
use std::process::Stdio;

#[test]
fn wrong_usage_is_status_2_also_as_json() {
    let home = Home::empty();
    for line in [
        "",
        "frobnicate",
        "share",
        "fetch x --overwrite --rename",
        "list --nonsense",
    ] {
        assert_eq!(home.run(line).exit, Some(2), "{line}");
    }
    let ran = home.run("share --json");
    assert_eq!(ran.exit, Some(2));
    let error = &ran.json()[0];
    assert_eq!(
        (&error["event"], &error["code"]),
        (&json!("error"), &json!("bad_request"))
    );
    assert!(
        error["message"].as_str().unwrap().contains("<PATH>"),
        "{error}"
    );
}

#[test]
fn help_and_version_are_no_errors() {
    let home = Home::empty();
    for line in [
        "--help",
        "-h",
        "share --help",
        "--version",
        "help fetch",
        "transfers pause -h",
    ] {
        let ran = home.run(line);
        assert_eq!((ran.exit, ran.stderr.as_str()), (Some(0), ""), "{line}");
    }
    assert!(home.run("share --help").stdout.contains("Examples:"));
    assert!(!home.run("share -h").stdout.contains("Examples:"));
    assert!(!home.run("--help").stdout.contains("\n  man"));
}

#[test]
fn the_configuration_is_read_changed_and_edited() {
    let home = Home::empty();
    let path = home.folder.path().join("config.toml");
    assert_eq!(
        home.run("config path").stdout,
        format!("{}\n", path.display())
    );
    assert_eq!(home.run("config get port").stdout, "47447\n");
    assert_eq!(home.run("config set port 1234").exit, Some(0));
    assert_eq!(home.run("config get port").stdout, "1234\n");
    assert!(home.run("config get").stdout.contains("port"));
    assert!(
        home.run("config get --json")
            .json()
            .contains(&json!({"key": "port", "value": "1234", "source": "file"}))
    );
    let ran = home.run("config set prot 1");
    assert_eq!(ran.exit, Some(2));
    assert!(
        ran.stderr.contains("did you mean \"port\"?"),
        "{}",
        ran.stderr
    );

    std::fs::remove_file(&path).unwrap();
    let edit = |editor: &str| {
        home.hither("config edit")
            .env("EDITOR", editor)
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(edit("sed -i 's/^# port = .*/port = 5/'"), Some(0));
    assert_eq!(home.run("config get port").stdout, "5\n");
    assert_eq!(edit("false"), Some(1));
    assert_eq!(edit("sed -i 's/^port = .*/port = x/'"), Some(1));
}

#[test]
fn a_command_of_another_program_is_answered_with_the_one_of_this() {
    let home = Home::empty();
    for (typed, tip) in [
        ("get x", "hither fetch"),
        ("ls", "hither list"),
        ("logs", "hither log"),
    ] {
        let ran = home.run(typed);
        assert_eq!(ran.exit, Some(2));
        assert!(
            ran.stderr.contains(&format!("tip: {tip} ")),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_shell_completes_what_the_user_has() {
    let (home, fake) = Home::running();
    fake.answers("GET /v1/transfers", json!([transfer("fetching")]));
    let complete = |words: &[&str]| {
        let mut command = home.hither("");
        command.env("COMPLETE", "fish").arg("--").arg("hither");
        let output = command.args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let keys = complete(&["config", "set", "limits.up"]);
    assert!(keys.contains("limits.upload\t"), "{keys}");
    let transfers = complete(&["transfers", "pause", ""]);
    assert!(transfers.contains("t1"), "{transfers}");
    let commands = complete(&["tran"]);
    assert!(commands.contains("transfers\t"), "{commands}");
    // While no daemon runs, none is started and nothing is said.
    let nobody = Home::empty();
    let mut command = nobody.hither("");
    command
        .env("COMPLETE", "fish")
        .args(["--", "hither", "why", ""]);
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn completions_and_manual_pages_are_made() {
    let home = Home::empty();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            home.run(&format!("completions {shell}"))
                .stdout
                .contains("hither"),
            "{shell}"
        );
    }
    assert_eq!(home.run("completions csh").exit, Some(2));
    assert_eq!(home.run("man pages").exit, Some(0));
    let pages = home.folder.path().join("pages");
    for page in [
        "hither.1",
        "hither-share.1",
        "hither-transfers-pause.1",
        "hither-config-set.1",
        "hitherd.1",
    ] {
        assert!(pages.join(page).is_file(), "{page}");
    }
}

#[test]
fn a_path_is_shown_as_it_was_typed() {
    let (home, _fake) = Home::running();
    let ran = home.run("share missing.txt");
    assert_eq!(
        (ran.exit, ran.stderr.lines().next()),
        (
            Some(1),
            Some("Error: missing.txt: no such file or directory.")
        )
    );
    let ran = home.run("send phone --file ärger/x");
    assert!(
        ran.stderr.starts_with("Error: ärger/x: no such file"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_key_of_a_newer_version_is_a_warning_that_names_file_and_key() {
    let home = Home::empty();
    let file = home.folder.path().join("config.toml");
    std::fs::write(&file, "port = 7\nfuture.thing = true\n").unwrap();
    let ran = home.run("config get port");
    assert_eq!(
        (ran.exit, ran.stdout.as_str()),
        (Some(0), "7\n"),
        "{}",
        ran.stderr
    );
    let words = format!(
        "Warning: {}: there is no configuration key \"future.thing\". It is ignored.\n",
        file.display()
    );
    assert_eq!(ran.stderr, words);
    std::fs::write(&file, "port = true\n").unwrap();
    let ran = home.run("config get port");
    assert!(
        ran.stderr
            .starts_with(&format!("Error: {}: \"port\" must be", file.display())),
        "{}",
        ran.stderr
    );
}

#[test]
fn whoever_has_seen_enough_ends_it_without_a_word() {
    let (home, fake) = Home::running();
    let transfers: Vec<_> = (0..20_000).map(|_| transfer("done")).collect();
    fake.answers("GET /v1/transfers", serde_json::json!(transfers));
    for line in [
        "transfers --json",
        "transfers",
        "transfers --watch --json",
        "completions bash",
        "config get",
    ] {
        // Nobody reads from the beginning: what fits a pipe would be written before somebody leaves.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = home
            .hither(line)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(141), "{line}");
        assert!(
            output.stderr.is_empty(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn the_doctor_says_how_far_it_looked() {
    let (home, fake) = Home::running();
    let fine = |check: &str| serde_json::json!({"check": check, "level": "ok", "message": "Fine.", "hint": ""});
    fake.answers(
        "GET /v1/doctor",
        serde_json::json!([fine("ports"), fine("relay")]),
    );
    assert!(home.run("doctor").stdout.ends_with("\nEverything works.\n"));
    fake.answers(
        "GET /v1/doctor",
        serde_json::json!([fine("ports"), fine("no relay")]),
    );
    assert!(
        home.run("doctor")
            .stdout
            .ends_with("\nEverything works on this network.\n")
    );
}

#[test]
fn the_pages_keep_their_examples_line_by_line() {
    let home = Home::empty();
    assert_eq!(home.run("man pages").exit, Some(0));
    let page = std::fs::read_to_string(home.folder.path().join("pages/hither-down.1")).unwrap();
    let examples = page
        .split(".SH EXAMPLES\n.nf\n")
        .nth(1)
        .unwrap_or_else(|| panic!("{page}"));
    let lines: Vec<&str> = examples.lines().take(3).collect();
    assert!(
        lines[0].contains("hither down")
            && lines[1].contains("hither down && hither up")
            && lines[2] == ".fi",
        "{lines:?}"
    );
}
