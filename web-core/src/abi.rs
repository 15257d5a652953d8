//! The exports of the module: one buffer in, one buffer out.
//!
//! The page asks [`hither_buffer`] for room, writes a message there, calls [`hither_handle`], and
//! reads as many bytes as that returns at [`hither_output`]. Both places are good until the next
//! call of any of these functions. The page has one thread for it.

use crate::{Core, vectors};
use std::cell::RefCell;

/// Longest message of a page, bytes: one piece of an answer, or a ticket.
const MAX_INPUT: usize = 64 << 20;

#[derive(Default)]
struct Module {
    core: Core,
    input: Vec<u8>,
    output: Vec<u8>,
}

thread_local! {
    static MODULE: RefCell<Module> = RefCell::new(Module::default());
}

/// Room for a message of `length` bytes; null when it is too long.
#[unsafe(no_mangle)]
pub extern "C" fn hither_buffer(length: usize) -> *mut u8 {
    if length > MAX_INPUT {
        return std::ptr::null_mut();
    }
    MODULE.with_borrow_mut(|module| {
        module.input.resize(length, 0);
        module.input.as_mut_ptr()
    })
}

/// Handles the message in the buffer at the time `now_ms`; returns how many bytes are to be read.
#[unsafe(no_mangle)]
pub extern "C" fn hither_handle(now_ms: f64) -> usize {
    MODULE.with_borrow_mut(|module| {
        module.output = module.core.handle(now_ms, &module.input);
        module.output.len()
    })
}

/// The place of the answer of the last call.
#[unsafe(no_mangle)]
pub extern "C" fn hither_output() -> *const u8 {
    MODULE.with_borrow(|module| module.output.as_ptr())
}

/// Computes one of the functions of SPEC.md, for the test vectors: see [`vectors::compute`]. Returns how many bytes are to be read.
#[unsafe(no_mangle)]
pub extern "C" fn hither_vector() -> usize {
    MODULE.with_borrow_mut(|module| {
        module.output = vectors::compute(&module.input).unwrap_or_default();
        module.output.len()
    })
}
