//! One device: how it comes, and what it does when it has nothing to do.

use crate::Failure;
use crate::net::{Net, Wire, hello};
use hither_carrier::Identity;
use hither_proto::{DeviceId, RelayMessage, RelayPurpose, RelayRefusal, RelayUrl};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval_at, sleep_until, timeout};

/// Longest wait for the answer to a ping, as with devices.
const PONG: Duration = Duration::from_secs(3);
/// Longest wait for the welcome.
const ANSWER: Duration = Duration::from_secs(30);

/// A device that can come again and again.
#[derive(Clone)]
pub struct Device {
    pub identity: Arc<Identity>,
    pub id: DeviceId,
    /// Counts the devices of this process.
    pub number: usize,
    url: RelayUrl,
}

/// Why a device did not get in.
#[derive(Debug)]
pub enum NotIn {
    Refused(RelayRefusal),
    Failed(Failure),
}

impl std::fmt::Display for NotIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused: {:?}", refusal.code),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for NotIn {}

/// A long connection.
pub struct Held {
    pub wire: Wire,
    pub ping: Duration,
}

/// How a long connection ended.
pub enum Left {
    /// The relay asked to go.
    Moved,
    Broken(Failure),
}

impl Device {
    /// A new one, of the invitation's user.
    pub fn new(number: usize, url: RelayUrl) -> Result<Self, Failure> {
        let identity = Arc::new(Identity::generate()?);
        Ok(Self {
            id: identity.device_id(),
            identity,
            number,
            url,
        })
    }

    /// Comes.
    pub async fn come(&self, net: &Net) -> Result<Held, NotIn> {
        let open = net
            .open(&self.identity, self.number, RelayPurpose::Device)
            .await;
        let mut wire = open.map_err(NotIn::Failed)?;
        wire.say(&hello(&self.url)).await.map_err(NotIn::Failed)?;
        let answer = timeout(ANSWER, wire.hear()).await;
        match answer
            .unwrap_or_else(|_| Err("no welcome in time".into()))
            .map_err(NotIn::Failed)?
        {
            RelayMessage::Welcome(welcome) => Ok(Held {
                wire,
                ping: Duration::from_millis(welcome.ping_ms.into()),
            }),
            RelayMessage::Refused(refusal) => Err(NotIn::Refused(refusal)),
            _ => Err(NotIn::Failed("not a welcome".into())),
        }
    }
}

/// Any time up to `most`, different for each device.
pub fn spread(device: &Device, most: Duration) -> Duration {
    let bytes = device.id.as_bytes();
    let part = u16::from_be_bytes([bytes[0], bytes[1]]);
    most.mul_f64(f64::from(part) / f64::from(u16::MAX))
}

impl Held {
    /// Pings and answers pings, until the connection ends.
    pub async fn idle(mut self, device: &Device) -> Left {
        let mut ticks = interval_at(Instant::now() + spread(device, self.ping), self.ping);
        let mut pinged = None;
        loop {
            let result = tokio::select! {
                _ = ticks.tick() => {
                    pinged = pinged.or(Some(Instant::now()));
                    self.wire.say(&RelayMessage::Ping { nonce: 1 }).await
                }
                () = async { sleep_until(pinged.unwrap_or_else(Instant::now) + PONG).await }, if pinged.is_some() => {
                    Err("a ping was not answered".into())
                }
                heard = self.wire.hear() => match heard {
                    Ok(RelayMessage::Pong { .. }) => {
                        pinged = None;
                        Ok(())
                    }
                    Ok(RelayMessage::Ping { nonce }) => self.wire.say(&RelayMessage::Pong { nonce }).await,
                    Ok(RelayMessage::Move { .. }) => return Left::Moved,
                    Ok(RelayMessage::Refused(refusal)) => Err(NotIn::Refused(refusal).into()),
                    Ok(_) => Ok(()),
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = result {
                return Left::Broken(error);
            }
        }
    }
}
