//! The devices on this network that are told this device's name and may introduce themselves: a
//! setting, and for a while everybody.

use crate::settings::Setting;
use hither_api::NearbyVisibility;
use hither_util::sync::Mutex;
use std::time::{Duration, Instant};

/// How long everybody sees this device after it was asked for.
pub(crate) const WINDOW: Duration = Duration::from_secs(600);

/// The devices that see this device. The clock is the one that runs while the machine is awake; a
/// window does not survive the program.
pub(crate) struct Visibility {
    setting: Setting<NearbyVisibility>,
    open_until: Mutex<Option<Instant>>,
}

impl Visibility {
    pub(crate) fn new(setting: Setting<NearbyVisibility>) -> Self {
        Self {
            setting,
            open_until: Mutex::new(None),
        }
    }

    /// Shows this device to everybody for [`WINDOW`].
    pub(crate) fn open(&self) {
        *self.open_until.lock() = Some(Instant::now() + WINDOW);
    }

    /// Ends that.
    pub(crate) fn close(&self) {
        *self.open_until.lock() = None;
    }

    /// How long everybody still sees this device because that was asked for.
    pub(crate) fn left(&self) -> Option<Duration> {
        let until = (*self.open_until.lock())?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// The devices that see it now.
    pub(crate) fn now(&self) -> NearbyVisibility {
        match self.left() {
            Some(_) => NearbyVisibility::Everybody,
            None => self.setting.get(),
        }
    }

    /// Returns whether a device does; `known`: the user said yes to it.
    pub(crate) fn shows_to(&self, known: bool) -> bool {
        match self.now() {
            NearbyVisibility::Everybody => true,
            NearbyVisibility::Known => known,
            NearbyVisibility::Nobody => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use hither_api::Config;

    #[test]
    fn a_window_shows_this_device_to_everybody_and_nothing_else_changes() {
        let all = [
            (NearbyVisibility::Everybody, [true, true]),
            (NearbyVisibility::Known, [false, true]),
            (NearbyVisibility::Nobody, [false, false]),
        ];
        for (setting, expected) in all {
            let settings = Settings::new(Config {
                nearby_visible: setting,
                ..Config::default()
            });
            let visibility = Visibility::new(settings.setting(|config| config.nearby_visible));
            let shown = || [false, true].map(|known| visibility.shows_to(known));
            assert_eq!(shown(), expected);
            visibility.open();
            assert_eq!(shown(), [true, true]);
            assert!(visibility.left().unwrap() <= WINDOW);
            visibility.close();
            assert_eq!(shown(), expected);
        }
    }
}
