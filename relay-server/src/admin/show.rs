//! What sub-commands say: text for people, or one JSON object a line.

use super::error::AdminError;
use super::types::{Checked, Collected, Device, Invited, Revoked, Saved, Stats, User};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where it is said, and how.
pub(super) struct Show {
    json: bool,
}

/// Words for an object that is the last line.
#[derive(Serialize)]
struct Event<'a, T> {
    event: &'a str,
    #[serde(flatten)]
    what: T,
}

impl Show {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// The last line of a failure, and its exit status.
    pub(super) fn failed(&self, error: &AdminError) -> ExitCode {
        if self.json {
            self.event("error", error);
        } else {
            let hint = error
                .hint
                .as_deref()
                .map(|hint| format!("\n{hint}"))
                .unwrap_or_default();
            let _ = writeln!(std::io::stderr().lock(), "{}{hint}", error.message);
        }
        error.exit()
    }

    pub(super) fn invited(&self, invited: &Invited) {
        if self.json {
            return self.event("done", invited);
        }
        self.line(&invited.url);
        let devices = if invited.uses == 1 {
            "1 device".into()
        } else {
            format!("{} devices", invited.uses)
        };
        self.line(&format!(
            "For {devices} of user {}, until {}.",
            invited.user,
            time(invited.expires_ms)
        ));
        self.line(
            "On each device: hither relay add 'URL'. Whoever has the URL can use it: treat it as a password.",
        );
    }

    pub(super) fn user(&self, user: &User) {
        if self.json {
            return self.object(user);
        }
        let kept = user
            .bytes
            .map(|bytes| format!("  keeps {}", size(bytes)))
            .unwrap_or_default();
        let label = if user.label.is_empty() {
            String::new()
        } else {
            format!("  {}", clean(&user.label))
        };
        self.line(&format!(
            "{}  {} devices{kept}  since {}{label}",
            user.user,
            user.devices,
            time(user.created_ms)
        ));
    }

    pub(super) fn device(&self, device: &Device) {
        if self.json {
            return self.object(device);
        }
        let seen = match device.seen_ms {
            _ if device.online => "online".into(),
            0 => "last seen never".into(),
            at => format!("last seen {}", time(at)),
        };
        let revoked = if device.revoked { "  REVOKED" } else { "" };
        self.line(&format!(
            "{}  user {}  {seen}{revoked}",
            device.device, device.user
        ));
    }

    pub(super) fn end_of_list(&self, count: usize, what: &str) {
        #[derive(Serialize)]
        struct Count {
            count: usize,
        }
        if self.json {
            self.event("done", Count { count });
        } else if count == 0 {
            self.line(&format!("There is no {what} yet."));
        }
    }

    pub(super) fn revoked(&self, revoked: &Revoked) {
        if self.json {
            return self.event("done", revoked);
        }
        for device in &revoked.devices {
            self.line(&format!("Revoked {device}"));
        }
    }

    pub(super) fn stats(&self, stats: &Stats) {
        if self.json {
            return self.event("done", stats);
        }
        self.line(&format!("hither-relay {}  {}", stats.version, stats.node));
        if stats.problems.is_empty() {
            self.line("Ready.");
        }
        for problem in &stats.problems {
            self.line(problem.sentence());
        }
        if let (Some(users), Some(devices)) = (stats.users, stats.devices) {
            self.line(&format!(
                "{users} users, {devices} devices, {} connected here",
                stats.devices_online
            ));
        }
        if let (Some(groups), Some(memberships)) = (stats.groups, stats.memberships) {
            self.line(&format!("{groups} groups with {memberships} memberships"));
        }
        if let (Some(messages), Some(bytes)) = (stats.messages, stats.message_bytes) {
            self.line(&format!("{messages} messages wait ({})", size(bytes)));
        }
        if let Some(store) = &stats.store {
            let (kept, disk) = (size(store.kept), size(store.on_disk));
            self.line(&format!(
                "{kept} kept, {disk} on disk in {} packs, kept {:.2} times",
                store.packs, store.dedupe
            ));
            if store.damaged > 0 {
                self.line(&format!(
                    "{} damaged chunks found: hither-relay check --repair",
                    store.damaged
                ));
            }
        }
        if let Some(index) = &stats.index {
            self.line(&format!(
                "index: {} shares, {} announcements ({}), {} subscriptions",
                index.topics,
                index.entries,
                size(index.bytes),
                index.subscriptions
            ));
        }
        if let Some(web) = &stats.web {
            self.line(&format!(
                "browsers: {}, {} connections, {} websockets, {} requests",
                web.url.as_deref().unwrap_or("no web.url, so no links"),
                web.connections,
                web.websockets,
                web.requests
            ));
        }
        if let Some(free) = stats.disk_free {
            self.line(&format!("{} free", size(free)));
        }
    }

    pub(super) fn collected(&self, collected: &Collected) {
        if self.json {
            return self.event("done", collected);
        }
        let Collected {
            expired,
            chunks,
            bytes,
            packs_deleted,
            packs_compacted,
        } = collected;
        self.line(&format!(
            "{expired} versions expired, {chunks} chunks dropped ({}), {packs_deleted} packs deleted, \
             {packs_compacted} compacted",
            size(*bytes)
        ));
    }

    pub(super) fn checked(&self, checked: &Checked, repaired: bool) {
        if self.json {
            return self.event("done", checked);
        }
        self.line(&format!(
            "{} chunks in {} packs are sound ({})",
            checked.chunks,
            checked.packs,
            size(checked.bytes)
        ));
        if checked.clean {
            return self.line("Nothing is damaged.");
        }
        self.line(&format!(
            "{} chunks are damaged or gone, {} packs cannot be read, {} pack directories are damaged, {} chunks are \
             referred to and missing",
            checked.damaged, checked.unreadable_packs, checked.bad_directories, checked.dangling
        ));
        self.line(if repaired {
            "What is damaged was forgotten: the devices that keep it here will upload it again."
        } else {
            "To forget what is damaged, so that it is uploaded again: hither-relay check --repair"
        });
    }

    pub(super) fn saved(&self, what: &str, saved: &Saved) {
        if self.json {
            return self.event("done", saved);
        }
        let path = saved.path.display();
        let linked = if saved.linked > 0 {
            format!(", {} of them linked", saved.linked)
        } else {
            String::new()
        };
        self.line(&format!(
            "{path}: {} files {what} ({}){linked}",
            saved.files,
            size(saved.bytes)
        ));
    }

    fn event(&self, event: &str, what: impl Serialize) {
        self.object(&Event { event, what });
    }

    fn object(&self, what: &impl Serialize) {
        // Only types of this crate are shown, which can all be written as JSON.
        self.line(&serde_json::to_string(what).unwrap_or_default());
    }

    fn line(&self, text: &str) {
        // Whoever closed the output wants no more of it.
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }
}

fn clean(text: &str) -> String {
    hither_proto::display_name(text)
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A time for people: of the day, in UTC.
fn time(unix_ms: u64) -> String {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(unix_ms / 1000);
    humantime::format_rfc3339_seconds(time)
        .to_string()
        .replace('T', " ")
        .replace('Z', " UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_for_people() {
        assert_eq!(size(7), "7 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 40), "3.0 TiB");
        assert_eq!(time(1_700_000_000_123), "2023-11-14 22:13:20 UTC");
    }

    #[test]
    fn the_last_line_of_a_script_says_how_it_ended() {
        let event = Event {
            event: "done",
            what: Revoked {
                devices: vec!["x".into()],
            },
        };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"event":"done","devices":["x"]}"#
        );
    }
}
