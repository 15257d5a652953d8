//! The things that are taken of other devices, and their place, as the local API shows it.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::ToSchema;

/// The treatment of things that a device sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReceivePolicy {
    /// Files and offered shares arrive by themselves in the receive folder.
    Always,
    /// The user is asked before files or a share are written anywhere.
    #[default]
    Ask,
    /// Nothing is taken: the sender is told that it was declined.
    Never,
}

impl ReceivePolicy {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Ask => "ask",
            Self::Never => "never",
        }
    }

    /// The value of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Always, Self::Ask, Self::Never]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

/// The user's settings about what other devices send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveRules {
    /// The folder in which things arrive; `None`: see [`Paths::received`](crate::Paths::received).
    pub folder: Option<PathBuf>,
    /// The policy for the user's own devices, where no rule names them.
    pub own: ReceivePolicy,
    /// The policy for devices of others, where no rule names them.
    pub known: ReceivePolicy,
    /// The largest share that arrives by itself, bytes; `None` for any.
    pub max: Option<u64>,
    /// True if what waits for an answer is shown on the desktop.
    pub notify: bool,
    /// The program that is run after something arrived, and its arguments; empty: none.
    pub hook: Vec<String>,
}

impl Default for ReceiveRules {
    fn default() -> Self {
        Self {
            folder: None,
            own: ReceivePolicy::Always,
            known: ReceivePolicy::Ask,
            max: Some(10 << 30),
            notify: true,
            hook: Vec::new(),
        }
    }
}

impl ReceiveRules {
    /// The folder that a text names: an absolute path, or one that begins with `~/`; an empty text
    /// names none. The outer `None`: it is neither.
    pub fn parse_folder(text: &str) -> Option<Option<PathBuf>> {
        if text.is_empty() {
            return Some(None);
        }
        let path = match text.strip_prefix("~/") {
            Some(rest) => dirs::home_dir()?.join(rest),
            None => PathBuf::from(text),
        };
        path.is_absolute().then_some(Some(path))
    }

    /// The words of a hook: a program and its arguments, with quotes as in a shell and nothing else
    /// of one.
    pub fn parse_hook(text: &str) -> Option<Vec<String>> {
        shell_words::split(text).ok()
    }
}

/// The policy for one device, for the members of one group, or for whoever has one inbox link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiveRule {
    /// The device; absent: the rule is about something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The group; absent: the rule is about something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The number of the inbox link that it is about; absent: it is about a device or a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<u64>,
    /// The name of that device, group or link; may be empty.
    pub name: String,
    /// The treatment of things it sends.
    pub policy: ReceivePolicy,
}

/// Everything that is set about receiving (`GET /v1/receive`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiveInfo {
    /// The folder in which things arrive.
    pub folder: String,
    /// The policy for the user's own devices.
    pub own: ReceivePolicy,
    /// The policy for devices of others.
    pub known: ReceivePolicy,
    /// The largest share that arrives by itself, bytes; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// True if a program is run after something arrived.
    pub hook: bool,
    /// The rules about single devices and groups.
    pub rules: Vec<ReceiveRule>,
}

/// `POST /v1/receive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiveRequest {
    /// The device or group: its name, short id or id; or `link` and the name or number of an
    /// inbox link, with a blank between.
    pub from: String,
    /// The treatment of things it sends from now on; absent: the rule about it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ReceivePolicy>,
}

/// How something stands that arrives, or does not (in [`MessageInfo`](crate::MessageInfo)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArrivalState {
    /// The user is asked.
    Asked,
    /// It is being written, or waits for a device that has it.
    Arriving,
    /// It is there.
    Arrived,
    /// It does not arrive by itself: the user saves or fetches it.
    ByHand,
}

/// The place of files or a share of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArrivalInfo {
    /// How it stands.
    pub state: ArrivalState,
    /// The paths it was written to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Why it waits, or does not arrive by itself, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The user's wish for a message that holds files or offers a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArrivalDecision {
    /// It arrives in the receive folder now, whatever its size.
    Accept,
    /// It is deleted here, and its sender is told that it was declined.
    Refuse,
    /// It does not arrive by itself (any more): the user saves or fetches it.
    ByHand,
}

/// `POST /v1/inbox/{id}/decide`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArrivalRequest {
    /// The decision.
    pub decision: ArrivalDecision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_a_program_with_fixed_arguments_and_a_folder_a_path_that_is_clear() {
        let hook = ReceiveRules::parse_hook("notify 'two words' \"$X\"").unwrap();
        assert_eq!(hook, ["notify", "two words", "$X"]);
        assert_eq!(ReceiveRules::parse_hook(""), Some(Vec::new()));
        assert_eq!(ReceiveRules::parse_hook("a 'b"), None);
        assert_eq!(ReceiveRules::parse_folder(""), Some(None));
        let folder = PathBuf::from("/srv/in");
        assert_eq!(ReceiveRules::parse_folder("/srv/in"), Some(Some(folder)));
        assert_eq!(ReceiveRules::parse_folder("in"), None);
    }
}
