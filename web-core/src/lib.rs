//! Hither in a browser: what a page needs to read a share, without sockets, clocks or threads.
pub mod tls;
