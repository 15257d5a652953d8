//! The word with which one asks to join a group that cannot be found by its name.
//!
//! `hithergroup1` + bech32m of a version byte and the group's id. It lets nobody in: who has it may
//! ask.

use crate::ids::GroupId;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use std::{fmt, str::FromStr};

const HRP: &str = "hithergroup";
/// First byte of the payload.
const FORMAT: u8 = 1;
/// Longest text that is looked at.
const MAX_TEXT: usize = 120;

/// Why a text is no invitation to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupInviteError {
    /// Does not begin with `hithergroup1`.
    #[error("it does not begin with \"hithergroup1\"")]
    Other,
    /// Mistyped or cut off.
    #[error("it is incomplete or mistyped (its checksum does not fit)")]
    Checksum,
    /// From a newer version of Hither.
    #[error("it was made by a newer version of Hither")]
    Format,
}

/// Names a group to somebody who is to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupInvite(pub GroupId);

impl fmt::Display for GroupInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = [&[FORMAT][..], self.0.as_bytes()].concat();
        let hrp = Hrp::parse(HRP).map_err(|_| fmt::Error)?;
        f.write_str(&bech32::encode_lower::<Bech32m>(hrp, &payload).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for GroupInvite {
    type Err = GroupInviteError;

    fn from_str(text: &str) -> Result<Self, GroupInviteError> {
        let lower = text.get(..HRP.len() + 1).map(str::to_ascii_lowercase);
        if lower.as_deref() != Some("hithergroup1") {
            return Err(GroupInviteError::Other);
        }
        if text.len() > MAX_TEXT {
            return Err(GroupInviteError::Checksum);
        }
        let checked =
            CheckedHrpstring::new::<Bech32m>(text).map_err(|_| GroupInviteError::Checksum)?;
        let bytes: Vec<u8> = checked.byte_iter().collect();
        match bytes.split_first() {
            Some((&FORMAT, id)) => GroupId::from_slice(id)
                .map(Self)
                .map_err(|_| GroupInviteError::Checksum),
            _ => Err(GroupInviteError::Format),
        }
    }
}
