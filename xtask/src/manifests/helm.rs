//! What Helm makes of the chart.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::cache::KUBERNETES;
use crate::tools::go;
use crate::{paths, run};

/// The chart.
pub(super) const CHART: &str = "deploy/chart";
/// An API server for what is only rendered (RFC 5737).
pub(super) const API_SERVER: &str = "config.clientConnection.apiServers={https://192.0.2.1:6443}";
/// Precedes each document with its template.
const SOURCE: &str = "---\n# Source: weir/templates/";

/// The objects of one template.
#[derive(Clone, PartialEq)]
pub(super) struct Rendered {
    /// `rbac.yaml`.
    pub(super) template: String,
    /// YAML, its documents divided by `---`.
    pub(super) text: String,
}

/// Renders the chart with these values (`NAME=VALUE`); templates in the order in which Helm would apply them.
pub(super) fn template(values: &[String]) -> Result<Vec<Rendered>> {
    let mut helm = Command::new(go::HELM.ensure()?);
    helm.current_dir(paths::root());
    helm.args(["template", "weir", CHART, "--namespace=kube-system"]);
    helm.args(["--kube-version", KUBERNETES]);
    for value in values {
        helm.args(["--set", value]);
    }
    split(&run::output(&mut helm)?)
}

fn split(output: &str) -> Result<Vec<Rendered>> {
    let mut all: Vec<Rendered> = Vec::new();
    let mut documents = output.split(SOURCE);
    let before = documents.next().unwrap_or_default();
    ensure!(before.trim().is_empty(), "helm begins with {before}");
    for document in documents {
        let (template, text) = document.split_once('\n').unwrap_or((document, ""));
        let text = text.trim_end();
        match all.iter_mut().find(|known| known.template == template) {
            Some(known) => known.text.extend(["---\n", text, "\n"]),
            None => all.push(Rendered {
                template: template.to_owned(),
                text: format!("{text}\n"),
            }),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn documents_are_gathered_by_template() {
        let output = "---\n# Source: weir/templates/a.yaml\nkind: A\n---\n# Source: weir/templates/b.yaml\n# why\nkind: B\n\
                      ---\n# Source: weir/templates/a.yaml\nkind: C\n";
        let found: Vec<_> = split(output)
            .unwrap()
            .into_iter()
            .map(|one| (one.template, one.text))
            .collect();
        assert_eq!(
            found,
            [
                ("a.yaml".to_owned(), "kind: A\n---\nkind: C\n".to_owned()),
                ("b.yaml".to_owned(), "# why\nkind: B\n".to_owned()),
            ]
        );
        assert!(split("Error").is_err());
    }
}
