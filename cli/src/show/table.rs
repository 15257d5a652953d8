//! Tables that fit the terminal.

use console::{measure_text_width, truncate_str};

/// Blanks between two columns.
const GAP: usize = 2;
/// Narrowest a flexible column gets.
const MIN: usize = 10;

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    align: Align,
    flexible: bool,
    optional: bool,
    sparse: bool,
}

impl Column {
    /// A column that always shows all of its text.
    pub const fn new(title: &'static str, align: Align) -> Self {
        Self {
            title,
            align,
            flexible: false,
            optional: false,
            sparse: false,
        }
    }

    /// Its text is cut when there is not enough room.
    pub const fn flexible(self) -> Self {
        Self {
            flexible: true,
            ..self
        }
    }

    /// It is left out when there is not enough room even so.
    pub const fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    /// It is left out when no row has a text in it.
    pub const fn sparse(self) -> Self {
        Self {
            sparse: true,
            ..self
        }
    }
}

/// Rows under titles.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row of one text per column.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Its lines, the titles first, at most `width` columns wide where that is possible.
    pub fn lines(mut self, width: usize) -> Vec<String> {
        self.drop_empty();
        while self.least() > width && self.drop_column() {}
        let widths = self.widths(width);
        let titles = self
            .columns
            .iter()
            .map(|column| column.title.to_owned())
            .collect();
        std::iter::once(&titles)
            .chain(&self.rows)
            .map(|row| self.line(row, &widths))
            .collect()
    }

    fn natural(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let widest = cells
            .map(|cell| measure_text_width(cell))
            .max()
            .unwrap_or_default();
        widest.max(measure_text_width(self.columns[column].title))
    }

    fn total(widths: &[usize]) -> usize {
        widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
    }

    /// Width with every flexible column as narrow as it gets.
    fn least(&self) -> usize {
        let least = |i: usize| {
            let natural = self.natural(i);
            if self.columns[i].flexible {
                natural.min(MIN)
            } else {
                natural
            }
        };
        Self::total(&(0..self.columns.len()).map(least).collect::<Vec<_>>())
    }

    /// Leaves out the last optional column.
    fn drop_column(&mut self) -> bool {
        let Some(last) = self.columns.iter().rposition(|column| column.optional) else {
            return false;
        };
        self.remove(last);
        true
    }

    /// Leaves out the sparse columns without any text.
    fn drop_empty(&mut self) {
        for index in (0..self.columns.len()).rev() {
            let empty = |row: &Vec<String>| row.get(index).is_none_or(String::is_empty);
            if self.columns[index].sparse && self.rows.iter().all(empty) {
                self.remove(index);
            }
        }
    }

    fn remove(&mut self, column: usize) {
        self.columns.remove(column);
        for row in &mut self.rows {
            row.remove(column);
        }
    }

    /// Widths that fit: the widest flexible column gives way first.
    fn widths(&self, width: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len()).map(|i| self.natural(i)).collect();
        while Self::total(&widths) > width {
            let flexible =
                (0..widths.len()).filter(|i| self.columns[*i].flexible && widths[*i] > MIN);
            match flexible.max_by_key(|i| widths[*i]) {
                Some(widest) => widths[widest] -= 1,
                None => break,
            }
        }
        widths
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let cells = row
            .iter()
            .zip(&self.columns)
            .zip(widths)
            .map(|((cell, column), width)| {
                let cell = truncate_str(cell, *width, "…");
                let blanks = " ".repeat(width.saturating_sub(measure_text_width(&cell)));
                match column.align {
                    Align::Left => format!("{cell}{blanks}"),
                    Align::Right => format!("{blanks}{cell}"),
                }
            });
        cells
            .collect::<Vec<_>>()
            .join(&" ".repeat(GAP))
            .trim_end()
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::new("NAME", Align::Left).flexible(),
        Column::new("SIZE", Align::Right),
        Column::new("PATH", Align::Left).flexible().optional(),
    ];

    fn table() -> Table {
        let mut table = Table::new(&COLUMNS);
        table.row(["a".into(), "1 B".into(), "/x".into()]);
        table.row([
            "写真 of a long holiday".into(),
            "1.2 GB".into(),
            "/home/u/holiday".into(),
        ]);
        table
    }

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        assert_eq!(
            table().lines(usize::MAX),
            [
                "NAME                      SIZE  PATH",
                "a                          1 B  /x",
                "写真 of a long holiday  1.2 GB  /home/u/holiday",
            ]
        );
    }

    #[test]
    fn long_names_are_cut_then_columns_left_out() {
        let lines = table().lines(40);
        assert_eq!(lines[2], "写真 of a long…  1.2 GB  /home/u/holiday");
        assert!(lines.iter().all(|line| measure_text_width(line) <= 40));
        let lines = table().lines(20);
        assert_eq!(
            lines,
            [
                "NAME            SIZE",
                "a                1 B",
                "写真 of a l…  1.2 GB"
            ]
        );
    }

    #[test]
    fn a_sparse_column_needs_a_text() {
        let columns = [
            Column::new("NAME", Align::Left),
            Column::new("COST", Align::Right).sparse(),
        ];
        let lines = |cost: &str| {
            let mut table = Table::new(&columns);
            table.row(["a".into(), String::new()]);
            table.row(["b".into(), cost.into()]);
            table.lines(80)
        };
        assert_eq!(lines(""), ["NAME", "a", "b"]);
        assert_eq!(lines("0.07"), ["NAME  COST", "a", "b     0.07"]);
    }
}
