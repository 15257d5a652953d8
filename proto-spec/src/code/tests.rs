//! Attacks with the bytes alone, each with the real key exchange, and what a person can mistype.

use super::*;
use crate::device::DeviceId;
use crate::proof::StreamBinding;
use crate::relay::samples::seeded;

fn code(text: &str) -> SpokenCode {
    text.parse().unwrap()
}

/// The two ends of one exchange, each with its view of the stream.
struct Ends {
    enters: CodeKeys,
    shows: CodeKeys,
}

/// One side's view.
#[derive(Clone)]
struct View {
    secret: CodeSecret,
    stream: StreamBinding,
    enters: DeviceId,
    shows: DeviceId,
    kind: CodeKind,
}

fn view(text: &str) -> View {
    View {
        secret: code(text).secret(),
        stream: StreamBinding::new([3; 32], seeded(1), seeded(2)),
        enters: seeded(1),
        shows: seeded(2),
        kind: CodeKind::Share,
    }
}

fn exchange(one: &View, other: &View) -> Ends {
    let a = CodePake::enter(&one.secret, &one.enters, &one.shows, [7; 32]);
    let b = CodePake::show(&other.secret, &other.enters, &other.shows, [8; 32]);
    let (to_b, to_a) = (a.message(), b.message());
    let keys = |key: &[u8], view: &View| {
        CodeKeys::new(
            key,
            &view.stream,
            view.kind,
            view.secret.name(),
            (&to_b, &to_a),
        )
    };
    Ends {
        enters: keys(&a.finish(&to_a).unwrap(), one),
        shows: keys(&b.finish(&to_b).unwrap(), other),
    }
}

impl Ends {
    fn agree(&self) -> bool {
        [CodeSide::Enters, CodeSide::Shows]
            .map(|side| self.enters.confirmation(side) == self.shows.confirmation(side))
            == [true, true]
    }
}

#[test]
fn the_same_code_on_the_same_stream_gives_the_same_keys_and_words() {
    let one = view("able-baby-cabin");
    let ends = exchange(&one, &one);
    assert!(ends.agree());
    assert_eq!(ends.enters.words(), ends.shows.words());
    for side in [CodeSide::Enters, CodeSide::Shows] {
        assert_eq!(ends.enters.sealing(side), ends.shows.sealing(side));
        let other = side.other();
        assert_ne!(ends.enters.sealing(side), ends.enters.sealing(other));
        assert_ne!(
            ends.enters.confirmation(side),
            ends.shows.confirmation(other)
        );
    }
}

/// Guessing online: every other code with the same nameplate is wrong, whichever word differs.
#[test]
fn a_wrong_word_gives_other_keys() {
    let one = view("able-baby-cabin");
    for wrong in ["able-baby-cable", "able-bacon-cabin", "able-cabin-baby"] {
        let other = view(wrong);
        assert_eq!(one.secret.name(), other.secret.name());
        let ends = exchange(&one, &other);
        assert!(!ends.agree(), "{wrong}");
        assert_ne!(ends.enters.words(), ends.shows.words(), "{wrong}");
    }
}

/// A device in the middle that passes the messages of one connection on to another: it has other
/// streams, and another key on each.
#[test]
fn whoever_stands_between_two_connections_gets_no_key() {
    let (one, middle) = (view("able-baby-cabin"), seeded(9));
    let exporter = View {
        stream: StreamBinding::new([4; 32], seeded(1), seeded(2)),
        ..one.clone()
    };
    let towards_the_middle = View {
        stream: StreamBinding::new([3; 32], seeded(1), middle),
        shows: middle,
        ..one.clone()
    };
    let from_the_middle = View {
        stream: StreamBinding::new([3; 32], middle, seeded(2)),
        enters: middle,
        ..one.clone()
    };
    // A stream opened the other way round between the same two.
    let turned = View {
        stream: StreamBinding::new([3; 32], seeded(2), seeded(1)),
        ..one.clone()
    };
    let kind = View {
        kind: CodeKind::Pair,
        ..one.clone()
    };
    for (name, a, b) in [
        ("exporter", &one, &exporter),
        ("both connections", &towards_the_middle, &from_the_middle),
        ("the acceptor", &towards_the_middle, &one),
        ("the opener", &one, &from_the_middle),
        ("turned", &one, &turned),
        ("kind", &one, &kind),
    ] {
        assert!(!exchange(a, b).agree(), "{name}");
    }
}

