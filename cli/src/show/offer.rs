//! What a fetch is about to write, before the user agrees.

use super::{bytes, count, grouped};
use hither_api::ExistsInfo;
use hither_proto::display_name;

/// What is offered.
#[derive(Debug)]
pub struct Offer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is one file with no folder around it.
    pub single_file: bool,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Who shares it, as people know it.
    pub owner: &'a str,
    /// Where it would be written; absent for standard output.
    pub path: Option<&'a str>,
}

/// The offer in three lines.
pub fn offer(offer: &Offer<'_>) -> String {
    let size = bytes(offer.bytes);
    let what = if offer.single_file {
        size
    } else {
        format!("{}, {size}", count(offer.files, "file"))
    };
    let target = offer.path.map_or("standard output".into(), display_name);
    format!(
        "{} ({what})\n  from {}\n  to   {target}",
        display_name(offer.name),
        display_name(offer.owner)
    )
}

/// The things that are there already under names of a share.
pub fn exists(exists: &ExistsInfo, single_file: bool) -> String {
    if single_file {
        return "A file of that name is there, with another content.".into();
    }
    match exists.taken {
        0 => "A folder of that name is there, without any of its files.".into(),
        taken if taken == exists.of => {
            "All of its files are there, and not all are the same.".into()
        }
        taken => format!(
            "{} of its {} are there already.",
            grouped(taken),
            count(exists.of, "file")
        ),
    }
}

/// Returns what stays where a later version has something else.
pub fn conflict(path: &str, copy: Option<&str>) -> String {
    let path = display_name(path);
    match copy {
        Some(copy) => {
            let name = copy.rsplit('/').next().unwrap_or(copy);
            format!(
                "{path} is not what was fetched and stays as it is; the new one is beside it: {}",
                display_name(name)
            )
        }
        None => format!("{path} is not what was fetched and stays as it is."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_cannot_rewrite_the_question() {
        let text = offer(&Offer {
            name: "a\u{1b}[1A\nb",
            single_file: false,
            files: 2,
            bytes: 1000,
            owner: "lap\rtop",
            path: Some("/x"),
        });
        assert_eq!(
            text,
            "a\u{fffd}[1A\u{fffd}b (2 files, 1 kB)\n  from lap\u{fffd}top\n  to   /x"
        );
    }
}
