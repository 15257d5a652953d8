//! The configuration file: what is in force of it. `config_keys.rs` has every key with its check
//! and its comment.
//!
//! Precedence: flag > environment (`HITHER_…`) > file > default. Unknown keys of the file are told
//! with the nearest known name, so that a typing error does not silently do nothing, and stop
//! nothing: a newer version may have written them.

use crate::ask::AskRules;
use crate::config_keys::{KEYS, Key, TEMPLATE, parse_span, price};
use crate::costs::{Costs, parse_currency};
use crate::limits::{RateLimits, parse_rate};
use crate::nearby::NearbyVisibility;
use crate::receive::{ReceivePolicy, ReceiveRules};
use crate::storage::StorageEngine;
use crate::upload_rules::{UploadRules, parse_size};
use crate::world::{Metered, WorldRules, parse_percent};
use hither_proto::limits::CODE_SECONDS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use toml_edit::{DocumentMut, Item, Value};
use utoipa::ToSchema;

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What this device calls itself; empty for the host's name.
    pub device_name: String,
    /// Preferred UDP and TCP port, 0 for any.
    pub port: u16,
    /// Whether the QUIC carrier runs.
    pub quic: bool,
    /// Whether the TCP carrier runs.
    pub tcp: bool,
    /// Whether devices are looked for by mDNS.
    pub discovery: bool,
    /// Only these network interfaces, when not empty.
    pub interfaces: Vec<String>,
    /// Never these network interfaces.
    pub ignore_interfaces: Vec<String>,
    /// The devices on this network that see this device's name.
    pub nearby_visible: NearbyVisibility,
    /// Preferred TCP port of pages for browsers on this network, 0 for any.
    pub page_port: u16,
    /// The things that other devices may ask for, and how they are found.
    pub asks: AskRules,
    /// True if the desktop is told when somebody has all of something shared here.
    pub giving_notify: bool,
    /// The rules for things that other devices send, and the folder they go to.
    pub receive: ReceiveRules,
    /// How long a fetch looks for a device that has the share.
    pub wait: Duration,
    /// How long a code of three words is good, at most
    /// [`CODE_SECONDS`].
    pub code_expires: Duration,
    /// What is uploaded to stores.
    pub upload: UploadRules,
    /// Whether the indexes of relays are told what this device holds.
    pub index_announce: bool,
    /// How fast this device may send and receive.
    pub limits: RateLimits,
    /// Rules for keeping what later versions of followed shares replace.
    pub trash: TrashRules,
    /// What data costs.
    pub costs: Costs,
    /// The currency that stands behind amounts; empty for plain units.
    pub currency: String,
    /// What is known of the link and the battery, and what follows from it.
    pub world: WorldRules,
    /// The engine that keeps the metadata on disk.
    pub storage_engine: StorageEngine,
    /// Log filter.
    pub log: String,
    /// Keys of the file that this version does not know, in words: mistyped, or of a newer
    /// version. They count for nothing.
    pub unknown: Vec<String>,
    /// Sources of the values that are no defaults, by key.
    pub sources: BTreeMap<&'static str, ConfigSource>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            device_name: String::new(),
            port: 47447,
            quic: true,
            tcp: true,
            discovery: true,
            interfaces: Vec::new(),
            ignore_interfaces: Vec::new(),
            nearby_visible: NearbyVisibility::default(),
            page_port: 47448,
            asks: AskRules::default(),
            giving_notify: true,
            receive: ReceiveRules::default(),
            wait: Duration::from_secs(15),
            code_expires: Duration::from_secs(CODE_SECONDS),
            upload: UploadRules::default(),
            index_announce: true,
            limits: RateLimits::default(),
            trash: TrashRules::default(),
            costs: Costs::default(),
            currency: String::new(),
            world: WorldRules::default(),
            storage_engine: StorageEngine::default(),
            log: "info".into(),
            unknown: Vec::new(),
            sources: BTreeMap::new(),
        }
    }
}

/// Rules for keeping what later versions of followed shares replace or no longer have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrashRules {
    /// How long it is kept; zero keeps nothing.
    pub keep: Duration,
    /// Most bytes that one trash holds, the oldest going first; `None` for any number.
    pub max: Option<u64>,
}

