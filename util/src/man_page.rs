//! Manual pages, as clap's generator makes them, put into shape.

/// The suffix of a manual page of a command.
const SECTION: &str = ".1";

/// Puts the pages of a program in a folder into shape: those whose names begin with its name.
///
/// Errors: they cannot be read or written.
pub fn shape(folder: &std::path::Path, program: &str) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(program) && name.ends_with(SECTION) {
            let page = std::fs::read_to_string(&path)?;
            std::fs::write(&path, with_examples(&page))?;
        }
    }
    Ok(())
}

/// The page with its examples as they were written, line by line, under a heading of their own.
pub fn with_examples(page: &str) -> String {
    let mut lines = Vec::new();
    let mut as_written = false;
    for line in page.lines() {
        if as_written && line.starts_with(".SH") {
            lines.push(".fi");
            as_written = false;
        }
        match line {
            ".SH EXTRA" => {
                lines.extend([".SH EXAMPLES", ".nf"]);
                as_written = true;
            }
            // The heading says it.
            "Examples:" if as_written => {}
            ".PP" if as_written => lines.push(""),
            _ => lines.push(line),
        }
    }
    if as_written {
        lines.push(".fi");
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_stay_line_by_line() {
        let page = ".SH OPTIONS\nx\n.SH EXTRA\nExamples:\n  hither up   start\n  hither up   again\n.PP\nProse.\n.SH VERSION\nv1\n";
        assert_eq!(
            with_examples(page),
            ".SH OPTIONS\nx\n.SH EXAMPLES\n.nf\n  hither up   start\n  hither up   again\n\nProse.\n.fi\n.SH VERSION\nv1\n"
        );
    }
}
