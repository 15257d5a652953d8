//! hitherd: the loop around the engine.