impl Default for TrashRules {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(30 * 24 * 3600),
            max: Some(10 << 30),
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or written.
    #[error("the configuration file {path}: {source}")]
    Io {
        /// Its path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("the configuration file is not valid TOML: {0}")]
    Syntax(#[from] toml_edit::TomlError),
    /// A key that does not exist.
    #[error("there is no configuration key \"{name}\"{}", suggestion(.nearest))]
    UnknownKey {
        /// The name given.
        name: String,
        /// A known name that is close to it.
        nearest: Option<&'static str>,
    },
    /// What is wrong, and where it stands.
    #[error("{place}: {what}")]
    At {
        /// The file, or the environment variable.
        place: String,
        /// What is wrong there.
        what: Box<Self>,
    },
    /// A value of the wrong kind.
    #[error("\"{name}\" must be {expected}")]
    BadValue {
        /// The key.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
    },
}

/// Source of a value of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfigSource {
    /// It is the default.
    #[default]
    Default,
    /// The file has it.
    File,
    /// An environment variable of the daemon has it, which wins over the file.
    Environment,
}

impl ConfigError {
    /// The same with the place where it stands; what names its place already stays as it is.
    fn at(self, place: impl std::fmt::Display) -> Self {
        match self {
            Self::At { .. } | Self::Io { .. } => self,
            what => Self::At {
                place: place.to_string(),
                what: Box::new(what),
            },
        }
    }
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest
        .map(|n| format!("; did you mean \"{n}\"?"))
        .unwrap_or_default()
}

fn key(name: &str) -> Result<&'static Key, ConfigError> {
    KEYS.iter()
        .find(|k| k.name == name)
        .ok_or_else(|| ConfigError::UnknownKey {
            name: name.to_owned(),
            nearest: KEYS
                .iter()
                .map(|k| k.name)
                .min_by_key(|known| distance(name, known))
                .filter(|known| distance(name, known) <= 3),
        })
}

/// Edit distance (Levenshtein), for suggestions.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(ca != *cb))
                .min(row[j] + 1)
                .min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

