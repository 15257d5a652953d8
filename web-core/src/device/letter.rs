//! Letters as the page has them, and as they are sealed.
//!
//! Invariant: what comes out of [`read`] passed the parsers of `hither-proto`: names are cleaned,
//! lengths bounded, and a kind of a later version is `Unknown`.

use super::hex;
use hither_proto::mail::{Body, Content, Inside, Letter, ShareNote, SmallFile, Visitor};
use hither_proto::{
    Answer, Ask, AskId, AskKind, AskLetter, AskRefusal, EntryName, MessageId, Thing, Which,
};
use serde::{Deserialize, Serialize};

/// Kinds of letters for services.
const ASK: &str = "ask";
const RECEIPT: &str = "receipt";
/// Format and meanings of receipts (SPEC.md, "Streams between devices").
const RECEIPT_FORMAT: u8 = 1;
const DECLINED: u8 = 1;
const TAKEN: u8 = 2;

/// A file in a letter; its bytes stand behind the JSON, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileJson {
    pub name: String,
    pub length: u32,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskJson {
    #[serde(with = "hex")]
    pub id: [u8; 16],
    pub kind: String,
    pub which: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    #[serde(default)]
    pub digest: bool,
    #[serde(default)]
    pub reason: String,
    pub valid_s: u32,
}

impl AskJson {
    pub(super) fn of(ask: &Ask) -> Self {
        let (which, name, seconds) = match &ask.which {
            Which::Picked => ("picked", None, None),
            Which::Latest => ("latest", None, None),
            Which::Named(name) => ("named", Some(name.clone()), None),
            Which::Live(seconds) => ("live", None, Some(*seconds)),
        };
        Self {
            id: *ask.id.as_bytes(),
            kind: ask.kind.name().into(),
            which: which.into(),
            name,
            seconds,
            digest: ask.digest,
            reason: ask.reason.clone(),
            valid_s: ask.valid_s,
        }
    }

    pub(super) fn parse(self) -> Option<Ask> {
        let which = match self.which.as_str() {
            "picked" => Which::Picked,
            "latest" => Which::Latest,
            "named" => Which::Named(self.name.filter(|name| !name.is_empty())?),
            "live" => Which::Live(self.seconds.unwrap_or(0)),
            _ => return None,
        };
        let ask = Ask {
            id: AskId::new(self.id),
            kind: AskKind::parse(&self.kind)?,
            which,
            digest: self.digest,
            reason: self.reason,
            valid_s: self.valid_s,
        };
        // Once through the parser: what is beyond a bound does not leave the page.
        match AskLetter::decode(&AskLetter::Ask(ask).encode()) {
            Ok(Some(AskLetter::Ask(ask))) => Some(ask),
            _ => None,
        }
    }
}

/// A thing of an answer; its content and its picture stand behind the JSON, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ThingJson {
    pub name: String,
    pub media_type: String,
    pub bytes: u64,
    #[serde(default)]
    pub made_ms: u64,
    /// Length of its content where it is there.
    #[serde(default)]
    pub content: Option<u32>,
    #[serde(default)]
    pub thumbnail: u32,
}

/// The contents of a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum LetterJson {
    Text {
        text: String,
    },
    Files {
        files: Vec<FileJson>,
    },
    Ticket {
        ticket: String,
        name: String,
        files: u64,
        bytes: u64,
    },
    Ask {
        ask: AskJson,
    },
    Cancel {
        #[serde(with = "hex")]
        ask: [u8; 16],
    },
    Seen {
        #[serde(with = "hex")]
        ask: [u8; 16],
    },
    Refused {
        #[serde(with = "hex")]
        ask: [u8; 16],
        refusal: String,
        words: String,
    },
    AnswerText {
        #[serde(with = "hex")]
        ask: [u8; 16],
        text: String,
    },
    Answer {
        #[serde(with = "hex")]
        ask: [u8; 16],
        things: Vec<ThingJson>,
        #[serde(default)]
        ticket: Option<String>,
    },
    Receipt {
        #[serde(with = "hex")]
        of: [u8; 16],
        taken: bool,
    },
    /// Of a later version: the user sees that something came.
    Unknown,
    /// For a service that a page does not have, or that this version does not know: nobody sees it.
    Service,
    /// It cannot be opened: nobody knows who wrote it.
    Unreadable,
}

const REFUSALS: [(AskRefusal, &str); 6] = [
    (AskRefusal::Declined, "declined"),
    (AskRefusal::Nothing, "nothing"),
    (AskRefusal::Unsupported, "unsupported"),
    (AskRefusal::Busy, "busy"),
    (AskRefusal::Failed, "failed"),
    (AskRefusal::Expired, "expired"),
];

/// Takes bytes from the front.
fn take<'a>(bytes: &mut &'a [u8], length: u32) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_at_checked(length as usize)?;
    *bytes = rest;
    Some(first)
}

