//! Lists on standard output: as columns for people, as JSON or YAML for programs.

use std::io::Write as _;

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::Value;

use crate::exit::{Exit, Failed, OrExit as _};

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// Columns.
    #[default]
    Table,
    /// A JSON array.
    Json,
    /// A YAML sequence.
    Yaml,
}

/// Prints a list. `items` is what programs get, `columns` and `rows` what people get.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(
    format: ListFormat,
    items: &Value,
    columns: &[&str],
    rows: &[Vec<String>],
) -> Result<(), Failed> {
    let text = match format {
        ListFormat::Table => table(columns, rows),
        ListFormat::Json => format!("{items:#}\n"),
        ListFormat::Yaml => serde_yaml::to_string(items).or_exit(Exit::Failure)?,
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
        .or_exit(Exit::Failure)
}

fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = columns
        .iter()
        .map(|column| column.chars().count())
        .collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head = columns.iter().map(|column| (*column).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["example".to_owned(), "200 / 200".to_owned()],
            vec!["b".to_owned(), "1 / 1".to_owned()],
        ];
        assert_eq!(
            table(&["NAME", "NODES"], &rows),
            "NAME      NODES\nexample   200 / 200\nb         1 / 1\n"
        );
        assert_eq!(table(&["NAME"], &[]), "NAME\n");
    }
}
