//! State and means that every step of a share may use.

use crate::output::Outputs;
use crate::tls::Identity;
use hither_engine::Time;
use hither_proto::DeviceId;

/// A relay to which the page can open byte pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub relay: DeviceId,
    /// The page's number of it.
    pub number: u32,
}

/// Numbers that were given out.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pipe: u32,
    get: u32,
}

impl Numbers {
    /// A number for a pipe.
    pub fn pipe(&mut self) -> u32 {
        self.pipe = self.pipe.wrapping_add(1);
        self.pipe
    }

    /// A number for a request by HTTP.
    pub fn get(&mut self) -> u32 {
        self.get = self.get.wrapping_add(1);
        self.get
    }
}

/// The page's device, its ways out, and the time of this step.
pub(crate) struct Context<'a> {
    pub identity: &'a Identity,
    pub endpoints: &'a [Endpoint],
    pub numbers: &'a mut Numbers,
    pub out: &'a mut Outputs,
    pub now: Time,
    /// Chunks are opened here, because the page has no WebCrypto.
    pub open_here: bool,
}

impl Context<'_> {
    /// The page's number of a relay's node, if a pipe to it can be had.
    pub fn endpoint_of(&self, relay: DeviceId) -> Option<u32> {
        let mut all = self.endpoints.iter();
        all.find(|e| e.relay == relay).map(|e| e.number)
    }
}
