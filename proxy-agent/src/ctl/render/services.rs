//! Tables of Services: frontends, and backends.

use crate::{
    ctl::output::Row,
    service::render::{backends::BackendRow, services::ServiceRow},
};

impl Row for ServiceRow {
    const KIND: &'static str = "ServiceList";
    const COLUMNS: &'static [&'static str] = &[
        "SERVICE", "TYPE", "FRONTEND", "BACKENDS", "EXTERNAL", "AFFINITY",
    ];
    const WIDE: &'static [&'static str] = &["ID", "SET", "EXTERNAL-SET"];

    fn cells(&self) -> Vec<String> {
        self.columns()
    }

    fn wide(&self) -> Vec<String> {
        let ids = [self.id, self.internal.set, self.external.set];
        ids.iter().map(ToString::to_string).collect()
    }

    fn name(&self) -> String {
        self.frontend.clone()
    }
}

impl Row for BackendRow {
    const KIND: &'static str = "BackendList";
    const COLUMNS: &'static [&'static str] = &["BACKEND", "WHERE", "SERVICES"];
    const WIDE: &'static [&'static str] = &["ID"];

    fn cells(&self) -> Vec<String> {
        let place = if self.local { "here" } else { "elsewhere" };
        vec![
            self.backend.clone(),
            place.to_owned(),
            self.services.join(","),
        ]
    }

    fn wide(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }

    fn name(&self) -> String {
        self.backend.clone()
    }
}
