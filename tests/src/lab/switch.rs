//! What joins the devices of one test.

use super::cable::{Cable, Socket};
use super::capture::Capture;
use super::device::Device;
use super::internet::Internet;
use super::tool::{command, tool};
use rustix::process::{getpid, set_child_subreaper};
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// The switch and the folder of one test.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    programs: PathBuf,
    devices: Cell<u16>,
}

impl Lab {
    /// A switch without devices. `folder` is empty and goes with the lab, `programs` has `hither`
    /// and `hitherd`.
    pub(super) fn new(folder: PathBuf, programs: PathBuf) -> Self {
        // Daemons whose starter is gone come to us, so that they can be waited for.
        set_child_subreaper(Some(getpid())).unwrap();
        tool(&mut command("ip", "link set lo up"));
        // Without snooping multicast goes everywhere, as it does over a switch that nobody
        // configured.
        tool(&mut command(
            "ip",
            "link add switch type bridge mcast_snooping 0",
        ));
        tool(&mut command("ip", "link set switch up"));
        Self {
            folder,
            programs,
            devices: Cell::new(0),
        }
    }

    /// A device on the switch. Its daemon does not run yet.
    pub fn device(&self, name: &str) -> Device {
        let device = self.unplugged(name);
        device.cable.connect();
        device
    }

    /// A device whose interface is still down.
    pub fn unplugged(&self, name: &str) -> Device {
        self.device_at(name, self.socket())
    }

    /// A second cable of a device into the same switch, with an address of its own.
    pub fn second_cable(&self, device: &Device) -> Cable {
        let cable = device.second_cable(self.socket());
        cable.connect();
        cable
    }

    /// A device that was somewhere else comes to the switch, as it is.
    pub fn welcome(&self, device: &mut Device) {
        device.cable.plug(self.socket());
    }

    /// A device gets another address, and the one that it had goes to somebody else; `who` has used
    /// it.
    pub fn give_away(&self, from: &mut Device, to: &Device, who: &Device) {
        let socket = self.socket();
        let before = from.cable.readdress(socket.address);
        to.cable.takes(&before);
        who.cable.forget_neighbours();
    }

    fn socket(&self) -> Socket {
        let number = self.number();
        Socket {
            number,
            switch: "switch".into(),
            address: format!("10.77.0.{number}"),
            router: None,
        }
    }

    /// A device whose cable leads elsewhere; its interface is still down.
    pub(super) fn device_at(&self, name: &str, socket: Socket) -> Device {
        Device::new(name, socket, &self.folder.join(name), &self.programs)
    }

    /// A number that nothing else in this lab has, from 1 on.
    pub(super) fn number(&self) -> u16 {
        self.devices.set(self.devices.get() + 1);
        self.devices.get()
    }

    /// A folder of this lab.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Where the programs are.
    pub(super) fn programs(&self) -> &Path {
        &self.programs
    }

    /// Routers, and relays where everybody reaches them. Once per lab.
    pub fn internet(&self) -> Internet<'_> {
        Internet::new(self)
    }

    /// Hears everything that goes over the switch from now on.
    pub fn capture(&self) -> Capture {
        Capture::start(None)
    }

    /// A small disk of its own, mounted at `path`.
    pub fn disk(&self, path: &Path, bytes: u64) {
        std::fs::create_dir_all(path).unwrap();
        tool(command("mount", &format!("-t tmpfs -o size={bytes} tmpfs")).arg(path));
    }

    /// A disk that takes the names that Windows takes and does not tell case, mounted at `path`;
    /// `false`, said loudly, where there is nothing that could make one (NTFS by FUSE:
    /// ntfs-3g).
    pub fn windows_disk(&self, path: &Path) -> bool {
        std::fs::create_dir_all(path).unwrap();
        let image = path.with_extension("ntfs");
        std::fs::File::create(&image)
            .unwrap()
            .set_len(96 << 20)
            .unwrap();
        let made = |command: &mut std::process::Command| {
            command.output().is_ok_and(|ended| ended.status.success())
        };
        let mut mount = std::process::Command::new("lowntfs-3g");
        mount
            .arg(&image)
            .arg(path)
            .args(["-o", "windows_names,ignore_case"]);
        let there = made(
            std::process::Command::new("mkntfs")
                .args(["-F", "-Q"])
                .arg(&image),
        ) && made(&mut mount);
        if !there {
            println!(
                "SKIPPED: no file system with the names of Windows can be mounted here (ntfs-3g and /dev/fuse)"
            );
        }
        there
    }

    /// Takes a disk away.
    pub fn unmount(&self, path: &Path) {
        tool(command("umount", "-l").arg(path));
    }

    /// Makes a disk read-only.
    pub fn read_only(&self, path: &Path) {
        tool(command("mount", "-o remount,bind,ro").arg(path));
    }

    /// What makes the random parts of a test; printed, so that a failure can be repeated.
    pub fn seed(&self) -> u64 {
        let seed = match std::env::var("HITHER_LAB_SEED") {
            Ok(text) => text.parse().expect("HITHER_LAB_SEED is not a number"),
            Err(_) => {
                let now = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap();
                u64::from(now.subsec_nanos())
            }
        };
        println!("HITHER_LAB_SEED={seed}");
        seed
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Here, and not outside: who is root only inside can remove what was made read-only.
        let entries = std::fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            let _ = std::fs::remove_dir_all(entry.path()); // What is left goes with the folder.
        }
    }
}
