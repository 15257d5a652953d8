//! The hither command line.
