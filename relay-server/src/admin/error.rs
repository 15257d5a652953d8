//! What a sub-command ends with when it fails: a stable code, a sentence, a hint, an exit status.

use crate::serve::registry::RegistryError;
use crate::state::StateError;
use crate::store::StoreError;
use hither_content::storage::StorageError;
use serde::{Deserialize, Serialize};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The relay is not running, and this needs it.
    NotRunning,
    /// The relay runs and this needs it not to.
    Running,
    /// An argument cannot be.
    Usage,
    /// No such user or device.
    NotFound,
    /// This node does not play the role.
    Role,
    /// Something is in the way that is not overwritten.
    Exists,
    /// The disk is full.
    NoSpace,
    /// Something stored is damaged.
    Damaged,
    /// Another user of this machine, or a folder that may not be used.
    NotAllowed,
    /// Something else.
    Failed,
}

impl Code {
    /// The exit status.
    pub const fn exit(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::NotAllowed => 4,
            Self::Damaged => 5,
            Self::NoSpace => 6,
            Self::NotRunning
            | Self::Running
            | Self::NotFound
            | Self::Role
            | Self::Exists
            | Self::Failed => 1,
        }
    }

    pub(super) const fn http_status(self) -> u16 {
        match self {
            Self::Usage => 400,
            Self::NotAllowed => 403,
            Self::NotFound => 404,
            Self::Exists | Self::Running | Self::Role => 409,
            Self::NoSpace => 507,
            Self::NotRunning | Self::Damaged | Self::Failed => 500,
        }
    }
}

/// Why a sub-command failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// What kind of failure it is.
    pub code: Code,
    /// In a sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl AdminError {
    /// Without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// With one.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// What the system said while `doing` something.
    pub fn io(doing: impl std::fmt::Display, error: &io::Error) -> Self {
        use io::ErrorKind as K;
        let code = match error.kind() {
            K::StorageFull | K::QuotaExceeded | K::ReadOnlyFilesystem => Code::NoSpace,
            K::PermissionDenied => Code::NotAllowed,
            K::AlreadyExists => Code::Exists,
            _ => Code::Failed,
        };
        let failed = Self::new(code, format!("{doing}: {error}."));
        match code {
            Code::NotAllowed => failed.hint("Run it as the user of the relay, or with sudo."),
            Code::NoSpace => failed.hint("Make room on the disk and try again."),
            _ => failed,
        }
    }

    pub(super) fn exit(&self) -> ExitCode {
        ExitCode::from(self.code.exit())
    }
}

impl From<RegistryError> for AdminError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Unknown => Self::new(Code::NotFound, "There is no such user or device.")
                .hint("See: hither-relay users, hither-relay devices"),
            RegistryError::State(error) => error.into(),
            other => Self::new(Code::Failed, sentence(&other)),
        }
    }
}

impl From<StateError> for AdminError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::NoSpace | StateError::ReadOnly => {
                Self::new(Code::NoSpace, sentence(&error))
            }
            StateError::Disconnected | StateError::TimedOut => {
                Self::new(Code::Failed, sentence(&error))
                    .hint("Is the control node of the fleet running?")
            }
            other => Self::new(Code::Failed, sentence(&other)),
        }
    }
}

impl From<StorageError> for AdminError {
    fn from(error: StorageError) -> Self {
        match &error {
            StorageError::Locked { .. } => running(),
            _ => Self::new(Code::Failed, sentence(&error)),
        }
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Index(error) => error.into(),
            error if error.is_no_space() => Self::new(Code::NoSpace, sentence(&error)),
            error => Self::new(Code::Failed, sentence(&error)),
        }
    }
}

impl From<Arc<StoreError>> for AdminError {
    fn from(error: Arc<StoreError>) -> Self {
        let code = if error.is_no_space() {
            Code::NoSpace
        } else {
            Code::Failed
        };
        Self::new(code, sentence(&error))
    }
}

/// The folder is in use, and its socket does not answer.
pub(super) fn running() -> AdminError {
    AdminError::new(
        Code::Running,
        "The data folder is in use by another process.",
    )
    .hint("Is a relay starting or stopping? Try again in a moment.")
}

/// An error as a sentence.
fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|first| first.to_uppercase().to_string())
        .unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_sentences_with_the_exit_status_of_their_kind() {
        let full = AdminError::from(StateError::NoSpace);
        assert_eq!(
            (full.code.exit(), full.message.as_str()),
            (6, "No space on the disk of the state.")
        );
        let unknown = AdminError::from(RegistryError::Unknown);
        assert_eq!(unknown.code.exit(), 1);
        assert!(unknown.hint.is_some());
        let text = serde_json::to_string(&AdminError::new(Code::NotRunning, "No.")).unwrap();
        assert_eq!(text, r#"{"code":"not-running","message":"No."}"#);
    }
}
