//! From file, environment and flags to a [`Config`].

use super::{Config, Rate, Role};
use hither_proto::limits::{INDEX_HEARTBEAT_MS, MAX_MESSAGE, RELAY_PING_MS};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml_edit::{DocumentMut, Item, Table, Value};

/// Where the configuration is looked for unless it is named.
pub const DEFAULT_FILE: &str = "/etc/hither-relay/config.toml";
/// What the names of environment variables begin with.
pub const ENV_PREFIX: &str = "HITHER_RELAY_";
/// Variables with that beginning that set no key of the file.
const ENV_OTHERS: [&str; 2] = ["CONFIG", "FLEET_TOKEN"];
/// Bounds of the patience with a device's pings.
const MIN_PATIENCE: Duration = Duration::from_millis(100);
const MAX_PATIENCE: Duration = Duration::from_secs(600);
/// Bounds of the waits for whoever is asked for a circuit, and for anything to be said on one.
const CIRCUIT_ACCEPT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);
const CIRCUIT_IDLE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// Longest configuration file, bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: toml_edit::TomlError,
    },
    /// A key or value that cannot be.
    #[error("the configuration is wrong: {0}")]
    Value(String),
}

/// What goes before the file: `section.key = value` as text, the later the stronger.
#[derive(Debug, Clone, Default)]
pub struct Overrides(pub Vec<(String, String)>);

impl Overrides {
    /// What the environment says.
    pub fn from_env() -> Self {
        let named = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let name = name.to_str()?.strip_prefix(ENV_PREFIX)?.to_owned();
            let known = !ENV_OTHERS.contains(&name.as_str());
            known
                .then(|| {
                    Some((
                        name.to_ascii_lowercase().replace("__", "."),
                        value.into_string().ok()?,
                    ))
                })
                .flatten()
        };
        let mut all: Vec<_> = std::env::vars_os().filter_map(named).collect();
        all.sort();
        Self(all)
    }
}

/// Reads the configuration: from `file`, else from the usual place if something is there; then
/// `overrides`.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Config, ConfigError> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let mut document = match read(path) {
        Err(ConfigError::Read { source, .. })
            if file.is_none() && source.kind() == io::ErrorKind::NotFound =>
        {
            DocumentMut::new()
        }
        result => result?,
    };
    let unknown = take_unknown(document.as_table_mut());
    for (key, value) in &overrides.0 {
        set(document.as_table_mut(), key, value)?;
    }
    let mut config = Config::deserialize(toml_edit::de::Deserializer::from(document))
        .map_err(|error| ConfigError::Value(error.to_string()))?;
    check(&config)?;
    let tell = |key: String| {
        format!(
            "{}: there is no configuration key \"{key}\" in this version; it counts for nothing",
            path.display()
        )
    };
    config.unknown = unknown.into_iter().map(tell).collect();
    Ok(config)
}

/// Every key as the template names it, with its section. One that is unset by default stands there
/// in words.
fn known() -> BTreeSet<(String, String)> {
    let (mut section, mut known) = (String::new(), BTreeSet::new());
    for line in TEMPLATE.lines() {
        if let Some(begun) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            begun.clone_into(&mut section);
        }
        let line = line
            .strip_prefix("## Unset: ")
            .or_else(|| line.strip_prefix("# "));
        if let Some((key, _)) = line.and_then(|line| line.split_once(" = ")) {
            known.insert((section.clone(), key.to_owned()));
        }
    }
    known
}

/// Takes out of a file what this version does not know, and says what that was.
fn take_unknown(document: &mut Table) -> Vec<String> {
    let known = known();
    let (mut unknown, mut sections) = (Vec::new(), Vec::new());
    for (key, item) in document.iter_mut() {
        let key = key.get().to_owned();
        if !known.iter().any(|(section, _)| *section == key) {
            if !known.contains(&(String::new(), key.clone())) {
                sections.push(key);
            }
            continue;
        }
        let Some(table) = item.as_table_like_mut() else {
            continue;
        };
        let inside: Vec<String> = table.iter().map(|(name, _)| name.to_owned()).collect();
        for name in inside
            .into_iter()
            .filter(|name| !known.contains(&(key.clone(), name.clone())))
        {
            table.remove(&name);
            unknown.push(format!("{key}.{name}"));
        }
    }
    for key in sections {
        document.remove(&key);
        unknown.push(key);
    }
    unknown
}

