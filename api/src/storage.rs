//! The engines that keep the daemon's metadata on disk.

/// An engine of the metadata store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StorageEngine {
    /// redb: the default, because it keeps its word when the power goes.
    #[default]
    Redb,
    /// sled.
    Sled,
}

impl StorageEngine {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Sled => "sled",
        }
    }

    /// The engine of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Redb, Self::Sled]
            .into_iter()
            .find(|engine| engine.name() == name)
    }
}