impl Config {
    /// What is in force: environment over file over defaults. A missing file is an empty one.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let in_file = |what: ConfigError| what.at(path.display());
        let mut config = Self::resolve(&read(path).map_err(in_file)?, |name| {
            std::env::var(name).ok()
        })
        .map_err(|what| {
            if matches!(what, ConfigError::At { .. }) {
                what
            } else {
                in_file(what)
            }
        })?;
        for words in &mut config.unknown {
            *words = format!("{}: {words}. It is ignored.", path.display());
        }
        Ok(config)
    }

    fn resolve(
        file: &DocumentMut,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (name, item) in flat(file) {
            let key = match key(&name) {
                Ok(key) => key,
                // A newer version may have written it: what is known counts all the same.
                Err(error) => {
                    config
                        .unknown
                        .push(error.to_string().trim_end_matches('?').to_owned());
                    continue;
                }
            };
            let value = item
                .as_value()
                .filter(|v| key.kind.check(v))
                .ok_or_else(|| key.bad_value())?;
            config.set(key.name, value);
            config.sources.insert(key.name, ConfigSource::File);
        }
        for key in &KEYS {
            let variable = format!("HITHER_{}", key.name.replace('.', "_").to_uppercase());
            if let Some(text) = env(&variable) {
                let value = key
                    .kind
                    .parse(&text)
                    .ok_or_else(|| key.bad_value().at(&variable))?;
                config.set(key.name, &value);
                config.sources.insert(key.name, ConfigSource::Environment);
            }
        }
        Ok(config)
    }

    /// Returns the source of the value of a key.
    pub fn source(&self, name: &str) -> ConfigSource {
        self.sources.get(name).copied().unwrap_or_default()
    }

    /// Takes over a value that was checked.
    fn set(&mut self, name: &str, value: &Value) {
        let text = || value.as_str().unwrap_or_default().to_owned();
        let flag = || value.as_bool().unwrap_or_default();
        let names = || -> Vec<String> {
            let names = value.as_array().into_iter().flatten();
            names
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        };
        match name {
            "device_name" => self.device_name = text(),
            "port" => {
                self.port = value
                    .as_integer()
                    .and_then(|n| u16::try_from(n).ok())
                    .unwrap_or_default()
            }
            "quic" => self.quic = flag(),
            "tcp" => self.tcp = flag(),
            "discovery" => self.discovery = flag(),
            "interfaces" => self.interfaces = names(),
            "ignore_interfaces" => self.ignore_interfaces = names(),
            "code.expires" => {
                self.code_expires = humantime::parse_duration(&text()).unwrap_or(self.code_expires)
            }
            "page.port" => {
                self.page_port = value
                    .as_integer()
                    .and_then(|n| u16::try_from(n).ok())
                    .unwrap_or_default()
            }
            "nearby.visible" => {
                self.nearby_visible = NearbyVisibility::parse(&text()).unwrap_or_default()
            }
            "asks.folders" => self.asks.folders = names(),
            "asks.notify" => self.asks.notify = flag(),
            "asks.location" => self.asks.location = text(),
            "giving.notify" => self.giving_notify = flag(),
            "asks.commands" => self.asks.commands = parsed(&names()),
            "receive.folder" => {
                self.receive.folder = ReceiveRules::parse_folder(&text()).flatten();
            }
            "receive.own" => {
                self.receive.own = ReceivePolicy::parse(&text()).unwrap_or(self.receive.own);
            }
            "receive.known" => {
                self.receive.known = ReceivePolicy::parse(&text()).unwrap_or(self.receive.known);
            }
            "receive.max" => self.receive.max = parse_size(&text()),
            "receive.notify" => self.receive.notify = flag(),
            "receive.hook" => {
                self.receive.hook = ReceiveRules::parse_hook(&text()).unwrap_or_default();
            }
            "wait" => self.wait = humantime::parse_duration(&text()).unwrap_or(self.wait),
            "upload.enabled" => self.upload.enabled = flag(),
            "upload.min_size" => self.upload.min_size = parse_size(&text()),
            "upload.max_size" => self.upload.max_size = parse_size(&text()),
            "index.announce" => self.index_announce = flag(),
            "upload.never_on" => self.upload.never_on = parsed(&names()),
            "upload.metered" => self.upload.metered = flag(),
            "limits.upload" => self.limits.upload = parse_rate(&text()),
            "limits.download" => self.limits.download = parse_rate(&text()),
            "limits.lan" => self.limits.lan = flag(),
            "limits.devices" => self.limits.devices = parsed(&names()),
            "limits.schedule" => self.limits.schedule = parsed(&names()),
            "network.metered" => self.world.metered = Metered::parse(&text()).unwrap_or_default(),
            "battery.low" => self.world.low = parse_percent(&text()).unwrap_or(self.world.low),
            "cost.mode" => self.costs.mode = text().parse().unwrap_or_default(),
            "cost.store" => {
                self.costs.store = price(value).unwrap_or_default();
                self.costs.configured = true;
            }
            "cost.relayed" => {
                self.costs.relayed = price(value).unwrap_or_default();
                self.costs.configured = true;
            }
            "cost.metered" => {
                self.costs.metered = price(value).unwrap_or_default();
                self.costs.configured = true;
            }
            "cost.currency" => self.currency = parse_currency(&text()).unwrap_or_default(),
            "follow.trash_keep" => {
                self.trash.keep = parse_span(&text()).unwrap_or(self.trash.keep);
            }
            "follow.trash_max" => self.trash.max = parse_size(&text()),
            "storage.engine" => {
                self.storage_engine = StorageEngine::parse(&text()).unwrap_or_default()
            }
            "log" => self.log = text(),
            _ => {}
        }
    }

    /// The value in force of one key, as text.
    pub fn get(&self, name: &str) -> Result<String, ConfigError> {
        Ok(match key(name)?.name {
            "device_name" => self.device_name.clone(),
            "port" => self.port.to_string(),
            "quic" => self.quic.to_string(),
            "tcp" => self.tcp.to_string(),
            "discovery" => self.discovery.to_string(),
            "interfaces" => self.interfaces.join(","),
            "ignore_interfaces" => self.ignore_interfaces.join(","),
            "code.expires" => humantime::format_duration(self.code_expires).to_string(),
            "page.port" => self.page_port.to_string(),
            "nearby.visible" => self.nearby_visible.name().to_owned(),
            "asks.folders" => self.asks.folders.join(","),
            "asks.notify" => self.asks.notify.to_string(),
            "asks.location" => self.asks.location.clone(),
            "giving.notify" => self.giving_notify.to_string(),
            "asks.commands" => shown(&self.asks.commands),
            "receive.folder" => match &self.receive.folder {
                Some(folder) => folder.display().to_string(),
                None => String::new(),
            },
            "receive.own" => self.receive.own.name().to_owned(),
            "receive.known" => self.receive.known.name().to_owned(),
            "receive.max" => self
                .receive
                .max
                .map(|size| format!("{size}B"))
                .unwrap_or_default(),
            "receive.notify" => self.receive.notify.to_string(),
            "receive.hook" => shell_words::join(&self.receive.hook),
            "wait" => humantime::format_duration(self.wait).to_string(),
            "upload.enabled" => self.upload.enabled.to_string(),
            "upload.min_size" => self
                .upload
                .min_size
                .map(|size| format!("{size}B"))
                .unwrap_or_default(),
            "upload.max_size" => self
                .upload
                .max_size
                .map(|size| format!("{size}B"))
                .unwrap_or_default(),
            "index.announce" => self.index_announce.to_string(),
            "upload.never_on" => shown(&self.upload.never_on),
            "upload.metered" => self.upload.metered.to_string(),
            "limits.upload" => self
                .limits
                .upload
                .map(|rate| format!("{rate}B/s"))
                .unwrap_or_default(),
            "limits.download" => self
                .limits
                .download
                .map(|rate| format!("{rate}B/s"))
                .unwrap_or_default(),
            "limits.lan" => self.limits.lan.to_string(),
            "limits.devices" => shown(&self.limits.devices),
            "limits.schedule" => shown(&self.limits.schedule),
            "network.metered" => self.world.metered.name().to_owned(),
            "battery.low" => format!("{}%", self.world.low),
            "cost.mode" => self.costs.mode.name().to_owned(),
            "cost.store" => self.costs.store.units_per_gib().to_string(),
            "cost.relayed" => self.costs.relayed.units_per_gib().to_string(),
            "cost.metered" => self.costs.metered.units_per_gib().to_string(),
            "cost.currency" => self.currency.clone(),
            "follow.trash_keep" => match self.trash.keep {
                Duration::ZERO => "0".to_owned(),
                keep => humantime::format_duration(keep).to_string(),
            },
            "follow.trash_max" => self
                .trash
                .max
                .map(|size| format!("{size}B"))
                .unwrap_or_default(),
            "storage.engine" => self.storage_engine.name().to_owned(),
            _ => self.log.clone(),
        })
    }

    /// Writes one key into the file, keeping comments and everything else; makes the file when
    /// there is none.
    pub fn write(path: &Path, name: &str, text: &str) -> Result<(), ConfigError> {
        let key = key(name)?;
        let value = key.kind.parse(text).ok_or_else(|| key.bad_value())?;
        let mut file = if path.exists() {
            read(path)?
        } else {
            TEMPLATE.parse()?
        };
        Self::resolve(&file, |_| None).map_err(|what| what.at(path.display()))?;
        let text = match beside_its_comment(&file, key.name, &value) {
            Some(text) => text,
            None => changed(&mut file, key.name, value),
        };
        save(path, &text).map_err(|source| ConfigError::Io {
            path: path.display().to_string(),
            source,
        })
    }
}

