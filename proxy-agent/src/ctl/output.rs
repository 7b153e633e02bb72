//! How rows are printed: as a table for people, as JSON or YAML for programs, as names for scripts.

mod stream;

use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;

use crate::{api::messages::List, config::API_VERSION};

pub use stream::Stream;

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people
    #[default]
    Table,
    /// More columns
    Wide,
    /// One versioned object
    Json,
    /// The same as YAML
    Yaml,
    /// One name per line
    Name,
}

/// A row that can be printed in every format.
pub trait Row: Serialize {
    /// `kind` of the list.
    const KIND: &'static str;
    /// Heads of the columns; new ones are added at the end.
    const COLUMNS: &'static [&'static str];
    /// Heads of the further columns of `-o wide`.
    const WIDE: &'static [&'static str];

    /// The cells, as many as `COLUMNS`.
    fn cells(&self) -> Vec<String>;
    /// The further cells, as many as `WIDE`.
    fn wide(&self) -> Vec<String> {
        Vec::new()
    }
    /// What identifies the row.
    fn name(&self) -> String;
}

/// An object as programs get it: they can rely on what its version says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versioned<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    object: &'a T,
}

impl<'a, T> Versioned<'a, T> {
    const fn new(kind: &'static str, object: &'a T) -> Self {
        Self {
            api_version: API_VERSION,
            kind,
            object,
        }
    }
}

/// Where output goes, and its format.
pub struct Output {
    /// The format.
    pub format: Format,
    to: Box<dyn Write>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// To standard output.
    pub fn stdout(format: Format) -> Self {
        Self::new(format, BufWriter::new(io::stdout()))
    }

    /// To anywhere.
    pub fn new(format: Format, to: impl Write + 'static) -> Self {
        Self {
            format,
            to: Box::new(to),
        }
    }

    /// Prints rows, which the caller has sorted.
    pub fn rows<T: Row>(&mut self, rows: Vec<T>) -> io::Result<()> {
        render(self.format, rows, &mut self.to)
    }

    /// Prints one object of this kind; a person gets `text`.
    pub fn object(
        &mut self,
        kind: &'static str,
        object: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.format {
            Format::Json => json(&Versioned::new(kind, object), &mut self.to),
            Format::Yaml => yaml(&Versioned::new(kind, object), &mut self.to),
            Format::Table | Format::Wide | Format::Name => text(&mut self.to),
        }
    }
}

impl Output {
    /// Prints one of many objects of this kind: JSON in one line, YAML as a document of its own. A person gets `text`.
    pub fn document(
        &mut self,
        kind: &'static str,
        object: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.format {
            Format::Json => {
                serde_json::to_writer(&mut self.to, &Versioned::new(kind, object))?;
                writeln!(self.to)
            }
            Format::Yaml => {
                writeln!(self.to, "---")?;
                yaml(&Versioned::new(kind, object), &mut self.to)
            }
            Format::Table | Format::Wide | Format::Name => text(&mut self.to),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Prints rows in a format.
pub fn render<T: Row>(format: Format, rows: Vec<T>, to: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Json => json(&List::new(T::KIND, rows), to),
        Format::Yaml => yaml(&List::new(T::KIND, rows), to),
        Format::Name => rows
            .iter()
            .try_for_each(|row| writeln!(to, "{}", row.name())),
        Format::Table => columns(T::COLUMNS, rows.iter().map(T::cells), to),
        Format::Wide => {
            let heads = [T::COLUMNS, T::WIDE].concat();
            let cells = rows.iter().map(|row| [row.cells(), row.wide()].concat());
            columns(&heads, cells, to)
        }
    }
}

/// Prints columns as kubectl does: upper-case heads, three spaces between columns, no lines.
pub fn columns(
    heads: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    to: &mut impl Write,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(heads.iter().copied());
    table.add_rows(rows.map(|cells| cells.into_iter().map(dash)));
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    for line in table.lines() {
        writeln!(to, "{}", line.trim_end())?;
    }
    Ok(())
}

/// An empty cell would shift the columns for `awk`.
fn dash(cell: String) -> String {
    if cell.is_empty() {
        "-".to_owned()
    } else {
        cell
    }
}

fn json(object: &impl Serialize, to: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *to, object)?;
    writeln!(to)
}

fn yaml(object: &impl Serialize, to: &mut impl Write) -> io::Result<()> {
    let text = serde_saphyr::to_string(object).map_err(io::Error::other)?;
    to.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::{Format, Row, render};

    #[derive(Serialize)]
    struct Fruit {
        name: &'static str,
        colour: &'static str,
        stones: u32,
    }

    impl Row for Fruit {
        const KIND: &'static str = "FruitList";
        const COLUMNS: &'static [&'static str] = &["NAME", "COLOUR"];
        const WIDE: &'static [&'static str] = &["STONES"];

        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), self.colour.to_owned()]
        }

        fn wide(&self) -> Vec<String> {
            vec![self.stones.to_string()]
        }

        fn name(&self) -> String {
            self.name.to_owned()
        }
    }

    fn fruit(format: Format) -> String {
        let rows = vec![
            Fruit {
                name: "plum",
                colour: "",
                stones: 1,
            },
            Fruit {
                name: "strawberry",
                colour: "red",
                stones: 0,
            },
        ];
        let mut text = Vec::new();
        render(format, rows, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_format() {
        assert_eq!(
            fruit(Format::Table),
            "NAME         COLOUR\nplum         -\nstrawberry   red\n"
        );
        assert_eq!(
            fruit(Format::Wide),
            "NAME         COLOUR   STONES\nplum         -        1\nstrawberry   red      0\n"
        );
        assert_eq!(fruit(Format::Name), "plum\nstrawberry\n");
        assert_eq!(
            fruit(Format::Yaml),
            "apiVersion: weir.dev/v1alpha1\nkind: FruitList\nitems:\n- name: plum\n  colour: \"\"\n  stones: 1\n- name: strawberry\n  colour: red\n  stones: 0\n"
        );
        assert!(
            fruit(Format::Json).starts_with("{\n  \"apiVersion\": \"weir.dev/v1alpha1\",\n  \"kind\": \"FruitList\",\n  \"items\": [\n    {\n      \"name\": \"plum\","),
            "{}",
            fruit(Format::Json)
        );
    }
}
