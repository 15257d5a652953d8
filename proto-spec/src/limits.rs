//! Every bound of the protocol in one place. A value beyond its bound is refused by the parser that meets it.

/// Version of the link protocol spoken by this build ([`crate::wire::Open::protocol`]).
pub const PROTOCOL: u32 = 1;
/// Longest frame accepted before the other side has proven that it may talk to us, bytes.
pub const MAX_FRAME_UNPROVEN: usize = 1024;
/// Longest frame accepted afterwards, bytes (an announcement of a badly fragmented million-chunk share fits).
pub const MAX_FRAME: usize = 1024 * 1024;
/// Longest plaintext chunk, bytes: four times the largest average (4 MiB).
pub const MAX_CHUNK: u32 = 16 * 1024 * 1024;
/// What AES-256-GCM adds to a chunk, bytes.
pub const CHUNK_TAG: u32 = 16;
/// Longest encrypted root, bytes.
pub const MAX_ROOT: u32 = 4 * 1024 * 1024;
/// Longest plaintext manifest, bytes.
pub const MAX_MANIFEST: u64 = 512 * 1024 * 1024;
/// Most entries (files, folders, symlinks) in one share.
pub const MAX_ENTRIES: u64 = 4_000_000;
/// Most data chunks in one share.
pub const MAX_CHUNKS: u64 = 4_194_304;
/// Largest share, plaintext bytes (64 TiB).
pub const MAX_SHARE: u64 = 1 << 46;
/// Deepest nesting of folders in a share.
pub const MAX_DEPTH: u32 = 128;
/// Longest name of one entry, bytes (what Linux, macOS and Windows file systems take).
pub const MAX_NAME: usize = 255;
/// Longest symlink target, bytes.
pub const MAX_TARGET: usize = 4095;
/// Most ranges in one want, announcement or delta.
pub const MAX_RANGES: usize = 65_536;
/// Most positions one want may name.
pub const MAX_WANT: u32 = 65_536;
/// Longest device name, bytes.
pub const MAX_DEVICE_NAME: usize = 64;
/// Most address hints in a ticket.
pub const MAX_HINTS: usize = 8;
/// Longest ticket, characters.
pub const MAX_TICKET: usize = 600;
