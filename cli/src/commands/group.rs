//! `hither group`.

mod show;

use crate::session::{Outcome, Session};
use crate::show::{count, now};
use clap::{Subcommand, ValueEnum};
use hither_api::{
    ApiError, CreateGroup, DecideGroup, ErrorCode, Exit, FoundGroup, GroupDecision, GroupInfo,
    GroupMemberInfo, GroupPolicy, GroupState, JoinGroup, SearchGroups, SetGroupPolicy,
};
use hither_proto::display_name;

const EXAMPLES: &str = "\
Examples:
  hither group create choir --findable         its name can be searched for
  hither group create family --policy open
  hither group search choir
  hither group join choir                      by its name, when it is findable
  hither group join hithergroup1…              by the word that members have
  hither group members choir                   who is in it, who is there, and
                                               what they share
  hither group approve choir annas-phone
  hither group remove choir annas-phone
  hither share concert.flac --group choir
  hither fetch annas-phone/concert.flac

The members of a group need no tickets of each other. Their devices may belong
to different users of the same relay. The relay keeps the list of members but
can neither change it nor read names or shares, but for the name of a group that
is findable.";

/// Groups: share with other people's devices by name, without tickets
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a group
    Create {
        /// What it is called
        name: String,
        /// Let everybody at the relay find it by its name, which the relay then knows
        #[arg(long)]
        findable: bool,
        /// Who may join; --allow alone means allow-list
        #[arg(long, value_enum)]
        policy: Option<Policy>,
        /// A device that may join by the allow-list: the name of one of yours, or an id; may be
        /// given again
        #[arg(long, value_name = "DEVICE")]
        allow: Vec<String>,
        /// An admin, instead of this device: the name of one of your devices, or an id; may be
        /// given again
        #[arg(long, value_name = "DEVICE")]
        admin: Vec<String>,
        /// Host of the relay that keeps it [default: the first]
        #[arg(long, value_name = "HOST")]
        relay: Option<String>,
    },
    /// Ask to join a group
    Join {
        /// Its name when it is findable, else the word that its members have (hithergroup1…)
        group: String,
    },
    /// Leave a group, or stop asking to join it
    Leave {
        /// Its name or id
        group: String,
    },
    /// Find groups by their names
    Search {
        /// Part of the name; all when absent
        #[arg(default_value = "")]
        name: String,
    },
    /// List who is in a group, who is there, what they share, and who asks to join
    Members {
        /// Its name or id
        group: String,
    },
    /// Let a device in that asks, or one of yours
    Approve {
        /// The group's name or id
        group: String,
        /// The device's name or id
        device: String,
    },
    /// Tell a device that asks that it may not join
    Refuse {
        /// The group's name or id
        group: String,
        /// The device's name or id
        device: String,
        /// Why not: the device is told
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Remove a member: it learns of nothing that is shared from then on
    Remove {
        /// The group's name or id
        group: String,
        /// The device's name or id
        device: String,
    },
    /// Make a member an admin too
    Promote {
        /// The group's name or id
        group: String,
        /// The device's name or id
        device: String,
    },
    /// See or change who may join
    Policy {
        /// The group's name or id
        group: String,
        /// Who may join from now on
        #[arg(value_enum)]
        policy: Option<Policy>,
        /// Add a device to the allow-list; may be given again
        #[arg(long, value_name = "DEVICE")]
        allow: Vec<String>,
        /// Take a device off the allow-list; may be given again
        #[arg(long, value_name = "DEVICE")]
        disallow: Vec<String>,
    },
    /// List the groups of this device
    List,
}

/// Who may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// Everybody who asks
    Open,
    /// The devices on a list
    AllowList,
    /// Whom an admin approves (the default)
    Approval,
}

impl From<Policy> for GroupPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Open => Self::Open,
            Policy::AllowList => Self::AllowList,
            Policy::Approval => Self::Approval,
        }
    }
}

