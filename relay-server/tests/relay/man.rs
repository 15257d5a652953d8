//! The manual pages of the program.

use std::process::Command;

#[test]
fn p10_every_command_has_a_page_with_its_examples_in_shape() {
    let home = tempfile::tempdir().unwrap();
    let pages = home.path().join("pages");
    let made = Command::new(env!("CARGO_BIN_EXE_hither-relay"))
        .arg("man")
        .arg(&pages)
        .status();
    assert!(made.unwrap().success());
    let page = std::fs::read_to_string(pages.join("hither-relay.1")).unwrap();
    let examples = page.split(".SH EXAMPLES\n.nf\n").nth(1).unwrap();
    assert!(
        examples.starts_with("  hither\\-relay  ") || examples.starts_with("  hither-relay  "),
        "{examples}"
    );
    for command in ["invite", "devices", "backup"] {
        assert!(pages.join(format!("hither-relay-{command}.1")).is_file());
    }
}
