//! Which share or transfer the user means: by id, by name, or by the beginning of its id.

use hither_api::{ApiError, ErrorCode, ShareInfo, TransferInfo};
use hither_proto::display_name;
use std::path::{Path, PathBuf};

/// Fewest characters of an id that are shown.
const SHORT: usize = 8;

/// Something that has an id and a name.
pub trait Named {
    /// What it is called in messages.
    const WHAT: &'static str;
    /// The command that lists them.
    const LIST: &'static str;
    /// Its id.
    fn id(&self) -> &str;
    /// Its name.
    fn name(&self) -> &str;
}

impl Named for ShareInfo {
    const WHAT: &'static str = "share";
    const LIST: &'static str = "hither list";
    fn id(&self) -> &str {
        &self.share
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for TransferInfo {
    const WHAT: &'static str = "transfer";
    const LIST: &'static str = "hither transfers";
    fn id(&self) -> &str {
        &self.transfer
    }
    fn name(&self) -> &str {
        &self.name
    }
}

/// The one that `wanted` means.
pub fn pick<'a, T: Named>(all: &'a [T], wanted: &str) -> Result<&'a T, ApiError> {
    if let Some(exact) = all.iter().find(|one| one.id() == wanted) {
        return Ok(exact);
    }
    let named: Vec<&T> = all.iter().filter(|one| one.name() == wanted).collect();
    let found = if named.is_empty() && !wanted.is_empty() {
        all.iter()
            .filter(|one| one.id().starts_with(wanted))
            .collect()
    } else {
        named
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(ApiError::new(
            ErrorCode::NotFound,
            format!("There is no {} \"{}\".", T::WHAT, display_name(wanted)),
        )
        .with_hint(format!("See them all with: {}", T::LIST))),
        several => {
            let length = id_length(all);
            let ids: Vec<&str> = several.iter().map(|one| short(one.id(), length)).collect();
            let message = format!(
                "\"{}\" could be several {}s: {}.",
                display_name(wanted),
                T::WHAT,
                ids.join(", ")
            );
            Err(
                ApiError::new(ErrorCode::BadRequest, message).with_hint(format!(
                    "Give the id instead. See them all with: {}",
                    T::LIST
                )),
            )
        }
    }
}

/// The share that `wanted` means: as [`pick`] says, or by the path that it is at, however that is
/// spelled.
pub fn pick_share<'a>(shares: &'a [ShareInfo], wanted: &str) -> Result<&'a ShareInfo, ApiError> {
    let picked = pick(shares, wanted);
    if picked
        .as_ref()
        .is_ok_and(|share| !wanted.contains('/') || share.share == wanted)
    {
        return picked;
    }
    let Some(path) = resolved(Path::new(wanted)) else {
        return picked;
    };
    let at: Vec<&ShareInfo> = shares
        .iter()
        .filter(|share| share.more_paths.is_empty() && Path::new(&share.path) == path)
        .collect();
    match at.as_slice() {
        [] => picked,
        [one] => Ok(one),
        several => {
            let length = id_length(shares);
            let ids: Vec<&str> = several
                .iter()
                .map(|one| short(&one.share, length))
                .collect();
            let message = format!(
                "{} is shared several times: {}.",
                display_name(wanted),
                ids.join(", ")
            );
            Err(ApiError::new(ErrorCode::BadRequest, message)
                .with_hint("Give the id instead. See them all with: hither list"))
        }
    }
}

/// Returns what a path leads to; of something that is gone, the folder that it was in is looked at.
fn resolved(path: &Path) -> Option<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Some(path);
    }
    let name = path.file_name()?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let folder = folder
        .canonicalize()
        .or_else(|_| std::path::absolute(folder))
        .ok()?;
    Some(folder.join(name))
}

/// How many characters of the ids tell all of them apart.
pub fn id_length<T: Named>(all: &[T]) -> usize {
    let longest = all.iter().map(|one| one.id().len()).max().unwrap_or(SHORT);
    (SHORT..longest)
        .find(|length| {
            let mut ids: Vec<&str> = all.iter().map(|one| short(one.id(), *length)).collect();
            ids.sort_unstable();
            ids.windows(2).all(|pair| pair[0] != pair[1])
        })
        .unwrap_or(longest)
}

/// The first `length` characters of an id.
pub fn short(id: &str, length: usize) -> &str {
    id.get(..length).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Thing(&'static str, &'static str);

    impl Named for Thing {
        const WHAT: &'static str = "thing";
        const LIST: &'static str = "hither things";
        fn id(&self) -> &str {
            self.0
        }
        fn name(&self) -> &str {
            self.1
        }
    }

    const ALL: [Thing; 3] = [
        Thing("0011223344", "photos"),
        Thing("0011223355", "film"),
        Thing("ffee", "film"),
    ];

    #[test]
    fn ids_names_and_beginnings_are_understood() {
        assert_eq!(pick(&ALL, "0011223355").unwrap().1, "film");
        assert_eq!(pick(&ALL, "photos").unwrap().0, "0011223344");
        assert_eq!(pick(&ALL, "ff").unwrap().0, "ffee");
    }

    #[test]
    fn what_is_ambiguous_or_missing_is_said() {
        let ambiguous = pick(&ALL, "film").unwrap_err();
        assert_eq!(ambiguous.code, ErrorCode::BadRequest);
        assert!(
            ambiguous.message.contains("001122335, ffee"),
            "{}",
            ambiguous.message
        );
        assert_eq!(pick(&ALL, "0011").unwrap_err().code, ErrorCode::BadRequest);
        assert_eq!(
            pick(&ALL, "x\u{1b}").unwrap_err().message,
            "There is no thing \"x\u{fffd}\"."
        );
        assert_eq!(pick(&ALL, "").unwrap_err().code, ErrorCode::NotFound);
    }

    #[test]
    fn shown_ids_are_unique() {
        assert_eq!(id_length(&ALL), 9);
        assert_eq!(id_length(&ALL[..1]), SHORT);
        assert_eq!(id_length::<Thing>(&[]), SHORT);
    }
}
