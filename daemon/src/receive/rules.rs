//! The rules: what becomes of what a device sends.
//!
//! A rule about the device goes before rules about groups that it is in, of which the most careful
//! one counts, and those before the settings for own and other devices. Own devices are trusted by
//! default, because whoever has one can read what the others hold as well; files of others are
//! written nowhere before a yes. A rule about an inbox link is for whoever comes by it. Bounds: [`MAX_RULES`] rules; see [`DAY_FACTOR`].

use super::ReceiveService;
use crate::mail::{Arrival, Content, Kept, LetterPolicy, Verdict, VisitRecord};
use crate::{failure, json_records};
use hither_api::{ApiError, ErrorCode, ReceiveInfo, ReceivePolicy, ReceiveRequest, ReceiveRule};
use hither_content::storage::{Storage, StorageError, Table};
use hither_proto::{DeviceId, OfferKind, display_name};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The rules, by whom they are about.
const RULES: Table = Table::new("receive_rules");
/// Most rules.
const MAX_RULES: usize = 256;
/// How many times the largest share that arrives by itself one device may send in a day.
pub(super) const DAY_FACTOR: u64 = 10;
/// The time that counts as a day.
const DAY: Duration = Duration::from_secs(86_400);
/// The least that anything counts, bytes: a crowd of tiny files fills a folder too.
const LEAST: u64 = 64 * 1024;
/// Most arrivals of one device that are counted in a day; what comes beyond is asked about.
const MAX_COUNTED: usize = 4096;

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum About {
    Device(String),
    Group(String),
    /// Everybody who has an inbox link, by its number.
    Link(u64),
}

