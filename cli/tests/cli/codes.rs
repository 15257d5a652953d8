//! `hither pair` and codes of three words, as people and programs see them.

use crate::fake::Step::{AwaitAccept, Report};
use crate::home::Home;
use crate::terminal::Terminal;
use hither_api::{CodeInfo, CodeMet, Done, Event};

fn shown() -> Event {
    Event::Code(CodeInfo {
        code: "able-baby-cabin".into(),
        link: None,
        scan: Some(format!("hither-pair1{}", "qpzry9x8".repeat(12))),
        expires_seconds: 600,
        id: "ab12".into(),
    })
}

fn met() -> Event {
    Event::CodeMet(CodeMet {
        id: "ab12".into(),
        device: "12D3KooWabcdefgh".into(),
        name: "phone".into(),
        words: "zoo-salmon-zebra".into(),
        relays: vec!["relay.example:47447".into()],
        devices: 2,
        web: false,
    })
}

fn paired() -> Event {
    Event::Done(Done::Paired {
        paired: "12D3KooWabcdefgh".into(),
        name: "phone".into(),
        words: "zoo-salmon-zebra".into(),
        devices: 2,
        relays: vec!["relay.example:47447".into()],
    })
}

#[test]
fn pairing_names_what_it_grants_and_enter_is_no_yes() {
    for (typed, yes) in [("\n", false), ("n\n", false), ("y\n", true)] {
        let (home, fake) = Home::running();
        fake.answers(
            "POST /v1/codes/ab12/answer",
            serde_json::json!({"yes": yes}),
        );
        fake.plays([
            Report(shown()),
            Report(met()),
            AwaitAccept,
            Report(paired()),
        ]);
        let mut terminal = Terminal::run(home.hither("pair"), 80);
        terminal.wait_for("[y/N]");
        terminal.type_in(typed);
        let (_, screen) = terminal.end();
        assert_eq!(
            fake.body("POST /v1/codes/ab12/answer")["yes"],
            yes,
            "{typed:?}"
        );
        for said in [
            "able-baby-cabin",
            "hither pair able-baby-cabin",
            "zoo-salmon-zebra",
            "phone",
            "2 other devices",
            "relay.example:47447",
        ] {
            assert!(screen.contains(said), "{said}: {screen}");
        }
        assert!(screen.contains('\u{2580}'), "a picture: {screen}");
    }
}

#[test]
fn nobody_who_could_not_be_asked_pairs_anything() {
    let (home, fake) = Home::running();
    let ran = home.run("pair");
    assert_eq!(ran.exit, Some(2));
    let ran = home.run("pair hither-pair1qqqq");
    assert_eq!(ran.exit, Some(2));
    // A mistyped word is said before anything is asked of the daemon.
    let ran = home.run("pair able baby cabinn --json");
    assert_eq!(ran.exit, Some(2));
    assert_eq!(fake.asked(), Vec::<String>::new());
    // There is no yes in advance for who shows a code.
    assert_eq!(home.run("pair --yes").exit, Some(2));
}