/// Runs the command.
pub async fn run(session: &Session<'_>, args: Args) -> Outcome {
    match args.action {
        Action::Create {
            name,
            findable,
            policy,
            allow,
            admin,
            relay,
        } => {
            let by_list = if allow.is_empty() {
                GroupPolicy::default()
            } else {
                GroupPolicy::AllowList
            };
            let policy = policy.map_or(by_list, Into::into);
            create(
                session,
                CreateGroup {
                    name,
                    findable,
                    policy,
                    allow,
                    admins: admin,
                    relay,
                },
            )
            .await
        }
        Action::Join { group } => join(session, group).await,
        Action::Leave { group } => leave(session, &group).await,
        Action::Search { name } => search(session, name).await,
        Action::Members { group } => members(session, &group).await,
        Action::Approve { group, device } => {
            decide(session, &group, device, GroupDecision::Approve, None).await
        }
        Action::Refuse {
            group,
            device,
            reason,
        } => decide(session, &group, device, GroupDecision::Refuse, Some(reason)).await,
        Action::Remove { group, device } => {
            decide(session, &group, device, GroupDecision::Remove, None).await
        }
        Action::Promote { group, device } => {
            decide(session, &group, device, GroupDecision::Promote, None).await
        }
        Action::Policy {
            group,
            policy,
            allow,
            disallow,
        } => {
            let request = SetGroupPolicy {
                policy: policy.map(Into::into),
                allow,
                disallow,
            };
            set_policy(session, &group, request).await
        }
        Action::List => list(session).await,
    }
}

async fn create(session: &Session<'_>, request: CreateGroup) -> Outcome {
    let client = session.daemon().await?;
    let made = client.post::<GroupInfo>("/v1/groups", &request).await?;
    session.out.json(&made);
    let name = display_name(&made.name);
    session.out.say(&session.wrapped(&format!(
        "The group {name} is made; who may join: {}.",
        show::policy(&made)
    )));
    if made.findable {
        session.out.say(&session.wrapped(&format!(
            "Others join it with: hither group join \"{name}\""
        )));
    } else {
        session
            .out
            .say("Others join it with the word below: hither group join hithergroup1…");
    }
    if !session.out.is_json() {
        session.out.result(&made.invite);
    }
    Ok(Exit::Done)
}

async fn join(session: &Session<'_>, group: String) -> Outcome {
    let client = session.daemon().await?;
    let joined = client
        .post::<GroupInfo>("/v1/groups/join", &JoinGroup { group })
        .await?;
    session.out.json(&joined);
    let name = show::name(&joined.name);
    session.out.say(&session.wrapped(&match joined.state {
        GroupState::Member => format!(
            "This device is a member of {name}, with {}. See: hither group members",
            count(joined.members.saturating_sub(1), "other")
        ),
        _ => format!(
            "Asked to join {name}. This device becomes a member when it is let in, also if that is while it is off. \
             See how it stands with: hither group list"
        ),
    }));
    Ok(Exit::Done)
}

async fn leave(session: &Session<'_>, group: &str) -> Outcome {
    let client = session.daemon().await?;
    let left = client
        .delete::<GroupInfo>(&format!("/v1/groups/{}", escaped(group)))
        .await?;
    session.out.json(&left);
    let name = show::name(&left.name);
    session.out.say(&match left.state {
        GroupState::Member => format!("This device has left {name}."),
        GroupState::Asking => format!("This device does not ask to join {name} any more."),
        GroupState::Refused | GroupState::Removed => format!("{name} is forgotten on this device."),
    });
    Ok(Exit::Done)
}

async fn search(session: &Session<'_>, text: String) -> Outcome {
    let client = session.daemon().await?;
    let found = client
        .post::<Vec<FoundGroup>>("/v1/groups/search", &SearchGroups { text })
        .await?;
    session.out.json_lines(&found);
    if found.is_empty() {
        session.out.say(&session.wrapped(
            "No group of that name can be found. A group that is not findable is joined with the word that its members have; \
             or make one: hither group create NAME",
        ));
        return Ok(Exit::Done);
    }
    session.table(show::found(&found));
    session.out.say("\nJoin one with: hither group join GROUP");
    Ok(Exit::Done)
}

