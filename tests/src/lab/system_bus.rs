//! A D-Bus of one device, with what tells of its link and its battery: NetworkManager and UPower as
//! far as Hither asks them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tokio::runtime::Runtime;
use zbus::{Connection, connection, interface};

const NETWORK: (&str, &str) = (
    "org.freedesktop.NetworkManager",
    "/org/freedesktop/NetworkManager",
);
const POWER: (&str, &str) = ("org.freedesktop.UPower", "/org/freedesktop/UPower");
const DISPLAY: &str = "/org/freedesktop/UPower/devices/DisplayDevice";

/// A bus on which everybody may do everything.
const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=BUS</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"#;

struct Network {
    metered: u32,
}

#[interface(name = "org.freedesktop.NetworkManager")]
impl Network {
    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.metered
    }
}

struct Power {
    on_battery: bool,
}

#[interface(name = "org.freedesktop.UPower")]
impl Power {
    #[zbus(property)]
    fn on_battery(&self) -> bool {
        self.on_battery
    }
}

struct Display {
    percentage: f64,
    state: u32,
}

#[interface(name = "org.freedesktop.UPower.Device")]
impl Display {
    #[zbus(property)]
    fn percentage(&self) -> f64 {
        self.percentage
    }

    #[zbus(property)]
    fn state(&self) -> u32 {
        self.state
    }

    #[zbus(property)]
    fn is_present(&self) -> bool {
        true
    }
}

/// The bus, and who is on it. It ends when it is dropped.
pub struct SystemBus {
    daemon: Child,
    address: String,
    runtime: Runtime,
    network: Option<Connection>,
    power: Option<Connection>,
}

impl SystemBus {
    /// A bus at this path, with nobody on it.
    pub(super) fn start(path: &Path) -> Self {
        let config = path.with_extension("conf");
        fs::write(&config, CONFIG.replace("BUS", path.to_str().unwrap())).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--print-address"])
            .arg(format!("--config-file={}", config.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon (package dbus-daemon)");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            daemon,
            address: address.trim().to_owned(),
            runtime,
            network: None,
            power: None,
        }
    }

    /// The address where others find it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    fn builder(&self, name: &'static str) -> connection::Builder<'_> {
        connection::Builder::address(self.address.as_str())
            .unwrap()
            .name(name)
            .unwrap()
    }

    /// NetworkManager is there, or says something else: `NMMetered`, 1 yes, 2 no, 3 guess yes, 4
    /// guess no.
    pub fn network(&mut self, metered: u32) {
        let (name, path) = NETWORK;
        if self.network.is_none() {
            let building = self
                .builder(name)
                .serve_at(path, Network { metered })
                .unwrap()
                .build();
            self.network = Some(self.runtime.block_on(building).unwrap());
        }
        let connection = self.network.as_ref().unwrap();
        self.runtime.block_on(async {
            let served = connection
                .object_server()
                .interface::<_, Network>(path)
                .await
                .unwrap();
            let mut network = served.get_mut().await;
            network.metered = metered;
            network
                .metered_changed(served.signal_emitter())
                .await
                .unwrap();
        });
    }

    /// UPower is there, or says something else: percent, and `State`, 1 charging, 2 discharging.
    pub fn power(&mut self, percentage: f64, state: u32) {
        let (name, path) = POWER;
        if self.power.is_none() {
            let builder = self
                .builder(name)
                .serve_at(
                    path,
                    Power {
                        on_battery: state == 2,
                    },
                )
                .unwrap();
            let building = builder
                .serve_at(DISPLAY, Display { percentage, state })
                .unwrap()
                .build();
            self.power = Some(self.runtime.block_on(building).unwrap());
        }
        let connection = self.power.as_ref().unwrap();
        self.runtime.block_on(async {
            let served = connection
                .object_server()
                .interface::<_, Display>(DISPLAY)
                .await
                .unwrap();
            let mut display = served.get_mut().await;
            (display.percentage, display.state) = (percentage, state);
            display
                .percentage_changed(served.signal_emitter())
                .await
                .unwrap();
            display
                .state_changed(served.signal_emitter())
                .await
                .unwrap();
        });
    }

    /// Both services end, as when they are restarted.
    pub fn leave(&mut self) {
        for connection in self.network.take().into_iter().chain(self.power.take()) {
            self.runtime.block_on(connection.close()).unwrap();
        }
    }
}

impl Drop for SystemBus {
    fn drop(&mut self) {
        // It cannot have ended by itself, and nothing can be done about a failure here.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
