//! The keys of the configuration: each with its default, its check and its comment, in one table.

use crate::ask::AskCommand;
use crate::config::ConfigError;
use crate::costs::{CostMode, parse_currency};
use crate::limits::{DeviceLimit, parse_rate};
use crate::nearby::NearbyVisibility;
use crate::receive::{ReceivePolicy, ReceiveRules};
use crate::schedule::ScheduleRule;
use crate::storage::StorageEngine;
use crate::upload_rules::{NetworkRule, parse_size};
use crate::world::{Metered, parse_percent};
use hither_proto::Price;
use std::str::FromStr;
use std::time::Duration;
use toml_edit::Value;

/// The text of a new configuration file: every key with its default, commented out by one `#`;
/// words stand behind two, so that they are still a comment where one was taken away.
pub const TEMPLATE: &str = "\
## Hither's configuration. Every key is optional; what stands here behind a single '#' is the default.
## Changes by hither config are in force at once where that is possible; it says where the daemon must start anew
## (hither down, hither up), and so do changes by another editor: hither config reload

## What this device calls itself towards devices that share something with it.
# device_name = \"\"            # default: the host's name

## UDP and TCP port; when it is taken another one is used. 0: any.
# port = 47447

## Carriers. QUIC is the default and the fallback; TCP is used for bulk data where it is faster.
# quic = true
# tcp = true

## Find devices on the local network by mDNS.
# discovery = true
## Only these network interfaces, or all but these.
# interfaces = []
# ignore_interfaces = []

## Who on this network is told this device's name and may ask whether it may send: everybody, known (your own devices
## and those that you said yes to) or nobody. For ten minutes everybody: hither nearby
# nearby.visible = \"known\"

## Where pictures, films, recordings and files are looked for that your other devices, or people you know, ask for (you
## are asked before anything is answered); empty: Pictures, Videos, Music, Documents and Downloads.
# asks.folders = []
## Show what is asked for as a desktop notification.
# asks.notify = true
## Where this device is, when that is always the same: \"48.137, 11.575\". Empty: the system is asked.
# asks.location = \"\"
## Programs that answer: [\"photo.live rpicam-still -n -o {out}\", \"audio.live rec -q {out} trim 0 {seconds}\"]. They are run
## as they stand here, without a shell.
# asks.commands = []

## Show as a desktop notification that somebody has all of something that this device shares.
# giving.notify = true

## Where files and shares arrive that other devices send; empty: the folder of your downloads (with HITHER_HOME set:
## received, in there).
# receive.folder = \"\"
## What becomes of them where no rule says otherwise (hither receive): always (they arrive by themselves), ask, or never
## (the sender is told that it was declined); for your own devices, and for those of others that you know.
# receive.own = \"always\"
# receive.known = \"ask\"
## You are asked before a larger share arrives, and when a device has sent ten times as much in a day; \"\" for any size.
# receive.max = \"10GiB\"
## Show what waits for your answer as a desktop notification.
# receive.notify = true
## A program that is run after something arrived, as it stands here, without a shell. It is told by its environment:
## HITHER_EVENT (text, files or share), HITHER_FROM, HITHER_FROM_ID, HITHER_NAME, HITHER_BYTES, HITHER_MESSAGE,
## HITHER_COUNT and HITHER_PATH_1 and so on; a text is what it reads.
# receive.hook = \"\"

## TCP port of the pages for browsers on this network (hither page); when it is taken another one is used. 0: any.
# page.port = 47448

## How long a fetch looks for a device that has the share before it gives up.
# wait = \"15s\"

## How long a code of three words (hither share --code, hither pair) is good: at most ten minutes.
# code.expires = \"10m\"

## What this device shares is uploaded to a store when it has joined a relay (hither relay add), so that it can be
## fetched while this device is away. Not with: hither share --no-upload
# upload.enabled = true
## Only shares of at least, and at most, so many bytes: \"100MB\", \"2GiB\"; \"\" for any.
# upload.min_size = \"\"
# upload.max_size = \"\"
## Never while the relay is reached over one of these interfaces or networks: [\"wwan0\", \"192.168.43.0/24\"]
# upload.never_on = []
## Whether that goes on while the link is metered.
# upload.metered = false

## Relays that this device joined, or that a ticket names, are told what it holds of shares (not what they are), so that
## devices on other networks find it.
# index.announce = true

## Most bytes in a second that this device sends and receives, in all: \"5MB\", \"40Mbit\"; \"\" for any.
# limits.upload = \"\"
# limits.download = \"\"
## Whether that goes for the local network too.
# limits.lan = false
## The same for single devices, by name or id as hither devices shows them; \"phone=2MB\" is what is sent to it:
## [\"phone=2MB\", \"tablet upload=1MB download=4MB\"]
# limits.devices = []
## Other limits at certain times, on this device's clock; the first that is in force counts, \"any\" lifts a limit:
## [\"mon-fri 08:00-18:00 upload=1MB download=4MB\", \"22:00-06:00 upload=any\"]
# limits.schedule = []