/// The plaintext of a letter; `None`: it is none, or beyond a bound.
pub(super) fn write(
    letter: LetterJson,
    mut bytes: &[u8],
    made_ms: u64,
    receipt: bool,
    visitor: Option<Visitor>,
) -> Option<Vec<u8>> {
    let body = |kind: &str, payload: Vec<u8>, visitor: Option<Visitor>| {
        let kind = kind.to_owned();
        let body = Body {
            kind,
            made_ms,
            payload,
            visitor,
            after: None,
        };
        Some(body.encode())
    };
    let content = match letter {
        LetterJson::Text { text } => Content::Text(text),
        LetterJson::Files { files } => {
            let mut small = Vec::with_capacity(files.len());
            for file in files {
                small.push(SmallFile {
                    name: EntryName::parse(&file.name).ok()?,
                    mode: 0o644,
                    bytes: take(&mut bytes, file.length)?.to_vec(),
                });
            }
            Content::Files(small)
        }
        LetterJson::Ticket {
            ticket,
            name,
            files,
            bytes,
        } => Content::Ticket(ShareNote {
            ticket,
            name,
            files,
            bytes,
        }),
        LetterJson::Receipt { of, taken } => {
            let what = if taken { TAKEN } else { DECLINED };
            let payload = [&[RECEIPT_FORMAT, what][..], &of].concat();
            return body(RECEIPT, payload, visitor);
        }
        letter => return body(ASK, ask_letter(letter, bytes)?.encode(), visitor),
    };
    let letter = Letter {
        made_ms,
        content,
        receipt,
        visitor,
        after: None,
    };
    Some(letter.encode())
}

fn ask_letter(letter: LetterJson, mut bytes: &[u8]) -> Option<AskLetter> {
    Some(match letter {
        LetterJson::Ask { ask } => AskLetter::Ask(ask.parse()?),
        LetterJson::Cancel { ask } => AskLetter::Cancel(AskId::new(ask)),
        LetterJson::Seen { ask } => AskLetter::Seen(AskId::new(ask)),
        LetterJson::Refused {
            ask,
            refusal,
            words,
        } => {
            let mut known = REFUSALS.iter();
            let (refusal, _) = *known.find(|(_, name)| *name == refusal)?;
            AskLetter::Answer(AskId::new(ask), Answer::Refused { refusal, words })
        }
        LetterJson::AnswerText { ask, text } => {
            AskLetter::Answer(AskId::new(ask), Answer::Text(text))
        }
        LetterJson::Answer {
            ask,
            things,
            ticket,
        } => {
            let mut whole = Vec::with_capacity(things.len());
            for thing in things {
                let content = match thing.content {
                    Some(length) => Some(take(&mut bytes, length)?.to_vec().into()),
                    None => None,
                };
                whole.push(Thing {
                    name: EntryName::parse(&thing.name).ok()?,
                    media_type: thing.media_type,
                    bytes: thing.bytes,
                    made_ms: thing.made_ms,
                    content,
                    thumbnail: take(&mut bytes, thing.thumbnail)?.to_vec().into(),
                });
            }
            let things = whole;
            AskLetter::Answer(AskId::new(ask), Answer::Things { things, ticket })
        }
        _ => return None,
    })
}

/// The contents of a letter.
pub(super) struct Read {
    pub letter: LetterJson,
    pub bytes: Vec<u8>,
    pub made_ms: u64,
    pub receipt: bool,
    pub visitor: Option<Visitor>,
}

impl Read {
    /// Of a letter that nobody can read, or that is not for the page.
    pub(super) const fn unreadable() -> Self {
        Self {
            letter: LetterJson::Unreadable,
            bytes: Vec::new(),
            made_ms: 0,
            receipt: false,
            visitor: None,
        }
    }
}

/// Parses the plaintext of a letter.
pub(super) fn read(plaintext: &[u8]) -> Read {
    let mut read = Read::unreadable();
    let Ok(inside) = Inside::decode(plaintext) else {
        return read;
    };
    read.visitor = inside.visitor().cloned();
    match inside {
        Inside::Letter(letter) => {
            (read.made_ms, read.receipt) = (letter.made_ms, letter.receipt);
            read.letter = content(letter.content, &mut read.bytes);
        }
        Inside::Body(body) => {
            read.made_ms = body.made_ms;
            read.letter = service(&body, &mut read.bytes);
        }
        // Nothing of a catalogue is for a page.
        Inside::Catalogue(_) => read.letter = LetterJson::Service,
    }
    read
}

fn content(content: Content, bytes: &mut Vec<u8>) -> LetterJson {
    match content {
        Content::Text(text) => LetterJson::Text { text },
        Content::Files(files) => LetterJson::Files {
            files: files
                .into_iter()
                .map(|file| {
                    bytes.extend_from_slice(&file.bytes);
                    FileJson {
                        name: file.name.as_str().to_owned(),
                        length: file.bytes.len() as u32,
                    }
                })
                .collect(),
        },
        Content::Ticket(note) => LetterJson::Ticket {
            ticket: note.ticket,
            name: note.name,
            files: note.files,
            bytes: note.bytes,
        },
        Content::Unknown => LetterJson::Unknown,
    }
}

