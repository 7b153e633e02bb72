//! `dump sources` as a table.

use crate::{ctl::output::Row, service::render::sources::SourceRow};

impl Row for SourceRow {
    const KIND: &'static str = "SourceList";
    const COLUMNS: &'static [&'static str] = &["SERVICE", "RANGE"];
    const WIDE: &'static [&'static str] = &["ID"];

    fn cells(&self) -> Vec<String> {
        vec![self.service.clone(), self.range.to_string()]
    }

    fn wide(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }

    fn name(&self) -> String {
        format!("{}/{}", self.service, self.range)
    }
}
