//! The key file: private, complete, never replaced.

#![cfg(unix)]
// The whole program is a test: it fails by panicking.

use hither_carrier::{Identity, IdentityError};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_is_made_once_and_kept_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/folder/key.pem");
    let first = Identity::load_or_create(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1,
        "no temporary file stays"
    );
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .starts_with("-----BEGIN PRIVATE KEY-----\n")
    );
    let again = Identity::load_or_create(&path).unwrap();
    assert_eq!(first.device_id(), again.device_id());
    let signature = again.sign(b"message");
    assert!(first.device_id().verify(b"message", &signature));
    assert!(!first.device_id().verify(b"another", &signature));
}

#[test]
fn a_key_that_others_can_read_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    Identity::load_or_create(&path).unwrap();
    for exposed in [0o644, 0o640, 0o606] {
        fs::set_permissions(&path, Permissions::from_mode(exposed)).unwrap();
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(
            matches!(error, IdentityError::Exposed { mode, .. } if mode == exposed),
            "{error}"
        );
        assert!(error.to_string().contains("chmod 600"), "{error}");
        assert_eq!(mode(&path), exposed);
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(
        Identity::load_or_create(&path),
        Err(IdentityError::OpenFolder { .. })
    ));
}

#[test]
fn what_is_no_key_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    Identity::load_or_create(&path).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    for bad in [
        "",
        "nonsense",
        &good[..60],
        &good.replace("PRIVATE KEY", "EC PRIVATE KEY"),
        &good.repeat(60),
    ] {
        fs::write(&path, bad).unwrap();
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(error, IdentityError::Malformed { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), bad);
    }
}

#[test]
fn a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    Identity::load_or_create(&target).unwrap();
    let path = dir.path().join("key.pem");
    symlink(&target, &path).unwrap();
    assert!(matches!(
        Identity::load_or_create(&path),
        Err(IdentityError::Io { .. })
    ));
}

#[test]
fn a_race_for_the_first_key_has_one_winner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let devices: Vec<_> = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    Identity::load_or_create(&path)
                        .map(|identity| identity.device_id())
                        .ok()
                })
            })
            .collect();
        tasks
            .into_iter()
            .filter_map(|task| task.join().unwrap())
            .collect()
    });
    let kept = Identity::load_or_create(&path).unwrap().device_id();
    assert!(!devices.is_empty() && devices.iter().all(|device| *device == kept));
}

#[test]
fn debug_shows_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let identity = Identity::load_or_create(&path).unwrap();
    let shown = format!("{identity:?}");
    let base64: String = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .nth(1)
        .unwrap()
        .into();
    assert!(
        shown.contains(&identity.device_id().short())
            && shown.len() < 60
            && !shown.contains(&base64)
    );
}
