//! The contents of a message, before it is sealed: a format version, a JSON header with its length,
//! the files' bytes.
//!
//! ```text
//! 1 (1 byte) ‖ header length (4, big-endian) ‖ header (JSON) ‖ bytes of the first file ‖ of the second …
//! ```
//!
//! A message of a visitor ("Visitors" in SPEC.md) says so in its header, with the proof that it may
//! write. Invariants: a file's name that comes out of [`Inside::decode`] passed [`EntryName::parse`]; a
//! kind of a later version is [`Content::Unknown`], so that such a message is shown as one instead
//! of being lost.

use crate::device::DeviceName;
use crate::ids::{MessageId, VisitorProof};
use crate::limits::MAX_DEVICE_NAME;
use crate::name::{EntryName, display_name};
use crate::ticket::Ticket;
use serde::{Deserialize, Serialize};
use std::fmt;

/// First byte.
const FORMAT: u8 = 1;
/// Format and length of the header, bytes.
const PREFIX: usize = 1 + 4;
/// Most files in one message.
pub const MAX_FILES: usize = 64;
/// The kind of a message for the catalogue.
const CATALOGUE: &str = "catalogue";
/// Longest kind of a message for a service, bytes.
const MAX_KIND: usize = 32;
/// Longest name of a share that is shown, bytes.
const MAX_NAME: usize = 256;

/// A small file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallFile {
    /// Its name.
    pub name: EntryName,
    /// Permission bits (`rwxrwxrwx`, nothing else).
    pub mode: u32,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A share that is offered, in its sender's words.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareNote {
    /// The ticket: a secret.
    pub ticket: String,
    /// Name of the share, cleaned.
    pub name: String,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

impl fmt::Debug for ShareNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ShareNote({} files, {} bytes, secret)",
            self.files, self.bytes
        )
    }
}

/// The sender is a visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// Shows that it knows the secret of a link of the reader.
    pub proof: VisitorProof,
    /// Its name in its own words, cleaned.
    pub name: DeviceName,
}

/// The contents that a message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Words.
    Text(String),
    /// 1 to [`MAX_FILES`].
    Files(Vec<SmallFile>),
    /// Something large travels as a share.
    Ticket(ShareNote),
    /// Of a later version.
    Unknown,
}

impl Content {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Files(_) => "files",
            Self::Ticket(_) => "ticket",
            Self::Unknown => "unknown",
        }
    }

    /// How much room it takes where it is kept, bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Files(files) => files.iter().map(|file| file.bytes.len() as u64).sum(),
            Self::Ticket(_) | Self::Unknown => 0,
        }
    }

    /// How many files it brings, in itself or by a ticket, and how long they are together, bytes.
    pub fn extent(&self) -> (u64, u64) {
        match self {
            Self::Files(files) => (files.len() as u64, self.size()),
            Self::Ticket(note) => (note.files, note.bytes),
            Self::Text(_) | Self::Unknown => (0, self.size()),
        }
    }

    /// Returns the text that a list shows of it, on one line, at most 60 characters.
    pub fn summary(&self) -> String {
        let text = match self {
            Self::Text(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
            Self::Files(files) => files
                .iter()
                .map(|f| f.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
            Self::Ticket(note) => note.name.clone(),
            Self::Unknown => String::new(),
        };
        display_name(&text).chars().take(60).collect()
    }
}

/// A message before it is sealed, or after it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// When it was written, by the sender's clock, Unix milliseconds.
    pub made_ms: u64,
    /// Its content.
    pub content: Content,
    /// Its sender waits to hear that it was taken.
    pub receipt: bool,
    /// Its sender is a visitor.
    pub visitor: Option<Visitor>,
    /// The message of the same sender before it: a reader on this sender's network may get the
    /// later one first.
    pub after: Option<MessageId>,
}

/// The contents found inside a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inside {
    /// For the user.
    Letter(Letter),
    /// For the catalogue: nobody sees it.
    Catalogue(serde_json::Value),
    /// For the service that takes messages of its kind.
    Body(Body),
}

/// A message that is for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Names the service; at most `MAX_KIND` bytes.
    pub kind: String,
    /// When it was written, by the sender's clock, Unix milliseconds.
    pub made_ms: u64,
    /// Its contents, in the encoding of that service.
    pub payload: Vec<u8>,
    /// Its sender is a visitor.
    pub visitor: Option<Visitor>,
    /// The message of the same sender before it: a reader on this sender's network may get the
    /// later one first.
    pub after: Option<MessageId>,
}

