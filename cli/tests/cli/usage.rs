//! Wrong usage, help, configuration and what packagers need.

use crate::home::Home;
use serde_json::json;

#[test]
fn wrong_usage_is_status_2_also_as_json() {
    let home = Home::empty();
    for line in ["", "frobnicate", "share", "fetch x --overwrite --rename", "list --nonsense"] {
        assert_eq!(home.run(line).exit, Some(2), "{line}");
    }
    let ran = home.run("share --json");
    assert_eq!(ran.exit, Some(2));
    let error = &ran.json()[0];
    assert_eq!((&error["event"], &error["code"]), (&json!("error"), &json!("bad_request")));
    assert!(error["message"].as_str().unwrap().contains("<PATH>"), "{error}");
}

#[test]
fn help_and_version_are_no_errors() {
    let home = Home::empty();
    for line in ["--help", "-h", "share --help", "--version", "help fetch", "transfers pause -h"] {
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
    assert_eq!(home.run("config path").stdout, format!("{}\n", path.display()));
    assert_eq!(home.run("config get port").stdout, "47447\n");
    assert_eq!(home.run("config set port 1234").exit, Some(0));
    assert_eq!(home.run("config get port").stdout, "1234\n");
    assert!(home.run("config get").stdout.contains("port"));
    assert!(home.run("config get --json").json().contains(&json!({"key": "port", "value": "1234"})));
    let ran = home.run("config set prot 1");
    assert_eq!(ran.exit, Some(2));
    assert!(ran.stderr.contains("did you mean \"port\"?"), "{}", ran.stderr);

    std::fs::remove_file(&path).unwrap();
    let edit =
        |editor: &str| home.hither("config edit").env("EDITOR", editor).output().unwrap().status.code();
    assert_eq!(edit("sed -i 's/^# port = .*/port = 5/'"), Some(0));
    assert_eq!(home.run("config get port").stdout, "5\n");
    assert_eq!(edit("false"), Some(1));
    assert_eq!(edit("sed -i 's/^port = .*/port = x/'"), Some(1));
}

#[test]
fn completions_and_manual_pages_are_made() {
    let home = Home::empty();
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.run(&format!("completions {shell}")).stdout.contains("hither"), "{shell}");
    }
    assert_eq!(home.run("completions csh").exit, Some(2));
    assert_eq!(home.run("man pages").exit, Some(0));
    let pages = home.folder.path().join("pages");
    for page in ["hither.1", "hither-share.1", "hither-transfers-pause.1", "hither-config-set.1"] {
        assert!(pages.join(page).is_file(), "{page}");
    }
}
