//! The part of a share that is wanted, from what the user typed.
//!
//! A path names a file or a folder with all that is in it; what has `*`, `?` or `[` in it and is no
//! path there is a pattern. A pattern with `/` is compared with paths, one without with names in
//! every folder.

use glob::{MatchOptions, Pattern};
use hither_api::{ApiError, ErrorCode};
use hither_content::{Selection, each_path};
use hither_proto::{Manifest, display_name};
use std::collections::HashMap;

/// Most paths and patterns of one request.
pub(crate) const MAX_PATHS: usize = 1000;
/// Longest of them, bytes: as long as paths are on Linux.
const MAX_PATH: usize = 4096;

const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Refuses what no share can have; the content is compared when it is known.
pub(crate) fn check(paths: &[String]) -> Result<(), ApiError> {
    let wrong = |why: String| Err(ApiError::new(ErrorCode::BadRequest, why));
    if paths.len() > MAX_PATHS {
        return wrong(format!("More than {MAX_PATHS} paths were given."));
    }
    for path in paths {
        let shown = display_name(path);
        if path.len() > MAX_PATH {
            return wrong(format!("A path is longer than {MAX_PATH} bytes."));
        }
        if tidy(path).split('/').any(|name| name == "..") {
            return wrong(format!("\"{shown}\" leads out of the share."));
        }
        if let (true, Err(error)) = (is_pattern(path), Pattern::new(path)) {
            return wrong(format!("\"{shown}\" is no pattern: {error}."));
        }
    }
    Ok(())
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// A path without what adds nothing: `./` before it, `/` around it.
fn tidy(path: &str) -> &str {
    let path = path.trim_matches('/');
    path.strip_prefix("./").unwrap_or(path).trim_matches('/')
}

/// The meaning of one path.
enum Wanted<'a> {
    Path(&'a str),
    Names(Pattern),
    Paths(Pattern),
}

impl Wanted<'_> {
    fn is(&self, path: &str) -> bool {
        match self {
            Self::Path(wanted) => *wanted == path,
            Self::Names(pattern) => {
                let name = path.rsplit('/').next().unwrap_or(path);
                !path.is_empty() && pattern.matches_with(name, MATCHING)
            }
            Self::Paths(pattern) => pattern.matches_with(path, MATCHING),
        }
    }
}

/// The entries that the paths name. Fails when one names nothing, unless the version is a `later`
/// one of a share that is followed.
pub(super) fn select(
    manifest: &Manifest,
    paths: &[String],
    later: bool,
) -> Result<Selection, ApiError> {
    if paths.is_empty() {
        return Ok(Selection::default());
    }
    let top = manifest.name().as_str();
    let mut there: HashMap<&str, bool> = paths
        .iter()
        .flat_map(|path| [Some(tidy(path)), below_top(path, top)])
        .flatten()
        .map(|path| (path, false))
        .collect();
    each_path(manifest, |_, _, path| {
        if let Some(found) = there.get_mut(path) {
            *found = true;
        }
    });
    let exists = |path: &str| there.get(path).copied().unwrap_or(false);
    let wanted: Vec<Wanted<'_>> = paths
        .iter()
        .map(|path| match below_top(path, top) {
            _ if exists(tidy(path)) => Wanted::Path(tidy(path)),
            Some(below) if exists(below) => Wanted::Path(below),
            _ => match Pattern::new(tidy(path)) {
                Ok(pattern) if is_pattern(path) && path.contains('/') => Wanted::Paths(pattern),
                Ok(pattern) if is_pattern(path) => Wanted::Names(pattern),
                _ => Wanted::Path(tidy(path)),
            },
        })
        .collect();
    // Each is looked for everywhere, also below what another one chose.
    let mut found = vec![false; wanted.len()];
    each_path(manifest, |_, _, path| {
        for (found, _) in found.iter_mut().zip(&wanted).filter(|(_, w)| w.is(path)) {
            *found = true;
        }
    });
    if let Some(missing) = found.iter().position(|found| !*found)
        && !later
    {
        let (path, share) = (display_name(&paths[missing]), manifest.name());
        let message = format!("There is no \"{path}\" in {share}.");
        return Err(ApiError::new(ErrorCode::NotFound, message)
            .with_hint("See what is in it with: hither fetch … --list"));
    }
    Ok(Selection::new(manifest, |_, path| {
        wanted.iter().any(|wanted| wanted.is(path))
    }))
}

