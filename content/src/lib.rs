//! Bytes to encrypted chunks and back: cutting, encryption, manifests, and the chunk store on disk.

pub mod storage;