## Whether the link to the internet costs by volume: \"yes\", \"no\", or \"auto\" for what the system knows.
# network.metered = \"auto\"
## Below how much charge this device gives to others reluctantly, while it runs on its battery; \"0%\" for never.
# battery.low = \"20%\"

## How readily sources that cost something are used: saver, balanced or fast (an hour of waiting is worth 0.36, 3.60 or 36).
# cost.mode = \"balanced\"
## What a GiB costs: from a store, from a device through a relay (whoever hosts them pays for traffic), over a metered
## connection. These usual prices only choose between sources; amounts are shown once one of the prices is set.
# cost.store = 0.09
# cost.relayed = 0.09
# cost.metered = 2.0
## The currency that stands behind amounts, at most 8 characters: \"EUR\"; empty: units.
# cost.currency = \"\"

## What later versions replace or no longer have in a folder that is followed (hither fetch --follow) is kept in its
## .hither-trash: for so long, \"0\" for not at all, and at most so many bytes in each, the oldest going first; \"\" for any.
# follow.trash_keep = \"30d\"
# follow.trash_max = \"10GiB\"

## What keeps Hither's own metadata on disk: \"redb\" or \"sled\". redb is the default because it keeps its word when the
## power goes: of 100 power cuts under load it lost nothing in any, sled lost acknowledged data or did not open after 94
## (docs/design/storage-engine.md). What is there already is moved to the other engine when the daemon starts, which takes
## as much room again on the disk.
# storage.engine = \"redb\"

## What is logged to hitherd.log: error, warn, info, debug or trace.
# log = \"info\"
";

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Bool,
    Port,
    Duration,
    Span,
    /// A time that a code may be good.
    Brief,
    Names,
    Size,
    Networks,
    Rate,
    DeviceLimits,
    Schedule,
    Metered,
    Percent,
    Mode,
    Price,
    Currency,
    Engine,
    Visibility,
    AskCommands,
    Policy,
    Folder,
    Program,
    Level,
}

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name in the file, with a dot where it stands in a table; `HITHER_` and the name in
    /// capitals, with `_` for a dot, is its environment variable.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    pub(crate) kind: Kind,
}

/// The keys that count when the daemon starts: what opens sockets and stores, is told to others as
/// long as it runs, or is begun then.
const AT_START: [&str; 12] = [
    "device_name",
    "port",
    "quic",
    "tcp",
    "discovery",
    "interfaces",
    "ignore_interfaces",
    "asks.notify",
    "giving.notify",
    "index.announce",
    "storage.engine",
    "log",
];

impl Key {
    /// Returns whether a change counts only when the daemon starts anew.
    pub fn needs_restart(&self) -> bool {
        AT_START.contains(&self.name)
    }
}

