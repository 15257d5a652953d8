//! The typical values of a source: medians over its spans, and the most frequent runner-up.

use hither_engine::SpanStory;
use hither_proto::{DeviceId, Price};
use std::collections::BTreeMap;

/// The typical values of one source, times in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Typical {
    pub expected: f64,
    pub actual: f64,
    pub runner_up: Option<Second>,
}

/// The source that mostly came second.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Second {
    pub device: DeviceId,
    pub spans: u64,
    pub expected: f64,
    pub price: Price,
}

/// Times as they come, and the price that was named last.
#[derive(Default)]
struct Seen {
    expected: Vec<f64>,
    actual: Vec<f64>,
    seconds: BTreeMap<DeviceId, (Vec<f64>, Price)>,
}

/// Returns the typical values of every source, from the stories of its spans.
pub(super) fn typical<'a>(
    stories: impl Iterator<Item = &'a SpanStory>,
) -> BTreeMap<DeviceId, Typical> {
    let mut all: BTreeMap<DeviceId, Seen> = BTreeMap::new();
    for story in stories {
        let seen = all.entry(story.device).or_default();
        seen.expected.push(ms(story.expected));
        seen.actual.push(ms(story.actual));
        if let Some(other) = story.runners_up.first() {
            let (times, price) = seen.seconds.entry(other.device).or_default();
            times.push(ms(other.expected));
            *price = other.price;
        }
    }
    all.into_iter()
        .map(|(device, seen)| (device, seen.typical()))
        .collect()
}

impl Seen {
    fn typical(self) -> Typical {
        let most = self
            .seconds
            .into_iter()
            .max_by_key(|(_, (times, _))| times.len());
        let runner_up = most.map(|(device, (times, price))| Second {
            device,
            spans: times.len() as u64,
            expected: median(times),
            price,
        });
        Typical {
            expected: median(self.expected),
            actual: median(self.actual),
            runner_up,
        }
    }
}

pub(super) fn ms(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The middle one; of an even number the upper of the two. 0 of none.
fn median(mut times: Vec<f64>) -> f64 {
    let middle = times.len() / 2;
    if times.is_empty() {
        return 0.0;
    }
    *times.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_engine::RunnerUp;
    use hither_engine::policy::Rule;
    use std::time::Duration;

    fn device(n: usize) -> DeviceId {
        // Not every 32 bytes are a key.
        (0u8..=255)
            .filter_map(|b| DeviceId::from_slice(&[b; 32]).ok())
            .nth(n)
            .unwrap()
    }

    fn story(from: DeviceId, actual: u64, second: Option<(DeviceId, u64)>) -> SpanStory {
        SpanStory {
            start: 0,
            device: from,
            rule: Rule::EarliestFinish,
            expected: Duration::from_millis(10),
            actual: Duration::from_millis(actual),
            price: Price::FREE,
            runners_up: second
                .map(|(device, ms)| RunnerUp {
                    device,
                    expected: Duration::from_millis(ms),
                    price: Price::per_gib(0.09).unwrap(),
                })
                .into_iter()
                .collect(),
            paid: None,
            rank: None,
            claimer: None,
        }
    }

    #[test]
    fn the_middle_counts_and_the_most_frequent_second() {
        let (a, b, c) = (device(0), device(1), device(2));
        let stories = [
            story(a, 5, Some((b, 30))),
            story(a, 900, Some((c, 1))),
            story(a, 7, Some((b, 50))),
            story(b, 3, None),
        ];
        let all = typical(stories.iter());
        let price = Price::per_gib(0.09).unwrap();
        let second = Second {
            device: b,
            spans: 2,
            expected: 50.0,
            price,
        };
        assert_eq!(
            all[&a],
            Typical {
                expected: 10.0,
                actual: 7.0,
                runner_up: Some(second)
            }
        );
        assert_eq!(
            all[&b],
            Typical {
                expected: 10.0,
                actual: 3.0,
                runner_up: None
            }
        );
        assert_eq!(all.len(), 2);
    }
}
