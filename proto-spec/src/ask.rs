//! Requests between devices, and their answers: the inside of sealed letters.
//!
//! Invariants: names are cleaned and bounded when they are parsed; a request says for how long it
//! may be answered, and nothing of the asker's clock is believed beside that; an answer that breaks
//! a bound is no answer.

use crate::ids::AskId;
use crate::limits::{
    MAX_ANSWER_CONTENT, MAX_ANSWER_TEXT, MAX_ANSWER_THINGS, MAX_ASK_PATTERN, MAX_ASK_REASON,
    MAX_ASK_SECONDS, MAX_ASK_VALID, MAX_MEDIA_TYPE, MAX_THUMBNAIL, MAX_TICKET,
};
use crate::message::MessageError;
use crate::name::{EntryName, display_name};
use crate::wire;
use bytes::Bytes;
use prost::Message as _;

/// The kind of what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AskKind {
    /// A picture.
    Photo,
    /// A film.
    Video,
    /// A recording.
    Audio,
    /// Any file.
    File,
    /// The words of a QR code.
    Qr,
    /// The place of the device.
    Location,
    /// The thing being played.
    Playing,
    /// The thing copied last.
    Clipboard,
    /// The user's place in what is being played or read.
    Place,
}

impl AskKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Photo,
        Self::Video,
        Self::Audio,
        Self::File,
        Self::Qr,
        Self::Location,
        Self::Playing,
        Self::Clipboard,
        Self::Place,
    ];

    /// Its word on the command line and in the local API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::File => "file",
            Self::Qr => "qr",
            Self::Location => "location",
            Self::Playing => "playing",
            Self::Clipboard => "clipboard",
            Self::Place => "place",
        }
    }

    /// The kind of this word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Which one of a kind is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The asked user chooses.
    Picked,
    /// The latest one.
    Latest,
    /// The latest one whose name fits a pattern with `*` and `?`, 1 to 255 bytes.
    Named(String),
    /// Recorded for 1 to 600 seconds, or taken (0) now.
    Live(u32),
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Names it at both devices.
    pub id: AskId,
    /// The kind that is asked for.
    pub kind: AskKind,
    /// Which of that kind.
    pub which: Which,
    /// Only what it is: name, size, type, a small picture.
    pub digest: bool,
    /// In the asker's words, safe to show; may be empty.
    pub reason: String,
    /// For how long it may be answered, seconds, 1 to 2,592,000.
    pub valid_s: u32,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskRefusal {
    /// The user, or what the user has set, says no.
    Declined,
    /// There is nothing of that kind or name.
    Nothing,
    /// The device cannot do that.
    Unsupported,
    /// Too much is asked for.
    Busy,
    /// It was tried, and failed.
    Failed,
    /// Nobody answered in time.
    Expired,
}

/// One thing that was asked for, or what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// Its name, as it may be written to a disk.
    pub name: EntryName,
    /// Its media type, safe to show; may be empty.
    pub media_type: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// When it was made, by the asked device's clock, Unix milliseconds; 0: not known.
    pub made_ms: u64,
    /// The thing itself; absent where it is too large for a letter, or only its digest was asked for.
    pub content: Option<Bytes>,
    /// A small picture (JPEG); may be empty.
    pub thumbnail: Bytes,
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Refused {
        /// Why.
        refusal: AskRefusal,
        /// In words, safe to show; may be empty.
        words: String,
    },
    /// A text.
    Text(String),
    /// Things, 1 to 64; `ticket`: they are fetched by it.
    Things {
        /// All of them.
        things: Vec<Thing>,
        /// The ticket of the share that holds them.
        ticket: Option<String>,
    },
}

/// The contents of a letter about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskLetter {
    /// Something is asked for.
    Ask(Ask),
    /// It is not wanted any more.
    Cancel(AskId),
    /// It stands before the asked user.
    Seen(AskId),
    /// It is answered.
    Answer(AskId, Answer),
}

impl AskLetter {
    /// Parses the inside of a letter. `Ok(None)`: something of a later version.
    ///
    /// Errors: it is malformed, or beyond a bound.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, MessageError> {
        use wire::ask_letter::Body;
        let letter = wire::AskLetter::decode(bytes).map_err(|_| MessageError::Malformed)?;
        Ok(match letter.body {
            Some(Body::Ask(m)) => parse_ask(&m)?.map(Self::Ask),
            Some(Body::Cancel(m)) => Some(Self::Cancel(AskId::from_slice(&m.id)?)),
            Some(Body::Seen(m)) => Some(Self::Seen(AskId::from_slice(&m.id)?)),
            Some(Body::Answer(m)) => {
                let id = AskId::from_slice(&m.id)?;
                Some(Self::Answer(id, parse_answer(m)?))
            }
            None => None,
        })
    }

    /// The inside of a letter.
    pub fn encode(&self) -> Vec<u8> {
        use wire::ask_letter::Body;
        let body = match self {
            Self::Ask(ask) => Body::Ask(ask.to_wire()),
            Self::Cancel(id) => Body::Cancel(wire::AskCancel { id: bytes_of(id) }),
            Self::Seen(id) => Body::Seen(wire::AskSeen { id: bytes_of(id) }),
            Self::Answer(id, answer) => Body::Answer(answer_to_wire(id, answer)),
        };
        wire::AskLetter { body: Some(body) }.encode_to_vec()
    }
}