/// Every key.
pub const KEYS: [Key; 44] = [
    Key {
        name: "device_name",
        about: "what this device calls itself",
        kind: Kind::Text,
    },
    Key {
        name: "port",
        about: "UDP and TCP port, 0 for any",
        kind: Kind::Port,
    },
    Key {
        name: "quic",
        about: "use the QUIC carrier",
        kind: Kind::Bool,
    },
    Key {
        name: "tcp",
        about: "use the TCP carrier for bulk data",
        kind: Kind::Bool,
    },
    Key {
        name: "discovery",
        about: "find devices on the local network",
        kind: Kind::Bool,
    },
    Key {
        name: "interfaces",
        about: "only these network interfaces",
        kind: Kind::Names,
    },
    Key {
        name: "ignore_interfaces",
        about: "all but these network interfaces",
        kind: Kind::Names,
    },
    Key {
        name: "nearby.visible",
        about: "who on this network sees this device",
        kind: Kind::Visibility,
    },
    Key {
        name: "asks.folders",
        about: "where what others ask for is looked for",
        kind: Kind::Names,
    },
    Key {
        name: "asks.notify",
        about: "show what is asked for on the desktop",
        kind: Kind::Bool,
    },
    Key {
        name: "asks.location",
        about: "where this device is, if that never changes",
        kind: Kind::Text,
    },
    Key {
        name: "asks.commands",
        about: "programs that answer what others ask for",
        kind: Kind::AskCommands,
    },
    Key {
        name: "giving.notify",
        about: "show on the desktop who has all of a share",
        kind: Kind::Bool,
    },
    Key {
        name: "receive.folder",
        about: "where what others send arrives",
        kind: Kind::Folder,
    },
    Key {
        name: "receive.own",
        about: "whether what own devices send arrives by itself",
        kind: Kind::Policy,
    },
    Key {
        name: "receive.known",
        about: "whether what others' devices send arrives by itself",
        kind: Kind::Policy,
    },
    Key {
        name: "receive.max",
        about: "the largest share that arrives by itself",
        kind: Kind::Size,
    },
    Key {
        name: "receive.notify",
        about: "show what waits for an answer on the desktop",
        kind: Kind::Bool,
    },
    Key {
        name: "receive.hook",
        about: "a program that is run after something arrived",
        kind: Kind::Program,
    },
    Key {
        name: "page.port",
        about: "TCP port of pages for browsers on this network",
        kind: Kind::Port,
    },
    Key {
        name: "wait",
        about: "how long a fetch looks for a holder",
        kind: Kind::Duration,
    },
    Key {
        name: "code.expires",
        about: "how long a code of three words is good",
        kind: Kind::Brief,
    },
    Key {
        name: "upload.enabled",
        about: "upload what is shared to a store",
        kind: Kind::Bool,
    },
    Key {
        name: "upload.min_size",
        about: "upload no smaller shares",
        kind: Kind::Size,
    },
    Key {
        name: "upload.max_size",
        about: "upload no larger shares",
        kind: Kind::Size,
    },
    Key {
        name: "upload.never_on",
        about: "interfaces and networks not to upload over",
        kind: Kind::Networks,
    },
    Key {
        name: "upload.metered",
        about: "upload over a metered link too",
        kind: Kind::Bool,
    },
    Key {
        name: "index.announce",
        about: "let relays name this device as a holder",
        kind: Kind::Bool,
    },
    Key {
        name: "limits.upload",
        about: "most bytes sent in a second",
        kind: Kind::Rate,
    },
    Key {
        name: "limits.download",
        about: "most bytes received in a second",
        kind: Kind::Rate,
    },
    Key {
        name: "limits.lan",
        about: "limit the local network too",
        kind: Kind::Bool,
    },
    Key {
        name: "limits.devices",
        about: "limits for single devices",
        kind: Kind::DeviceLimits,
    },
    Key {
        name: "limits.schedule",
        about: "other limits at certain times",
        kind: Kind::Schedule,
    },
    Key {
        name: "network.metered",
        about: "whether the link costs by volume",
        kind: Kind::Metered,
    },
    Key {
        name: "battery.low",
        about: "below how much charge it gives reluctantly",
        kind: Kind::Percent,
    },
    Key {
        name: "cost.mode",
        about: "how readily paid sources are used",
        kind: Kind::Mode,
    },
    Key {
        name: "cost.store",
        about: "price of a GiB from a store",
        kind: Kind::Price,
    },
    Key {
        name: "cost.relayed",
        about: "price of a GiB from a device through a relay",
        kind: Kind::Price,
    },
    Key {
        name: "cost.metered",
        about: "price of a GiB over a metered connection",
        kind: Kind::Price,
    },
    Key {
        name: "cost.currency",
        about: "what stands behind amounts",
        kind: Kind::Currency,
    },
    Key {
        name: "follow.trash_keep",
        about: "how long the trash of what is followed is kept",
        kind: Kind::Span,
    },
    Key {
        name: "follow.trash_max",
        about: "most bytes in the trash of what is followed",
        kind: Kind::Size,
    },
    Key {
        name: "storage.engine",
        about: "what keeps the metadata on disk",
        kind: Kind::Engine,
    },
    Key {
        name: "log",
        about: "what is logged",
        kind: Kind::Level,
    },
];

