//! Names that could not be written as they are.

use super::count;
use hither_api::NamesInfo;
use hither_proto::display_name;

/// Most names that people are shown; all that are known are in the JSON.
const SHOWN: usize = 20;

/// Lines that show which entries are called otherwise here than in the share, and which were left
/// out.
pub fn names(names: &NamesInfo) -> Vec<String> {
    let mut lines = Vec::new();
    if names.renamed_total > 0 {
        lines.push(format!(
            "{} cannot be written here and {} changed:",
            count(names.renamed_total, "name"),
            are(names.renamed_total)
        ));
        let shown = names.renamed.iter().take(SHOWN);
        lines.extend(shown.map(|one| {
            format!(
                "  {} → {}",
                display_name(&one.path),
                display_name(&one.written)
            )
        }));
        lines.extend(more(names.renamed_total));
    }
    if names.skipped_total > 0 {
        lines.push(format!(
            "{} cannot be written here and {} left out:",
            count(names.skipped_total, "name"),
            are(names.skipped_total)
        ));
        lines.extend(
            names
                .skipped
                .iter()
                .take(SHOWN)
                .map(|path| format!("  {}", display_name(path))),
        );
        lines.extend(more(names.skipped_total));
    }
    lines
}

const fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn more(total: u64) -> Option<String> {
    let more = total.saturating_sub(SHOWN as u64);
    (more > 0).then(|| format!("  and {more} more"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_api::RenamedInfo;

    #[test]
    fn names_are_told_without_what_is_in_them() {
        let renamed = RenamedInfo {
            path: "d/a\nb\u{9b}2J".into(),
            written: "d/a%0Ab".into(),
        };
        let info = NamesInfo {
            renamed: vec![renamed],
            renamed_total: 1,
            skipped: (0..30).map(|number| format!("{number}:")).collect(),
            skipped_total: 30,
        };
        let lines = names(&info);
        assert_eq!(lines[0], "1 name cannot be written here and is changed:");
        assert_eq!(lines[1], "  d/a\u{fffd}b\u{fffd}2J → d/a%0Ab");
        assert_eq!(
            lines[2],
            "30 names cannot be written here and are left out:"
        );
        assert_eq!(
            (lines.len(), lines.last().unwrap().as_str()),
            (24, "  and 10 more")
        );
        assert!(names(&NamesInfo::default()).is_empty());
    }
}