fn bytes_of(id: &AskId) -> Bytes {
    id.as_bytes().to_vec().into()
}

/// Text that is safe to show and not longer than `most` bytes.
fn shown(text: &str, most: usize) -> String {
    let mut shown = display_name(text.trim());
    while shown.len() > most {
        shown.pop();
    }
    shown
}

/// A kind or choice that this build does not know makes it a request of a later version.
pub(crate) fn parse_ask(m: &wire::Ask) -> Result<Option<Ask>, MessageError> {
    let kind = match m.kind() {
        wire::AskKind::Photo => AskKind::Photo,
        wire::AskKind::Video => AskKind::Video,
        wire::AskKind::Audio => AskKind::Audio,
        wire::AskKind::File => AskKind::File,
        wire::AskKind::Qr => AskKind::Qr,
        wire::AskKind::Location => AskKind::Location,
        wire::AskKind::Playing => AskKind::Playing,
        wire::AskKind::Clipboard => AskKind::Clipboard,
        wire::AskKind::Place => AskKind::Place,
        wire::AskKind::Unspecified => return Ok(None),
    };
    let which = match m.which() {
        wire::AskWhich::Picked => Which::Picked,
        wire::AskWhich::Latest => Which::Latest,
        wire::AskWhich::Named => {
            let usable = !m.name.is_empty()
                && m.name.len() <= MAX_ASK_PATTERN
                && !m.name.chars().any(char::is_control);
            if !usable {
                return Err(MessageError::Value("pattern"));
            }
            Which::Named(m.name.clone())
        }
        wire::AskWhich::Live => {
            if m.seconds > MAX_ASK_SECONDS {
                return Err(MessageError::Value("length of a recording"));
            }
            Which::Live(m.seconds)
        }
        wire::AskWhich::Unspecified => return Ok(None),
    };
    if m.valid_s == 0 || m.valid_s > MAX_ASK_VALID {
        return Err(MessageError::Value("time for an answer"));
    }
    Ok(Some(Ask {
        id: AskId::from_slice(&m.id)?,
        kind,
        which,
        digest: m.digest,
        reason: shown(&m.reason, MAX_ASK_REASON),
        valid_s: m.valid_s,
    }))
}

impl Ask {
    pub(crate) fn to_wire(&self) -> wire::Ask {
        let (which, name, seconds) = match &self.which {
            Which::Picked => (wire::AskWhich::Picked, "", 0),
            Which::Latest => (wire::AskWhich::Latest, "", 0),
            Which::Named(name) => (wire::AskWhich::Named, name.as_str(), 0),
            Which::Live(seconds) => (wire::AskWhich::Live, "", *seconds),
        };
        wire::Ask {
            id: bytes_of(&self.id),
            kind: match self.kind {
                AskKind::Photo => wire::AskKind::Photo,
                AskKind::Video => wire::AskKind::Video,
                AskKind::Audio => wire::AskKind::Audio,
                AskKind::File => wire::AskKind::File,
                AskKind::Qr => wire::AskKind::Qr,
                AskKind::Location => wire::AskKind::Location,
                AskKind::Playing => wire::AskKind::Playing,
                AskKind::Clipboard => wire::AskKind::Clipboard,
                AskKind::Place => wire::AskKind::Place,
            }
            .into(),
            which: which.into(),
            name: name.to_owned(),
            seconds,
            digest: self.digest,
            reason: self.reason.clone(),
            valid_s: self.valid_s,
        }
    }
}

