//! Tables that fit the terminal.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::style::Colour;

/// Width of the space between two columns.
const GAP: usize = 2;

/// Columns two spaces apart, each as wide as its widest cell; nothing after the last. The first row is the
/// heading. Where the rows are wider than `width`, each becomes a block of its own instead, one line a cell.
pub(super) fn table<const N: usize>(rows: &[[String; N]], width: Option<usize>, colour: Colour) -> String {
    let Some((heading, body)) = rows.split_first() else {
        return String::new();
    };
    let widths = widths(rows);
    let needed = widths.iter().sum::<usize>() + GAP * (N - 1);
    if width.is_some_and(|width| needed > width) {
        return blocks(heading, body, colour);
    }
    let mut text = colour.heading(line(heading, &widths)) + "\n";
    for row in body {
        text.push_str(&line(row, &widths));
        text.push('\n');
    }
    text
}

/// Columns in line without a heading, as names and what belongs to them.
pub(crate) fn facts<const N: usize>(rows: &[[String; N]]) -> String {
    let widths = widths(rows);
    rows.iter().map(|row| line(row, &widths) + "\n").collect()
}

fn widths<const N: usize>(rows: &[[String; N]]) -> [usize; N] {
    std::array::from_fn(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0))
}

fn line<const N: usize>(row: &[String; N], widths: &[usize; N]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        let filling = width.saturating_sub(cell.width()) + GAP;
        let _infallible = write!(line, "{cell}{:filling$}", "");
    }
    line.truncate(line.trim_end().len());
    line
}

/// One block a row: its first cell, and below it each other with its heading.
fn blocks<const N: usize>(heading: &[String; N], body: &[[String; N]], colour: Colour) -> String {
    let mut text = String::new();
    for row in body {
        text.push_str(&colour.heading(&row[0]));
        text.push('\n');
        let named: Vec<_> = heading
            .iter()
            .zip(row)
            .skip(1)
            .map(|(name, cell)| [format!("  {}", name.to_lowercase()), cell.clone()])
            .collect();
        text.push_str(&facts(&named));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<const N: usize>(rows: &[[&str; N]], width: Option<usize>) -> String {
        let rows: Vec<[String; N]> = rows.iter().map(|row| row.map(str::to_owned)).collect();
        table(&rows, width, Colour::none())
    }

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        assert_eq!(
            of(&[["A", "B"], ["long", ""], ["é", "x"]], None),
            "A     B\nlong\né     x\n"
        );
    }

    #[test]
    fn a_wide_character_takes_two_columns_and_a_combining_one_none() {
        assert_eq!(
            of(&[["A", "B"], ["東京", "x"], ["e\u{301}", "y"]], None),
            "A     B\n東京  x\ne\u{301}     y\n"
        );
    }

    #[test]
    fn a_table_that_is_too_wide_becomes_blocks() {
        let rows = [
            ["ACCOUNT", "LOGIN URL"],
            ["prod", "https://a"],
            ["x", "https://b"],
        ];
        assert_eq!(of(&rows, Some(18)).lines().next(), Some("ACCOUNT  LOGIN URL"));
        assert_eq!(
            of(&rows, Some(17)),
            "prod\n  login url  https://a\nx\n  login url  https://b\n"
        );
    }
}
