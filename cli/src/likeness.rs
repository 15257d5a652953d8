//! Words that look like a path: a mistyped name must not arrive as a text.

/// Endings of files that people send, in lower case. Whoever means a text that looks so says
/// `--text`.
const ENDINGS: &[&str] = &[
    "7z", "aac", "apk", "avi", "bmp", "bz2", "c", "cfg", "conf", "cpp", "css", "csv", "db", "deb",
    "diff", "dmg", "doc", "docx", "epub", "exe", "flac", "gif", "go", "gpx", "gz", "h", "heic",
    "htm", "html", "ics", "img", "ini", "iso", "java", "jpeg", "jpg", "js", "json", "key", "log",
    "m4a", "md", "mkv", "mov", "mp3", "mp4", "odp", "ods", "odt", "ogg", "opus", "patch", "pdf",
    "pem", "pkg", "png", "ppt", "pptx", "pub", "py", "rar", "raw", "rpm", "rs", "rtf", "sh", "sql",
    "svg", "tar", "tgz", "tif", "tiff", "toml", "ts", "txt", "vcf", "wav", "webm", "webp", "xls",
    "xlsx", "xml", "xz", "yaml", "yml", "zip", "zst",
];

/// Returns whether these words, none of which is there as a file, look like paths. Several words are a
/// sentence unless one of them begins as only paths do; a word alone is a path where it has a `/`
/// or the ending of a file.
pub fn like_paths(words: &[&str]) -> bool {
    match words {
        [word] => begins_as_path(word) || is_path_alone(word),
        words => words.iter().any(|word| begins_as_path(word)),
    }
}

fn begins_as_path(word: &str) -> bool {
    let begins = ["./", "../", "~/"]
        .iter()
        .any(|start| word.starts_with(start))
        || (word.starts_with('/') && word[1..].contains('/'));
    begins && !word.contains(char::is_whitespace)
}

fn is_path_alone(word: &str) -> bool {
    // A sentence, an address of the web or of mail, a date or a fraction.
    let is_other = word.contains(char::is_whitespace)
        || word.contains(':')
        || word.contains('@')
        || word.contains('?')
        || word.chars().all(|c| !c.is_alphabetic());
    if is_other {
        return false;
    }
    match word.split_once('/') {
        // An address of the web whose beginning was left out.
        Some((host, _)) if host.contains('.') => ends_as_file(word),
        Some(_) => true,
        None => ends_as_file(word),
    }
}

fn ends_as_file(word: &str) -> bool {
    let Some((stem, ending)) = word.rsplit_once('.') else {
        return false;
    };
    !stem.is_empty() && !stem.ends_with('.') && ENDINGS.contains(&ending.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_path_is_one() {
        let paths: &[&[&str]] = &[
            &["./mistyped"],
            &["../x"],
            &["~/x"],
            &["/home/me/film.mkv"],
            &["photos/2026"],
            &["/tmp"],
            &["notes.txt"],
            &["Film.MKV"],
            &["backup.tar.gz"],
            &["see", "./mistyped"],
        ];
        for words in paths {
            assert!(like_paths(words), "{words:?}");
        }
    }

    #[test]
    fn what_people_write_is_a_text() {
        let texts: &[&[&str]] = &[
            &["hello"],
            &["hello", "you"],
            &["and/or", "/shrug"],
            &["https://example.org/a.txt"],
            &["https://example.org/x?y=1"],
            &["mailto:anna@example.org"],
            &["anna@example.md"],
            &["example.org"],
            &["www.example.com"],
            &["example.org/x"],
            &["30/11/2026"],
            &["1/2"],
            &["192.168.0.1"],
            &["3.14"],
            &["Yes."],
            &["wait..."],
            &["e.g."],
            &["the file is notes.txt"],
            &["look", "at", "notes.txt"],
            &["\u{1F44D}"],
            &[""],
        ];
        for words in texts {
            assert!(!like_paths(words), "{words:?}");
        }
    }

    #[test]
    fn the_endings_are_in_order_and_each_once() {
        assert!(ENDINGS.is_sorted_by(|a, b| a < b));
    }
}
