//! The folder that a fetch writes into.

use crate::failure::{self, shown};
use hither_api::{ApiError, ErrorCode};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A folder that exists, and the folders that were made for it.
#[derive(Debug)]
pub struct Target {
    folder: PathBuf,
    made: Vec<PathBuf>,
    file_name: Option<String>,
}

impl Target {
    /// The folder at `path` (the current one when absent), made when it is missing.
    pub fn open(path: Option<&Path>) -> Result<Self, ApiError> {
        let folder = std::path::absolute(path.unwrap_or(Path::new("."))).map_err(|error| {
            failure::io(ErrorCode::NotWritable, "The current folder is gone", &error)
        })?;
        if folder.to_str().is_none() {
            let message = format!("The folder's path is not UTF-8: {}.", shown(&folder));
            return Err(ApiError::new(ErrorCode::NotWritable, message));
        }
        let names_file = path.is_some_and(|path| !ends_with_slash(path)) && is_file_name(&folder);
        let (folder, file_name) = match (names_file, folder.parent(), folder.file_name()) {
            (true, Some(above), Some(name)) => (above.to_owned(), name.to_str().map(str::to_owned)),
            _ => (folder, None),
        };
        if folder.exists() && !folder.is_dir() {
            let message = format!("{} is not a folder.", shown(&folder));
            return Err(ApiError::new(ErrorCode::NotWritable, message)
                .with_hint("-o takes a folder, or a name in one."));
        }
        let made = folder
            .ancestors()
            .take_while(|f| !f.exists())
            .map(Path::to_owned)
            .collect();
        let failed = |error: &std::io::Error| {
            let full = matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded
            );
            let code = if full {
                ErrorCode::NoSpace
            } else {
                ErrorCode::NotWritable
            };
            failure::io(code, shown(&folder), error)
        };
        std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
        // The file system says which folder that is, here, where the words were said: however it is
        // spelled, it is one.
        let folder = folder.canonicalize().map_err(|error| failed(&error))?;
        if folder.to_str().is_none() {
            let message = format!("The folder's path is not UTF-8: {}.", shown(&folder));
            return Err(ApiError::new(ErrorCode::NotWritable, message));
        }
        Ok(Self {
            folder,
            made,
            file_name,
        })
    }

    /// Its path, absolute and without links.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name that a single file gets in the folder, when it is not its own.
    pub fn file_name(&self) -> Option<String> {
        self.file_name.clone()
    }

    /// Removes the folders that were made, as far as they are still empty.
    pub fn undo(&self) {
        for folder in &self.made {
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .last()
        .is_some_and(|last| std::path::is_separator(char::from(*last)))
}

/// Returns whether a path names a file and no folder to write into: there is a file, or nothing and
/// the name has an ending as files have.
fn is_file_name(path: &Path) -> bool {
    match path.metadata() {
        Ok(there) => !there.is_dir(),
        Err(_) => path.extension().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_folders_are_made_and_removed_again_only_while_empty() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("a/b");
        let target = Target::open(Some(&deep)).unwrap();
        assert!(deep.is_dir() && target.folder() == deep.canonicalize().unwrap());
        target.undo();
        assert!(!home.path().join("a").exists() && home.path().exists());

        let target = Target::open(Some(&deep)).unwrap();
        std::fs::write(home.path().join("a/kept"), "").unwrap();
        target.undo();
        assert!(!deep.exists() && home.path().join("a/kept").exists());
    }

    #[cfg(unix)]
    #[test]
    fn every_spelling_of_a_folder_is_the_same_one() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        std::fs::create_dir_all(home.join("deep/inner")).unwrap();
        std::fs::create_dir(home.join("s")).unwrap();
        std::os::unix::fs::symlink(home.join("deep/inner"), home.join("link")).unwrap();
        let open = |path: &str| {
            Target::open(Some(&home.join(path)))
                .unwrap()
                .folder()
                .to_owned()
        };
        for spelled in [
            "deep/inner",
            "link",
            "link/",
            "link/.",
            "deep/../deep//inner",
            "s/../link",
        ] {
            assert_eq!(open(spelled), home.join("deep/inner"), "{spelled}");
        }
        // ".." after a link is where the file system says, not one word less.
        assert_eq!(open("link/../made"), home.join("deep/made"));
        assert!(!home.join("made").exists());
    }

    #[test]
    fn a_name_with_an_ending_is_that_of_a_file() {
        let home = tempfile::tempdir().unwrap();
        let top = home.path().canonicalize().unwrap();
        std::fs::write(top.join("file"), "").unwrap();
        std::fs::create_dir(top.join("v1.2")).unwrap();
        let open = |path: &str| {
            let target = Target::open(Some(&top.join(path))).unwrap();
            (target.folder().to_owned(), target.file_name())
        };
        assert_eq!(open("file"), (top.clone(), Some("file".into())));
        assert_eq!(open("new.txt"), (top.clone(), Some("new.txt".into())));
        assert_eq!(open("a/new.txt"), (top.join("a"), Some("new.txt".into())));
        assert_eq!(
            open("v1.2"),
            (top.join("v1.2"), None),
            "a folder that exists"
        );
        assert_eq!(
            open("new.d/"),
            (top.join("new.d"), None),
            "said to be a folder"
        );
        assert_eq!(open("plain"), (top.join("plain"), None));
        assert_eq!(open(".hidden"), (top.join(".hidden"), None));
        let below = Target::open(Some(&top.join("file/x"))).unwrap_err();
        assert_eq!(below.code, ErrorCode::NotWritable);
    }
}