impl Kind {
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Bool => "true or false",
            Self::Port => "a number from 0 to 65535",
            Self::Duration => "a duration like \"15s\" or \"2m\"",
            Self::Span => "a duration like \"30d\" or \"12h\", or 0",
            Self::Brief => "a duration from 1s to 10m",
            Self::Names => "a list of names like [\"eth0\"]",
            Self::Size => "a size like \"100MB\" or \"2GiB\", or empty",
            Self::Networks => "a list of interfaces and networks like [\"wwan0\", \"10.0.0.0/8\"]",
            Self::Rate => "a rate of at least 10 kB a second like \"5MB\" or \"40Mbit\", or empty",
            Self::DeviceLimits => "a list like [\"phone=2MB\", \"tablet upload=1MB download=4MB\"]",
            Self::Schedule => "a list like [\"mon-fri 08:00-18:00 upload=1MB download=4MB\"]",
            Self::Metered => "auto, yes or no",
            Self::Percent => "a part like \"20%\"",
            Self::Mode => "saver, balanced or fast",
            Self::Price => "a price for each GiB, a number from 0 on",
            Self::Currency => "at most 8 printable characters, or empty",
            Self::Engine => "redb or sled",
            Self::Visibility => "everybody, known or nobody",
            Self::AskCommands => "a list like [\"photo.live rpicam-still -n -o {out}\"]",
            Self::Policy => "always, ask or never",
            Self::Folder => "an absolute path, one that begins with ~/, or empty",
            Self::Program => "a program and its arguments, with quotes as in a shell, or empty",
            Self::Level => "error, warn, info, debug or trace",
        }
    }

    /// Parses what a person typed or an environment variable holds.
    pub(crate) fn parse(self, text: &str) -> Option<Value> {
        let value: Value = match self {
            Self::Text
            | Self::Duration
            | Self::Span
            | Self::Brief
            | Self::Size
            | Self::Rate
            | Self::Metered
            | Self::Percent
            | Self::Mode
            | Self::Currency
            | Self::Engine
            | Self::Visibility
            | Self::Policy
            | Self::Folder
            | Self::Program
            | Self::Level => text.into(),
            Self::Price => text.trim().parse::<f64>().ok()?.into(),
            Self::Bool => text.parse::<bool>().ok()?.into(),
            Self::Port => i64::from(text.parse::<u16>().ok()?).into(),
            Self::Names
            | Self::Networks
            | Self::DeviceLimits
            | Self::Schedule
            | Self::AskCommands => text
                .split(',')
                .map(str::trim)
                .filter(|n| !n.is_empty())
                .collect::<toml_edit::Array>()
                .into(),
        };
        self.check(&value).then_some(value)
    }

    pub(crate) fn check(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_str(),
            Self::Bool => value.is_bool(),
            Self::Port => value.as_integer().is_some_and(|n| u16::try_from(n).is_ok()),
            Self::Duration => value
                .as_str()
                .is_some_and(|t| humantime::parse_duration(t).is_ok()),
            Self::Span => value.as_str().is_some_and(|t| parse_span(t).is_some()),
            Self::Brief => value.as_str().is_some_and(|t| {
                let brief = Duration::from_secs(1)
                    ..=Duration::from_secs(hither_proto::limits::CODE_SECONDS);
                humantime::parse_duration(t).is_ok_and(|time| brief.contains(&time))
            }),
            Self::Names => value
                .as_array()
                .is_some_and(|a| a.iter().all(Value::is_str)),
            Self::Size => value
                .as_str()
                .is_some_and(|t| t.is_empty() || parse_size(t).is_some()),
            Self::Rate => value
                .as_str()
                .is_some_and(|t| t.is_empty() || parse_rate(t).is_some()),
            Self::Networks => each::<NetworkRule>(value),
            Self::DeviceLimits => each::<DeviceLimit>(value),
            Self::Schedule => each::<ScheduleRule>(value),
            Self::AskCommands => each::<AskCommand>(value),
            Self::Metered => value.as_str().is_some_and(|t| Metered::parse(t).is_some()),
            Self::Percent => value.as_str().is_some_and(|t| parse_percent(t).is_some()),
            Self::Mode => value
                .as_str()
                .is_some_and(|t| t.parse::<CostMode>().is_ok()),
            Self::Price => price(value).is_some(),
            Self::Currency => value.as_str().is_some_and(|t| parse_currency(t).is_some()),
            Self::Engine => value
                .as_str()
                .is_some_and(|t| StorageEngine::parse(t).is_some()),
            Self::Visibility => value
                .as_str()
                .is_some_and(|t| NearbyVisibility::parse(t).is_some()),
            Self::Policy => value
                .as_str()
                .is_some_and(|t| ReceivePolicy::parse(t).is_some()),
            Self::Folder => value
                .as_str()
                .is_some_and(|t| ReceiveRules::parse_folder(t).is_some()),
            Self::Program => value
                .as_str()
                .is_some_and(|t| ReceiveRules::parse_hook(t).is_some()),
            Self::Level => value
                .as_str()
                .is_some_and(|t| ["error", "warn", "info", "debug", "trace"].contains(&t)),
        }
    }
}

/// A duration that may be nothing.
pub(crate) fn parse_span(text: &str) -> Option<Duration> {
    match text.trim() {
        "0" => Some(Duration::ZERO),
        text => humantime::parse_duration(text).ok(),
    }
}

/// A price, written with or without a fraction.
pub(crate) fn price(value: &Value) -> Option<Price> {
    value
        .as_float()
        .or_else(|| value.as_integer().map(|whole| whole as f64))
        .and_then(Price::per_gib)
}

/// Whether it is a list of texts each of which says a `T`.
fn each<T: FromStr>(value: &Value) -> bool {
    let says = |value: &Value| value.as_str().is_some_and(|text| text.parse::<T>().is_ok());
    value.as_array().is_some_and(|list| list.iter().all(says))
}

impl Key {
    pub(crate) const fn bad_value(&self) -> ConfigError {
        ConfigError::BadValue {
            name: self.name,
            expected: self.kind.expected(),
        }
    }
}