fn parse_answer(m: wire::AskAnswer) -> Result<Answer, MessageError> {
    let refusal = match wire::AskRefusal::try_from(m.refusal) {
        Ok(wire::AskRefusal::Unspecified) => None,
        Ok(wire::AskRefusal::Declined) => Some(AskRefusal::Declined),
        Ok(wire::AskRefusal::Nothing) => Some(AskRefusal::Nothing),
        Ok(wire::AskRefusal::Unsupported) => Some(AskRefusal::Unsupported),
        Ok(wire::AskRefusal::Busy) => Some(AskRefusal::Busy),
        Ok(wire::AskRefusal::Expired) => Some(AskRefusal::Expired),
        // A reason of a later version is one all the same.
        Ok(wire::AskRefusal::Failed) | Err(_) => Some(AskRefusal::Failed),
    };
    if m.text.len() > MAX_ANSWER_TEXT {
        return Err(MessageError::Value("length of an answer"));
    }
    if let Some(refusal) = refusal {
        let words = shown(&m.text, MAX_ASK_REASON);
        return Ok(Answer::Refused { refusal, words });
    }
    if m.things.is_empty() {
        return Ok(Answer::Text(m.text));
    }
    if m.things.len() > MAX_ANSWER_THINGS || m.ticket.len() > MAX_TICKET {
        return Err(MessageError::Value("number of things"));
    }
    let whole: usize = m.things.iter().map(|thing| thing.content.len()).sum();
    if whole > MAX_ANSWER_CONTENT {
        return Err(MessageError::Value("length of things"));
    }
    let things = m.things.into_iter().enumerate();
    Ok(Answer::Things {
        things: things
            .map(|(at, thing)| parse_thing(thing, at))
            .collect::<Result<_, _>>()?,
        ticket: (!m.ticket.is_empty()).then_some(m.ticket),
    })
}

fn parse_thing(m: wire::AskThing, at: usize) -> Result<Thing, MessageError> {
    if m.thumbnail.len() > MAX_THUMBNAIL {
        return Err(MessageError::Value("length of a small picture"));
    }
    // A hostile name is not worth a lost answer.
    let name = EntryName::parse(&m.name)
        .or_else(|_| EntryName::parse(&format!("unnamed-{}", at + 1)))
        .map_err(|_| MessageError::Value("name"))?;
    // An empty thing is whole too.
    let whole = m.content.len() as u64 == m.bytes;
    if !whole && !m.content.is_empty() {
        return Err(MessageError::Value("length of a thing"));
    }
    Ok(Thing {
        name,
        media_type: shown(&m.media_type, MAX_MEDIA_TYPE),
        bytes: m.bytes,
        made_ms: m.made_ms,
        content: whole.then_some(m.content),
        thumbnail: m.thumbnail,
    })
}