async fn members(session: &Session<'_>, group: &str) -> Outcome {
    let client = session.daemon().await?;
    let path = format!("/v1/groups/{}/members", escaped(group));
    let members = client.get::<Vec<GroupMemberInfo>>(&path).await?;
    session.out.json_lines(&members);
    session.table(show::members(&members, now()));
    if members.iter().any(|member| member.asking) {
        session
            .out
            .say("\nLet somebody in with: hither group approve GROUP DEVICE");
    }
    if members
        .iter()
        .any(|member| !member.this && !member.shares.is_empty())
    {
        session
            .out
            .say("\nFetch something with: hither fetch DEVICE/NAME");
    }
    Ok(Exit::Done)
}

async fn decide(
    session: &Session<'_>,
    group: &str,
    device: String,
    what: GroupDecision,
    reason: Option<String>,
) -> Outcome {
    let client = session.daemon().await?;
    let reason = reason.filter(|reason| !reason.is_empty());
    let request = DecideGroup {
        device: device.clone(),
        what,
        reason,
    };
    let path = format!("/v1/groups/{}/devices", escaped(group));
    let now = client.post::<GroupInfo>(&path, &request).await?;
    session.out.json(&now);
    let (device, name) = (display_name(&device), show::name(&now.name));
    session.out.say(&session.wrapped(&match what {
        GroupDecision::Approve => format!("{device} is a member of {name}."),
        GroupDecision::Refuse => format!("{device} is told that it may not join {name}."),
        GroupDecision::Remove => format!(
            "{device} is no member of {name} any more and learns of nothing that is shared from now on. It still knows how to \
             read what was shared before."
        ),
        GroupDecision::Promote => format!("{device} is an admin of {name}."),
    }));
    Ok(Exit::Done)
}

async fn set_policy(session: &Session<'_>, group: &str, request: SetGroupPolicy) -> Outcome {
    let client = session.daemon().await?;
    let unchanged = request == SetGroupPolicy::default();
    let now = match unchanged {
        true => {
            let all = client.get::<Vec<GroupInfo>>("/v1/groups").await?;
            let lower = group.to_lowercase();
            let meant = |one: &GroupInfo| {
                one.name.to_lowercase() == lower
                    || one.invite == lower
                    || (lower.len() >= 6 && one.group.starts_with(&lower))
            };
            all.into_iter().find(meant).ok_or_else(|| {
                let message = format!("This device knows no group \"{}\".", display_name(group));
                ApiError::new(ErrorCode::NotFound, message)
                    .with_hint("See yours with: hither group list")
            })?
        }
        false => {
            client
                .post(&format!("/v1/groups/{}/policy", escaped(group)), &request)
                .await?
        }
    };
    session.out.json(&now);
    session.out.say(&format!(
        "Who may join {}: {}.",
        show::name(&now.name),
        show::policy(&now)
    ));
    for device in &now.allowed {
        session.out.say(&format!("  {}", display_name(device)));
    }
    Ok(Exit::Done)
}

async fn list(session: &Session<'_>) -> Outcome {
    let client = session.daemon().await?;
    let groups = client.get::<Vec<GroupInfo>>("/v1/groups").await?;
    session.out.json_lines(&groups);
    if groups.is_empty() {
        session.out.say(&session.wrapped(
            "This device is in no group. Find one with: hither group search NAME, ask to join it with: hither group join GROUP, \
             or make one with: hither group create NAME",
        ));
        return Ok(Exit::Done);
    }
    session.table(show::groups(&groups));
    for line in groups.iter().filter_map(show::note) {
        session.out.say(&session.wrapped(&line));
    }
    Ok(Exit::Done)
}

/// A group's name as part of a path.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups_fit_into_a_path() {
        assert_eq!(escaped("choir-2"), "choir-2");
        assert_eq!(escaped("a/b ü?%"), "a%2Fb%20%C3%BC%3F%25");
    }
}
