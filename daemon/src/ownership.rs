//! The owner of Hither's folders and key: nobody else may change them, and nobody else may read the
//! key.
//!
//! Looked at before anything is opened or made. What belongs to somebody else or can be written by
//! them stops the daemon, because what lies there may be theirs; a key that others can only read is
//! closed to them, with a word.

use hither_api::Paths;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The superuser, who can read and change everything anyway.
const ROOT: u32 = 0;
/// Permission bits with which the group or others may write.
const WRITABLE: u32 = 0o022;
/// Permission bits with which the group or others may read.
const READABLE: u32 = 0o044;
/// The bit of a folder in which everybody may remove only what is their own.
const STICKY: u32 = 0o1000;

/// Looks at everything that is there. Gives warnings, or why the daemon must not run, in words.
pub(crate) fn examine(paths: &Paths) -> Result<Vec<String>, String> {
    examine_as(paths, rustix::process::geteuid().as_raw())
}

fn examine_as(paths: &Paths, own: u32) -> Result<Vec<String>, String> {
    links_above(&paths.data, own)?;
    if let Some(folder) = paths.config.parent() {
        config_folder(folder, own)?;
    }
    data_folder(&paths.data, own)?;
    key(&paths.key(), own)
}

/// A symbolic link of another user leads wherever that user wants.
fn links_above(path: &Path, own: u32) -> Result<(), String> {
    for above in path.ancestors() {
        match std::fs::symlink_metadata(above) {
            Ok(found) if found.is_symlink() && ![own, ROOT].contains(&found.uid()) => {
                return Err(format!(
                    "{} is a symbolic link that another user (id {}) made; let HITHER_HOME name a folder of your own",
                    above.display(),
                    found.uid()
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A missing folder or file is no failure: it will be made.
fn look(path: &Path) -> Result<Option<std::fs::Metadata>, String> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The folder above, where the configuration is: of this user or the system's, and not for
/// everybody to write.
fn config_folder(path: &Path, own: u32) -> Result<(), String> {
    let Some(found) = look(path)? else {
        return Ok(());
    };
    if ![own, ROOT].contains(&found.uid()) {
        return Err(somebody_elses(path, found.uid()));
    }
    if found.mode() & 0o002 != 0 && found.mode() & STICKY == 0 {
        return Err(writable(path));
    }
    Ok(())
}

fn data_folder(path: &Path, own: u32) -> Result<(), String> {
    let Some(found) = look(path)? else {
        return Ok(());
    };
    if found.uid() != own {
        return Err(somebody_elses(path, found.uid()));
    }
    if found.mode() & WRITABLE != 0 {
        Err(writable(path))
    } else {
        Ok(())
    }
}

fn key(path: &Path, own: u32) -> Result<Vec<String>, String> {
    let Some(found) = look(path)? else {
        return Ok(Vec::new());
    };
    if found.uid() != own {
        return Err(somebody_elses(path, found.uid()));
    }
    if found.mode() & WRITABLE != 0 {
        return Err(writable(path));
    }
    if found.mode() & READABLE == 0 {
        return Ok(Vec::new());
    }
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(|error| {
        format!(
            "{} can be read by other users, and that cannot be changed: {error}",
            path.display()
        )
    })?;
    Ok(vec![format!(
        "This device's private key could be read by other users of this computer; it cannot any more. If one of them may have \
         copied it, run hither down and move {} away: this becomes a new device.",
        path.display()
    )])
}

fn somebody_elses(path: &Path, user: u32) -> String {
    format!(
        "{} belongs to another user (id {user}); run Hither as that user, or let HITHER_HOME name a folder of your own",
        path.display()
    )
}

fn writable(path: &Path) -> String {
    let path = path.display();
    format!(
        "{path} can be written by other users; if nobody changed it, run chmod go-w '{path}'. On a shared disk that has no \
         permissions, let HITHER_HOME name a folder elsewhere"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Paths, u32) {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::in_home(home.path());
        std::fs::create_dir(&paths.data).unwrap();
        std::fs::write(paths.key(), "key").unwrap();
        mode(&paths.key(), 0o600);
        let own = std::fs::metadata(home.path()).unwrap().uid();
        (home, paths, own)
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_ones_own_is_well() {
        let (home, paths, own) = home();
        assert_eq!(examine_as(&paths, own), Ok(Vec::new()));
        assert_eq!(
            examine_as(&Paths::in_home(&home.path().join("none")), own),
            Ok(Vec::new())
        );
    }

    #[test]
    fn what_others_can_write_is_refused_by_name() {
        for (bits, wrong) in [(0o720, true), (0o702, true), (0o755, false)] {
            let (_home, paths, own) = home();
            mode(&paths.data, bits);
            let result = examine_as(&paths, own);
            assert_eq!(result.is_err(), wrong, "{bits:o}");
            assert!(
                result
                    .err()
                    .is_none_or(|why| why.contains(paths.data.to_str().unwrap()))
            );
        }
        let (_home, paths, own) = home();
        mode(&paths.key(), 0o620);
        assert!(
            examine_as(&paths, own)
                .unwrap_err()
                .contains("device.key can be written")
        );
        let (home, paths, own) = home();
        mode(home.path(), 0o777);
        assert!(examine_as(&paths, own).is_err());
        mode(home.path(), 0o1777);
        assert!(
            examine_as(&paths, own).is_ok(),
            "sticky: nobody can take ours away"
        );
    }

    #[test]
    fn what_is_somebody_elses_is_refused() {
        let (home, paths, own) = home();
        assert!(
            examine_as(&paths, own + 1)
                .unwrap_err()
                .contains("another user")
        );
        let link = home.path().join("link");
        std::os::unix::fs::symlink(home.path(), &link).unwrap();
        assert!(examine_as(&Paths::in_home(&link), own).is_ok());
        if own != ROOT {
            let words = examine_as(&Paths::in_home(&link), own + 1).unwrap_err();
            assert!(words.contains("symbolic link"), "{words}");
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_closed_with_a_word() {
        let (_home, paths, own) = home();
        mode(&paths.key(), 0o644);
        assert_eq!(examine_as(&paths, own).unwrap().len(), 1);
        assert_eq!(
            std::fs::metadata(paths.key()).unwrap().mode() & 0o777,
            0o600
        );
        assert_eq!(examine_as(&paths, own), Ok(Vec::new()));
    }
}