impl Body {
    /// The plaintext of the message.
    pub fn encode(&self) -> Vec<u8> {
        let header = Header {
            made_ms: self.made_ms,
            kind: self.kind.clone(),
            service: true,
            visitor: self.visitor.as_ref().map(VisitorHeader::of),
            after: self.after.as_ref().map(MessageId::to_string),
            ..Header::default()
        };
        header.encode(&self.payload)
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Header {
    made_ms: u64,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    share: Option<ShareNote>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    catalogue: Option<serde_json::Value>,
    /// The rest of the message is for the service that its kind names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    service: bool,
    /// The sender waits to hear that it was taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    receipt: bool,
    /// The sender is a visitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    visitor: Option<VisitorHeader>,
    /// The message before it, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct VisitorHeader {
    /// 64 hexadecimal digits.
    proof: String,
    #[serde(default)]
    name: String,
}

impl VisitorHeader {
    fn of(visitor: &Visitor) -> Self {
        let digits = |byte: &u8| format!("{byte:02x}");
        Self {
            proof: visitor.proof.as_bytes().iter().map(digits).collect(),
            name: visitor.name.as_str().to_owned(),
        }
    }

    fn parse(&self) -> Result<Visitor, Malformed> {
        let fits = self.proof.len() == 2 * VisitorProof::LEN
            && self.proof.bytes().all(|digit| digit.is_ascii_hexdigit())
            && self.name.len() <= MAX_DEVICE_NAME;
        if !fits {
            return Err(Malformed);
        }
        let mut proof = [0; VisitorProof::LEN];
        for (at, byte) in proof.iter_mut().enumerate() {
            let digits = &self.proof[2 * at..2 * at + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| Malformed)?;
        }
        Ok(Visitor {
            proof: VisitorProof::new(proof),
            name: DeviceName::clean(&self.name),
        })
    }
}

impl Header {
    fn encode(&self, payload: &[u8]) -> Vec<u8> {
        // Texts and numbers: nothing in it that JSON cannot hold.
        let header = serde_json::to_vec(self).unwrap_or_default();
        [
            &[FORMAT][..],
            &(header.len() as u32).to_be_bytes(),
            &header,
            payload,
        ]
        .concat()
    }
}

#[derive(Serialize, Deserialize)]
struct FileHeader {
    name: String,
    mode: u32,
    length: u32,
}

/// The message is not laid out as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is malformed")]
pub struct Malformed;

impl Letter {
    /// The plaintext of the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut header = Header {
            made_ms: self.made_ms,
            kind: self.content.kind().into(),
            receipt: self.receipt,
            visitor: self.visitor.as_ref().map(VisitorHeader::of),
            after: self.after.as_ref().map(MessageId::to_string),
            ..Header::default()
        };
        let mut payload = Vec::new();
        match &self.content {
            Content::Text(text) => header.text = Some(text.clone()),
            Content::Files(files) => {
                for file in files {
                    let (name, length) = (file.name.as_str().to_owned(), file.bytes.len() as u32);
                    header.files.push(FileHeader {
                        name,
                        mode: file.mode,
                        length,
                    });
                    payload.extend_from_slice(&file.bytes);
                }
            }
            Content::Ticket(note) => header.share = Some(note.clone()),
            Content::Unknown => {}
        }
        header.encode(&payload)
    }
}

/// The plaintext of a message for the catalogue.
pub fn encode_catalogue(notice: serde_json::Value, made_ms: u64) -> Vec<u8> {
    Header {
        made_ms,
        kind: CATALOGUE.into(),
        catalogue: Some(notice),
        ..Header::default()
    }
    .encode(&[])
}

