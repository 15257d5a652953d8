//! What a group is called.

use crate::limits::MAX_GROUP_NAME;
use crate::name::{display_name, is_visible};
use std::fmt;

/// Why a text is no name for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupNameError {
    /// Nothing, or only blanks.
    #[error("the name is empty")]
    Empty,
    /// Longer than [`MAX_GROUP_NAME`].
    #[error("the name is longer than {MAX_GROUP_NAME} bytes")]
    TooLong,
    /// Something that could rewrite a terminal or turn a text around.
    #[error("the name contains control characters")]
    Control,
}

/// A checked name: 1 to [`MAX_GROUP_NAME`] bytes, no blanks around it, safe to show.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(String);

impl GroupName {
    /// Checks a name from outside.
    pub fn parse(text: &str) -> Result<Self, GroupNameError> {
        if text.len() > MAX_GROUP_NAME {
            return Err(GroupNameError::TooLong);
        }
        if !is_visible(text) || text.trim() != text {
            return Err(GroupNameError::Empty);
        }
        if display_name(text) != text {
            return Err(GroupNameError::Control);
        }
        Ok(Self(text.to_owned()))
    }

    /// The checked text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the mark that stands in the log for a name that only members are to know. `salt`:
    /// random, known to members.
    pub fn mark(&self, salt: &[u8; 32]) -> [u8; 32] {
        *blake3::keyed_hash(salt, self.0.as_bytes()).as_bytes()
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
