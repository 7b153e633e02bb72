//! Rows that come one by one, for ever: in columns that widen, as a JSON object a line, as YAML documents.

use std::io::{self, Write};

use super::{Format, Output, Row, dash};

/// Prints rows as they come.
#[derive(Debug)]
pub struct Stream<'a> {
    out: &'a mut Output,
    widths: Vec<usize>,
}

impl<'a> Stream<'a> {
    /// To where output goes, in its format.
    pub const fn new(out: &'a mut Output) -> Self {
        Self {
            out,
            widths: Vec::new(),
        }
    }

    /// Prints the heads of the columns, if there are any.
    pub fn begin<T: Row>(&mut self) -> io::Result<()> {
        let heads = match self.out.format {
            Format::Table => T::COLUMNS.to_vec(),
            Format::Wide => [T::COLUMNS, T::WIDE].concat(),
            Format::Json | Format::Yaml | Format::Name => return Ok(()),
        };
        self.cells(heads.into_iter().map(str::to_owned).collect())?;
        self.flush()
    }

    /// Prints a row.
    pub fn row<T: Row>(&mut self, row: &T) -> io::Result<()> {
        match self.out.format {
            Format::Json | Format::Yaml => self.out.document(T::KIND, row, |_| Ok(())),
            Format::Name => writeln!(self.out, "{}", row.name()),
            Format::Table => self.cells(row.cells()),
            Format::Wide => self.cells([row.cells(), row.wide()].concat()),
        }
    }

    /// Each column is as wide as its widest cell so far.
    fn cells(&mut self, cells: Vec<String>) -> io::Result<()> {
        self.widths.resize(cells.len(), 0);
        let wide = cells.into_iter().map(dash).zip(&mut self.widths);
        let padded: Vec<String> = wide
            .map(|(cell, width)| {
                *width = cell.chars().count().max(*width);
                format!("{cell:<0$}", *width)
            })
            .collect();
        writeln!(self.out, "{}", padded.join("   ").trim_end())
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use serde::Serialize;

    use super::{Format, Output, Row, Stream};

    #[derive(Serialize)]
    struct Fruit {
        name: &'static str,
        colour: &'static str,
    }

    fn fruit(name: &'static str, colour: &'static str) -> Fruit {
        Fruit { name, colour }
    }

    impl Row for Fruit {
        const KIND: &'static str = "Fruit";
        const COLUMNS: &'static [&'static str] = &["NAME", "COLOUR"];
        const WIDE: &'static [&'static str] = &["LETTERS"];

        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), self.colour.to_owned()]
        }

        fn wide(&self) -> Vec<String> {
            vec![self.name.len().to_string()]
        }

        fn name(&self) -> String {
            self.name.to_owned()
        }
    }

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn text(format: Format) -> String {
        let page = Page::default();
        let mut out = Output::new(format, page.clone());
        let mut stream = Stream::new(&mut out);
        stream.begin::<Fruit>().unwrap();
        for fruit in [
            fruit("plum", ""),
            fruit("strawberry", "red"),
            fruit("lime", "green"),
        ] {
            stream.row(&fruit).unwrap();
        }
        let text = page.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn each_row_is_whole_in_every_format() {
        assert_eq!(
            text(Format::Table),
            "NAME   COLOUR\nplum   -\nstrawberry   red\nlime         green\n"
        );
        assert_eq!(
            text(Format::Wide),
            "NAME   COLOUR   LETTERS\nplum   -        4\nstrawberry   red      10\nlime         green    4\n"
        );
        assert_eq!(text(Format::Name), "plum\nstrawberry\nlime\n");
        let head = r#"{"apiVersion":"weir.dev/v1alpha1","kind":"Fruit","#;
        let json = text(Format::Json);
        let rows = ["plum", "strawberry", "lime"].map(|name| format!("{head}\"name\":\"{name}\""));
        assert_eq!(json.lines().count(), rows.len());
        for (line, row) in json.lines().zip(&rows) {
            assert!(line.starts_with(row), "{line}");
        }
        let yaml = text(Format::Yaml);
        let head = "---\napiVersion: weir.dev/v1alpha1\nkind: Fruit\nname: plum\n";
        assert!(yaml.starts_with(head), "{yaml}");
    }
}