/// Offline: everything that went over the wire, with any two seeds, can be explained by every code.
/// A reader of the messages has nothing to test a guess with: the key that a guess would give needs
/// one of the secret scalars.
#[test]
fn recorded_messages_are_of_no_use() {
    let one = view("able-baby-cabin");
    let a = CodePake::enter(&one.secret, &one.enters, &one.shows, [7; 32]);
    let b = CodePake::show(&one.secret, &one.enters, &one.shows, [8; 32]);
    let (to_b, to_a) = (a.message(), b.message());
    let keys = |key: &[u8]| {
        CodeKeys::new(
            key,
            &one.stream,
            one.kind,
            one.secret.name(),
            (&to_b, &to_a),
        )
    };
    let real = keys(&a.finish(&to_a).unwrap());
    // The right code with scalars of one's own, as after a recording: replayed to a new run, and
    // calculated afterwards.
    for seed in 0..4 {
        let again = CodePake::show(&one.secret, &one.enters, &one.shows, [seed; 32]);
        let key = again.finish(&to_b).unwrap();
        assert_ne!(
            keys(&key).confirmation(CodeSide::Enters),
            real.confirmation(CodeSide::Enters),
            "{seed}"
        );
        let again = CodePake::enter(&one.secret, &one.enters, &one.shows, [seed; 32]);
        let key = again.finish(&to_a).unwrap();
        assert_ne!(
            keys(&key).confirmation(CodeSide::Shows),
            real.confirmation(CodeSide::Shows),
            "{seed}"
        );
    }
    // The passwords do not show in the messages: no code gives the message of another one's seed.
    for other in ["able-baby-cable", "able-bacon-cabin"] {
        let other = CodePake::enter(&view(other).secret, &one.enters, &one.shows, [7; 32]);
        assert_ne!(other.message(), to_b);
    }
}

#[test]
fn malformed_messages_of_the_exchange_are_refused() {
    let one = view("able-baby-cabin");
    let run = || CodePake::show(&one.secret, &one.enters, &one.shows, [8; 32]);
    let own = run().message();
    assert_eq!(run().finish(&own).err(), Some(PakeError), "reflected");
    let mut refused = 0;
    for n in 0..=255u8 {
        let mut bytes = [n; PakeMessage::LEN];
        bytes[0] = b'A';
        refused += u32::from(
            run()
                .finish(&PakeMessage::from_slice(&bytes).unwrap())
                .is_err(),
        );
    }
    assert!(refused > 64, "{refused} of 256 are no points");
    assert!(PakeMessage::from_slice(&[0; 32]).is_err());
    // A point of small order: the key of who sends it is not the key of who has the code.
    let mut neutral = [0; PakeMessage::LEN];
    (neutral[0], neutral[1]) = (b'A', 1);
    let key = run().finish(&PakeMessage::from_slice(&neutral).unwrap());
    assert_ne!(key.unwrap()[..], [0; 32]);
}

#[test]
fn words_are_understood_as_people_type_them() {
    let whole = code("abandon-zoo-salmon");
    for text in [
        "Abandon ZOO salmon",
        " abandon,zoo, salmon ",
        "aban-zoo-salm",
        "abando zoo salmo",
        "abandon - zoo - salmon",
    ] {
        assert_eq!(text.parse(), Ok(whole), "{text}");
        assert!(SpokenCode::is_meant(text), "{text}");
    }
    assert_eq!(whole.to_string(), "abandon-zoo-salmon");
    assert_eq!(whole.nameplate().number(), 0);
    for (text, count) in [("zoo", 1), ("a b", 2), ("zoo zoo zoo zoo", 4), ("", 0)] {
        assert_eq!(
            text.parse::<SpokenCode>(),
            Err(SpokenCodeError::Count(count)),
            "{text}"
        );
    }
    for text in ["hither1qqqq", "desk/photos", "desk/a b", "zoo"] {
        assert!(!SpokenCode::is_meant(text), "{text}");
    }
    let long = "zoo ".repeat(60);
    assert_eq!(long.parse::<SpokenCode>(), Err(SpokenCodeError::TooLong));
}

#[test]
fn a_misspelt_word_is_named_with_the_nearest_ones() {
    let said = |text: &str| text.parse::<SpokenCode>().unwrap_err().to_string();
    assert_eq!(
        said("abandon zoo salmom"),
        "the third word is none of those that codes are made of; is it \"salmon\"?"
    );
    assert_eq!(
        said("abandno zoo salmon"),
        "the first word is none of those that codes are made of; is it \"abandon\"?"
    );
    let many = said("abandon bot salmon");
    assert!(
        many.contains("the second word") && many.contains(" or "),
        "{many}"
    );
    let none = said("abandon xxxxxxxxx salmon");
    assert!(!none.contains("is it"), "{none}");
    // Three letters are not enough, except of a word that has three.
    assert!("aba zoo salmon".parse::<SpokenCode>().is_err());
}

#[test]
fn every_word_is_found_by_four_letters_and_by_its_number() {
    for number in 0..Word::COUNT as u16 {
        let word = Word::new(number).unwrap();
        let short: String = word.as_str().chars().take(4).collect();
        assert_eq!(Word::find(&short, 1), Ok(word), "{word}");
        assert_eq!(Word::find(&word.as_str().to_uppercase(), 1), Ok(word));
        let name = CodeName::Spoken(word);
        assert_eq!(CodeName::from_slice(&name.to_bytes()), Ok(name));
    }
    assert_eq!(Word::new(Word::COUNT as u16), None);
    assert!(CodeName::from_slice(&[8, 0]).is_err());
    assert!(CodeName::from_slice(&[1; 15]).is_err());
    assert!(CodeName::from_slice(&[1; 16]).is_ok());
}

