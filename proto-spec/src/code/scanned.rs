//! The text of a code that is scanned: a picture needs no words that can be said, so it carries a
//! whole secret, and says which device shows it and where.

use super::{CodeName, CodeSecret};
use crate::device::DeviceId;
use crate::limits::MAX_HINTS;
use crate::ticket::{decode_hint, encode_hint};
use crate::wire;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use prost::Message as _;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use zeroize::Zeroizing;

/// The human-readable part, before the separator `1`.
const HRP: &str = "hither-pair";
/// The beginning of every such text.
const START: &str = "hither-pair1";
/// Version of the payload.
const FORMAT: u8 = 1;
/// Longest text, characters: eight IPv6 hints fit.
const LONGEST: usize = 600;
/// Separates these passwords from those of spoken codes.
const CONTEXT: &[u8] = b"hither code v1 scanned\0";

/// Why a text is no scanned code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairTextError {
    /// Does not begin with `hither-pair1`.
    #[error("a scanned code begins with \"{START}\"")]
    NotOne,
    /// Longer than any.
    #[error("this is too long for a scanned code")]
    TooLong,
    /// The checksum does not fit.
    #[error("the code is incomplete or mistyped (its checksum does not fit)")]
    Checksum,
    /// From a newer version of Hither.
    #[error("this code was made by a newer version of Hither (format {0})")]
    Format(u8),
    /// The checksum fits but the content does not parse.
    #[error("the code is malformed")]
    Malformed,
}

/// The contents of a picture for pairing.
#[derive(Clone, PartialEq, Eq)]
pub struct PairText {
    /// 32 random bytes, the password.
    pub secret: Zeroizing<[u8; 32]>,
    /// The device that shows it.
    pub device: DeviceId,
    /// Addresses of that device when it was shown, at most [`MAX_HINTS`]; only hints.
    pub hints: Vec<SocketAddr>,
}

impl PairText {
    /// The password of the exchange, and the name under which the showing device knows it.
    pub fn secret(&self) -> CodeSecret {
        let derived = blake3::derive_key("hither.v2 code name", &self.secret[..]);
        let mut name = [0; CodeName::SCANNED];
        name.copy_from_slice(&derived[..CodeName::SCANNED]);
        CodeSecret {
            name: CodeName::Scanned(name),
            password: Zeroizing::new([CONTEXT, &self.secret[..]].concat()),
        }
    }

    /// Returns whether a text is meant to be a scanned code.
    pub fn is_meant(text: &str) -> bool {
        text.trim()
            .get(..START.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(START))
    }
}

impl fmt::Display for PairText {
    /// The text itself: a secret for as long as it is good.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = wire::PairText {
            secret: self.secret.to_vec().into(),
            device: self.device.as_bytes().to_vec().into(),
            hint: self
                .hints
                .iter()
                .take(MAX_HINTS)
                .map(|hint| encode_hint(hint).into())
                .collect(),
        };
        let mut payload = vec![FORMAT];
        payload.extend(message.encode_to_vec());
        let hrp = Hrp::parse(HRP).map_err(|_| fmt::Error)?;
        let text = bech32::encode_lower::<Bech32m>(hrp, &payload).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl fmt::Debug for PairText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairText({:?}, …)", self.device)
    }
}

impl FromStr for PairText {
    type Err = PairTextError;

    fn from_str(text: &str) -> Result<Self, PairTextError> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(PairTextError::TooLong);
        }
        if !Self::is_meant(text) {
            return Err(PairTextError::NotOne);
        }
        let checked =
            CheckedHrpstring::new::<Bech32m>(text).map_err(|_| PairTextError::Checksum)?;
        let payload: Zeroizing<Vec<u8>> = Zeroizing::new(checked.byte_iter().collect());
        let message = match payload.split_first() {
            Some((&FORMAT, message)) => {
                wire::PairText::decode(message).map_err(|_| PairTextError::Malformed)?
            }
            Some((&format, _)) => return Err(PairTextError::Format(format)),
            None => return Err(PairTextError::Malformed),
        };
        if message.hint.len() > MAX_HINTS {
            return Err(PairTextError::Malformed);
        }
        let hints = message.hint.iter().map(|hint| decode_hint(hint));
        let secret: [u8; 32] = message.secret[..]
            .try_into()
            .map_err(|_| PairTextError::Malformed)?;
        Ok(Self {
            secret: Zeroizing::new(secret),
            device: DeviceId::from_slice(&message.device).map_err(|_| PairTextError::Malformed)?,
            hints: hints
                .collect::<Result<_, _>>()
                .map_err(|_| PairTextError::Malformed)?,
        })
    }
}