fn answer_to_wire(id: &AskId, answer: &Answer) -> wire::AskAnswer {
    let mut m = wire::AskAnswer {
        id: bytes_of(id),
        ..wire::AskAnswer::default()
    };
    match answer {
        Answer::Refused { refusal, words } => {
            m.refusal = match refusal {
                AskRefusal::Declined => wire::AskRefusal::Declined,
                AskRefusal::Nothing => wire::AskRefusal::Nothing,
                AskRefusal::Unsupported => wire::AskRefusal::Unsupported,
                AskRefusal::Busy => wire::AskRefusal::Busy,
                AskRefusal::Failed => wire::AskRefusal::Failed,
                AskRefusal::Expired => wire::AskRefusal::Expired,
            }
            .into();
            m.text.clone_from(words);
        }
        Answer::Text(text) => m.text.clone_from(text),
        Answer::Things { things, ticket } => {
            m.things = things
                .iter()
                .map(|thing| wire::AskThing {
                    name: thing.name.as_str().to_owned(),
                    media_type: thing.media_type.clone(),
                    bytes: thing.bytes,
                    made_ms: thing.made_ms,
                    content: thing.content.clone().unwrap_or_default(),
                    thumbnail: thing.thumbnail.clone(),
                })
                .collect();
            m.ticket = ticket.clone().unwrap_or_default();
        }
    }
    m
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> AskId {
        AskId::new([7; 16])
    }

    fn ask(kind: AskKind, which: Which) -> Ask {
        Ask {
            id: id(),
            kind,
            which,
            digest: true,
            reason: "for the album".into(),
            valid_s: 3600,
        }
    }

    fn thing(name: &str, content: Option<&[u8]>) -> Thing {
        Thing {
            name: EntryName::parse(name).unwrap(),
            media_type: "image/jpeg".into(),
            bytes: content.map_or(9, |content| content.len() as u64),
            made_ms: 5,
            content: content.map(Bytes::copy_from_slice),
            thumbnail: Bytes::from_static(b"jpeg"),
        }
    }

    #[test]
    fn every_letter_comes_out_as_it_went_in() {
        let mut letters = vec![AskLetter::Cancel(id()), AskLetter::Seen(id())];
        for kind in AskKind::ALL {
            assert_eq!(AskKind::parse(kind.name()), Some(kind));
            for which in [
                Which::Picked,
                Which::Latest,
                Which::Named("IMG*.jp?g".into()),
                Which::Live(0),
                Which::Live(MAX_ASK_SECONDS),
            ] {
                letters.push(AskLetter::Ask(ask(kind, which)));
            }
        }
        for refusal in [
            AskRefusal::Declined,
            AskRefusal::Nothing,
            AskRefusal::Unsupported,
            AskRefusal::Busy,
            AskRefusal::Failed,
            AskRefusal::Expired,
        ] {
            let words = "no camera".into();
            letters.push(AskLetter::Answer(id(), Answer::Refused { refusal, words }));
        }
        letters.push(AskLetter::Answer(id(), Answer::Text("häl\nlo".into())));
        let things = vec![
            thing("a.jpg", Some(b"bytes")),
            thing("empty", Some(b"")),
            thing("large", None),
        ];
        letters.push(AskLetter::Answer(
            id(),
            Answer::Things {
                things,
                ticket: Some("hither1…".into()),
            },
        ));
        for letter in letters {
            assert_eq!(AskLetter::decode(&letter.encode()), Ok(Some(letter)));
        }
    }

    fn raw(ask: wire::Ask) -> Result<Option<AskLetter>, MessageError> {
        let body = Some(wire::ask_letter::Body::Ask(ask));
        AskLetter::decode(&wire::AskLetter { body }.encode_to_vec())
    }

    #[test]
    fn requests_beyond_a_bound_are_refused_and_later_ones_let_be() {
        let good = ask(AskKind::Photo, Which::Latest).to_wire();
        assert!(raw(good.clone()).unwrap().is_some());
        for later in [
            wire::Ask {
                kind: 99,
                ..good.clone()
            },
            wire::Ask {
                which: 99,
                ..good.clone()
            },
        ] {
            assert_eq!(raw(later), Ok(None));
        }
        let named = wire::AskWhich::Named.into();
        for wrong in [
            wire::Ask {
                valid_s: 0,
                ..good.clone()
            },
            wire::Ask {
                valid_s: MAX_ASK_VALID + 1,
                ..good.clone()
            },
            wire::Ask {
                id: Bytes::new(),
                ..good.clone()
            },
            wire::Ask {
                which: named,
                ..good.clone()
            },
            wire::Ask {
                which: named,
                name: "x".repeat(256),
                ..good.clone()
            },
            wire::Ask {
                which: named,
                name: "a\u{1b}".into(),
                ..good.clone()
            },
            wire::Ask {
                which: wire::AskWhich::Live.into(),
                seconds: MAX_ASK_SECONDS + 1,
                ..good.clone()
            },
        ] {
            assert!(raw(wrong).is_err());
        }
        let Ok(Some(AskLetter::Ask(cleaned))) = raw(wire::Ask {
            reason: format!("a\u{1b}[2J{}", "b".repeat(400)),
            ..good
        }) else {
            panic!()
        };
        assert!(cleaned.reason.len() <= MAX_ASK_REASON && !cleaned.reason.contains('\u{1b}'));
    }

    #[test]
    fn answers_are_bounded_and_their_names_harmless() {
        let raw = |answer: wire::AskAnswer| {
            let body = Some(wire::ask_letter::Body::Answer(wire::AskAnswer {
                id: bytes_of(&id()),
                ..answer
            }));
            AskLetter::decode(&wire::AskLetter { body }.encode_to_vec())
        };
        let of = |things: Vec<wire::AskThing>| {
            raw(wire::AskAnswer {
                things,
                ..Default::default()
            })
        };
        let small = wire::AskThing {
            name: "../../etc/passwd".into(),
            bytes: 1,
            content: Bytes::from_static(b"x"),
            ..Default::default()
        };
        let Ok(Some(AskLetter::Answer(_, Answer::Things { things, .. }))) = of(vec![small.clone()])
        else {
            panic!()
        };
        assert_eq!(things[0].name.as_str(), "unnamed-1");
        assert!(of(vec![small.clone(); MAX_ANSWER_THINGS + 1]).is_err());
        let large = wire::AskThing {
            bytes: MAX_ANSWER_CONTENT as u64,
            content: vec![0; MAX_ANSWER_CONTENT].into(),
            ..small.clone()
        };
        assert!(of(vec![large.clone()]).is_ok());
        assert!(of(vec![large, small.clone()]).is_err());
        assert!(
            of(vec![wire::AskThing {
                bytes: 2,
                ..small.clone()
            }])
            .is_err()
        );
        assert!(
            of(vec![wire::AskThing {
                thumbnail: vec![0; MAX_THUMBNAIL + 1].into(),
                ..small
            }])
            .is_err()
        );
        let long = "x".repeat(MAX_ANSWER_TEXT + 1);
        assert!(
            raw(wire::AskAnswer {
                text: long,
                ..Default::default()
            })
            .is_err()
        );
        let later = raw(wire::AskAnswer {
            refusal: 99,
            ..Default::default()
        });
        assert!(matches!(
            later,
            Ok(Some(AskLetter::Answer(
                _,
                Answer::Refused {
                    refusal: AskRefusal::Failed,
                    ..
                }
            )))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(Some(letter)) = AskLetter::decode(&bytes) {
                prop_assert_eq!(AskLetter::decode(&letter.encode()), Ok(Some(letter)));
            }
        }
    }
}
