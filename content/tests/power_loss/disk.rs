//! A file system in an image file that can lose its power.

use rustix::ioctl;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Size of the image, bytes; sparse. xfs makes none below 300 MiB.
const IMAGE: u64 = 320 * 1024 * 1024;
/// `EXT4_IOC_SHUTDOWN` (fs/ext4/ext4.h), the same as `XFS_IOC_GOINGDOWN` (fs/xfs/libxfs/xfs_fs.h):
/// `_IOR('X', 125, __u32)`.
const SHUTDOWN: ioctl::Opcode = ioctl::opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`, `XFS_FSOP_GOING_FLAGS_NOLOGFLUSH`: neither data nor journal is
/// written back.
const NO_LOG_FLUSH: u32 = 2;

/// A mounted image. Unmounted, detached and deleted when dropped, also by a panic.
pub(crate) struct Disk {
    dir: tempfile::TempDir,
    device: Option<String>,
    mounted: bool,
}

impl Disk {
    /// Makes and mounts a fresh file system, or says why that is not possible here.
    pub(crate) fn create(file_system: &str) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root".into());
        }
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = dir.path().join("image");
        File::create(&image)
            .and_then(|file| file.set_len(IMAGE))
            .map_err(|error| error.to_string())?;
        command(
            &format!("mkfs.{file_system}"),
            &["-q".as_ref(), image.as_ref()],
        )?;
        std::fs::create_dir(dir.path().join("mnt")).map_err(|error| error.to_string())?;
        let mut disk = Self {
            dir,
            device: None,
            mounted: false,
        };
        disk.attach(&image)?;
        disk.mount()?;
        Ok(disk)
    }

    pub(crate) fn mount_point(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// Stops the file system at once: what is not on the disk by now never will be.
    pub(crate) fn shut_down(&self) {
        let root = File::open(self.mount_point()).unwrap();
        // SAFETY: the kernel reads one u32 behind the pointer (ext4_ioctl_shutdown, xfs_file_ioctl)
        // and keeps nothing.
        #[allow(unsafe_code)]
        unsafe {
            ioctl::ioctl(&root, ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)).unwrap();
        }
    }

    /// Mounts the file system again, which replays its journal.
    ///
    /// A mount namespace that another program began meanwhile (tests with network namespaces do)
    /// keeps the dead file system alive for as long as it lasts, and mounting finds that one
    /// instead of making a new one.
    pub(crate) fn remount(&mut self) {
        for _ in 0..600 {
            self.unmount();
            assert!(
                !self.mounted,
                "cannot unmount {}",
                self.mount_point().display()
            );
            self.mount().unwrap();
            if File::create(self.mount_point().join("alive")).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("a mount namespace of another program keeps the dead file system");
    }

    /// Several tests may look for a free loop device at once, so losing the race is no failure.
    fn attach(&mut self, image: &Path) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..20 {
            match command(
                "losetup",
                &["--find".as_ref(), "--show".as_ref(), image.as_ref()],
            ) {
                Ok(device) => {
                    self.device = Some(device.trim().to_owned());
                    return Ok(());
                }
                Err(error) => last = error,
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(last)
    }

    fn mount(&mut self) -> Result<(), String> {
        let device = self.device.as_deref().unwrap_or_default();
        command("mount", &[device.as_ref(), self.mount_point().as_ref()])?;
        self.mounted = true;
        Ok(())
    }

    /// A child that was just killed may keep the mount busy for a moment.
    fn unmount(&mut self) {
        for _ in 0..200 {
            if !self.mounted || command("umount", &[self.mount_point().as_ref()]).is_ok() {
                self.mounted = false;
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
        if let Some(device) = &self.device
            && let Err(error) = command("losetup", &["--detach".as_ref(), device.as_ref()])
        {
            eprintln!("{device} stays attached: {error}");
        }
    }
}

fn command(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}
