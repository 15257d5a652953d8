//! Codes of three words, as the local API shows and takes them.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// `POST /v1/codes`: shows a code. Answered with events: `code` first, the last one `done` or
/// `error`. Hanging up withdraws the code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowCode {
    /// Id of the share whose ticket it stands for; absent: for pairing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// For pairing with a page in a browser: the code is a link that opens the page of a relay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub web: bool,
    /// Host, with or without port, or key of the relay whose page it is; absent: the only one that
    /// has a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
}

/// `POST /v1/codes/enter`: enters a code that another device shows. Answered with events, the last
/// one `done` or `error`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnterCode {
    /// Three words, or (for pairing) the text of a scanned code.
    pub code: String,
    /// To become one of the same user's devices; otherwise the code stands for a ticket.
    #[serde(default)]
    pub pair: bool,
    /// How long who shows it is looked for, seconds; absent: the configured time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u64>,
}

impl fmt::Debug for EnterCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnterCode(secret)")
    }
}

/// `POST /v1/codes/{id}/answer`: what the user says to what a code would grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerCode {
    /// True if it is granted.
    pub yes: bool,
}

/// A code that is shown (event `code`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CodeInfo {
    /// Three words, or, for a page in a browser, the same as `scan`: a secret until it was used.
    pub code: String,
    /// The text for a picture, of a code for pairing: a secret until it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<String>,
    /// The link that opens the page, of a code for a page in a browser: a secret until it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// How long it is good, seconds.
    pub expires_seconds: u64,
    /// Names it in an answer.
    pub id: String,
}

impl fmt::Debug for CodeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodeInfo({}, secret)", self.id)
    }
}

/// Two devices have the same code (event `code_met`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CodeMet {
    /// The code that asks, at the device that shows it; empty at the other one.
    #[serde(default)]
    pub id: String,
    /// The other device's id.
    pub device: String,
    /// The name it calls itself, safe to show.
    pub name: String,
    /// Three words that both screens show: equal if there is nobody between.
    pub words: String,
    /// Hosts of the relays at which it would become the user's.
    #[serde(default)]
    pub relays: Vec<String>,
    /// How many devices of the user it would learn of.
    #[serde(default)]
    pub devices: u64,
    /// It is a page in a browser.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub web: bool,
}
