//! The reports of Linux, over D-Bus: NetworkManager knows whether the link is metered, UPower how
//! the battery stands.
//!
//! Whatever the bus tells, everything is read anew: nothing depends on what a signal says or on its
//! order. Services are never started for it, and one that is missing is waited for without a word;
//! a bus that is missing is looked for every minute. The bus is that of `DBUS_SYSTEM_BUS_ADDRESS`,
//! or the system's.

use super::{Battery, Said};
use futures::StreamExt;
use futures::stream::{BoxStream, select_all};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use zbus::message::Type;
use zbus::names::OwnedUniqueName;
use zbus::zvariant::OwnedValue;
use zbus::{Connection, MatchRule, MessageStream, connection};

/// How often a bus is looked for that is not there.
const LOOK: Duration = Duration::from_secs(60);
/// Longest wait for the bus, and for an answer on it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Changes come in groups, and are read together.
const SETTLE: Duration = Duration::from_millis(50);
/// Signals that may wait while something is read; what there are more is slowed down by the
/// library.
const QUEUE: usize = 64;

const NETWORK: &str = "org.freedesktop.NetworkManager";
const NETWORK_PATH: &str = "/org/freedesktop/NetworkManager";
const POWER: &str = "org.freedesktop.UPower";
const POWER_PATH: &str = "/org/freedesktop/UPower";
const DISPLAY_PATH: &str = "/org/freedesktop/UPower/devices/DisplayDevice";
const DISPLAY: &str = "org.freedesktop.UPower.Device";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";

/// Tells what the system says, whenever it says something else. Runs until it is dropped.
pub(super) async fn follow(tell: impl Fn(Said)) {
    loop {
        if let Err(error) = listen(&tell).await {
            tracing::debug!(%error, "the system does not tell of link and battery");
        }
        tell(Said::default());
        sleep(LOOK).await;
    }
}

/// Listens until the bus goes away.
async fn listen(tell: &impl Fn(Said)) -> zbus::Result<()> {
    let connecting = connection::Builder::system()?
        .method_timeout(PATIENCE)
        .build();
    let bus = timeout(PATIENCE, connecting)
        .await
        .map_err(|_| zbus::Error::InputOutput(timed_out()))??;
    let mut signals = select_all(signals(&bus).await?);
    loop {
        let mut news = false;
        {
            let mut reading = pin!(read(&bus));
            // Signals are taken meanwhile: their queue must not hold up the answers.
            loop {
                tokio::select! {
                    said = &mut reading => break tell(said),
                    signal = signals.next() => match signal {
                        Some(Ok(_)) => news = true,
                        Some(Err(error)) => return Err(error),
                        None => return Ok(()),
                    },
                }
            }
        }
        if !news {
            match signals.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
        sleep(SETTLE).await;
    }
}

fn timed_out() -> std::sync::Arc<std::io::Error> {
    std::sync::Arc::new(std::io::ErrorKind::TimedOut.into())
}

type Signals = BoxStream<'static, zbus::Result<zbus::Message>>;

/// Everything after which something may be otherwise: services come and go, and their properties
/// change.
async fn signals(bus: &Connection) -> zbus::Result<Vec<Signals>> {
    let mut rules = Vec::new();
    for name in [NETWORK, POWER] {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(BUS)?
            .interface(BUS)?;
        rules.push(rule.member("NameOwnerChanged")?.arg(0, name)?.build());
    }
    for (name, path) in [
        (NETWORK, NETWORK_PATH),
        (POWER, POWER_PATH),
        (POWER, DISPLAY_PATH),
    ] {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(name)?
            .path(path)?;
        rules.push(
            rule.interface(PROPERTIES)?
                .member("PropertiesChanged")?
                .build(),
        );
    }
    let mut signals: Vec<Signals> = Vec::new();
    for rule in rules {
        signals.push(
            MessageStream::for_match_rule(rule, bus, Some(QUEUE))
                .await?
                .boxed(),
        );
    }
    Ok(signals)
}

/// Queries everything. A fact that cannot be had is unknown.
async fn read(bus: &Connection) -> Said {
    let (metered, battery) = tokio::join!(metered(bus), battery(bus));
    Said { metered, battery }
}

/// `NMMetered`: 1 yes, 2 no, 3 and 4 the same as a guess; 0 unknown.
async fn metered(bus: &Connection) -> Option<bool> {
    let owner = owner(bus, NETWORK).await?;
    match u32::try_from(property(bus, &owner, NETWORK_PATH, NETWORK, "Metered").await?).ok()? {
        1 | 3 => Some(true),
        2 | 4 => Some(false),
        _ => None,
    }
}

/// UPower's `DisplayDevice`: all batteries taken together. `State`: 2 discharging, 6 about to; 0
/// unknown.
async fn battery(bus: &Connection) -> Option<Battery> {
    let owner = owner(bus, POWER).await?;
    let display = async |name| property(bus, &owner, DISPLAY_PATH, DISPLAY, name).await;
    if !bool::try_from(display("IsPresent").await?).ok()? {
        return None;
    }
    let percent = f64::try_from(display("Percentage").await?)
        .ok()
        .filter(|percent| percent.is_finite())?;
    let discharging = match u32::try_from(display("State").await?).ok()? {
        2 | 6 => true,
        0 => bool::try_from(property(bus, &owner, POWER_PATH, POWER, "OnBattery").await?).ok()?,
        _ => false,
    };
    Some(Battery {
        percent: percent.clamp(0.0, 100.0).round() as u8,
        discharging,
    })
}

/// Returns the owner of a name now. A service queried by its owner and not by the name is not
/// started for the query.
async fn owner(bus: &Connection, name: &str) -> Option<OwnedUniqueName> {
    let answer = bus
        .call_method(
            Some(BUS),
            "/org/freedesktop/DBus",
            Some(BUS),
            "GetNameOwner",
            &name,
        )
        .await;
    answer.ok()?.body().deserialize().ok()
}

async fn property(
    bus: &Connection,
    owner: &OwnedUniqueName,
    path: &str,
    interface: &str,
    name: &str,
) -> Option<OwnedValue> {
    let answer = bus
        .call_method(
            Some(owner.as_str()),
            path,
            Some(PROPERTIES),
            "Get",
            &(interface, name),
        )
        .await;
    answer.ok()?.body().deserialize().ok()
}
