//! Files of the user's folders: the latest of a kind, or by name.

use super::{Found, media};
use hither_api::{ApiError, ErrorCode};
use hither_content::{OwnData, OwnSeen};
use hither_proto::{AskKind, EntryName, Which, display_name};
use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most entries that are looked at for one request.
const MAX_ENTRIES: usize = 200_000;
/// Deepest folders that are looked into.
const MAX_DEPTH: usize = 12;
/// Of so many of the latest files the time is read that stands inside them.
const LOOKED_INTO: usize = 32;

struct Candidate {
    path: PathBuf,
    name: EntryName,
    bytes: u64,
    changed_ms: u64,
}

/// The latest files of a kind that the user may choose from, the latest first, at most `most`. Blocks.
pub(in crate::asks) fn candidates(
    own: &OwnData,
    kind: AskKind,
    folders: &[PathBuf],
    most: usize,
) -> Vec<(PathBuf, u64, u64)> {
    let wanted = |name: &EntryName| media::may_be(pictured(kind), name.as_str());
    let found = search(own, folders, &wanted).into_iter().take(most);
    found
        .map(|one| (one.path, one.bytes, one.changed_ms))
        .collect()
}

/// Codes are looked for on pictures.
const fn pictured(kind: AskKind) -> AskKind {
    match kind {
        AskKind::Qr => AskKind::Photo,
        kind => kind,
    }
}

/// Every file below some folders whose name is wanted, the latest first.
fn search(own: &OwnData, roots: &[PathBuf], wanted: &dyn Fn(&EntryName) -> bool) -> Vec<Candidate> {
    let seen = own.look();
    let mut search = Search {
        own: &seen,
        wanted,
        left: MAX_ENTRIES,
        found: Vec::new(),
    };
    for root in roots {
        search.look_into(root, 0);
    }
    let mut found = search.found;
    found.sort_by_key(|one| Reverse(one.changed_ms));
    found
}

/// Finds what a request means, below `folder` where that is given. Blocks.
///
/// Errors: there is nothing of that kind or name.
pub(super) fn find(
    own: &OwnData,
    kind: AskKind,
    which: &Which,
    folders: &[PathBuf],
    folder: Option<&Path>,
) -> Result<Vec<Found>, ApiError> {
    let pattern = match which {
        Which::Named(name) => Some(glob::Pattern::new(name).map_err(|error| {
            ApiError::new(
                ErrorCode::BadRequest,
                format!("The pattern is no pattern: {error}."),
            )
        })?),
        _ => None,
    };
    let roots = match folder {
        Some(folder) => vec![folder.to_owned()],
        None => folders.to_vec(),
    };
    let kind = pictured(kind);
    let wanted = |name: &EntryName| {
        media::may_be(kind, name.as_str())
            && pattern
                .as_ref()
                .is_none_or(|pattern| pattern.matches_with(name.as_str(), RULES))
    };
    let found = search(own, &roots, &wanted);
    let latest = found
        .into_iter()
        .filter_map(|one| described(kind, one))
        .take(LOOKED_INTO)
        .max_by_key(|one| one.made_ms);
    latest.map(|one| vec![one]).ok_or_else(|| {
        ApiError::new(
            ErrorCode::NotFound,
            "There is nothing of that kind or name.",
        )
    })
}

const RULES: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: false,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

struct Search<'a> {
    own: &'a OwnSeen,
    wanted: &'a dyn Fn(&EntryName) -> bool,
    left: usize,
    found: Vec<Candidate>,
}

impl Search<'_> {
    /// Looks at everything below a folder that is no link, not hidden and not Hither's.
    fn look_into(&mut self, folder: &Path, depth: usize) {
        if depth > MAX_DEPTH || self.own.refuses_path(folder).is_some() {
            return;
        }
        let Ok(entries) = fs::read_dir(folder) else {
            return; // What cannot be read is not found.
        };
        for entry in entries.flatten() {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|name| EntryName::parse(name).ok()) else {
                continue;
            };
            if name.as_str().starts_with('.') {
                continue;
            }
            // Of the entry itself: links are not followed.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                self.look_into(&entry.path(), depth + 1);
            } else if meta.is_file() && (self.wanted)(&name) {
                self.found.push(Candidate {
                    path: entry.path(),
                    name,
                    bytes: meta.len(),
                    changed_ms: meta.modified().map(millis).unwrap_or_default(),
                });
            }
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

