//! What the tests of relays use: two LANs behind routers, and a relay that both reach.

use hither_tests::lab::{Device, Lab, Lan, Nat, Relay, Running};

/// Time between pings: short, so that a test need not wait for it, and long enough for a busy
/// machine.
pub(crate) const PING: u64 = 2;
/// The relay's patience with a ping that is late, as by default.
pub(crate) const PATIENCE: u64 = 3;

/// Two LANs, and a relay that runs.
pub(crate) struct World<'lab> {
    pub(crate) one: Lan<'lab>,
    pub(crate) two: Lan<'lab>,
    pub(crate) relay: Relay,
}

impl<'lab> World<'lab> {
    pub(crate) fn new(lab: &'lab Lab) -> Self {
        Self::with(lab, |_| {})
    }

    /// The same with a relay that is prepared before it starts.
    pub(crate) fn with(lab: &'lab Lab, prepare: impl FnOnce(&mut Relay)) -> Self {
        Self::behind(lab, Nat::STRICT, prepare)
    }

    /// The same behind routers that translate like this.
    pub(crate) fn behind(lab: &'lab Lab, nat: Nat, prepare: impl FnOnce(&mut Relay)) -> Self {
        let internet = lab.internet();
        let (one, two) = (internet.lan_behind(nat), internet.lan_behind(nat));
        let mut relay = quick(internet.relay("relay"));
        prepare(&mut relay);
        relay.start();
        Self { one, two, relay }
    }

    /// While a fetch of `size` bytes is under way, the relay dies and comes back, and later ends in
    /// order and comes back: devices are told to go first.
    pub(crate) fn restarts_during(&self, fetch: &mut Running, size: u64) {
        fetch.reach(size / 4);
        self.relay.kill();
        self.relay.start();
        fetch.reach(size * 2 / 3);
        self.relay.stop();
        self.relay.start();
    }

    /// The user's devices `desk`, in the first LAN, and `laptop`, in the second: they have joined
    /// and see each other.
    pub(crate) fn pair(&self) -> (Device, Device) {
        let (desk, laptop) = (self.one.device("desk"), self.two.device("laptop"));
        join_all(&[&desk, &laptop], &self.relay.invitation());
        (desk, laptop)
    }
}

/// A relay that soon notices who is gone.
pub(crate) fn quick(mut relay: Relay) -> Relay {
    relay.set(&format!("front.ping={PING}s"));
    relay
}

/// Devices join by one invitation; each sees all others when this returns.
pub(crate) fn join_all(devices: &[&Device], invitation: &str) {
    devices.iter().for_each(|device| device.join(invitation));
    for device in devices {
        devices
            .iter()
            .filter(|other| other.name != device.name)
            .for_each(|other| {
                device.sees_that(&other.name, true);
            });
    }
}

/// Text that the nodes of a fleet show each other.
const SECRET: &str = "a secret of more than enough characters";

/// A relay of several nodes: one that keeps the state and says which fronts there are, and others.
pub(crate) struct Fleet<'lab> {
    pub(crate) one: Lan<'lab>,
    pub(crate) two: Lan<'lab>,
    pub(crate) control: Relay,
    pub(crate) members: Vec<Relay>,
}

impl<'lab> Fleet<'lab> {
    /// A control node, and one more for each role named. The control node plays the roles that are
    /// not named.
    pub(crate) fn new(lab: &'lab Lab, roles: &[&str]) -> Self {
        Self::with(lab, roles, |_, _| {})
    }

    /// The same with members that are prepared before they start.
    pub(crate) fn with(
        lab: &'lab Lab,
        roles: &[&str],
        prepare: impl Fn(usize, &mut Relay),
    ) -> Self {
        let internet = lab.internet();
        let (one, two) = (internet.lan(), internet.lan());
        let mut control = quick(internet.relay("control"));
        control.know(SECRET);
        let rest: Vec<_> = ["front", "store"]
            .into_iter()
            .filter(|role| !roles.contains(role))
            .collect();
        let rest: String = rest.iter().map(|role| format!(",\"{role}\"")).collect();
        control.set(&format!("roles=[\"assign\",\"control\"{rest}]"));
        control.set("fleet.silence=6s");
        control.start();
        let member = |(number, role): (usize, &&str)| {
            let mut relay = quick(internet.relay(&format!("{role}-{number}")));
            relay.know(SECRET);
            relay.set(&format!("roles=[\"{role}\"]"));
            relay.set(&format!("fleet.control={}", control.url()));
            relay.set("fleet.silence=6s");
            prepare(number, &mut relay);
            relay.start();
            relay
        };
        let members = roles.iter().enumerate().map(member).collect();
        Self {
            one,
            two,
            control,
            members,
        }
    }

    /// The node of a key.
    pub(crate) fn member(&self, key: &str) -> &Relay {
        self.members
            .iter()
            .find(|relay| relay.key() == key)
            .expect("a member of the fleet")
    }

    /// Key of the front that a device is connected to.
    pub(crate) fn front_of(&self, device: &Device) -> Option<String> {
        device.relay().front
    }
}
