//! The facts that a device knows of the world around it (whether its link costs by volume, how its
//! battery stands), and the limits that are in force: as configured, and as `hither status` shows
//! them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the configuration says of the link to the internet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Metered {
    /// What the system knows.
    #[default]
    Auto,
    /// It costs by volume, whatever the system says.
    Yes,
    /// It does not.
    No,
}

impl Metered {
    /// As the configuration has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Yes => "yes",
            Self::No => "no",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Auto, Self::Yes, Self::No]
            .into_iter()
            .find(|one| one.name() == text)
    }
}

/// The rules of the configuration about link and battery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldRules {
    /// Whether the link is metered.
    pub metered: Metered,
    /// Below how much charge, percent, the device gives reluctantly while it runs on its battery;
    /// 0: never.
    pub low: u8,
}

impl Default for WorldRules {
    fn default() -> Self {
        Self {
            metered: Metered::Auto,
            low: 20,
        }
    }
}

/// Percent of a text like `20%`, 0 to 100.
pub(crate) fn parse_percent(text: &str) -> Option<u8> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    number
        .parse()
        .ok()
        .filter(|percent| *percent <= 100 && !number.starts_with('+'))
}

/// What is known of the link and the battery (in [`Status`](crate::Status)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorldInfo {
    /// Whether the link to the internet costs by volume; absent while nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metered: Option<bool>,
    /// The battery, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub battery: Option<BatteryInfo>,
    /// The battery is so low that this device gives to others reluctantly.
    #[serde(default)]
    pub reluctant: bool,
}

/// A battery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatteryInfo {
    /// How full it is, 0 to 100.
    pub percent: u8,
    /// Whether the device runs on it.
    pub discharging: bool,
}

/// The limits in force now (in [`Status`](crate::Status)), bytes per second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitsInfo {
    /// What is sent; absent: as much as the link takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<u64>,
    /// What is received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<u64>,
    /// Whether the local network is limited too.
    #[serde(default)]
    pub lan: bool,
    /// The rule of the schedule that says so, when one is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Limits for single devices, as configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents() {
        for (text, percent) in [("20%", Some(20)), ("0 %", Some(0)), ("100%", Some(100))] {
            assert_eq!(parse_percent(text), percent, "{text}");
        }
        for wrong in ["", "%", "20", "101%", "-1%", "+1%", "1.5%"] {
            assert_eq!(parse_percent(wrong), None, "{wrong}");
        }
    }
}
