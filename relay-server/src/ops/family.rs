//! Kinds of metrics: counters, timings, either of them by a label, and gauges that count what is
//! under way.

use super::labels::Label;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Name and value of a label.
type Pair = (&'static str, &'static str);

/// A number that only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(counter::Counter);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.0.inc();
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.inc_by(count);
    }

    /// How many by now.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

impl TypedMetric for Counter {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Counter {
    fn encode(&self, encoder: MetricEncoder<'_>) -> std::fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// A metric for every word of a label. All of them are on the page from the start: a series that
/// only appears with its first event makes `rate()` miss that event.
#[derive(Debug)]
pub struct By<L, M> {
    metrics: Vec<M>,
    label: PhantomData<fn(L)>,
}

impl<L: Label, M> By<L, M> {
    /// Makes the metrics and puts them on the page.
    pub(super) fn register<C>(registry: &mut Registry, name: &str, help: &str, make: C) -> Self
    where
        C: MetricConstructor<M> + Clone + std::fmt::Debug + Send + Sync + 'static,
        M: EncodeMetric + TypedMetric + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let family = Family::<[Pair; 1], M, C>::new_with_constructor(make);
        let metrics = L::ALL
            .iter()
            .map(|label| family.get_or_create_owned(&[(L::KEY, label.word())]))
            .collect();
        registry.register(name, help, family);
        Self {
            metrics,
            label: PhantomData,
        }
    }

    /// The metric of one word.
    pub fn of(&self, label: L) -> &M {
        &self.metrics[label.index()]
    }
}

/// Counters by two labels, on the page once they have counted something: most pairs never occur.
#[derive(Debug)]
pub struct ByPair<A, B> {
    family: Family<[Pair; 2], Counter>,
    labels: PhantomData<fn(A, B)>,
}

impl<A: Label, B: Label> ByPair<A, B> {
    pub(super) fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let family = Family::default();
        registry.register(name, help, family.clone());
        Self {
            family,
            labels: PhantomData,
        }
    }

    /// Counts one.
    pub fn count(&self, a: A, b: B) {
        self.family
            .get_or_create_owned(&[(A::KEY, a.word()), (B::KEY, b.word())])
            .add_one();
    }

    /// What was counted.
    pub fn get(&self, a: A, b: B) -> u64 {
        self.family
            .get(&[(A::KEY, a.word()), (B::KEY, b.word())])
            .map_or(0, |counter| counter.get())
    }
}

/// A distribution of durations, in seconds.
#[derive(Debug, Clone)]
pub struct Timing {
    histogram: Histogram,
    /// How many are in it: the histogram does not say.
    count: Arc<AtomicU64>,
}

/// Upper ends of the buckets, seconds: from a commit on a fast disk to a device's patience.
const BUCKETS: [f64; 16] = [
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];

impl Timing {
    /// With nothing in it.
    pub(super) fn new() -> Self {
        Self {
            histogram: Histogram::new(BUCKETS),
            count: Arc::default(),
        }
    }

    /// Adds one that took so long.
    pub fn observe(&self, took: Duration) {
        self.histogram.observe(took.as_secs_f64());
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds what has passed since `began`.
    pub fn since(&self, began: std::time::Instant) {
        self.observe(began.elapsed());
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl TypedMetric for Timing {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Timing {
    fn encode(&self, encoder: MetricEncoder<'_>) -> std::fmt::Result {
        self.histogram.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// One of what a gauge counts, for as long as it is held.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// Counts one more.
    pub fn enter(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
