//! `proxyctl cni log`: what the plugin said on this node, read from its file. Needs no agent.

use cni_plugin::{
    log::{self, Entry},
    paths::Paths,
};
use jiff::Timestamp;
use serde::Serialize;

use super::ROOT_HINT;
use crate::ctl::{
    Context, CtlError, Exit,
    args::CniLogArgs,
    live,
    output::{Format, Output, Row},
};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogRow {
    /// When, by the calendar of then.
    time: String,
    /// What the runtime asked for.
    verb: String,
    /// Namespace and name of the pod, if the runtime said.
    pod: String,
    /// The container.
    container: String,
    /// Its interface.
    interface: String,
    /// What was said.
    text: String,
}

impl Row for LogRow {
    const KIND: &'static str = "CniLog";
    const COLUMNS: &'static [&'static str] = &["TIME", "VERB", "POD", "TEXT"];
    const WIDE: &'static [&'static str] = &["CONTAINER", "INTERFACE"];

    fn cells(&self) -> Vec<String> {
        [&self.time, &self.verb, &self.pod, &self.text]
            .map(String::clone)
            .into()
    }

    fn wide(&self) -> Vec<String> {
        vec![self.container.clone(), self.interface.clone()]
    }

    fn name(&self) -> String {
        format!("{} {}", self.time, self.text)
    }
}

impl From<Entry> for LogRow {
    fn from(entry: Entry) -> Self {
        let at = i64::try_from(entry.at).unwrap_or(i64::MAX);
        Self {
            time: Timestamp::from_millisecond(at)
                .map_or_else(|_| at.to_string(), |t| t.to_string()),
            verb: entry.verb,
            pod: entry.pod,
            container: entry.container_id,
            interface: entry.ifname,
            text: entry.text,
        }
    }
}

/// Prints the newest entries, oldest first.
pub(super) fn run(
    context: &Context,
    args: &CniLogArgs,
    out: &mut Output,
) -> Result<Exit, CtlError> {
    let path = Paths::new(&context.common.run_dir).log();
    let entries = log::read(&path).map_err(|error| {
        CtlError::new(
            Exit::Failed,
            format!("read {}: {error}", path.display()),
            ROOT_HINT,
        )
    })?;
    let rows = newest(entries, args);
    // As kubectl's "No resources found": for people, who read tables.
    if rows.is_empty() && matches!(out.format, Format::Table | Format::Wide) {
        let of = args
            .pod
            .as_ref()
            .map_or_else(String::new, |pod| format!(" of pod {pod}"));
        live::note(&format!(
            "nothing is kept{of} in {}: the plugin only says what fails or is odd",
            path.display()
        ));
    }
    out.rows(rows)?;
    Ok(Exit::Ok)
}

fn newest(mut entries: Vec<Entry>, args: &CniLogArgs) -> Vec<LogRow> {
    if let Some(pod) = &args.pod {
        entries.retain(|entry| entry.pod == *pod);
    }
    let from = entries.len().saturating_sub(args.lines);
    entries.drain(from..).map(LogRow::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_pod_are_shown() {
        let entries = (0..9).map(|n| Entry {
            at: 1_700_000_000_000 + n,
            pod: if n % 2 == 0 { "ns/a" } else { "ns/b" }.into(),
            text: n.to_string(),
            ..Entry::default()
        });
        let args = CniLogArgs {
            lines: 2,
            pod: Some("ns/a".into()),
        };
        let rows = newest(entries.collect(), &args);
        let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
        assert_eq!(texts, ["6", "8"]);
        assert_eq!(rows[0].time, "2023-11-14T22:13:20.006Z");
    }
}
