//! The facts this device knows of the world around it: whether its link to the internet costs by
//! volume, and how its battery stands.
//!
//! `bus.rs` asks the system and follows it, where there is one that tells (`nowhere.rs` elsewhere);
//! what the user configured goes before it. A user of it reads [`HostState::facts`] or follows
//! [`HostState::changes`].
//!
//! Invariant: nothing here fails or holds up anything else. What nobody knows is unknown, and
//! counts as free.

#[cfg_attr(not(target_os = "linux"), path = "nowhere.rs")]
mod bus;

use crate::swarm::Swarm;
use hither_api::{BatteryInfo, Metered, WorldInfo, WorldRules};
use hither_util::sync::Mutex;
use std::sync::Arc;
use tokio::sync::watch;

/// The facts that the system reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Said {
    metered: Option<bool>,
    battery: Option<Battery>,
}

/// A battery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Battery {
    /// How full it is, 0 to 100.
    pub percent: u8,
    /// True if the device runs on it.
    pub discharging: bool,
}

/// The facts that are known now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// True if the link to the internet costs by volume; `None` while nobody knows.
    pub metered: Option<bool>,
    /// The battery, where there is one.
    pub battery: Option<Battery>,
    /// The device runs on its battery, and that is lower than the user likes: it gives to others
    /// reluctantly.
    pub reluctant: bool,
}

impl Facts {
    /// Returns whether traffic over the link costs something, as far as is known.
    pub fn is_metered(&self) -> bool {
        self.metered == Some(true)
    }
}

/// The facts, as they change.
pub struct HostState {
    /// The user's rules, and what the system said last.
    known: Mutex<(WorldRules, Said)>,
    facts: watch::Sender<Facts>,
}

impl HostState {
    /// Creates the state before the system was queried: the facts the user configured.
    pub(crate) fn new(rules: &WorldRules) -> Self {
        let facts = watch::Sender::new(conclude(rules, Said::default()));
        Self {
            known: Mutex::new((rules.clone(), Said::default())),
            facts,
        }
    }

    /// Returns the facts that are known now.
    pub fn facts(&self) -> Facts {
        *self.facts.borrow()
    }

    /// Follows it.
    pub fn changes(&self) -> watch::Receiver<Facts> {
        self.facts.subscribe()
    }

    /// The system reports something.
    fn heard(&self, said: Said) {
        self.note(|known| known.1 = said);
    }

    /// The user has other rules from now on.
    pub fn set_rules(&self, rules: &WorldRules) {
        self.note(|known| known.0 = rules.clone());
    }

    fn note(&self, change: impl FnOnce(&mut (WorldRules, Said))) {
        // Held until it is told: two changes are told in their order.
        let mut known = self.known.lock();
        change(&mut known);
        let now = conclude(&known.0, known.1);
        let changed = self
            .facts
            .send_if_modified(|facts| std::mem::replace(facts, now) != now);
        if changed {
            tracing::info!(metered = ?now.metered, battery = ?now.battery, reluctant = now.reluctant, "the world changed");
        }
    }

    /// For status.
    pub fn info(&self) -> WorldInfo {
        let Facts {
            metered,
            battery,
            reluctant,
        } = self.facts();
        let battery = battery.map(
            |Battery {
                 percent,
                 discharging,
             }| BatteryInfo {
                percent,
                discharging,
            },
        );
        WorldInfo {
            metered,
            battery,
            reluctant,
        }
    }
}

/// The user's word goes before the system's.
fn conclude(rules: &WorldRules, said: Said) -> Facts {
    let metered = match rules.metered {
        Metered::Auto => said.metered,
        Metered::Yes => Some(true),
        Metered::No => Some(false),
    };
    let reluctant = said
        .battery
        .is_some_and(|battery| battery.discharging && battery.percent < rules.low);
    Facts {
        metered,
        battery: said.battery,
        reluctant,
    }
}

/// Listens to the system until it is dropped.
pub(crate) async fn run(swarm: Arc<Swarm>) {
    bus::follow(|said| swarm.host_state.heard(said)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn battery(percent: u8, discharging: bool) -> Said {
        Said {
            metered: None,
            battery: Some(Battery {
                percent,
                discharging,
            }),
        }
    }

    #[test]
    fn the_users_word_goes_before_the_systems() {
        let said = |metered| Said {
            metered,
            battery: None,
        };
        for (rule, system, fact) in [
            (Metered::Auto, None, None),
            (Metered::Auto, Some(true), Some(true)),
            (Metered::Auto, Some(false), Some(false)),
            (Metered::Yes, Some(false), Some(true)),
            (Metered::No, Some(true), Some(false)),
            (Metered::No, None, Some(false)),
        ] {
            let rules = WorldRules {
                metered: rule,
                ..WorldRules::default()
            };
            assert_eq!(
                conclude(&rules, said(system)).metered,
                fact,
                "{rule:?} {system:?}"
            );
        }
        assert!(!Facts::default().is_metered(), "what nobody knows is free");
    }

    #[test]
    fn only_a_low_battery_that_is_in_use_makes_reluctant() {
        let reluctant = |low, said| {
            conclude(
                &WorldRules {
                    low,
                    ..WorldRules::default()
                },
                said,
            )
            .reluctant
        };
        assert!(reluctant(20, battery(19, true)));
        assert!(!reluctant(20, battery(20, true)) && !reluctant(20, battery(5, false)));
        assert!(!reluctant(0, battery(0, true)), "never");
        assert!(!reluctant(20, Said::default()));
    }

    #[tokio::test]
    async fn only_changes_are_told() {
        let world = HostState::new(&WorldRules::default());
        let mut changes = world.changes();
        world.heard(Said::default());
        assert!(!changes.has_changed().unwrap());
        world.heard(battery(7, true));
        changes.changed().await.unwrap();
        assert_eq!(world.facts(), *changes.borrow_and_update());
        assert!(world.info().reluctant);
        world.heard(battery(7, true));
        assert!(!changes.has_changed().unwrap());
        // Other rules are for what is known already.
        world.set_rules(&WorldRules {
            low: 5,
            ..WorldRules::default()
        });
        changes.changed().await.unwrap();
        assert!(!world.info().reluctant);
    }
}
