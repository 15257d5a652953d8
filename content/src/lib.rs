//! Bytes to encrypted chunks and back: cutting, encryption, manifests, and the chunk store on disk.
//!
//! Sharing: [`import()`] turns a path into a manifest, [`seal_version`] makes what the owner signs.
//! Serving: a [`Holding`] encrypts chunks out of the user's own files when they are asked for.
//! Fetching: [`ManifestFile`] collects the manifest, a [`FetchTarget`] collects the files.
//! [`ChunkMap`] remembers which chunks this device has where.
//!
//! Invariants: everything is synchronous and may block on the disk; nothing from outside is trusted
//! before it is verified; no symlink inside a share or a target is ever followed; no second copy of
//! a file is kept.

mod access;
mod before;
mod beneath;
mod chunk_map;
mod clock;
mod crypt;
mod cut;
mod examine;
mod folders;
mod handles;
mod holding;
mod import;
mod import_error;
mod layout;
mod listing;
mod manifest_file;
mod names;
mod notes;
mod open_files;
mod own;
mod partial;
mod patterns;
mod place;
mod platform;
mod reading;
mod reuse;
mod root;
mod sealing;
mod selection;
mod stamp;
mod stamp_clock;
pub mod storage;
mod target;
mod trash;
mod tree;
#[cfg(test)]
mod vectors;
mod version;

pub use before::Before;
pub use beneath::{Beneath, BeneathEntry, BeneathError, BeneathKind};
pub use chunk_map::{ChunkMap, HoldingNumber, Located};
pub use clock::{KeptClock, read_clocks};
pub use crypt::{
    Damaged, DomainSecret, OpenRootError, SealError, open_chunk, open_root, seal_chunk,
    verify_chunk,
};
pub use cut::{LARGE_FILE, SMALL_AVERAGE, average_for};
pub use examine::{Affected, Findings};
pub use handles::Handles;
pub use holding::{Holding, ReadChunkError};
pub use import::{
    ImportError, ImportOptions, ImportPhase, ImportProgress, Imported, Previous, Unreadable,
    import, import_at, import_parts,
};
pub use layout::{Extent, Extents, Layout};
pub use manifest_file::{ManifestFile, ManifestFileError, verify_root};
pub use names::{NameRules, Names, NamesError, Naming, Renamed, unescape, written_name};
pub use notes::{MAX_NOTES, Note, Notes};
pub use open_files::{open_files_limit, raise_open_files, share_of_limit};
pub use own::{OwnData, OwnSeen};
pub use partial::{PARTIAL_SUFFIX, PartialRef, PartialRefError, is_partial_name};
pub use patterns::{MAX_PATTERN, MAX_PATTERNS, PatternError, Patterns};
pub use place::{Parts, Place};
pub use root::{FolderId, RootError, RootId, check_mounts, check_roots, folders_above};
pub use selection::{Selection, each_path};
pub use stamp::{FileStamp, Stamps, StampsError};
pub use stamp_clock::StampClock;
pub use target::{
    CopyError, FetchTarget, FinishError, Finished, IfExists, Kept, Others, PrepareError, Present,
    TargetOptions, WriteError, target_name,
};
pub use trash::{TRASH, Trashed, is_trash_name, trashed};
pub use version::{SealVersionError, SealedVersion, VersionInputs, seal_version};
