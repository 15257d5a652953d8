//! Sentences about sources, as `hither why` prints them.

use hither_api::{PaidBecause, SourceKind, UsualRunnerUp, WhySource};
use hither_engine::JournalEvent;
use hither_engine::policy::Rule;

/// Returns the words for the parts that a rule gave to a source; `costs`: prices are told.
pub(super) const fn rule(rule: Rule, costs: bool) -> &'static str {
    match rule {
        Rule::Paid if !costs => "it is spared, and the others were too slow to be waited for",
        Rule::OnlyHolder => "nobody else had them",
        Rule::EarliestFinish => "it was expected to be done first",
        Rule::Moved => "taken away from a source that stalled, failed or gave damaged data",
        Rule::Endgame => {
            "asked beside a slower source, so that the end did not have to wait for it"
        }
        Rule::Paid => "it costs, and what costs less was too slow to be waited for",
        Rule::LocalCopy => "it had them already, so that they did not come from farther away again",
        Rule::FirstCopy => "nobody on this network had them, and they were this device's to get",
        Rule::Steal => "nobody on this network had them, and nobody else was getting them",
        Rule::Takeover => "another device on this network meant to get them, and did not",
        Rule::Liveness => "nothing had moved for a while, so whoever had them was asked",
    }
}

/// Describes an event that happened to a source.
pub(super) fn event(who: &str, event: JournalEvent) -> String {
    match event {
        JournalEvent::Stalled => format!("Moved away from {who}: it stalled."),
        JournalEvent::Lost => format!("Moved away from {who}: the connection broke."),
        JournalEvent::Lied => {
            format!(
                "Moved away from {who}: it gave damaged data, and is not asked again for this share."
            )
        }
        JournalEvent::NotHeld => format!("{who} did not have what it had announced."),
    }
}

/// How near a source is.
const fn nearness(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Lan | SourceKind::Local => "same network",
        SourceKind::Direct => "directly, from another network",
        SourceKind::Relayed => "through a relay",
        SourceKind::Store => "a store of a relay",
    }
}

/// A few sentences about a source. `name`: what it and its usual runner-up are called.
/// `currency`: what stands behind amounts.
pub(super) fn source(
    told: &WhySource,
    name: impl Fn(&str) -> String,
    currency: Option<&str>,
) -> String {
    if told.source.kind == SourceKind::Local {
        return "On this device already, in another share or an earlier version: copied, not fetched.".into();
    }
    let mut text = format!(
        "From {}: {}",
        name(&told.source.device),
        nearness(told.source.kind)
    );
    if let Some(rtt) = told.rtt_ms {
        text.push_str(&format!(", {} away", milliseconds(rtt)));
    }
    text.push('.');
    if told.source.bytes == 0 {
        text.push_str(" It was asked, and gave nothing that could be used.");
    }
    if let Some(actual) = told.actual_ms.filter(|_| told.source.bytes > 0) {
        text.push_str(&format!(" A part took {}", seconds(actual)));
        if let Some(other) = &told.runner_up {
            text.push_str(&instead(
                other,
                &name(&other.device),
                told.source.cost > 0.0,
                currency,
            ));
        }
        text.push('.');
    }
    if let Some(PaidBecause {
        cheaper_rate,
        threshold,
    }) = told.paid
    {
        let (gave, below) = (mbit(cheaper_rate), mbit(threshold));
        text.push_str(&format!(
            " What costs less gave {gave} Mbit/s, below your {below}: waiting for it would have cost more."
        ));
    }
    if told.source.cost > 0.0 {
        text.push_str(&format!(" It cost {}.", amount(told.source.cost, currency)));
    }
    text
}

/// Describes the effect that the second choice would have had.
fn instead(other: &UsualRunnerUp, name: &str, paid: bool, currency: Option<&str>) -> String {
    let cost = match (other.cost > 0.0, paid) {
        (true, _) => format!(" and cost {}", amount(other.cost, currency)),
        (false, true) => " and cost nothing".into(),
        (false, false) => String::new(),
    };
    format!(
        "; from {name} it would have taken {}{cost}",
        seconds(other.expected_ms)
    )
}

