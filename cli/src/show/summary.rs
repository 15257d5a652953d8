//! How a fetch ended, in one sentence about what and one about whom.

use super::{bytes, cost, device, duration, kind_words};
use hither_api::{SourceBytes, SourceKind};
use hither_proto::display_name;

/// Sources that are named one by one.
const NAMED: usize = 3;

/// What was fetched, how fast, and from whom.
///
/// `currency`: of what sources cost, when one is configured.
pub fn fetched(
    path: &str,
    size: u64,
    seconds: f64,
    (sources, currency): (&[SourceBytes], Option<&str>),
) -> String {
    let came: u64 = sources
        .iter()
        .filter(|s| s.kind != SourceKind::Local)
        .map(|s| s.bytes)
        .sum();
    // A few bytes have no rate worth telling.
    let rate = if came >= 1_000_000 && seconds > 0.0 {
        format!(" ({}/s)", bytes((came as f64 / seconds) as u64))
    } else {
        String::new()
    };
    let first = format!(
        "{} in {}: {}{rate}.",
        bytes(size),
        span(seconds),
        display_name(path)
    );
    match origins(sources, currency) {
        origins if origins.is_empty() => first,
        origins => format!("{first}\n{origins}."),
    }
}

/// All of what was to be fetched is there.
pub fn already(path: &str, size: u64) -> String {
    let path = display_name(path);
    format!(
        "{path} is there already, with the same content ({}).",
        bytes(size)
    )
}

/// Short fetches are told in tenths of a second.
fn span(seconds: f64) -> String {
    if seconds < 9.95 {
        format!("{:.1} s", seconds.max(0.1))
    } else {
        duration(seconds.round() as u64)
    }
}

fn origins(sources: &[SourceBytes], currency: Option<&str>) -> String {
    let mut given: Vec<&SourceBytes> = sources
        .iter()
        .filter(|s| s.kind != SourceKind::Local && s.bytes > 0)
        .collect();
    given.sort_by_key(|source| std::cmp::Reverse(source.bytes));
    let local: u64 = sources
        .iter()
        .filter(|s| s.kind == SourceKind::Local)
        .map(|s| s.bytes)
        .sum();
    if given.is_empty() {
        return if local > 0 {
            "All of it was already here".into()
        } else {
            String::new()
        };
    }
    // One source too many to be named is named all the same.
    let named = if given.len() == NAMED + 1 {
        NAMED + 1
    } else {
        NAMED
    };
    let mut parts: Vec<String> = given
        .iter()
        .take(named)
        .map(|source| origin(source, currency))
        .collect();
    if given.len() > named {
        let rest: u64 = given[named..].iter().map(|source| source.bytes).sum();
        let paid: f64 = given[named..].iter().map(|source| source.cost).sum();
        parts.push(format!(
            "{} from {} others{}",
            bytes(rest),
            given.len() - named,
            costs(paid, currency)
        ));
    }
    if local > 0 {
        parts.push(format!("{} were already here", bytes(local)));
    }
    // Where something costs, commas stand within the parts.
    parts.join(if given.iter().any(|source| source.cost > 0.0) {
        "; "
    } else {
        ", "
    })
}

fn origin(source: &SourceBytes, currency: Option<&str>) -> String {
    if source.kind == SourceKind::Store && source.name.is_empty() {
        return format!(
            "{} from a store{}",
            bytes(source.bytes),
            costs(source.cost, currency)
        );
    }
    let who = device(&source.name, &source.device);
    format!(
        "{} from {who} ({}){}",
        bytes(source.bytes),
        kind_words(source.kind),
        costs(source.cost, currency)
    )
}

/// What comes behind a source that was paid for.
fn costs(units: f64, currency: Option<&str>) -> String {
    if units > 0.0 {
        format!(", costs {}", cost(units, currency))
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, kind: SourceKind, bytes: u64) -> SourceBytes {
        SourceBytes {
            device: "12D3KooW12345678".into(),
            name: name.into(),
            kind,
            bytes,
            cost: 0.0,
        }
    }

    #[test]
    fn the_summary_says_what_and_from_whom() {
        let sources = [
            source("", SourceKind::Local, 24_000_000),
            source("laptop", SourceKind::Lan, 840_000_000),
        ];
        assert_eq!(
            fetched("/home/u/film", 864_000_000, 12.0, (&sources, None)),
            "864 MB in 12 s: /home/u/film (70 MB/s).\n840 MB from laptop (same network), 24 MB were already here."
        );
    }

    #[test]
    fn what_was_here_already_has_no_rate() {
        let all = [source("", SourceKind::Local, 24_000_000)];
        assert_eq!(
            fetched("/x", 24_000_000, 0.1, (&all, None)),
            "24 MB in 0.1 s: /x.\nAll of it was already here."
        );
        assert_eq!(fetched("/x", 0, 0.0, (&[], None)), "0 B in 0.1 s: /x.");
    }

    #[test]
    fn many_sources_are_summed_up() {
        let sources: Vec<SourceBytes> = (1..=6)
            .map(|i| source(&format!("d{i}"), SourceKind::Lan, i * 1_000_000))
            .collect();
        assert_eq!(
            origins(&sources, None),
            "6 MB from d6 (same network), 5 MB from d5 (same network), 4 MB from d4 (same network), 6 MB from 3 others"
        );
    }

    #[test]
    fn what_cost_something_says_so() {
        let store = SourceBytes {
            cost: 0.0704,
            ..source("", SourceKind::Store, 840_000_000)
        };
        assert_eq!(
            origins(std::slice::from_ref(&store), None),
            "840 MB from a store, costs 0.07 units"
        );
        assert_eq!(
            origins(
                &[store, source("laptop", SourceKind::Lan, 24_000_000)],
                Some("EUR")
            ),
            "840 MB from a store, costs 0.07 EUR; 24 MB from laptop (same network)"
        );
    }
}
