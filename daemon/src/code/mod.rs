//! Codes of three words (or a picture): showing one, and entering one that another device shows
//! (SPEC.md, "Codes").
//!
//! `shown.rs` has the codes that this device shows, `serve.rs` what comes on streams about them,
//! `waiting.rs` those on which none was named yet, `enter.rs` the other side, `talk.rs` the exchange as
//! both have it, `pairing.rs` what is granted by it, `relays.rs` what relays are told and asked.
//!
//! Invariants: a code is spent by the first message of a key exchange about it, right or wrong;
//! nothing of the user's leaves this device before the other one has confirmed the key, and for
//! pairing not before the user has said yes to what is named. Bounds: [`MAX_SHOWN`] codes at a
//! time, [`MAX_WAITING`](waiting::MAX_WAITING) streams that have not named one yet, every step of an
//! exchange in [`STEP`](talk::STEP).

mod enter;
mod pairing;
mod relays;
mod serve;
mod shown;
mod talk;
mod waiting;

use crate::library::Library;
use crate::own_devices::OwnDevices;
use crate::settings::Setting;
use crate::tickets::Tickets;
use futures::future::BoxFuture;
use hither_api::{ApiError, ErrorCode, Event, ShowCode};
use hither_carrier::{MessageReader, Stream};
use hither_proto::{DeviceId, DeviceName, DevicePurpose};
use hither_relay_client::RelayClient;
use hither_swarm::{DeviceStreams, KnownDevices, Swarm};
use hither_util::tasks::Tasks;
pub(crate) use shown::Showing;
use shown::Shown;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use waiting::Waiting;

/// Most codes that are shown at a time: as many as are announced.
pub(crate) const MAX_SHOWN: usize = hither_proto::limits::MAX_NAMEPLATES;
/// Events of one code that wait for their listener.
pub(crate) const EVENTS: usize = 8;

/// The service of codes.
pub(crate) struct CodeService {
    pub device: DeviceId,
    pub name: DeviceName,
    pub swarm: Arc<Swarm>,
    pub library: Arc<Library>,
    pub tickets: Arc<Tickets>,
    pub relays: Arc<RelayClient>,
    pub known: Arc<KnownDevices>,
    /// Hears of pages in browsers that become the user's.
    pub own_devices: Arc<OwnDevices>,
    pub tasks: Tasks,
    /// How long a code is good.
    pub expires: Setting<Duration>,
    /// How long who shows a code is looked for.
    pub wait: Setting<Duration>,
    pub shown: Shown,
    pub waiting: Waiting,
}

impl DeviceStreams for CodeService {
    fn serve(self: Arc<Self>, stream: Stream, reader: MessageReader) -> BoxFuture<'static, ()> {
        Box::pin(serve::serve(self, stream, reader))
    }
}

/// Has streams about codes served from now on.
pub(crate) fn start(service: &Arc<CodeService>) {
    let by: Arc<dyn DeviceStreams> = Arc::clone(service) as _;
    let by: Weak<dyn DeviceStreams> = Arc::downgrade(&by);
    service.swarm.serve_device_streams(DevicePurpose::Code, by);
    service
        .tasks
        .spawn_forever(relays::tell(Arc::clone(service)));
}

/// Shows a code; its events end with `done` or `error`. The code is withdrawn when what is returned
/// is dropped.
///
/// Errors: the share is none of this device's, no relay with a page is meant or connected, too many
/// codes are shown, there is no randomness.
pub(crate) fn show(
    service: &Arc<CodeService>,
    request: &ShowCode,
) -> Result<(Showing, mpsc::Receiver<Event>), ApiError> {
    shown::show(service, request)
}

/// Enters a code that another device shows; events go to `events`, the last one is `done` or
/// `error`.
pub(crate) async fn enter(
    service: Arc<CodeService>,
    request: hither_api::EnterCode,
    events: mpsc::Sender<Event>,
) {
    let last = match enter::enter(&service, &request, &events).await {
        Ok(done) => Event::Done(done),
        Err(error) => Event::Error(error),
    };
    let _ = events.send(last).await; // The listener may be gone.
}

/// The code of whoever shows it is of no use any more.
fn spent() -> ApiError {
    ApiError::new(
        ErrorCode::Refused,
        "The code is wrong, or it was used already: each is good for one attempt.",
    )
    .with_hint("Ask for a new one.")
}