fn service(body: &Body, bytes: &mut Vec<u8>) -> LetterJson {
    match body.kind.as_str() {
        RECEIPT => receipt(&body.payload).unwrap_or(LetterJson::Service),
        ASK => match AskLetter::decode(&body.payload) {
            Ok(Some(AskLetter::Ask(ask))) => LetterJson::Ask {
                ask: AskJson::of(&ask),
            },
            Ok(Some(AskLetter::Cancel(id))) => LetterJson::Cancel {
                ask: *id.as_bytes(),
            },
            Ok(Some(AskLetter::Seen(id))) => LetterJson::Seen {
                ask: *id.as_bytes(),
            },
            Ok(Some(AskLetter::Answer(id, found))) => answer(*id.as_bytes(), found, bytes),
            Ok(None) | Err(_) => LetterJson::Service,
        },
        _ => LetterJson::Service,
    }
}

fn receipt(payload: &[u8]) -> Option<LetterJson> {
    let (taken, id) = match payload {
        [RECEIPT_FORMAT, TAKEN, id @ ..] => (true, id),
        [RECEIPT_FORMAT, DECLINED, id @ ..] => (false, id),
        _ => return None,
    };
    let of = *MessageId::from_slice(id).ok()?.as_bytes();
    Some(LetterJson::Receipt { of, taken })
}

fn answer(ask: [u8; 16], answer: Answer, bytes: &mut Vec<u8>) -> LetterJson {
    match answer {
        Answer::Refused { refusal, words } => {
            let mut known = REFUSALS.iter();
            let found = known.find(|(one, _)| *one == refusal);
            let refusal = found.map_or("failed", |(_, name)| name).into();
            LetterJson::Refused {
                ask,
                refusal,
                words,
            }
        }
        Answer::Text(text) => LetterJson::AnswerText { ask, text },
        Answer::Things { things, ticket } => {
            let mut thing = |thing: Thing| {
                let content = thing.content.as_deref().unwrap_or_default();
                bytes.extend_from_slice(content);
                bytes.extend_from_slice(&thing.thumbnail);
                ThingJson {
                    name: thing.name.as_str().to_owned(),
                    media_type: thing.media_type.clone(),
                    bytes: thing.bytes,
                    made_ms: thing.made_ms,
                    content: thing.content.as_ref().map(|content| content.len() as u32),
                    thumbnail: thing.thumbnail.len() as u32,
                }
            };
            LetterJson::Answer {
                ask,
                things: things.into_iter().map(&mut thing).collect(),
                ticket,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(letter: LetterJson, bytes: &[u8]) {
        let plaintext = write(letter.clone(), bytes, 7, true, None).unwrap();
        let read = read(&plaintext);
        assert_eq!((read.letter, read.bytes.as_slice()), (letter, bytes));
        assert_eq!(read.made_ms, 7);
    }

    #[test]
    fn w2_letters_come_out_as_they_went_in() {
        let text = "häl\nlo".into();
        round(LetterJson::Text { text }, b"");
        let file = |name: &str, length| FileJson {
            name: name.into(),
            length,
        };
        let files = vec![file("a", 3), file("b", 0), file("c", 2)];
        round(LetterJson::Files { files }, b"12345");
        for taken in [true, false] {
            round(LetterJson::Receipt { of: [7; 16], taken }, b"");
        }
    }

    #[test]
    fn c6_requests_and_answers_come_out_as_they_went_in() {
        let ask = AskJson {
            id: [3; 16],
            kind: "photo".into(),
            which: "live".into(),
            name: None,
            seconds: Some(0),
            digest: true,
            reason: "for the album".into(),
            valid_s: 60,
        };
        round(LetterJson::Ask { ask: ask.clone() }, b"");
        let beyond = AskJson {
            valid_s: u32::MAX,
            ..ask
        };
        assert_eq!(beyond.parse(), None);
        let ask = [3; 16];
        round(LetterJson::Cancel { ask }, b"");
        round(LetterJson::Seen { ask }, b"");
        for (_, refusal) in REFUSALS {
            let (refusal, words) = (refusal.into(), "no".into());
            round(
                LetterJson::Refused {
                    ask,
                    refusal,
                    words,
                },
                b"",
            );
        }
        let thing = |name: &str, content, thumbnail| ThingJson {
            name: name.into(),
            media_type: "image/jpeg".into(),
            bytes: u64::from(Option::unwrap_or(content, 9)),
            made_ms: 5,
            content,
            thumbnail,
        };
        let things = vec![thing("a.jpg", Some(3), 2), thing("b.jpg", None, 1)];
        let ticket = Some("hither1…".into());
        round(
            LetterJson::Answer {
                ask,
                things,
                ticket,
            },
            b"abcTTt",
        );
    }
}
