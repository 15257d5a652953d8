//! Every number an operator needs, on one page in the OpenMetrics text format.
//!
//! Counters and timings are kept where things happen; gauges of what is stored or waits are set
//! from a [`Sample`] when the page is asked for. Names are a contract: dashboards and alerts rely
//! on them, `deploy/grafana.json` among them.

use super::family::{By, ByPair, Counted, Counter, Timing};
use super::labels::{Database, Reason, Request, Service};
use super::sample::{MailSample, Sample, Sampled};
use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

/// Type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The numbers of one node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Streams accepted.
    pub streams: Counter,
    /// Streams by what they were for, as far as that was understood.
    pub services: By<Service, Counter>,
    /// Streams refused for their first frame, or for lack of one.
    pub bad_first_frames: Counter,
    /// Streams and requests refused because there were too many.
    pub limited: Counter,
    /// Devices that were not connected and were woken.
    pub woken: Counter,
    /// Streams and requests that were refused, by what for and why.
    pub refusals: ByPair<Service, Reason>,
    /// Long connections begun.
    pub connected: Counter,
    /// Long connections ended.
    pub disconnected: Counter,
    /// Long connections ended for silence.
    pub silent: Counter,
    /// Devices registered.
    pub registered: Counter,
    /// Messages accepted.
    pub mail_accepted: Counter,
    /// Messages refused.
    pub mail_refused: Counter,
    /// Messages handed to readers, repeated ones included.
    pub mail_delivered: Counter,
    /// Messages that nobody fetched in time; counted by the node that keeps the state.
    pub mail_expired: Counter,
    /// From a message's arrival at this node to its being written to its reader's connection here.
    pub push: Timing,
    /// How long requests take.
    pub requests: By<Request, Timing>,
    /// Shares placed.
    pub placed: Counter,
    /// Bytes of chunks taken in.
    pub uploaded: Counter,
    /// Bytes of chunks given out.
    pub downloaded: Counter,
    /// Chunks taken in.
    pub chunks_in: Counter,
    /// Chunks given out.
    pub chunks_out: Counter,
    /// Uploads that are under way.
    pub uploads: Gauge,
    /// Readers' streams for chunks that are open.
    pub downloads: Gauge,
    /// Circuits that are open.
    pub circuits: Gauge,
    /// Circuits made.
    pub circuits_opened: Counter,
    /// Bytes passed on over circuits, both ways.
    pub circuit_bytes: Counter,
    /// Connections of browsers that are open.
    pub browsers: Gauge,
    /// Requests of browsers.
    pub web_requests: Counter,
    /// Byte pipes that are open: devices in browsers, over WebSockets.
    pub pipes: Gauge,
    /// Byte pipes opened.
    pub pipes_opened: Counter,
    /// What devices said to the index: announcements, changes, withdrawals, subscriptions.
    pub index_said: Counter,
    /// Frames by which readers of the index were told of holders.
    pub index_told: Counter,
    /// Uploads and placements refused for lack of quota.
    pub quota_refusals: Counter,
    /// How long a durable change of a database takes.
    pub commits: By<Database, Timing>,
    /// Changes that a database failed to make.
    pub commit_failures: By<Database, Counter>,
    sampled: Sampled,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut page = Page(Registry::with_prefix("hither_relay"));
        let r = &mut page;
        r.0.register(
            "build",
            "The version that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let timing = Timing::new as fn() -> Timing;
        let counter = Counter::default as fn() -> Counter;
        Self {
            streams: r.counter("streams", "Streams accepted"),
            services: By::register(
                &mut r.0,
                "services",
                "Streams by what they were for",
                counter,
            ),
            bad_first_frames: r.counter(
                "bad_first_frames",
                "Streams that began with nothing understood",
            ),
            woken: r.counter("woken", "Devices that were not connected and were woken"),
            limited: r.counter(
                "limited",
                "Streams and requests refused because there were too many",
            ),
            refusals: ByPair::register(
                &mut r.0,
                "refusals",
                "Streams and requests that were refused",
            ),
            connected: r.counter("devices_connected", "Long connections begun"),
            disconnected: r.counter("devices_disconnected", "Long connections ended"),
            silent: r.counter("devices_silent", "Long connections ended for silence"),
            registered: r.counter("devices_registered", "Devices registered by an invitation"),
            mail_accepted: r.counter("messages_accepted", "Messages made durable"),
            mail_refused: r.counter("messages_refused", "Messages refused"),
            mail_delivered: r.counter(
                "messages_delivered",
                "Messages handed to readers, repeated ones included",
            ),
            mail_expired: r.counter("messages_expired", "Messages that nobody fetched in time"),
            push: r.put(
                "push_seconds",
                "From taking a message to pushing it to its reader",
                Timing::new(),
            ),
            requests: By::register(
                &mut r.0,
                "request_seconds",
                "Time to answer a request",
                timing,
            ),
            placed: r.counter("shares_placed", "Shares given a place at a store"),
            uploaded: r.counter("upload_bytes", "Bytes of chunks taken in"),
            downloaded: r.counter("download_bytes", "Bytes of chunks given out"),
            chunks_in: r.counter("upload_chunks", "Chunks taken in"),
            chunks_out: r.counter("download_chunks", "Chunks given out"),
            uploads: r.gauge("uploads", "Uploads under way"),
            downloads: r.gauge("downloads", "Open streams of readers for chunks"),
            circuits: r.gauge("circuits", "Open circuits between devices"),
            circuits_opened: r.counter("circuits_opened", "Circuits made between devices"),
            circuit_bytes: r.counter("circuit_bytes", "Bytes passed on over circuits, both ways"),
            browsers: r.gauge("web_connections", "Open connections of browsers"),
            web_requests: r.counter("web_requests", "Requests of browsers"),
            pipes: r.gauge("websockets", "Open WebSockets of devices in browsers"),
            pipes_opened: r.counter("websockets_opened", "WebSockets of devices in browsers"),
            index_said: r.counter("index_said", "What devices said to the index"),
            index_told: r.counter(
                "index_told",
                "Frames about holders sent to readers of the index",
            ),
            quota_refusals: r.counter(
                "quota_refusals",
                "Uploads and placements refused for lack of quota",
            ),
            commits: By::register(
                &mut r.0,
                "commit_seconds",
                "Time to make a change durable",
                timing,
            ),
            commit_failures: By::register(
                &mut r.0,
                "commit_failures",
                "Changes that failed on the disk",
                counter,
            ),
            sampled: Sampled::register(r),
            registry: page.0,
        }
    }

    /// Counts a refusal, by what for and why.
    pub fn refused(&self, service: impl Into<Service>, reason: impl Into<Reason>) {
        let reason = reason.into();
        if reason == Reason::Quota {
            self.quota_refusals.add_one();
        }
        self.refusals.count(service.into(), reason);
    }

    /// Counts an upload until the answer is dropped.
    pub fn upload(&self) -> Counted {
        Counted::enter(&self.uploads)
    }

    /// Counts a reader's stream until the answer is dropped.
    pub fn download(&self) -> Counted {
        Counted::enter(&self.downloads)
    }

    /// Counts a circuit, as open until the answer is dropped.
    pub fn circuit(&self) -> Counted {
        self.circuits_opened.add_one();
        Counted::enter(&self.circuits)
    }

    /// Counts a browser's connection until the answer is dropped.
    pub fn browser(&self) -> Counted {
        Counted::enter(&self.browsers)
    }

    /// Counts a byte pipe, as open until the answer is dropped.
    pub fn pipe(&self) -> Counted {
        self.pipes_opened.add_one();
        Counted::enter(&self.pipes)
    }

    /// Sets the gauges of users, devices and mailboxes.
    pub fn set_mail(&self, sample: &MailSample) {
        self.sampled.set_mail(sample);
    }

    /// Sets the gauges of what is online and stored. What a sample does not say keeps its value.
    pub fn set(&self, sample: &Sample) {
        self.sampled.set(sample);
    }

    /// The page; fails never in practice, because it is written into memory.
    pub fn page(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Metrics in the order in which they are shown.
pub(super) struct Page(Registry);

impl Page {
    /// Puts a metric on the page. Clones of a metric are the same metric.
    pub(super) fn put<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.put(name, help, Gauge::default())
    }

    fn counter(&mut self, name: &str, help: &str) -> Counter {
        self.put(name, help, Counter::default())
    }
}