impl Config {
    /// Takes one key out of the file, keeping comments and everything else: its default is in force
    /// then. Returns whether it stood there.
    pub fn unset(path: &Path, name: &str) -> Result<bool, ConfigError> {
        let key = key(name)?;
        let in_file = |what: ConfigError| what.at(path.display());
        let mut file = read(path).map_err(in_file)?;
        Self::resolve(&file, |_| None).map_err(in_file)?;
        if !flat(&file).iter().any(|(known, _)| known == key.name) {
            return Ok(false);
        }
        let text =
            without_its_lines(&file, key.name).unwrap_or_else(|| removed(&mut file, key.name));
        save(path, &text).map_err(|source| ConfigError::Io {
            path: path.display().to_string(),
            source,
        })?;
        Ok(true)
    }
}

/// Most lines of one value.
const MAX_LINES: usize = 256;

/// The file without the lines that set one key, where taking them away takes nothing else away.
fn without_its_lines(file: &DocumentMut, name: &str) -> Option<String> {
    let text = file.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let keys = |file: &DocumentMut| -> Vec<String> {
        let all = flat(file).into_iter();
        all.map(|(known, _)| known).collect()
    };
    let mut left = keys(file);
    left.retain(|known| known != name);
    let below = name.split_once('.').map_or(name, |(_, below)| below);
    let begins = |line: &&str| {
        let rest = |key: &str| line.trim_start().strip_prefix(key).map(str::trim_start);
        [name, below]
            .iter()
            .any(|key| rest(key).is_some_and(|rest| rest.starts_with('=')))
    };
    let places = (0..lines.len()).filter(|at| begins(&lines[*at]));
    let ways = places.flat_map(|at| (1..=MAX_LINES.min(lines.len() - at)).map(move |n| (at, n)));
    ways.map(|(at, count)| [&lines[..at], &lines[at + count..]].concat().join("\n") + "\n")
        .find(|text| {
            let parsed: Option<DocumentMut> = text.parse().ok();
            parsed.is_some_and(|parsed| keys(&parsed) == left)
        })
}

