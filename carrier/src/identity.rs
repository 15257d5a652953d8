//! The device's own ed25519 key: made once, kept in one file, used by every carrier.
//!
//! Invariants: the file is complete or absent, readable by its owner only, and never replaced; the
//! secret half of the key is never shown by `Debug`, and every copy of it that passes through this
//! module's memory is wiped.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use hither_proto::DeviceId;
use pem_rfc7468::LineEnding;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::SigningKey;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Label of a PKCS#8 key in PEM (RFC 7468, section 10).
const PEM_LABEL: &str = "PRIVATE KEY";
/// Longest key file that is read, bytes; a real one has about 120.
const MAX_FILE: u64 = 4096;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Others may read the key, so it may be someone else's too by now.
    #[error("{} can be read by other users (mode {mode:03o}); if you trust it, run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others may put files into the folder of the key, so they may replace it.
    #[error("{} can be written by other users (mode {mode:03o}); run: chmod 700 {}", path.display(), path.display())]
    OpenFolder {
        /// The folder of the key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not an ed25519 key in PKCS#8 PEM. It is left as it is: a new key would be another device.
    #[error("{} does not hold an ed25519 key in PKCS#8 PEM: {why}", path.display())]
    Malformed {
        /// The key file.
        path: PathBuf,
        /// The defect.
        why: &'static str,
    },
    /// The operating system refused or failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The key file or its folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The cryptographic library failed to make a key.
    #[error("a key could not be made")]
    Generate,
}

/// This device's key.
pub struct Identity {
    key: Ed25519KeyPair,
    signing: Arc<dyn SigningKey>,
    device: DeviceId,
}