/// A path that begins with the name of the share, below that; the share alone is everything.
fn below_top<'a>(path: &'a str, top: &str) -> Option<&'a str> {
    let rest = tidy(path).strip_prefix(top)?;
    match rest.strip_prefix('/') {
        Some(below) => Some(below),
        None => rest.is_empty().then_some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::{ChunkId, ChunkKey, ChunkRecord, ManifestBuilder};

    fn manifest() -> Manifest {
        let mut builder = ManifestBuilder::new(65_536).unwrap();
        builder.folder(0, "photos", 0o755, 0).unwrap();
        builder.folder(1, "2024", 0o755, 0).unwrap();
        builder.file(2, "a.jpg", 0o644, 0, 10).unwrap();
        builder.file(2, "b.raw", 0o644, 0, 10).unwrap();
        builder.file(1, "[x].jpg", 0o644, 0, 10).unwrap();
        builder.file(1, "c.jpg", 0o644, 0, 10).unwrap();
        let chunk = ChunkRecord {
            id: ChunkId::new([0; 32]),
            key: ChunkKey::new([0; 32]),
            length: 40,
        };
        builder.finish(vec![chunk]).unwrap()
    }

    fn chosen(paths: &[&str]) -> Result<Vec<u32>, String> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        check(&paths).map_err(|error| error.message)?;
        let selection = select(&manifest(), &paths, false).map_err(|error| error.message)?;
        Ok((1..6).filter(|entry| selection.has(*entry)).collect())
    }

    #[test]
    fn a_path_is_one_however_it_is_spelled() {
        for path in [
            "2024",
            "2024/",
            "./2024",
            "/2024",
            "photos/2024",
            "photos/2024/",
        ] {
            assert_eq!(chosen(&[path]), Ok(vec![1, 2, 3]), "{path}");
        }
        assert_eq!(chosen(&["2024/a.jpg", "c.jpg"]), Ok(vec![1, 2, 5]));
        assert_eq!(chosen(&["photos"]), Ok(vec![1, 2, 3, 4, 5]));
        assert_eq!(chosen(&["2024", "2024/a.jpg"]), Ok(vec![1, 2, 3]));
        assert_eq!(chosen(&["[x].jpg"]), Ok(vec![4]), "a name before a pattern");
    }

    #[test]
    fn patterns_are_for_names_or_for_paths() {
        assert_eq!(chosen(&["*.jpg"]), Ok(vec![1, 2, 4, 5]));
        assert_eq!(chosen(&["2024/*.jpg"]), Ok(vec![1, 2]));
        assert_eq!(chosen(&["**/*.raw"]), Ok(vec![1, 3]));
        assert_eq!(chosen(&["20??"]), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn what_is_not_there_or_leads_out_is_refused() {
        let said = |paths: &[&str]| chosen(paths).unwrap_err();
        assert_eq!(
            said(&["c.jpg", "d.jpg"]),
            "There is no \"d.jpg\" in photos."
        );
        assert_eq!(said(&["*.png"]), "There is no \"*.png\" in photos.");
        assert_eq!(said(&["../x"]), "\"../x\" leads out of the share.");
        assert!(said(&["a[.jpg"]).starts_with("\"a[.jpg\" is no pattern"));
        let later = select(&manifest(), &["gone".to_owned()], true).unwrap();
        assert_eq!(later.size(&manifest()), (0, 0));
    }
}