/// Two digits that say something, and at most three decimals: nobody feels a millisecond.
fn seconds(ms: f64) -> String {
    let seconds = (ms / 1000.0).max(0.001);
    let decimals = match seconds {
        9.95.. => 0,
        0.995.. => 1,
        0.00995.. => 2,
        _ => 3,
    };
    format!("{seconds:.decimals$} s")
}

fn milliseconds(ms: f64) -> String {
    if ms < 9.95 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

/// Megabits per second, rounded as people would.
fn mbit(rate: f64) -> String {
    let mbit = rate * 8.0 / 1e6;
    if mbit < 9.95 {
        format!("{mbit:.1}")
    } else {
        format!("{mbit:.0}")
    }
}

/// An amount of money with two digits that say something, and its currency.
fn amount(units: f64, currency: Option<&str>) -> String {
    let digits = if units >= 0.1 {
        2
    } else {
        (1.0 - units.max(1e-9).log10().floor()) as usize
    };
    let text = format!("{units:.digits$}");
    // 0.070 says no more than 0.07.
    let text = match text.strip_suffix('0') {
        Some(shorter) if digits > 2 => shorter,
        _ => &text,
    };
    format!("{text} {}", currency.unwrap_or("units"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_api::SourceBytes;

    fn told(kind: SourceKind, cost: f64) -> WhySource {
        let source = SourceBytes {
            device: "a".into(),
            name: "laptop-2".into(),
            kind,
            bytes: 1 << 30,
            cost,
        };
        WhySource {
            actual_ms: Some(21.0),
            ..super::super::fresh(&source)
        }
    }

    fn other(cost: f64) -> UsualRunnerUp {
        UsualRunnerUp {
            device: "b".into(),
            name: String::new(),
            kind: SourceKind::Store,
            spans: 9,
            expected_ms: 312.0,
            price: cost,
            cost,
        }
    }

    fn name(id: &str) -> String {
        if id == "a" {
            "laptop-2".into()
        } else {
            "the store".into()
        }
    }

    #[test]
    fn a_free_source_is_told_beside_what_would_have_cost() {
        let free = WhySource {
            rtt_ms: Some(0.42),
            runner_up: Some(other(0.09)),
            ..told(SourceKind::Lan, 0.0)
        };
        assert_eq!(
            source(&free, name, None),
            "From laptop-2: same network, 0.4 ms away. A part took 0.02 s; from the store it would have taken 0.31 s and cost \
             0.09 units."
        );
    }

    #[test]
    fn a_paid_source_is_told_beside_what_was_too_slow() {
        let paid = PaidBecause {
            cheaper_rate: 7_500_000.0,
            threshold: 11_875_000.0,
        };
        let store = WhySource {
            paid: Some(paid),
            runner_up: Some(other(0.0)),
            actual_ms: Some(1234.0),
            ..told(SourceKind::Store, 0.07)
        };
        assert_eq!(
            source(
                &store,
                |id| name(if id == "a" { "b" } else { "a" }),
                Some("EUR")
            ),
            "From the store: a store of a relay. A part took 1.2 s; from laptop-2 it would have taken 0.31 s and cost nothing. \
             What costs less gave 60 Mbit/s, below your 95: waiting for it would have cost more. It cost 0.07 EUR."
        );
    }

    #[test]
    fn who_gave_nothing_has_no_time() {
        let mut useless = told(SourceKind::Direct, 0.0);
        useless.source.bytes = 0;
        assert_eq!(
            source(&useless, name, None),
            "From laptop-2: directly, from another network. It was asked, and gave nothing that could be used."
        );
        let words = event("phone-1", JournalEvent::Stalled);
        assert_eq!(words, "Moved away from phone-1: it stalled.");
    }

    #[test]
    fn numbers_have_two_digits_that_say_something() {
        for (units, text) in [
            (1.5, "1.50"),
            (0.25, "0.25"),
            (0.0123, "0.012"),
            (0.000_034_5, "0.000034"),
        ] {
            assert_eq!(amount(units, Some("€")), format!("{text} €"));
        }
        for (ms, text) in [
            (0.1, "0.001 s"),
            (4.0, "0.004 s"),
            (21.0, "0.02 s"),
            (1234.0, "1.2 s"),
            (12_345.0, "12 s"),
        ] {
            assert_eq!(seconds(ms), text);
        }
        assert_eq!(
            (mbit(7_500_000.0), mbit(500_000.0)),
            ("60".into(), "4.0".into())
        );
    }
}
