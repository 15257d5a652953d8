//! Groups and members as tables.

use crate::show::{Align, Column, Table, ago, bytes};
use hither_api::{FoundGroup, GroupInfo, GroupMemberInfo, GroupPolicy, GroupRole, GroupState};
use hither_proto::display_name;

/// Characters of an id that are shown.
const ID: usize = 12;
/// Most shares of a member that are named in a table.
const SHARES: usize = 3;

/// What a group is called; it may not be known yet.
pub(super) fn name(name: &str) -> String {
    if name.is_empty() {
        "the group".into()
    } else {
        display_name(name)
    }
}

const fn policy_word(policy: GroupPolicy) -> &'static str {
    match policy {
        GroupPolicy::Open => "everybody",
        GroupPolicy::AllowList => "devices on its allow-list",
        GroupPolicy::Approval => "whom an admin approves",
    }
}

/// Who may join, in words.
pub(super) fn policy(group: &GroupInfo) -> &'static str {
    group.policy.map_or("not known", policy_word)
}

const GROUPS: [Column; 7] = [
    Column::new("GROUP", Align::Left).flexible(),
    Column::new("ID", Align::Left),
    Column::new("STATE", Align::Left),
    Column::new("MEMBERS", Align::Right),
    Column::new("ONLINE", Align::Right),
    Column::new("SHARES", Align::Right).optional(),
    Column::new("ASKING", Align::Right).sparse(),
];

/// The groups of a device.
pub(super) fn groups(groups: &[GroupInfo]) -> Table {
    let mut table = Table::new(&GROUPS);
    for group in groups {
        let member = group.state == GroupState::Member;
        let number = |number: u64| {
            if member {
                number.to_string()
            } else {
                "–".into()
            }
        };
        table.row([
            if group.name.is_empty() {
                "(no name yet)".into()
            } else {
                display_name(&group.name)
            },
            group.group.chars().take(ID).collect(),
            match (group.state, group.role) {
                (GroupState::Member, Some(GroupRole::Admin)) => "admin".into(),
                (GroupState::Member, _) => "member".into(),
                (GroupState::Asking, _) => "asking".into(),
                (GroupState::Refused, _) => "refused".into(),
                (GroupState::Removed, _) => "removed".into(),
            },
            number(group.members),
            number(group.online),
            number(group.shares),
            if group.asking > 0 {
                group.asking.to_string()
            } else {
                String::new()
            },
        ]);
    }
    table
}

/// What else is to be said of a group.
pub(super) fn note(group: &GroupInfo) -> Option<String> {
    let name = name(&group.name);
    match group.state {
        GroupState::Member if group.asking > 0 => Some(format!(
            "{name}: somebody asks to join. See: hither group members \"{name}\""
        )),
        GroupState::Member => None,
        GroupState::Asking => Some(format!("{name}: nobody has answered yet.")),
        GroupState::Refused => {
            let reason = group
                .reason
                .as_deref()
                .map(display_name)
                .unwrap_or_default();
            Some(format!("{name}: this device may not join: {reason}"))
        }
        GroupState::Removed => Some(format!("{name}: this device was removed from it.")),
    }
}

const FOUND: [Column; 5] = [
    Column::new("GROUP", Align::Left).flexible(),
    Column::new("ID", Align::Left),
    Column::new("MEMBERS", Align::Right),
    Column::new("WHO MAY JOIN", Align::Left).flexible(),
    Column::new("YOU", Align::Left).sparse(),
];

/// What a search found.
pub(super) fn found(found: &[FoundGroup]) -> Table {
    let mut table = Table::new(&FOUND);
    for group in found {
        table.row([
            display_name(&group.name),
            group.group.chars().take(ID).collect(),
            group.members.to_string(),
            policy_word(group.policy).into(),
            match group.state {
                Some(GroupState::Member) => "member".into(),
                Some(GroupState::Asking) => "asking".into(),
                Some(GroupState::Refused) => "refused".into(),
                Some(GroupState::Removed) => "removed".into(),
                None => String::new(),
            },
        ]);
    }
    table
}