impl Identity {
    /// Loads the key from the file `path`, or makes one and stores it there (mode 0600, in a folder
    /// that is created with mode 0700 when missing). An existing file that others can read is
    /// refused, not repaired: its secret may have been copied, and only the user can know.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        create_private(folder).map_err(io_error(folder))?;
        check_folder(folder)?;
        if let Some(identity) = Self::load(path)? {
            return Ok(identity);
        }
        let identity = Self::generate()?;
        identity.store(path, folder).map_err(io_error(path))?;
        // Another process may have been faster: what is in the file counts.
        Self::load(path)?.ok_or_else(|| io_error(path)(io::ErrorKind::NotFound.into()))
    }

    /// Makes a key that is kept nowhere, for tests and passing devices.
    pub fn generate() -> Result<Self, IdentityError> {
        let key = Ed25519KeyPair::generate().map_err(|_| IdentityError::Generate)?;
        let der = Zeroizing::new(pkcs8(&key)?.as_ref().to_vec());
        Self::from_der(&der).map_err(|_| IdentityError::Generate)
    }

    /// The public half: who this device is.
    pub fn device_id(&self) -> DeviceId {
        self.device
    }

    /// Signs `message` (ed25519, RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.key.sign(message).as_ref());
        signature
    }

    /// A key for one purpose, the same in every process of this device; it reveals nothing of the
    /// secret half of the device's key, nor of keys for other purposes.
    pub(crate) fn derive(&self, purpose: &str) -> Result<Zeroizing<[u8; 32]>, IdentityError> {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        let mut key = hasher.update(&*self.seed()?).finalize();
        let derived = Zeroizing::new(*key.as_bytes());
        hasher.zeroize();
        key.zeroize();
        Ok(derived)
    }

    /// The secret half itself (the seed of RFC 8032), for what the key is used for beside signing.
    pub(crate) fn seed(&self) -> Result<Zeroizing<[u8; 32]>, IdentityError> {
        let der = pkcs8(&self.key)?;
        // In PKCS#8 of version 1 the 32 bytes of the secret half come last (RFC 8410, section 7).
        der.as_ref()
            .last_chunk::<32>()
            .map(|seed| Zeroizing::new(*seed))
            .ok_or(IdentityError::Generate)
    }

    /// The key that a seed makes.
    #[cfg(test)]
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Result<Self, &'static str> {
        // PKCS#8 of version 1 (RFC 8410, section 10.3).
        const BEFORE: [u8; 16] = [
            0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
        ];
        Self::from_der(&[&BEFORE[..], seed].concat())
    }

    /// The key as TLS wants it.
    pub(crate) fn signing_key(&self) -> Arc<dyn SigningKey> {
        Arc::clone(&self.signing)
    }

    fn from_der(der: &[u8]) -> Result<Self, &'static str> {
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map_err(|_| "it is not an ed25519 key")?;
        let device = DeviceId::from_slice(key.public_key().as_ref())
            .map_err(|_| "its public half is invalid")?;
        let signing =
            rustls::crypto::aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der))
                .map_err(|_| "TLS does not take it")?;
        Ok(Self {
            key,
            signing,
            device,
        })
    }

    fn load(path: &Path) -> Result<Option<Self>, IdentityError> {
        let mut file = match open_plain(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(path)(error)),
        };
        check_file(path, &file)?;
        // Allocated once at full size: a vector that grows would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize + 1));
        Read::by_ref(&mut file)
            .take(MAX_FILE + 1)
            .read_to_end(&mut text)
            .map_err(io_error(path))?;
        let malformed = |why| IdentityError::Malformed {
            path: path.to_owned(),
            why,
        };
        if text.len() as u64 > MAX_FILE {
            return Err(malformed("it is too long"));
        }
        let (label, der) =
            pem_rfc7468::decode_vec(&text).map_err(|_| malformed("it is not PEM"))?;
        let der = Zeroizing::new(der);
        if label != PEM_LABEL {
            return Err(malformed("its PEM label is not PRIVATE KEY"));
        }
        Self::from_der(&der).map(Some).map_err(malformed)
    }

    /// Writes a temporary file, fsyncs it, and gives it its name only if nothing has that name.
    fn store(&self, path: &Path, folder: &Path) -> io::Result<()> {
        let der = pkcs8(&self.key).map_err(io::Error::other)?;
        let pem = pem_rfc7468::encode_string(PEM_LABEL, LineEnding::LF, der.as_ref());
        let pem = Zeroizing::new(pem.map_err(io::Error::other)?);
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        // A left-over of a process that had this id and was killed in the middle of this.
        let _ = std::fs::remove_file(&temporary);
        let mut file = create_new_private(&temporary)?;
        let written = file
            .write_all(pem.as_bytes())
            .and_then(|()| file.sync_all());
        // A hard link, unlike a rename, never replaces a key that another process has stored
        // meanwhile.
        let named = written.and_then(|()| match std::fs::hard_link(&temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(_) if !path.exists() => std::fs::rename(&temporary, path), /* no hard links
            * on this file
             * system */
            result => result,
        });
        let _ = std::fs::remove_file(&temporary);
        named?;
        sync_folder(folder)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// The key in PKCS#8 version 1 (RFC 5208), which every other tool reads too; wiped when dropped.
fn pkcs8(key: &Ed25519KeyPair) -> Result<Pkcs8V1Der<'static>, IdentityError> {
    AsDer::<Pkcs8V1Der<'static>>::as_der(key).map_err(|_| IdentityError::Generate)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> IdentityError + '_ {
    move |source| IdentityError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(unix)]
mod system {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};

    /// Opens a file that is not a symbolic link: whoever can place links must not choose our key.
    pub(super) fn open_plain(path: &Path) -> io::Result<File> {
        File::options()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(path)
    }

    pub(super) fn create_new_private(path: &Path) -> io::Result<File> {
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    }

    pub(super) fn create_private(folder: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
    }

    pub(super) fn check_file(path: &Path, file: &File) -> Result<(), IdentityError> {
        let metadata = file.metadata().map_err(io_error(path))?;
        let mode = metadata.mode() & 0o777;
        if !metadata.is_file() {
            return Err(IdentityError::Malformed {
                path: path.to_owned(),
                why: "it is not a file",
            });
        }
        if mode & 0o077 != 0 {
            return Err(IdentityError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        Ok(())
    }

    pub(super) fn check_folder(folder: &Path) -> Result<(), IdentityError> {
        let mode = std::fs::metadata(folder).map_err(io_error(folder))?.mode() & 0o777;
        match mode & 0o022 {
            0 => Ok(()),
            _ => Err(IdentityError::OpenFolder {
                path: folder.to_owned(),
                mode,
            }),
        }
    }

    pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

/// Elsewhere the user's profile folder keeps others out; there are no permission bits to check.
#[cfg(not(unix))]
mod system {
    use super::*;

    pub(super) fn open_plain(path: &Path) -> io::Result<File> {
        File::open(path)
    }

    pub(super) fn create_new_private(path: &Path) -> io::Result<File> {
        File::options().write(true).create_new(true).open(path)
    }

    pub(super) fn create_private(folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)
    }

    pub(super) fn check_file(_: &Path, _: &File) -> Result<(), IdentityError> {
        Ok(())
    }

    pub(super) fn check_folder(_: &Path) -> Result<(), IdentityError> {
        Ok(())
    }

    pub(super) fn sync_folder(_: &Path) -> io::Result<()> {
        Ok(())
    }
}

use system::{
    check_file, check_folder, create_new_private, create_private, open_plain, sync_folder,
};