#[test]
fn random_codes_use_every_bit_they_need() {
    assert_eq!(
        SpokenCode::of_random([0; 5]),
        code("abandon abandon abandon")
    );
    assert_eq!(SpokenCode::of_random([0xff; 5]), code("zoo zoo zoo"));
    assert_eq!(
        SpokenCode::of_random([0, 0, 0, 0x08, 1]),
        code("abandon ability ability")
    );
}

fn text() -> PairText {
    PairText {
        secret: Zeroizing::new([5; 32]),
        device: seeded(1),
        hints: vec![
            "192.168.1.7:47447".parse().unwrap(),
            "[fd00::1]:47447".parse().unwrap(),
        ],
    }
}

#[test]
fn scanned_codes_round_trip_and_typing_errors_are_named() {
    let shown = text().to_string();
    assert!(shown.starts_with("hither-pair1"), "{shown}");
    assert_eq!(shown.parse(), Ok(text()));
    assert_eq!(shown.to_uppercase().parse(), Ok(text()));
    let hints = vec!["[fd00::1]:47447".parse().unwrap(); 8];
    let longest = PairText { hints, ..text() };
    assert_eq!(longest.to_string().parse(), Ok(longest));
    let name = text().secret().name();
    let other = PairText {
        secret: Zeroizing::new([6; 32]),
        ..text()
    };
    assert_ne!(other.secret().name(), name);
    let parse = |text: &str| text.parse::<PairText>();
    assert_eq!(parse("hither1qqqq"), Err(PairTextError::NotOne));
    assert_eq!(parse(&shown[..60]), Err(PairTextError::Checksum));
    assert_eq!(
        parse(&format!("hither-pair1{}", "q".repeat(1000))),
        Err(PairTextError::TooLong)
    );
    for i in 12..shown.len() {
        let mut typo = shown.clone().into_bytes();
        typo[i] = if typo[i] == b'q' { b'p' } else { b'q' };
        assert!(parse(&String::from_utf8(typo).unwrap()).is_err(), "{i}");
    }
}

#[test]
fn gifts_come_out_as_they_went_in_and_hostile_ones_are_refused() {
    let ticket = "hither1qy9pqqgpqyqszqgpqyqszqgpqyqszqgjyph858xa9xct0r738t6v2kv0al6w725hzehrefhjunalenvq2pdlzxsxcqqqypae2u5dxj40";
    let grant = PairGrant {
        name: crate::DeviceName::clean("desk"),
        devices: vec![
            PairDevice {
                device: seeded(4),
                name: crate::DeviceName::clean("phone"),
            };
            256
        ],
        relays: Vec::new(),
    };
    let gifts = [
        CodeGift::Ticket(Box::new(ticket.parse().unwrap())),
        CodeGift::Introduction(crate::DeviceName::clean("phone")),
        CodeGift::Wait,
        CodeGift::Declined,
        CodeGift::Grant(Box::new(grant)),
        CodeGift::Taken,
    ];
    for gift in gifts {
        let bytes = gift.encode();
        assert!(bytes.len() < crate::limits::MAX_CODE_SEALED);
        assert_eq!(CodeGift::decode(&bytes), Ok(Some(gift)));
    }
    assert_eq!(CodeGift::decode(&[]), Ok(None), "of a later version");
    let hostile = |what| {
        use prost::Message as _;
        let bytes = crate::wire::CodeGift { what: Some(what) }.encode_to_vec();
        CodeGift::decode(&bytes)
    };
    use crate::wire::code_gift::What;
    assert!(hostile(What::Ticket("hither1x".into())).is_err());
    let name = hostile(What::Introduction("a\u{1b}[2J\u{202e}b".repeat(50)));
    let Ok(Some(CodeGift::Introduction(name))) = name else {
        panic!("{name:?}")
    };
    assert!(name.as_str().len() <= 64 && !name.as_str().contains('\u{1b}'));
    let many = crate::wire::PairDevice {
        device: seeded(4).as_bytes().to_vec().into(),
        name: "x".into(),
    };
    for grant in [
        crate::wire::PairGrant {
            devices: vec![many; 257],
            ..Default::default()
        },
        crate::wire::PairGrant {
            relays: vec!["http://example.org".into()],
            ..Default::default()
        },
        crate::wire::PairGrant {
            devices: vec![crate::wire::PairDevice::default()],
            ..Default::default()
        },
    ] {
        assert!(hostile(What::Grant(grant)).is_err());
    }
}

#[test]
fn secrets_do_not_show_in_what_is_printed() {
    let one = view("able-baby-cabin");
    let ends = exchange(&one, &one);
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        one.secret,
        code("able-baby-cabin"),
        ends.enters,
        ends.enters.confirmation(CodeSide::Shows),
        text(),
    );
    for secret in ["baby", "cabin", "hither-pair1"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
