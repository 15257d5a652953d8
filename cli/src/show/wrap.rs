//! Prose in lines of a given width.

use console::measure_text_width;

/// Breaks text between words into lines of at most `width` columns; the first begins with `first`,
/// all others with blanks of the same width. A word longer than a line stands alone on its own.
pub fn wrap(first: &str, text: &str, width: usize) -> String {
    let indent = " ".repeat(measure_text_width(first));
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && measure_text_width(&line) + 1 + measure_text_width(word) > width {
            lines.push(std::mem::replace(&mut line, indent.clone()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_hang_under_the_first_word() {
        assert_eq!(
            wrap("- ", "one two three four", 11),
            "- one two\n  three\n  four"
        );
        assert_eq!(wrap("", "verylongword x", 5), "verylongword\nx");
        assert_eq!(wrap("a ", "", 5), "a ");
    }
}