/// A file with what stands inside it; `None`: it only has the name of that kind.
fn described(kind: AskKind, one: Candidate) -> Option<Found> {
    let media_type = media::type_of(&one.path, one.name.as_str());
    if !media::is_of(kind, &media_type) {
        return None;
    }
    let made_ms = media::taken_ms(&one.path, &media_type).unwrap_or(one.changed_ms);
    Some(Found {
        path: one.path,
        name: one.name,
        media_type,
        bytes: one.bytes,
        made_ms,
    })
}

/// Files that the user chose. Blocks.
///
/// Errors: one is no file, cannot be read, or belongs to Hither itself.
pub(in crate::asks) fn chosen(
    own: &OwnData,
    paths: &[PathBuf],
) -> Result<super::Provided, ApiError> {
    let seen = own.look();
    let all = paths.iter().map(|path| one(path, seen.refuses_path(path)));
    all.collect::<Result<_, _>>().map(super::Provided::Files)
}

/// One file. `refused`: why it is never sent.
fn one(path: &Path, refused: Option<&'static str>) -> Result<Found, ApiError> {
    let shown = display_name(&path.to_string_lossy());
    if let Some(reason) = refused {
        let message = format!("{shown} is never sent: {reason}.");
        return Err(ApiError::new(ErrorCode::Refused, message));
    }
    let unreadable = |reason: &dyn std::fmt::Display| {
        ApiError::new(ErrorCode::Unreadable, format!("{shown}: {reason}."))
    };
    let meta = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !meta.is_file() {
        return Err(unreadable(&"it is no file"));
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name
        .and_then(|name| EntryName::parse(name).ok())
        .ok_or_else(|| unreadable(&"its name cannot be sent"))?;
    let media_type = media::type_of(path, name.as_str());
    Ok(Found {
        made_ms: media::taken_ms(path, &media_type)
            .unwrap_or_else(|| meta.modified().map(millis).unwrap_or_default()),
        path: path.to_owned(),
        name,
        media_type,
        bytes: meta.len(),
    })
}

/// A file that was made for an answer. Blocks.
///
/// Errors: it is not there.
pub(super) fn made(path: &Path) -> Result<Found, ApiError> {
    // It lies in Hither's own folder, and was made to be given.
    one(path, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(path: &Path, age_s: u64) {
        let picture = image::RgbImage::from_pixel(8, 8, image::Rgb([1, 2, 3]));
        picture
            .save_with_format(path, image::ImageFormat::Png)
            .unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age_s))
            .unwrap();
    }

    #[test]
    fn the_latest_of_a_kind_is_found_and_nothing_that_only_looks_like_it() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        fs::create_dir(&data).unwrap();
        let own = OwnData::open(&data, &[], &[]);
        let pictures = home.path().join("pictures");
        fs::create_dir_all(pictures.join("2026")).unwrap();
        png(&pictures.join("old.png"), 1000);
        png(&pictures.join("2026/new.png"), 100);
        png(&pictures.join(".hidden.png"), 1);
        fs::write(pictures.join("fake.png"), "no picture").unwrap();
        png(&home.path().join("outside.png"), 0);
        std::os::unix::fs::symlink(home.path().join("outside.png"), pictures.join("link.png"))
            .unwrap();
        std::os::unix::fs::symlink(home.path(), pictures.join("up")).unwrap();
        let folders = [pictures.clone()];
        let find = |kind, which, folder: Option<&Path>| {
            find(&own, kind, &which, &folders, folder)
                .map(|found| found[0].name.as_str().to_owned())
        };
        assert_eq!(
            find(AskKind::Photo, Which::Latest, None).unwrap(),
            "new.png"
        );
        let named = |name: &str| Which::Named(name.into());
        assert_eq!(
            find(AskKind::Photo, named("OLD*"), None).unwrap(),
            "old.png"
        );
        assert_eq!(
            find(AskKind::File, named("fake.*"), None).unwrap(),
            "fake.png"
        );
        for (kind, which) in [
            (AskKind::Video, Which::Latest),
            (AskKind::Photo, named("fake.png")),
            (AskKind::Photo, named("outside.png")),
            (AskKind::Photo, named(".hidden.png")),
        ] {
            let error = find(kind, which, None).unwrap_err();
            assert_eq!(error.code, ErrorCode::NotFound);
        }
        // An allowance for one folder finds nothing outside it.
        let inside = pictures.join("2026");
        assert!(find(AskKind::Photo, named("old.png"), Some(&inside)).is_err());
    }
}