impl Inside {
    /// Parses the contents that were sealed.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (prefix, rest) = bytes.split_at_checked(PREFIX).ok_or(Malformed)?;
        let (format, length) = prefix.split_first().ok_or(Malformed)?;
        if *format != FORMAT {
            return Ok(Self::Letter(Letter {
                made_ms: 0,
                content: Content::Unknown,
                receipt: false,
                visitor: None,
                after: None,
            }));
        }
        let length = u32::from_be_bytes(length.try_into().map_err(|_| Malformed)?);
        let (header, payload) = rest.split_at_checked(length as usize).ok_or(Malformed)?;
        let header: Header = serde_json::from_slice(header).map_err(|_| Malformed)?;
        let made_ms = header.made_ms;
        let visitor = header.visitor.as_ref();
        let visitor = visitor.map(VisitorHeader::parse).transpose()?;
        let after = header.after.as_deref().map(message_id).transpose()?;
        let content = match header.kind.as_str() {
            "text" => Content::Text(header.text.ok_or(Malformed)?),
            "files" => Content::Files(files(header.files, payload)?),
            "ticket" => Content::Ticket(note(header.share.ok_or(Malformed)?)?),
            CATALOGUE => return header.catalogue.map(Self::Catalogue).ok_or(Malformed),
            _ if header.service && header.kind.len() <= MAX_KIND => {
                return Ok(Self::Body(Body {
                    kind: header.kind,
                    made_ms,
                    payload: payload.to_vec(),
                    visitor,
                    after,
                }));
            }
            _ => Content::Unknown,
        };
        Ok(Self::Letter(Letter {
            made_ms,
            content,
            receipt: header.receipt,
            visitor,
            after,
        }))
    }

    /// The visitor that wrote it, by its own words.
    pub const fn visitor(&self) -> Option<&Visitor> {
        match self {
            Self::Letter(letter) => letter.visitor.as_ref(),
            Self::Body(body) => body.visitor.as_ref(),
            Self::Catalogue(_) => None,
        }
    }

    /// The message of the same sender before it.
    pub const fn after(&self) -> Option<MessageId> {
        match self {
            Self::Letter(letter) => letter.after,
            Self::Body(body) => body.after,
            Self::Catalogue(_) => None,
        }
    }

    /// The letter that the user sees; of what is for a service that is not there, that it came.
    pub fn into_letter(self) -> Letter {
        match self {
            Self::Letter(letter) => letter,
            Self::Body(Body { made_ms, .. }) => Letter {
                made_ms,
                content: Content::Unknown,
                receipt: false,
                visitor: None,
                after: None,
            },
            Self::Catalogue(_) => Letter {
                made_ms: 0,
                content: Content::Unknown,
                receipt: false,
                visitor: None,
                after: None,
            },
        }
    }
}

fn message_id(digits: &str) -> Result<MessageId, Malformed> {
    let fits = digits.len() == 2 * MessageId::LEN && digits.bytes().all(|d| d.is_ascii_hexdigit());
    if !fits {
        return Err(Malformed);
    }
    let id = u128::from_str_radix(digits, 16).map_err(|_| Malformed)?;
    Ok(MessageId::new(id.to_be_bytes()))
}

fn files(headers: Vec<FileHeader>, mut payload: &[u8]) -> Result<Vec<SmallFile>, Malformed> {
    if headers.is_empty() || headers.len() > MAX_FILES {
        return Err(Malformed);
    }
    let mut files = Vec::new();
    for (i, header) in headers.into_iter().enumerate() {
        let (bytes, rest) = payload
            .split_at_checked(header.length as usize)
            .ok_or(Malformed)?;
        payload = rest;
        // A hostile name is not worth a lost file.
        let name = EntryName::parse(&header.name)
            .or_else(|_| EntryName::parse(&format!("unnamed-{}", i + 1)))
            .map_err(|_| Malformed)?;
        files.push(SmallFile {
            name,
            mode: header.mode & 0o777,
            bytes: bytes.to_vec(),
        });
    }
    Ok(files)
}

