//! What two looks have found, by Service port, pod or reason: for a screen as a table, for programs as an object.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use serde::Serialize;

use super::{
    By, count,
    order::arrange,
    rows::{self, DropRate, PodRate, Rate, ServiceRate},
    sample::{Known, Sample},
    view::View,
};
use crate::{
    api::messages::Names,
    ctl::{
        output::{Format, Output, render},
        watch,
    },
};

/// Two looks, and what their numbers stand for.
#[derive(Debug)]
pub struct Looks<'a> {
    /// The former.
    pub before: &'a Sample,
    /// The latter.
    pub after: &'a Sample,
    /// Names of Services and pods.
    pub names: &'a Names,
    /// Backends.
    pub known: &'a Known,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Heads of the columns.
    pub heads: Vec<&'static str>,
    /// Rows that the filter lets pass, sorted.
    pub cells: Vec<Vec<String>>,
    /// How many rows there are, with those that it does not.
    pub all: usize,
}

/// What programs get: one object for each interval.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rates<'a, T> {
    time: String,
    seconds: f64,
    items: &'a [T],
}

impl Looks<'_> {
    /// The time between them.
    pub fn over(&self) -> Duration {
        self.after.at.saturating_sub(self.before.at)
    }

    fn services(&self) -> Vec<ServiceRate> {
        let counts = count::by_service(self.before, self.after, &self.known.users);
        rows::services(counts, self.names, self.over())
    }

    fn pods(&self) -> Vec<PodRate> {
        let counts = count::by_pod(self.before, self.after);
        rows::pods(counts, self.names, self.over())
    }

    fn drops(&self) -> Vec<DropRate> {
        let counts = count::by_reason(self.before, self.after);
        rows::drops(counts, self.over())
    }

    /// As a table, with the further columns of `-o wide` if they are wanted.
    pub fn sheet(&self, view: &View, wide: bool) -> Sheet {
        match view.by {
            By::Service => sheet(self.services(), view, wide),
            By::Pod => sheet(self.pods(), view, wide),
            By::Drop => sheet(self.drops(), view, wide),
        }
    }

    /// Prints them; tables are parted by an empty line.
    pub fn print(&self, view: &View, is_first: bool, out: &mut Output) -> io::Result<()> {
        if !is_first && matches!(out.format, Format::Table | Format::Wide) {
            writeln!(out)?;
        }
        match view.by {
            By::Service => self.list(self.services(), view, out),
            By::Pod => self.list(self.pods(), view, out),
            By::Drop => self.list(self.drops(), view, out),
        }
    }

    fn list<T: Rate>(&self, rows: Vec<T>, view: &View, out: &mut Output) -> io::Result<()> {
        let rows = arrange(rows, &view.filter, view.order());
        let format = out.format;
        if !matches!(format, Format::Json | Format::Yaml) {
            return render(format, rows, out);
        }
        let rates = Rates {
            time: watch::time(),
            seconds: self.over().as_secs_f64(),
            items: &rows,
        };
        out.document(T::KIND, &rates, |_| Ok(()))
    }
}

fn sheet<T: Rate>(rows: Vec<T>, view: &View, wide: bool) -> Sheet {
    let all = rows.len();
    let rows = arrange(rows, &view.filter, view.order());
    let further = if wide { T::WIDE } else { &[] };
    let cells = rows.iter().map(|row| {
        let further = if wide { row.wide() } else { Vec::new() };
        [row.cells(), further].concat()
    });
    Sheet {
        heads: [T::COLUMNS, further].concat(),
        cells: cells.collect(),
        all,
    }
}