fn read(path: &Path) -> Result<DocumentMut, ConfigError> {
    let fail = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(fail)?.len();
    if length > MAX_FILE {
        return Err(fail(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    text.parse().map_err(|source| ConfigError::Syntax {
        path: path.to_owned(),
        source,
    })
}

/// Sets `section.key`. A value that is not TOML is taken for a text without its quotes.
fn set(table: &mut Table, key: &str, value: &str) -> Result<(), ConfigError> {
    let value = value
        .parse::<Value>()
        .unwrap_or_else(|_| Value::from(value));
    let (sections, key) = key
        .rsplit_once('.')
        .map_or(("", key), |(sections, key)| (sections, key));
    let mut table = table;
    for section in sections.split('.').filter(|section| !section.is_empty()) {
        table = table
            .entry(section)
            .or_insert_with(|| Item::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| ConfigError::Value(format!("{section} is no section")))?;
    }
    table.insert(key, Item::Value(value));
    Ok(())
}

/// What each value must be by itself and in company.
fn check(config: &Config) -> Result<(), ConfigError> {
    let wrong = |what: &str| Err(ConfigError::Value(what.into()));
    let front = &config.front;
    if !u32::try_from(front.ping.as_millis()).is_ok_and(|ping| RELAY_PING_MS.contains(&ping)) {
        return wrong("front.ping must be between 100ms and 10m");
    }
    if !(MIN_PATIENCE..=MAX_PATIENCE).contains(&front.patience.0) {
        return wrong("front.patience must be between 100ms and 10m");
    }
    let heartbeat = u32::try_from(config.index.heartbeat.as_millis());
    if !heartbeat.is_ok_and(|heartbeat| INDEX_HEARTBEAT_MS.contains(&heartbeat)) {
        return wrong("index.heartbeat must be between 1s and 10m");
    }
    let circuit = &config.circuit;
    if !CIRCUIT_ACCEPT.contains(&circuit.accept.0) || !CIRCUIT_IDLE.contains(&circuit.idle.0) {
        return wrong(
            "circuit.accept must be between 100ms and 1m, circuit.idle between 1s and 1day",
        );
    }
    let ports = [&[config.port][..], &config.extra_tcp_ports].concat();
    if let Some(what) = config.web.wrong(&ports) {
        return wrong(what);
    }
    if let Some(what) = config.wake.wrong() {
        return wrong(what);
    }
    if config.roles.is_empty() {
        return wrong("a node without roles does nothing");
    }
    let control = config.plays(Role::Control);
    if control != config.fleet.control.is_empty() {
        return wrong(
            "fleet.control must name the control node on every node that has not the role control, and on no other",
        );
    }
    if config.mail.max_message.0 == 0 || config.mail.max_message.0 > MAX_MESSAGE as u64 {
        return wrong("mail.max_message must be between 1 and 256 KiB");
    }
    if config.mail.window == 0 || config.mail.window > 1024 {
        return wrong("mail.window must be between 1 and 1024");
    }
    let limits = &config.limits;
    let rates = [
        limits.address,
        limits.total,
        limits.assign,
        limits.hello,
        limits.wrong_invitation,
        limits.upload,
        limits.read,
        limits.lookup,
        limits.node,
        limits.send,
        limits.send_bytes,
        limits.send_total,
        limits.place,
        limits.cards,
        limits.code,
        limits.code_user,
        limits.visit,
        limits.visit_send,
        limits.wake_user,
        limits.wake_total,
        limits.ping,
        limits.index,
        limits.index_device,
        limits.index_address,
        limits.index_total,
        limits.circuit,
    ];
    if rates.iter().any(|rate| !rate.is_sound()) {
        return wrong("a rate needs per_second above 0 and burst of at least 1");
    }
    Ok(())
}

impl Rate {
    fn is_sound(&self) -> bool {
        self.per_second.is_finite()
            && self.per_second > 0.0
            && self.burst.is_finite()
            && self.burst >= 1.0
    }
}

/// What a new configuration file looks like: every key with its default, commented out.
pub const TEMPLATE: &str = include_str!("template.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;

    fn with(file: &str, overrides: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, file).unwrap();
        let overrides = overrides
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        load(Some(&path), &Overrides(overrides))
    }

    #[test]
    fn an_empty_file_and_the_template_mean_the_defaults() {
        let default = format!("{:?}", Config::default());
        assert_eq!(format!("{:?}", with("", &[]).unwrap()), default);
        assert_eq!(format!("{:?}", with(TEMPLATE, &[]).unwrap()), default);
        // The text behind one '#' in the template is the default; with one taken away from every
        // line it is loaded.
        let lines = TEMPLATE
            .lines()
            .map(|line| line.strip_prefix('#').unwrap_or(line).trim_start());
        let uncommented = lines.collect::<Vec<_>>().join("\n");
        assert_eq!(
            format!("{:?}", with(&uncommented, &[]).unwrap()),
            default,
            "{uncommented}"
        );
    }

    #[test]
    fn a_key_of_a_newer_version_is_told_with_its_file_and_counts_for_nothing() {
        let config = with(
            "new = 1\nport = 7\n[front]\nnewer = 2\nping = \"1s\"\n[later]\nx = 1\n",
            &[],
        )
        .unwrap();
        assert_eq!((config.port, config.front.ping), (7, Span::secs(1)));
        let told = config.unknown.join("; ");
        for key in ["\"new\"", "\"front.newer\"", "\"later\""] {
            assert!(told.contains(key) && told.contains("config.toml"), "{told}");
        }
        with("", &[("front.newer", "2")]).unwrap_err();
        // Every key that can be read is known to be one.
        let sections: BTreeSet<String> = known().into_iter().map(|(section, _)| section).collect();
        for section in sections {
            let key = if section.is_empty() {
                "zzz".into()
            } else {
                format!("{section}.zzz")
            };
            let error = with("", &[(&key, "1")]).unwrap_err().to_string();
            let (_, expected) = error.split_once("expected ").unwrap();
            let names = expected.split('`').skip(1).step_by(2).map(str::to_owned);
            for name in names {
                let is_section = known().iter().any(|(section, _)| *section == name);
                assert!(
                    is_section || known().contains(&(section.clone(), name.clone())),
                    "{section}.{name}"
                );
            }
        }
    }

    #[test]
    fn later_overrides_go_before_earlier_ones_and_the_file() {
        let config = with(
            "port = 1\n[front]\nping = \"1s\"\n",
            &[
                ("port", "2"),
                ("port", "3"),
                ("front.patience", "5s"),
                ("address", "10.0.0.1:9"),
                ("roles", "[\"control\"]"),
            ],
        )
        .unwrap();
        assert_eq!(
            (config.port, config.front.patience, config.front.ping),
            (3, Span::secs(5), Span(Duration::from_secs(1)))
        );
        assert_eq!(config.address.as_deref(), Some("10.0.0.1:9"));
        assert_eq!(config.roles, [Role::Control]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for file in [
            "port = 70000",
            "[front]\nping = \"1ms\"",
            "[front]\nping = 25",
            "[front]\npatience = \"50ms\"",
            "roles = []",
            "roles = [\"front\"]",
            "[fleet]\ncontrol = \"hither://a:1/#x\"",
            "[limits]\nsend = { per_second = 0.0, burst = 1.0 }",
            "[index]\nheartbeat = \"500ms\"",
            "[mail]\nmax_message = \"1 MiB\"",
            "[web]\nlisten = [\"0.0.0.0:443\"]",
            "[web]\nlisten = [\"443\"]",
            "[web]\nurl = \"http://relay.example.org\"",
            "[web]\naskers = [\"http://shop.example\"]",
            "[web]\naskers = [\"https://shop.example/path\"]",
            "[web]\naskers = [\"https://*.example\"]",
            "[web]\nasks_per_origin = 0",
            "[web]\ntrusted_proxies = [\"proxy\"]",
            "[circuit]\nidle = \"0s\"",
            "[circuit]\naccept = \"2m\"",
            "= 1",
        ] {
            with(file, &[]).unwrap_err();
        }
        assert!(matches!(
            load(Some(Path::new("/nowhere/at/all")), &Overrides::default()),
            Err(ConfigError::Read { .. })
        ));
    }
}
