//! The desktop of one device, as far as Hither asks it: a media player (MPRIS), notifications, and
//! GeoClue, as services on its bus.

use super::system_bus::SystemBus;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{ObjectPath, OwnedValue, Str, Value};
use zbus::{Connection, connection, interface};

const PLAYER: (&str, &str) = ("org.mpris.MediaPlayer2.film", "/org/mpris/MediaPlayer2");
const NOTIFICATIONS: (&str, &str) = (
    "org.freedesktop.Notifications",
    "/org/freedesktop/Notifications",
);
const GEOCLUE: &str = "org.freedesktop.GeoClue2";
const CLIENT: &str = "/org/freedesktop/GeoClue2/Client/1";
const PLACE: &str = "/org/freedesktop/GeoClue2/Client/1/Location/0";

struct Player;

#[interface(name = "org.mpris.MediaPlayer2.Player")]
impl Player {
    #[zbus(property)]
    fn playback_status(&self) -> String {
        "Playing".into()
    }

    #[zbus(property)]
    fn metadata(&self) -> HashMap<String, OwnedValue> {
        let text = |text: &str| OwnedValue::from(Str::from(text.to_owned()));
        let artists = Value::from(vec!["Anna".to_owned()]);
        HashMap::from([
            ("xesam:title".into(), text("A film")),
            ("xesam:artist".into(), artists.try_into().unwrap()),
            ("xesam:url".into(), text("https://example.org/film.mp4")),
        ])
    }

    /// Microseconds.
    #[zbus(property)]
    fn position(&self) -> i64 {
        90_000_000
    }
}

/// The words of a notification, and the number that it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its number.
    pub id: u32,
    /// Its title.
    pub title: String,
    /// Its text.
    pub text: String,
}

#[derive(Default)]
struct Notifications(Arc<Mutex<Vec<Shown>>>);

#[interface(name = "org.freedesktop.Notifications")]
impl Notifications {
    #[allow(clippy::too_many_arguments)] // as specified
    fn notify(
        &self,
        _app: String,
        _replaces: u32,
        _icon: String,
        title: String,
        text: String,
        _actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _timeout: i32,
    ) -> u32 {
        let mut shown = self.0.lock().unwrap();
        let id = shown.len() as u32 + 1;
        shown.push(Shown { id, title, text });
        id
    }

    #[zbus(signal)]
    async fn action_invoked(emitter: &SignalEmitter<'_>, id: u32, action: &str)
    -> zbus::Result<()>;

    #[zbus(signal)]
    async fn notification_closed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        reason: u32,
    ) -> zbus::Result<()>;
}

struct Manager;

#[interface(name = "org.freedesktop.GeoClue2.Manager")]
impl Manager {
    fn get_client(&self) -> ObjectPath<'static> {
        ObjectPath::from_static_str_unchecked(CLIENT)
    }
}

struct Client;

#[interface(name = "org.freedesktop.GeoClue2.Client")]
impl Client {
    #[zbus(property)]
    fn desktop_id(&self) -> String {
        String::new()
    }

    #[zbus(property)]
    fn set_desktop_id(&self, _id: String) {}

    #[zbus(property)]
    fn requested_accuracy_level(&self) -> u32 {
        0
    }

    #[zbus(property)]
    fn set_requested_accuracy_level(&self, _level: u32) {}

    async fn start(&self, #[zbus(signal_emitter)] emitter: SignalEmitter<'_>) {
        let old = ObjectPath::from_static_str_unchecked("/");
        let new = ObjectPath::from_static_str_unchecked(PLACE);
        Self::location_updated(&emitter, old, new).await.unwrap();
    }

    fn stop(&self) {}

    #[zbus(signal)]
    async fn location_updated(
        emitter: &SignalEmitter<'_>,
        old: ObjectPath<'_>,
        new: ObjectPath<'_>,
    ) -> zbus::Result<()>;
}

struct Location;

#[interface(name = "org.freedesktop.GeoClue2.Location")]
impl Location {
    #[zbus(property)]
    fn latitude(&self) -> f64 {
        48.137
    }

    #[zbus(property)]
    fn longitude(&self) -> f64 {
        11.575
    }

    #[zbus(property)]
    fn accuracy(&self) -> f64 {
        25.0
    }
}

/// The services; they end when it is dropped.
pub struct Desktop {
    runtime: Runtime,
    connection: Connection,
    shown: Arc<Mutex<Vec<Shown>>>,
}

impl Desktop {
    /// Starts all of them on a bus.
    pub fn start(bus: &SystemBus) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shown = Arc::<Mutex<Vec<Shown>>>::default();
        let building = async {
            connection::Builder::address(bus.address())?
                .name(PLAYER.0)?
                .name(NOTIFICATIONS.0)?
                .name(GEOCLUE)?
                .serve_at(PLAYER.1, Player)?
                .serve_at(NOTIFICATIONS.1, Notifications(Arc::clone(&shown)))?
                .serve_at("/org/freedesktop/GeoClue2/Manager", Manager)?
                .serve_at(CLIENT, Client)?
                .serve_at(PLACE, Location)?
                .build()
                .await
        };
        let connection = runtime.block_on(building).unwrap();
        Self {
            runtime,
            connection,
            shown,
        }
    }

    /// The notifications so far.
    pub fn shown(&self) -> Vec<Shown> {
        self.shown.lock().unwrap().clone()
    }

    /// The user presses a button of a notification.
    pub fn press(&self, id: u32, action: &str) {
        self.runtime.block_on(async {
            let served = self
                .connection
                .object_server()
                .interface::<_, Notifications>(NOTIFICATIONS.1)
                .await
                .unwrap();
            Notifications::action_invoked(served.signal_emitter(), id, action)
                .await
                .unwrap();
        });
    }
}
