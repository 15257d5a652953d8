//! The configuration that is in force, parts of which change while the daemon runs.
//!
//! A service holds a [`Setting`] of what it depends on and reads it when it needs it; what keeps a
//! copy is told by [`SettingsService::reload`]. Keys for which neither holds need a restart
//! ([`hither_api::Key::needs_restart`]).
//!
//! Invariant: a configuration that cannot be read changes nothing.

use crate::failure;
use crate::transfer::{Control, TransferService};
use hither_api::{ApiError, Config, ConfigChange, ConfigKeyInfo, ErrorCode, KEYS, Paths};
use hither_swarm::Swarm;
use hither_util::sync::Mutex;
use std::sync::Arc;
use tokio::sync::watch;

/// A part of the configuration, as it is now.
pub(crate) struct Setting<T> {
    config: watch::Receiver<Arc<Config>>,
    read: fn(&Config) -> T,
}

impl<T> Setting<T> {
    /// Returns its value.
    pub(crate) fn get(&self) -> T {
        (self.read)(&self.config.borrow())
    }
}

/// The configuration in force.
pub(crate) struct Settings {
    current: watch::Sender<Arc<Config>>,
}

impl Settings {
    /// The one that the daemon starts with.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            current: watch::Sender::new(Arc::new(config)),
        }
    }

    /// Follows it.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Config>> {
        self.current.subscribe()
    }

    /// Returns all of it.
    pub(crate) fn all(&self) -> Arc<Config> {
        Arc::clone(&self.current.borrow())
    }

    /// A part of it.
    pub(crate) fn setting<T>(&self, read: fn(&Config) -> T) -> Setting<T> {
        Setting {
            config: self.current.subscribe(),
            read,
        }
    }
}

/// Reads and changes the configuration for the user.
pub(crate) struct SettingsService {
    pub settings: Settings,
    /// The configuration the daemon started with: keys that need a restart count as they are there.
    pub started: Arc<Config>,
    pub paths: Paths,
    pub swarm: Arc<Swarm>,
    pub transfers: Arc<TransferService>,
    /// Held while the configuration changes.
    pub changing: Mutex<()>,
}

fn value(config: &Config, key: &str) -> String {
    // Every key of the table has a value.
    config.get(key).unwrap_or_default()
}

impl SettingsService {
    /// Every key with its value.
    pub(crate) fn list(&self) -> Vec<ConfigKeyInfo> {
        let (config, default) = (self.settings.all(), Config::default());
        let info = |key: &hither_api::Key| ConfigKeyInfo {
            key: key.name.into(),
            value: value(&config, key.name),
            default: value(&default, key.name),
            source: config.source(key.name),
            about: key.about.into(),
            needs_restart: key.needs_restart(),
            pending: self.is_pending(&config, key),
        };
        KEYS.iter().map(info).collect()
    }

    /// Returns whether a key has another value than the one that is in force.
    fn is_pending(&self, config: &Config, key: &hither_api::Key) -> bool {
        key.needs_restart() && value(config, key.name) != value(&self.started, key.name)
    }

    /// Writes one key to the file and puts it into force. Blocks.
    pub(crate) fn set(&self, key: &str, text: &str) -> Result<ConfigChange, ApiError> {
        Config::write(&self.paths.config, key, text).map_err(|error| wrong(&error))?;
        self.reload()
    }

    /// Takes one key out of the file and puts its default into force. Blocks.
    pub(crate) fn unset(&self, key: &str) -> Result<ConfigChange, ApiError> {
        Config::unset(&self.paths.config, key).map_err(|error| wrong(&error))?;
        self.reload()
    }

    /// Reads the file anew and puts into force what can be. Blocks.
    pub(crate) fn reload(&self) -> Result<ConfigChange, ApiError> {
        let _changing = self.changing.lock();
        let new = Config::load(&self.paths.config).map_err(|error| wrong(&error))?;
        let old = self.settings.current.send_replace(Arc::new(new.clone()));
        let changed = |key: &&hither_api::Key| value(&old, key.name) != value(&new, key.name);
        let in_force = KEYS
            .iter()
            .filter(changed)
            .filter(|key| !key.needs_restart());
        let change = ConfigChange {
            changed: in_force.map(|key| key.name.into()).collect(),
            pending: KEYS
                .iter()
                .filter(|key| self.is_pending(&new, key))
                .map(|key| key.name.into())
                .collect(),
            warnings: new.unknown.clone(),
        };
        self.apply(&old, &new);
        tracing::info!(changed = ?change.changed, pending = ?change.pending, "the configuration was read anew");
        Ok(change)
    }

    /// Tells those who keep a copy.
    fn apply(&self, old: &Config, new: &Config) {
        if old.limits != new.limits {
            self.swarm.throttles().set(&new.limits);
        }
        if old.world != new.world {
            self.swarm.host_state().set_rules(&new.world);
        }
        if old.costs != new.costs {
            self.swarm.set_costs(new.costs);
            // Those that were given no mode of their own take the new one.
            for transfer in self.transfers.transfers.all() {
                transfer.control(Control::Spend {
                    mode: None,
                    max_cost: None,
                });
            }
        }
        if old.trash != new.trash {
            self.transfers.trash.look_again();
        }
    }
}

fn wrong(error: &hither_api::ConfigError) -> ApiError {
    match error {
        hither_api::ConfigError::Io { .. } => failure::internal(error),
        error => ApiError::new(
            ErrorCode::BadRequest,
            format!("{}.", capital(&error.to_string())),
        )
        .with_hint("See every key and what it means with: hither config get"),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_setting_is_read_as_it_is_now() {
        let settings = Settings::new(Config::default());
        let wait = settings.setting(|config| config.wait);
        assert_eq!(wait.get(), Duration::from_secs(15));
        let new = Config {
            wait: Duration::from_secs(7),
            ..Config::default()
        };
        settings.current.send_replace(Arc::new(new));
        assert_eq!(wait.get(), Duration::from_secs(7));
        assert_eq!(settings.all().wait, Duration::from_secs(7));
    }
}