fn note(note: ShareNote) -> Result<ShareNote, Malformed> {
    let ticket: Ticket = note.ticket.parse().map_err(|_| Malformed)?;
    let mut name = display_name(&note.name);
    while name.len() > MAX_NAME {
        name.pop();
    }
    Ok(ShareNote {
        ticket: ticket.to_string(),
        name,
        ..note
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShareSecret;
    use crate::relay::samples::key;

    fn file(name: &str, bytes: &[u8]) -> SmallFile {
        SmallFile {
            name: EntryName::parse(name).unwrap(),
            mode: 0o755,
            bytes: bytes.to_vec(),
        }
    }

    fn round(content: Content) {
        let visitor = Visitor {
            proof: VisitorProof::new([0xa5; 32]),
            name: DeviceName::clean("Anna"),
        };
        let after = Some(MessageId::new([0x0b; 16]));
        for (receipt, visitor, after) in [(false, None, None), (true, Some(visitor), after)] {
            let letter = Letter {
                made_ms: 7,
                content: content.clone(),
                receipt,
                visitor,
                after,
            };
            assert_eq!(Inside::decode(&letter.encode()), Ok(Inside::Letter(letter)));
        }
    }

    fn decode(bytes: &[u8]) -> Letter {
        let Ok(Inside::Letter(letter)) = Inside::decode(bytes) else {
            panic!()
        };
        letter
    }

    fn ticket() -> ShareNote {
        let ticket = Ticket {
            secret: ShareSecret::new([1; 16]),
            owner: key(),
            hints: vec![],
            relays: vec![],
            pin: None,
        };
        ShareNote {
            ticket: ticket.to_string(),
            name: "photos".into(),
            files: 3,
            bytes: 1 << 40,
        }
    }

    #[test]
    fn every_kind_round_trips() {
        round(Content::Text("häl\nlo".into()));
        round(Content::Files(vec![
            file("a", b"1"),
            file("empty", b""),
            file("b c", b"23"),
        ]));
        round(Content::Ticket(ticket()));
        let notice = serde_json::json!({ "whole": true });
        assert_eq!(
            Inside::decode(&encode_catalogue(notice.clone(), 5)),
            Ok(Inside::Catalogue(notice))
        );
        let body = Body {
            kind: "dance".into(),
            made_ms: 9,
            payload: vec![1, 2, 3],
            visitor: None,
            after: None,
        };
        let decoded = Inside::decode(&body.encode()).unwrap();
        assert_eq!(decoded, Inside::Body(body));
        // The user sees that something came where nobody dances.
        assert_eq!(
            decoded.into_letter(),
            Letter {
                made_ms: 9,
                content: Content::Unknown,
                receipt: false,
                visitor: None,
                after: None,
            }
        );
    }

    fn raw(header: &str, payload: &[u8]) -> Vec<u8> {
        [
            &[FORMAT][..],
            &(header.len() as u32).to_be_bytes(),
            header.as_bytes(),
            payload,
        ]
        .concat()
    }

    #[test]
    fn hostile_names_and_modes_are_made_harmless() {
        let header = r#"{"made_ms":1,"kind":"files","files":[{"name":"../../etc/passwd","mode":2541,"length":1},{"name":"CON","mode":0,"length":1},{"name":"a\u0000b","mode":0,"length":0}]}"#;
        let Content::Files(files) = decode(&raw(header, b"xy")).content else {
            panic!()
        };
        assert_eq!(
            (files[0].name.as_str(), files[0].mode),
            ("unnamed-1", 0o755)
        );
        // How that is written is a matter of the file system that it is saved to.
        assert_eq!(
            (files[1].name.as_str(), files[1].bytes.as_slice()),
            ("CON", &b"y"[..])
        );
        assert_eq!(files[2].name.as_str(), "unnamed-3");
        assert_eq!(
            Content::Text("a\n\u{1b}[2Jb".into()).summary(),
            "a \u{fffd}[2Jb"
        );
    }

    #[test]
    fn what_is_later_is_kept_and_what_is_broken_refused() {
        let unknown = decode(&raw(r#"{"made_ms":5,"kind":"dance","steps":3}"#, b""));
        assert_eq!(
            unknown,
            Letter {
                made_ms: 5,
                content: Content::Unknown,
                receipt: false,
                visitor: None,
                after: None,
            }
        );
        assert_eq!(decode(&[2, 0, 0, 0, 0]).content, Content::Unknown);
        let many = format!(
            r#"{{"made_ms":1,"kind":"files","files":[{}]}}"#,
            vec![r#"{"name":"a","mode":0,"length":0}"#; MAX_FILES + 1].join(",")
        );
        for broken in [
            b"".to_vec(),
            vec![1, 0, 0, 0, 9],
            raw("{}", b""),
            raw(r#"{"made_ms":1,"kind":"text"}"#, b""),
            raw(
                r#"{"made_ms":1,"kind":"text","text":"a","after":"0b"}"#,
                b"",
            ),
            raw(
                r#"{"made_ms":1,"kind":"text","text":"a","visitor":{"proof":"0b"}}"#,
                b"",
            ),
            raw(r#"{"made_ms":1,"kind":"files","files":[]}"#, b""),
            raw(
                r#"{"made_ms":1,"kind":"files","files":[{"name":"a","mode":0,"length":9}]}"#,
                b"short",
            ),
            raw(
                r#"{"made_ms":1,"kind":"ticket","share":{"ticket":"hither1x","name":"n","files":1,"bytes":1}}"#,
                b"",
            ),
            raw(r#"{"made_ms":1,"kind":"catalogue"}"#, b""),
            raw(&many, b""),
        ] {
            assert_eq!(Inside::decode(&broken), Err(Malformed));
        }
    }
}
