//! Disks that fail: one whose end cannot be read any more, and one that does not answer.

use super::tool::{command, tool};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A disk on an image, mounted.
#[derive(Debug)]
pub struct WornDisk {
    image: PathBuf,
    path: PathBuf,
}

impl WornDisk {
    /// Mounts one of so many bytes at `path`; `None`, said loudly, where there can be none.
    pub fn mount(path: &Path, bytes: u64) -> Option<Self> {
        let image = path.with_extension("image");
        fs::create_dir_all(path).unwrap();
        File::create(&image).unwrap().set_len(bytes).unwrap();
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-F", "-O", "^has_journal"])
            .arg(&image)
            .status();
        let mounted = made.is_ok_and(|made| made.success())
            && Command::new("mount")
                .args(["-o", "loop"])
                .args([&image, path])
                .status()
                .unwrap()
                .success();
        if !mounted {
            println!(
                "SKIPPED: no disk on an image can be mounted here (mkfs.ext4 and /dev/loop-control)"
            );
            return None;
        }
        Some(Self {
            image,
            path: path.to_owned(),
        })
    }

    /// From the middle of a file on, nothing of the disk can be read any more. The other files in
    /// its folder must lie before that.
    pub fn wear_out(&self, file: &Path) {
        tool(&mut command("sync", ""));
        let (start, length) = extent(file);
        let cut = start + length / 2;
        let folder = file.parent().unwrap();
        for other in fs::read_dir(folder)
            .unwrap()
            .flatten()
            .filter(|other| other.path() != file)
        {
            if other.file_type().unwrap().is_file() {
                let (start, length) = extent(&other.path());
                assert!(start + length <= cut, "{:?} lies behind", other.path());
            }
        }
        OpenOptions::new()
            .write(true)
            .open(&self.image)
            .unwrap()
            .set_len(cut)
            .unwrap();
        fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
    }
}

impl Drop for WornDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Returns where the first piece of a file is on its disk, and its length, bytes.
fn extent(file: &Path) -> (u64, u64) {
    let told = tool(command("filefrag", "-b1 -v").arg(file));
    let first = told
        .lines()
        .find(|line| line.trim_start().starts_with("0:"))
        .expect("an extent");
    let numbers: Vec<u64> = first
        .split(|c: char| !c.is_ascii_digit())
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().unwrap())
        .collect();
    // Number, logical from and to, physical from and to, length.
    (numbers[3], numbers[5])
}

/// A disk that hangs: whoever looks at it waits until this is dropped, and is told then that it is
/// broken.
#[derive(Debug)]
pub struct DeadDisk {
    server: Option<File>,
    path: PathBuf,
}

impl DeadDisk {
    /// Mounts one over what is at `path`; `None`, said loudly, where there can be none.
    pub fn mount(path: &Path) -> Option<Self> {
        let Ok(server) = OpenOptions::new().read(true).write(true).open("/dev/fuse") else {
            println!("SKIPPED: no disk that hangs can be mounted here (/dev/fuse)");
            return None;
        };
        // Nobody ever answers what the kernel asks over this file.
        let mut mount = command(
            "mount",
            "-i -t fuse -o fd=0,rootmode=40000,user_id=0,group_id=0 dead",
        );
        mount
            .arg(path)
            .stdin(Stdio::from(server.try_clone().unwrap()));
        if !mount.status().unwrap().success() {
            println!("SKIPPED: no disk that hangs can be mounted here");
            return None;
        }
        Some(Self {
            server: Some(server),
            path: path.to_owned(),
        })
    }

    /// It answers again: everything is an error.
    pub fn break_down(&mut self) {
        self.server = None;
    }
}

impl Drop for DeadDisk {
    fn drop(&mut self) {
        self.server = None;
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
