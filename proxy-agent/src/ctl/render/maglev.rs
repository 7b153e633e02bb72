//! `dump maglev` as a table.

use crate::{ctl::output::Row, service::render::maglev::MaglevRow};

impl Row for MaglevRow {
    const KIND: &'static str = "MaglevList";
    const COLUMNS: &'static [&'static str] = &["SERVICE", "BACKEND", "PLACES", "OF", "USED"];
    const WIDE: &'static [&'static str] = &["SET"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.service.clone(),
            self.backend.clone(),
            self.places.to_string(),
            self.size.to_string(),
            if self.used { "yes" } else { "no" }.to_owned(),
        ]
    }

    fn wide(&self) -> Vec<String> {
        vec![self.set.to_string()]
    }

    fn name(&self) -> String {
        format!("{}/{}", self.service, self.backend)
    }
}
