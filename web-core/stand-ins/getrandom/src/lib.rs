//! The interface of getrandom 0.2, as far as ring uses it.
//!
//! In a browser the bytes come from `crypto.getRandomValues`, which the page gives to the module as
//! the imported function `hither.random`; natively they come from the system.

use core::fmt;

/// The random source failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the random source failed")
    }
}

#[cfg(feature = "std")]
impl std::error::Error for Error {}

/// Fills `bytes` with random bytes that are fit for keys; fails when the source does.
pub fn getrandom(bytes: &mut [u8]) -> Result<(), Error> {
    fill(bytes)
}

#[cfg(target_arch = "wasm32")]
fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    #[link(wasm_import_module = "hither")]
    unsafe extern "C" {
        /// Fills `length` bytes from `to` on; returns 0, or anything else when there is no random source.
        fn random(to: *mut u8, length: usize) -> i32;
    }
    // SAFETY: the slice is valid for writes of its length, and the page writes nothing else.
    match unsafe { random(bytes.as_mut_ptr(), bytes.len()) } {
        0 => Ok(()),
        _ => Err(Error),
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    system::fill(bytes).map_err(|_| Error)
}