/// The file without one key, however it stands there.
fn removed(file: &mut DocumentMut, name: &str) -> String {
    match name.split_once('.') {
        None => drop(file.remove(name)),
        Some((table, below)) => {
            let table = file.get_mut(table).and_then(Item::as_table_like_mut);
            drop(table.and_then(|table| table.remove(below)));
        }
    }
    file.to_string()
}

/// The file with one value changed where it stands, or added.
fn changed(file: &mut DocumentMut, name: &str, value: Value) -> String {
    match name.split_once('.') {
        None => file[name] = Item::Value(value),
        Some((table, name)) => {
            let table = file.entry(table).or_insert_with(|| Item::Table(dotted()));
            table[name] = Item::Value(value);
        }
    }
    file.to_string()
}

/// The file with a new value behind the line that names its default in a comment, else at the end
/// of what stands before any table; `None` where the key is set already or would not be read there.
fn beside_its_comment(file: &DocumentMut, name: &str, value: &Value) -> Option<String> {
    if flat(file).iter().any(|(known, _)| known == name) {
        return None;
    }
    let text = file.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let tables = lines
        .iter()
        .position(|line| line.trim_start().starts_with('['))
        .unwrap_or(lines.len());
    let is_its_comment = |line: &&str| {
        let comment = line.trim_start().strip_prefix('#').map(str::trim_start);
        comment
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let at = lines[..tables]
        .iter()
        .position(is_its_comment)
        .map_or(tables, |line| line + 1);
    let line = format!("{name} = {}", value.to_string().trim());
    let mut written: Vec<&str> = lines[..at].to_vec();
    written.push(&line);
    written.extend(&lines[at..]);
    let written = written.join("\n") + "\n";
    let parsed: DocumentMut = written.parse().ok()?;
    let before = flat(file).len();
    let after = flat(&parsed);
    (after.len() == before + 1 && after.iter().any(|(known, _)| known == name)).then_some(written)
}

/// Written beside and renamed, so that a crash leaves the old file or the new one.
fn save(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("toml.new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

/// What texts say that were checked before.
fn parsed<T: FromStr>(texts: &[String]) -> Vec<T> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// A list as it can be set again.
fn shown<T: ToString>(list: &[T]) -> String {
    list.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// A table whose keys are written as `table.key = value`.
fn dotted() -> toml_edit::Table {
    let mut table = toml_edit::Table::new();
    table.set_dotted(true);
    table
}

/// Every value of the file with its full name; what is in a table is `table.key`.
fn flat(file: &DocumentMut) -> Vec<(String, &Item)> {
    let mut all = Vec::new();
    for (name, item) in file.iter() {
        match item.as_table_like() {
            Some(table) => all.extend(
                table
                    .iter()
                    .map(|(key, item)| (format!("{name}.{key}"), item)),
            ),
            None => all.push((name.to_owned(), item)),
        }
    }
    all
}

fn read(path: &Path) -> Result<DocumentMut, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.parse()?),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(DocumentMut::new()),
        Err(source) => Err(ConfigError::Io {
            path: path.display().to_string(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(file: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::resolve(&file.parse().unwrap(), |name| {
            env.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn environment_wins_over_file_over_default() {
        let config = resolve(
            "port = 1\nwait = \"2m\"",
            &[("HITHER_PORT", "2"), ("HITHER_INTERFACES", "a, b")],
        )
        .unwrap();
        assert_eq!(
            (config.port, config.wait, config.tcp),
            (2, Duration::from_secs(120), true)
        );
        assert_eq!(config.interfaces, ["a", "b"]);
        assert_eq!(config.get("wait").unwrap(), "2m");
    }

    #[test]
    fn w9_a_value_says_where_it_is_from_and_one_that_is_taken_away_leaves_the_rest() {
        let config = resolve("port = 1\nwait = \"2m\"", &[("HITHER_PORT", "2")]).unwrap();
        let from = ["port", "wait", "tcp"].map(|key| config.source(key));
        use ConfigSource::{Default, Environment, File};
        assert_eq!(from, [Environment, File, Default]);

        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config.toml");
        assert!(!Config::unset(&path, "port").unwrap(), "there is no file");
        let text = "# of the port\nport = 1 # one\n## of interfaces\ninterfaces = [\n  \"a\", # b\n]\n\
            upload.enabled = false\n[limits]\n# of lan\nlan = true\nupload = \"5MB\"\n";
        std::fs::write(&path, text).unwrap();
        let now = || std::fs::read_to_string(&path).unwrap();
        assert!(Config::unset(&path, "interfaces").unwrap());
        assert!(Config::unset(&path, "limits.lan").unwrap());
        assert!(Config::unset(&path, "upload.enabled").unwrap());
        assert!(!Config::unset(&path, "limits.lan").unwrap());
        assert_eq!(
            now(),
            "# of the port\nport = 1 # one\n## of interfaces\n[limits]\n# of lan\nupload = \"5MB\"\n"
        );
        std::fs::write(&path, "limits = { lan = true, upload = \"5MB\" }\n").unwrap();
        assert!(Config::unset(&path, "limits.lan").unwrap());
        assert!(!now().contains("lan") && now().contains("5MB"));
        assert!(Config::unset(&path, "prot").is_err());
    }

    #[test]
    fn mistakes_are_named() {
        let error = |file: &str| resolve(file, &[]).unwrap_err().to_string();
        let config = resolve("prot = 1\nport = 5\n[new]\nthing = { a = 1 }", &[]).unwrap();
        assert_eq!(config.port, 5);
        assert_eq!(
            config.unknown,
            [
                "there is no configuration key \"prot\"; did you mean \"port\"",
                "there is no configuration key \"new.thing\""
            ]
        );
        assert_eq!(
            error("port = 65536"),
            "\"port\" must be a number from 0 to 65535"
        );
        assert_eq!(error("quic = \"yes\""), "\"quic\" must be true or false");
        let variable = resolve("", &[("HITHER_QUIC", "maybe")])
            .unwrap_err()
            .to_string();
        assert_eq!(variable, "HITHER_QUIC: \"quic\" must be true or false");
    }

    #[test]
    fn the_template_is_valid_and_its_defaults_are_the_defaults() {
        assert_eq!(resolve(TEMPLATE, &[]).unwrap(), Config::default());
        // With one '#' taken away from every line.
        let lines = TEMPLATE
            .lines()
            .map(|line| line.strip_prefix('#').unwrap_or(line));
        let uncommented: String = lines
            .map(|line| format!("{}\n", line.trim_start()))
            .collect();
        let set = uncommented
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        assert_eq!(set.count(), KEYS.len());
        // A price that stands in the file is one that was set, whatever it is.
        let mut written = Config::default();
        written.costs.configured = true;
        written.sources = KEYS.map(|key| (key.name, ConfigSource::File)).into();
        assert_eq!(resolve(&uncommented, &[]).unwrap(), written);
    }

    #[test]
    fn tables_and_dotted_keys_are_the_same() {
        for file in [
            "upload.max_size = \"2GiB\"",
            "[upload]\nmax_size = \"2GiB\"",
        ] {
            let config = resolve(file, &[("HITHER_UPLOAD_NEVER_ON", "wwan0, 10.0.0.0/8")]).unwrap();
            assert_eq!(config.upload.max_size, Some(2 << 30));
            assert_eq!(config.get("upload.never_on").unwrap(), "wwan0,10.0.0.0/8");
            assert_eq!(config.get("upload.max_size").unwrap(), "2147483648B");
        }
        let error = |file: &str| resolve(file, &[]).unwrap_err().to_string();
        assert!(resolve("[upload]\nmax = 1", &[]).unwrap().unknown[0].contains("\"upload.max\""));
        assert!(error("upload.max_size = \"big\"").contains("must be a size"));
        assert!(error("limits.upload = \"9kB\"").contains("at least 10 kB"));
        let config = resolve("limits.upload = \"40Mbit\"", &[]).unwrap();
        assert_eq!(config.get("limits.upload").unwrap(), "5000000B/s");
        assert!(error("upload.never_on = [\"10.0.0.0/33\"]").contains("must be a list"));
        assert!(error("limits.schedule = [\"8-18 upload=1MB\"]").contains("must be a list like"));
        assert!(error("limits.devices = [\"phone\"]").contains("must be a list like"));
        assert!(error("battery.low = \"101%\"").contains("must be a part"));
        assert!(error("storage.engine = \"sqlite\"").contains("must be redb or sled"));
        let config = resolve("[storage]\nengine = \"sled\"", &[]).unwrap();
        assert_eq!(config.storage_engine, StorageEngine::Sled);
        assert_eq!(config.get("storage.engine").unwrap(), "sled");
        let lists = "limits.devices = [\"phone=2MB\"]\nlimits.schedule = [\"sat sun upload=any\"]";
        let config = resolve(lists, &[("HITHER_NETWORK_METERED", "yes")]).unwrap();
        assert_eq!(
            config.get("limits.devices").unwrap(),
            "phone upload=2000000B/s"
        );
        assert_eq!(
            config.get("limits.schedule").unwrap(),
            "sat sun 00:00-24:00 upload=any"
        );
        assert_eq!((config.world.metered, config.world.low), (Metered::Yes, 20));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        for (name, text) in [
            ("upload.enabled", "false"),
            ("upload.min_size", "1kB"),
            ("port", "9"),
        ] {
            Config::write(&path, name, text).unwrap();
        }
        let config = Config::resolve(&read(&path).unwrap(), |_| None).unwrap();
        assert_eq!(
            (config.upload.enabled, config.upload.min_size, config.port),
            (false, Some(1000), 9)
        );
    }

    #[test]
    fn set_keeps_comments_and_refuses_nonsense() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/config.toml");
        Config::write(&path, "port", "1234").unwrap();
        Config::write(&path, "log", "debug").unwrap();
        assert!(Config::write(&path, "port", "x").is_err());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("# Carriers.") && text.contains("port = 1234"),
            "{text}"
        );
        assert_eq!(Config::load(&path).unwrap().port, 1234);
        assert!(
            text.starts_with("## Hither's configuration"),
            "the head stays the head: {text}"
        );
        assert!(
            text.contains("# port = 47447\nport = 1234\n")
                && text.contains("# log = \"info\"\nlog = \"debug\"\n")
        );
        std::fs::write(
            &path,
            "# Mine.\n\nquic = true\n\n[upload]\nenabled = true\n",
        )
        .unwrap();
        for (name, value) in [
            ("wait", "1m"),
            ("upload.metered", "true"),
            ("upload.enabled", "false"),
            ("cost.store", "1"),
        ] {
            Config::write(&path, name, value).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let config = Config::load(&path).unwrap();
        assert!(
            text.starts_with("# Mine.\n")
                && config.quic
                && config.upload.metered
                && !config.upload.enabled,
            "{text}"
        );
        assert_eq!(
            (config.wait, config.unknown.len()),
            (Duration::from_secs(60), 0)
        );
    }

    #[test]
    fn the_file_is_named_where_something_is_wrong_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        for wrong in ["port = = 3", "port = true"] {
            std::fs::write(&path, wrong).unwrap();
            let error = Config::load(&path).unwrap_err().to_string();
            assert!(error.starts_with(path.to_str().unwrap()), "{error}");
        }
        std::fs::write(&path, "future = 1").unwrap();
        let unknown = Config::load(&path).unwrap().unknown;
        assert!(
            unknown[0].starts_with(path.to_str().unwrap())
                && unknown[0].ends_with("It is ignored.")
        );
    }
}
