//! Every metric of the agent.

use proxy_agent::api::metrics::{SERIES, Series};

use super::{Document, code, table};

const HEAD: &str = "\
Agents serve these on `/metrics` (port 10249; [how Prometheus reaches it](../install.md#prometheus)). Series with kube-proxy's names mean what \
they mean there. Of a histogram Prometheus asks for the name with `_bucket`, `_sum` or `_count` behind it. A counter of drops by \
reason: [drop reasons](drop-reasons.md).

";

pub(super) fn page() -> Document {
    let build = vec![
        "`weir_build_info`".to_owned(),
        "info".to_owned(),
        "`version`, `revision`, `rustc`".to_owned(),
        "What was built".to_owned(),
    ];
    let rows = SERIES.iter().map(row).chain([build]);
    let text = table(&["metric", "kind", "labels", "what it says"], rows);
    Document::page("metrics", "Metrics", &format!("{HEAD}{text}"))
}

fn row(series: &Series) -> Vec<String> {
    let labels: Vec<String> = series.labels.iter().map(|label| code(label)).collect();
    vec![
        code(&series.full_name()),
        series.kind.word().to_owned(),
        labels.join(", "),
        series.help.to_owned(),
    ]
}