/// Whose arrivals are counted together: visitors make up keys as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Device(DeviceId),
    Link(u64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RuleRecord {
    about: About,
    policy: ReceivePolicy,
}

/// The rules as they are in the store, and what arrived lately.
#[derive(Default)]
pub(super) struct State {
    rules: BTreeMap<About, ReceivePolicy>,
    /// When how much arrived by itself, by source; since the program started.
    lately: HashMap<Source, VecDeque<(Instant, u64)>>,
}

impl About {
    fn key(&self) -> Vec<u8> {
        match self {
            Self::Device(id) => [b"d", id.as_bytes()].concat(),
            Self::Group(id) => [b"g", id.as_bytes()].concat(),
            Self::Link(number) => [b"l", &number.to_be_bytes()[..]].concat(),
        }
    }
}

impl State {
    pub(super) fn load(storage: &dyn Storage) -> Result<Self, StorageError> {
        let all = json_records::all::<RuleRecord>(storage, RULES)?;
        let rules = all.into_iter().map(|(_, one)| (one.about, one.policy));
        Ok(Self {
            rules: rules.collect(),
            lately: HashMap::new(),
        })
    }

    /// Counts what a device sends; false: it has sent too much today.
    fn count(&mut self, from: Source, bytes: u64, max: Option<u64>, now: Instant) -> bool {
        let Some(max) = max else {
            return true;
        };
        self.lately.retain(|_, arrivals| {
            while arrivals.front().is_some_and(|(at, _)| now - *at > DAY) {
                arrivals.pop_front();
            }
            !arrivals.is_empty()
        });
        let arrivals = self.lately.entry(from).or_default();
        let (bytes, day) = (bytes.max(LEAST), max.saturating_mul(DAY_FACTOR));
        let so_far: u64 = arrivals.iter().map(|(_, bytes)| bytes).sum();
        if so_far.saturating_add(bytes) > day || arrivals.len() >= MAX_COUNTED {
            return false;
        }
        arrivals.push_back((now, bytes));
        true
    }
}

impl ReceiveService {
    /// The policy for a device.
    fn policy(&self, from: DeviceId) -> ReceivePolicy {
        let id = from.to_string();
        let (about_device, about_groups) = {
            let rules = &self.state.lock().rules;
            let about_device = rules.get(&About::Device(id)).copied();
            let groups = rules.iter().filter_map(|(about, policy)| match about {
                About::Group(group) => Some((group.clone(), *policy)),
                About::Device(_) | About::Link(_) => None,
            });
            (about_device, groups.collect::<Vec<_>>())
        };
        about_device
            .or_else(|| self.policy_of_groups(from, &about_groups))
            .unwrap_or_else(|| match self.nearby.is_own(from) {
                true => self.settings.get().own,
                false => self.settings.get().known,
            })
    }

    /// The policy for whoever has a link: without a rule the user is asked, as for a stranger.
    fn policy_of_link(&self, link: u64) -> ReceivePolicy {
        let state = self.state.lock();
        let rule = state.rules.get(&About::Link(link)).copied();
        rule.unwrap_or(ReceivePolicy::Ask)
    }

    /// The most careful rule about a group in which both are.
    fn policy_of_groups(
        &self,
        from: DeviceId,
        rules: &[(String, ReceivePolicy)],
    ) -> Option<ReceivePolicy> {
        if rules.is_empty() {
            return None;
        }
        let this = self.nearby.device;
        let groups = self.groups.all().into_iter().filter(|(_, known)| {
            let members = known.membership_of(&this);
            members.is_some_and(|members| members.role(&from).is_some())
        });
        let of = |group: String| rules.iter().find(|(id, _)| *id == group).map(|(_, p)| *p);
        groups
            .filter_map(|(group, _)| of(group.to_string()))
            .max_by_key(|policy| match policy {
                ReceivePolicy::Always => 0,
                ReceivePolicy::Ask => 1,
                ReceivePolicy::Never => 2,
            })
    }

    /// Decides whether something arrives by itself, and says why not if not.
    fn arrival(&self, from: Source, policy: ReceivePolicy, bytes: u64) -> Arrival {
        let asked = |reason: &str| Arrival::Asked {
            reason: Some(reason.into()),
        };
        if policy != ReceivePolicy::Always {
            return Arrival::Asked { reason: None };
        }
        let max = self.settings.get().max;
        if max.is_some_and(|max| bytes > max) {
            return asked(TOO_LARGE);
        }
        match self.state.lock().count(from, bytes, max, Instant::now()) {
            true => Arrival::Due { agreed: false },
            false => asked(match from {
                Source::Device(_) => "that device has sent very much in a day",
                Source::Link(_) => "very much came by that link in a day",
            }),
        }
    }

    /// Everything that is set.
    pub(crate) fn info(&self) -> ReceiveInfo {
        let rules = self.state.lock().rules.clone();
        ReceiveInfo {
            folder: self.folder().display().to_string(),
            own: self.settings.get().own,
            known: self.settings.get().known,
            max: self.settings.get().max,
            hook: !self.settings.get().hook.is_empty(),
            rules: rules
                .into_iter()
                .map(|(about, policy)| self.rule(about, policy))
                .collect(),
        }
    }

    fn rule(&self, about: About, policy: ReceivePolicy) -> ReceiveRule {
        let rule = ReceiveRule {
            device: None,
            group: None,
            link: None,
            name: String::new(),
            policy,
        };
        match about {
            About::Device(id) => {
                let name = id.parse().map(|device| self.nearby.relays.name_of(device));
                let (device, name) = (Some(id), name.unwrap_or_default());
                ReceiveRule {
                    device,
                    name,
                    ..rule
                }
            }
            About::Group(id) => {
                let (name, group) = (self.groups.name(&id), Some(id));
                ReceiveRule {
                    group,
                    name,
                    ..rule
                }
            }
            About::Link(number) => ReceiveRule {
                link: Some(number),
                name: self.visitors.name_of(number).unwrap_or_default(),
                ..rule
            },
        }
    }

    /// Sets what holds for a device or a group from now on, or ends that. Gives the rule that was
    /// set or ended.
    ///
    /// Errors: nobody is meant, there is no such rule, or it cannot be kept.
    pub(crate) async fn set_rule(
        self: &Arc<Self>,
        request: ReceiveRequest,
    ) -> Result<ReceiveRule, ApiError> {
        let about = self.about(&request.from).await?;
        let of = Arc::clone(self);
        let work = move || of.keep_rule(about, request.policy, &request.from);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(failure::internal)?
    }

    /// Ends the rule about a device, if there is one.
    ///
    /// Errors: the store cannot be written.
    pub(crate) async fn forget(self: &Arc<Self>, device: &str) -> Result<(), ApiError> {
        self.forget_rule(About::Device(device.to_owned()), device)
            .await
    }

    /// Ends the rule about an inbox link, if there is one.
    ///
    /// Errors: the store cannot be written.
    pub(crate) async fn forget_link(self: &Arc<Self>, link: u64) -> Result<(), ApiError> {
        self.forget_rule(About::Link(link), &link.to_string()).await
    }

    async fn forget_rule(self: &Arc<Self>, about: About, named: &str) -> Result<(), ApiError> {
        if !self.state.lock().rules.contains_key(&about) {
            return Ok(());
        }
        let (of, named) = (Arc::clone(self), named.to_owned());
        let work = move || of.keep_rule(about, None, &named).map(drop);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(failure::internal)?
    }

    /// Ends the rules about links that are there no more. Blocks.
    ///
    /// Errors: the store cannot be written.
    fn forget_links(&self) -> Result<(), StorageError> {
        let mut state = self.state.lock();
        let is_gone = |about: &About| match about {
            About::Link(number) => self.visitors.name_of(*number).is_none(),
            About::Device(_) | About::Group(_) => false,
        };
        let gone: Vec<About> = state
            .rules
            .keys()
            .filter(|about| is_gone(about))
            .cloned()
            .collect();
        for about in gone {
            json_records::remove(self.storage.as_ref(), RULES, &about.key())?;
            state.rules.remove(&about);
        }
        Ok(())
    }

    /// Whom a user means: a device goes before a group of the same name. One that a rule is about is
    /// meant by its id also when nothing else is known of it any more.
    async fn about(&self, wanted: &str) -> Result<About, ApiError> {
        if let Some(link) = wanted.strip_prefix("link ") {
            let (number, _) = self.visitors.find(link.trim())?;
            return Ok(About::Link(number));
        }
        let rules: Vec<About> = self.state.lock().rules.keys().cloned().collect();
        let named = rules.into_iter().find(|about| match about {
            About::Device(id) | About::Group(id) => id == wanted,
            About::Link(_) => false,
        });
        if let Some(about) = named {
            return Ok(about);
        }
        match self.nearby.find(wanted).await {
            Ok(found) => Ok(About::Device(found.device.to_string())),
            Err(error) => match self.groups.resolve(wanted, &self.nearby.device) {
                Ok((group, _)) => Ok(About::Group(group.to_string())),
                Err(_) => Err(error),
            },
        }
    }

    /// Blocks.
    fn keep_rule(
        &self,
        about: About,
        policy: Option<ReceivePolicy>,
        wanted: &str,
    ) -> Result<ReceiveRule, ApiError> {
        if policy.is_some() {
            self.forget_links().map_err(|e| failure::storage(&e))?;
        }
        let mut state = self.state.lock();
        let storage = self.storage.as_ref();
        let before = state.rules.get(&about).copied();
        let kept = match policy {
            Some(_) if before.is_none() && state.rules.len() >= MAX_RULES => {
                let message = format!("There are {MAX_RULES} rules already.");
                return Err(ApiError::new(ErrorCode::OverQuota, message)
                    .with_hint("Remove some first: hither receive --remove DEVICE"));
            }
            Some(policy) => {
                let record = RuleRecord {
                    about: about.clone(),
                    policy,
                };
                json_records::put(storage, RULES, &about.key(), &record)
            }
            None => json_records::remove(storage, RULES, &about.key()),
        };
        kept.map_err(|error| failure::storage(&error))?;
        let told = match policy {
            Some(policy) => {
                state.rules.insert(about.clone(), policy);
                Some(policy)
            }
            None => state.rules.remove(&about),
        };
        drop(state);
        told.map(|policy| self.rule(about, policy)).ok_or_else(|| {
            let message = format!("There is no rule about {}.", display_name(wanted));
            ApiError::new(ErrorCode::NotFound, message).with_hint("See them with: hither receive")
        })
    }
}

/// Why a large share is asked about.
pub(super) const TOO_LARGE: &str = "it is larger than what arrives by itself";

impl LetterPolicy for ReceiveService {
    fn decide(&self, from: DeviceId, content: &Content, visit: Option<&VisitRecord>) -> Verdict {
        let (source, policy) = match visit {
            Some(visit) => (Source::Link(visit.link), self.policy_of_link(visit.link)),
            None => (Source::Device(from), self.policy(from)),
        };
        if policy == ReceivePolicy::Never {
            return Verdict::Decline;
        }
        // The yes that let a stranger in was for what it offered then, and for nothing else.
        let expected = self.nearby.expected(from).filter(|_| visit.is_none());
        let agreed = expected.is_some_and(|offer| {
            offer.kind == kind_of(content)
                && (offer.files, offer.bytes) == content.extent()
                && offer.summary == content.summary()
        });
        let arrival = match content {
            Content::Files(_) | Content::Ticket(_) if agreed => Some(Arrival::Due { agreed }),
            Content::Files(_) => Some(self.arrival(source, policy, content.size())),
            Content::Ticket(note) => Some(self.arrival(source, policy, note.bytes)),
            Content::Text(_) | Content::Unknown => None,
        };
        Verdict::Keep(Kept {
            // A thing that arrives is told of when it is there.
            untold: matches!(content, Content::Text(_)) && !self.settings.get().hook.is_empty(),
            arrival,
            visit: None,
        })
    }
}

/// The kind of a letter, as an introduction names it.
const fn kind_of(content: &Content) -> OfferKind {
    match content {
        Content::Text(_) => OfferKind::Text,
        Content::Files(_) => OfferKind::Files,
        Content::Ticket(_) => OfferKind::Share,
        Content::Unknown => OfferKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;

    #[test]
    fn a_device_sends_so_much_in_a_day_and_no_more() {
        let [one, other] = [(); 2].map(|()| Identity::generate().unwrap().device_id());
        let [one, other] = [Source::Device(one), Source::Device(other)];
        let (mut state, now) = (State::default(), Instant::now());
        let mib = 1 << 20;
        for _ in 0..DAY_FACTOR {
            assert!(state.count(one, mib, Some(mib), now));
        }
        assert!(!state.count(one, 1, Some(mib), now));
        assert!(state.count(other, 1, Some(mib), now), "each by itself");
        assert!(state.count(one, u64::MAX, None, now), "without a bound");
        let tomorrow = now + DAY + Duration::from_secs(1);
        assert!(state.count(one, mib, Some(mib), tomorrow));
        // Tiny ones are counted too.
        let many = (0..).take_while(|_| state.count(other, 1, Some(mib), tomorrow));
        assert_eq!(many.count() as u64, DAY_FACTOR * mib / LEAST);
    }
}
