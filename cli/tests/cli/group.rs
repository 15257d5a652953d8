//! `hither group`, against a daemon that is played.

use crate::home::Home;
use hither_api::{ApiError, ErrorCode};
use serde_json::{Value, json};

fn group(state: &str) -> Value {
    json!({
        "group": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "name": "cho\u{1b}ir",
        "state": state, "findable": false, "members": 2, "online": 1, "shares": 0, "asking": 0, "generation": 1,
        "policy": "approval", "relay": "relay.example:47447", "invite": "hithergroup1abc",
    })
}

#[test]
fn a_device_in_no_group_is_told_what_it_can_do() {
    let (home, fake) = Home::running();
    fake.answers("GET /v1/groups", json!([]));
    let ran = home.run("group list");
    for words in ["in no group", "group search", "group join", "group create"] {
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
    }
    assert!(home.run("group list --json").stdout.is_empty());
    fake.answers("GET /v1/groups", json!([group("member"), group("asking")]));
    let ran = home.run("group list");
    assert!(
        ran.stdout.contains("cho\u{fffd}ir") && ran.stdout.contains("nobody has answered"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        home.run("group list --json").json(),
        [group("member"), group("asking")]
    );
}

#[test]
fn a_group_is_made_with_its_admins_and_policy_and_its_word_is_printed() {
    let (home, fake) = Home::running();
    fake.answers("POST /v1/groups", group("member"));
    let ran = home.run("group create choir --allow phone --allow desk --admin laptop");
    assert!(
        ran.stdout.ends_with("\nhithergroup1abc\n"),
        "{}",
        ran.stdout
    );
    let asked = fake.body("POST /v1/groups");
    assert_eq!(
        (&asked["policy"], &asked["allow"]),
        (&json!("allow_list"), &json!(["phone", "desk"]))
    );
    assert_eq!(
        (&asked["admins"], &asked["findable"]),
        (&json!(["laptop"]), &json!(false))
    );
    // By default an admin approves.
    let (home, fake) = Home::running();
    fake.answers("POST /v1/groups", group("member"));
    home.run("group create choir");
    assert_eq!(fake.body("POST /v1/groups")["policy"], "approval");
}

#[test]
fn who_is_not_let_in_learns_why_and_the_status_says_refused() {
    let (home, fake) = Home::running();
    fake.answers("POST /v1/groups/join", group("asking"));
    let ran = home.run("group join choir");
    assert!(
        ran.exit == Some(0) && ran.stdout.contains("Asked to join"),
        "{}",
        ran.stdout
    );
    fake.fails(
        "POST /v1/groups/join",
        ApiError::new(ErrorCode::Refused, "Refused: we are complete."),
    );
    let ran = home.run("group join choir");
    assert_eq!(ran.exit, Some(4));
    assert!(ran.stderr.contains("we are complete"), "{}", ran.stderr);
}