const MEMBERS: [Column; 5] = [
    Column::new("DEVICE", Align::Left).flexible(),
    Column::new("ID", Align::Left),
    Column::new("ROLE", Align::Left),
    Column::new("STATE", Align::Left),
    Column::new("SHARES", Align::Left).flexible(),
];

/// Members, and those who ask.
pub(super) fn members(members: &[GroupMemberInfo], now: u64) -> Table {
    let mut table = Table::new(&MEMBERS);
    for member in members {
        table.row([
            if member.name.is_empty() {
                "(no name yet)".into()
            } else {
                display_name(&member.name)
            },
            display_name(&member.short),
            match member.role {
                Some(GroupRole::Admin) => "admin".into(),
                Some(GroupRole::Member) => "member".into(),
                None => "–".into(),
            },
            match member.last_seen {
                _ if member.this => "this device".into(),
                Some(asked) if member.asking => format!("asked {}", ago(asked, now)),
                _ if member.online => "online".into(),
                Some(seen) => format!("seen {}", ago(seen, now)),
                None => "never seen".into(),
            },
            shares(member),
        ]);
    }
    table
}

/// The newest shares of a member, and how many more.
fn shares(member: &GroupMemberInfo) -> String {
    let mut all: Vec<_> = member.shares.iter().collect();
    all.sort_by_key(|share| std::cmp::Reverse(share.published));
    let named = all
        .iter()
        .take(SHARES)
        .map(|share| format!("{} ({})", display_name(&share.name), bytes(share.bytes)));
    let mut text = named.collect::<Vec<_>>().join(", ");
    if all.len() > SHARES {
        text.push_str(&format!(" and {} more", all.len() - SHARES));
    }
    if text.is_empty() { "–".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_api::GroupShare;

    fn group(name: &str, state: GroupState) -> GroupInfo {
        GroupInfo {
            group: "00112233445566778899".into(),
            name: name.into(),
            state,
            role: (state == GroupState::Member).then_some(GroupRole::Admin),
            policy: Some(GroupPolicy::Open),
            allowed: Vec::new(),
            findable: true,
            members: 3,
            online: 2,
            shares: 5,
            asking: 0,
            generation: 1,
            relay: "relay.example:1".into(),
            invite: "hithergroup1x".into(),
            reason: Some("full\u{1b}".into()),
        }
    }

    #[test]
    fn a_table_of_groups_says_how_the_device_stands() {
        let lines = groups(&[
            group("choir", GroupState::Member),
            group("", GroupState::Refused),
        ])
        .lines(80);
        assert_eq!(
            lines[1],
            "choir          001122334455  admin          3       2       5"
        );
        assert_eq!(
            lines[2],
            "(no name yet)  001122334455  refused        –       –       –"
        );
        assert_eq!(
            note(&group("x", GroupState::Refused)).unwrap(),
            "x: this device may not join: full\u{fffd}"
        );
        assert_eq!(note(&group("x", GroupState::Member)), None);
    }

    #[test]
    fn a_table_of_members_names_their_newest_shares() {
        let share = |name: &str, published| GroupShare {
            share: "s".into(),
            name: name.into(),
            files: 1,
            bytes: 1000,
            published,
        };
        let member = GroupMemberInfo {
            group: "g".into(),
            device: "12D3".into(),
            short: "aaaaaaaa".into(),
            name: "pho\u{1b}ne".into(),
            this: false,
            role: Some(GroupRole::Member),
            asking: false,
            online: true,
            last_seen: Some(100),
            shares: (0..5).map(|at| share(&format!("s{at}"), at)).collect(),
        };
        let asking = GroupMemberInfo {
            role: None,
            asking: true,
            online: false,
            name: String::new(),
            shares: Vec::new(),
            ..member.clone()
        };
        let lines = members(&[member, asking], 280).lines(100);
        assert!(
            lines[1].starts_with("pho\u{fffd}ne         aaaaaaaa  member  online"),
            "{lines:?}"
        );
        assert!(
            lines[1].ends_with("s4 (1 kB), s3 (1 kB), s2 (1 kB) and 2 more"),
            "{lines:?}"
        );
        assert_eq!(
            lines[2],
            "(no name yet)  aaaaaaaa  –       asked 3 min ago  –"
        );
    }
}
