//! One manifest: documents, lists, and the line of what is wrong with them.

use std::path::{Path, PathBuf};

use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery, networking::v1 as networking},
    serde::{Deserialize, de::DeserializeOwned},
};
use serde_json::Value;

use crate::observe::{Converted, convert::Convert, intern::Interner};

/// A manifest that cannot be parsed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {reason}", path.display())]
pub(super) struct ManifestError {
    /// The file.
    pub(super) path: PathBuf,
    /// Line in it, from 1.
    pub(super) line: u64,
    /// What is wrong.
    pub(super) reason: String,
}

/// Kind of an object, and its items if it is a list.
#[derive(Deserialize)]
#[serde(crate = "k8s_openapi::serde")]
struct Head {
    #[serde(default)]
    kind: String,
    metadata: Option<Metadata>,
    items: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(crate = "k8s_openapi::serde")]
struct Metadata {
    name: Option<String>,
}

/// Line within a document, from 1, and what is wrong there.
type Wrong = (u64, String);

/// Parses all documents of a manifest.
pub(super) fn parse(
    path: &Path,
    text: &str,
    interner: &Interner,
) -> Result<Vec<Converted>, ManifestError> {
    let json = path.extension().is_some_and(|e| e == "json");
    let mut objects = Vec::new();
    for (first_line, document) in documents(text) {
        let read = if json {
            read(document, interner, &Json, &mut objects)
        } else {
            read(document, interner, &Yaml, &mut objects)
        };
        read.map_err(|(line, reason)| ManifestError {
            path: path.to_owned(),
            line: first_line + line.max(1) - 1,
            reason,
        })?;
    }
    Ok(objects)
}

/// The documents of a text with their first lines. A line that starts with `---` ends a document even within
/// a block scalar (YAML 1.2, 9.1.2).
fn documents(text: &str) -> Vec<(u64, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        let rest = content.strip_prefix("---");
        if rest.is_some_and(|r| r.is_empty() || r.starts_with(char::is_whitespace)) {
            documents.push((start_line, &text[start..at]));
            (start, start_line) = (at + content.len(), line + 1);
        }
        at += content.len();
    }
    documents.push((start_line, &text[start..]));
    let empty = |d: &str| {
        d.lines()
            .all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
    };
    documents.retain(|(_, d)| !empty(d));
    documents
}

/// A text format; the methods are generic, so that it is passed as a value.
trait FromText {
    fn read<T: DeserializeOwned>(&self, text: &str) -> Result<T, Wrong>;
}

struct Yaml;
struct Json;

impl FromText for Yaml {
    fn read<T: DeserializeOwned>(&self, text: &str) -> Result<T, Wrong> {
        serde_saphyr::from_str(text).map_err(|error| {
            let line = error.location().map_or(1, |l| l.line());
            let reason = error.to_string();
            (line, reason.lines().next().unwrap_or_default().to_owned())
        })
    }
}

impl FromText for Json {
    fn read<T: DeserializeOwned>(&self, text: &str) -> Result<T, Wrong> {
        serde_json::from_str(text).map_err(|error| (error.line() as u64, error.to_string()))
    }
}

fn read(
    text: &str,
    interner: &Interner,
    format: &impl FromText,
    objects: &mut Vec<Converted>,
) -> Result<(), Wrong> {
    let head: Head = format.read(text)?;
    if let Some(items) = head.items {
        for (i, item) in items.iter().enumerate() {
            read_item(item, interner, objects).map_err(|e| (1, format!("items[{i}]: {e}")))?;
        }
        return Ok(());
    }
    if head.kind.is_empty() {
        return Err((1, "kind is missing".into()));
    }
    let named = head
        .metadata
        .and_then(|m| m.name)
        .is_some_and(|n| !n.is_empty());
    if observed(&head.kind) && !named {
        return Err((1, format!("{}: metadata.name is missing", head.kind)));
    }
    let typed = Typed { interner, objects };
    match head.kind.as_str() {
        "Service" => typed.add(format.read::<core::Service>(text)?),
        "EndpointSlice" => typed.add(format.read::<discovery::EndpointSlice>(text)?),
        "Pod" => typed.add(format.read::<core::Pod>(text)?),
        "Namespace" => typed.add(format.read::<core::Namespace>(text)?),
        "NetworkPolicy" => typed.add(format.read::<networking::NetworkPolicy>(text)?),
        "Node" => typed.add(format.read::<core::Node>(text)?),
        _ => {} // Deployments and the like are no business of ours.
    }
    Ok(())
}

/// An item of a list; those of typed lists (`ServiceList`) need not repeat their kind, but kubectl's do.
fn read_item(
    item: &Value,
    interner: &Interner,
    objects: &mut Vec<Converted>,
) -> Result<(), String> {
    let text = item.to_string();
    read(&text, interner, &Json, objects).map_err(|(_, reason)| reason)
}

fn observed(kind: &str) -> bool {
    crate::model::Kind::ALL
        .iter()
        .any(|k| k.to_string() == kind)
}

struct Typed<'a> {
    interner: &'a Interner,
    objects: &'a mut Vec<Converted>,
}

impl Typed<'_> {
    fn add(self, object: impl Convert) {
        self.objects.extend(object.convert(self.interner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(file: &str, text: &str) -> Result<Vec<String>, String> {
        let objects = parse(Path::new(file), text, &Interner::new(""));
        let objects = objects.map_err(|e| e.to_string())?;
        Ok(objects
            .iter()
            .map(|o| format!("{} {}", o.kind, o.name))
            .collect())
    }

    const SERVICE: &str =
        "kind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n  clusterIP: 10.96.0.1\n";

    #[test]
    fn documents_and_lists() {
        let text = format!(
            "# comment\n---\n{SERVICE}--- # next\nkind: Deployment\n---\nkind: List\nitems:\n\
             - {{kind: Namespace, metadata: {{name: shop}}}}\n- {{kind: Node, metadata: {{name: a}}}}\n---\n"
        );
        assert_eq!(
            names("a.yaml", &text).unwrap(),
            ["Service shop/web", "Namespace shop", "Node a"]
        );
    }

    #[test]
    fn json() {
        let text = r#"{"kind": "List", "items": [{"kind": "Pod", "metadata": {"name": "p"}}]}"#;
        assert_eq!(names("a.json", text).unwrap(), ["Pod default/p"]);
        let error = names("a.json", "{\n\"kind\": \"Pod\",\n}").unwrap_err();
        assert!(error.starts_with("a.json:3: "), "{error}");
    }

    #[test]
    fn errors_name_file_and_line() {
        let error = names(
            "a.yaml",
            &format!("{SERVICE}---\nkind: Pod\n  metadata: [\n"),
        );
        let error = error.unwrap_err();
        assert!(
            error.starts_with("a.yaml:6: ") || error.starts_with("a.yaml:7: "),
            "{error}"
        );
        let wrong_type = "kind: Service\nmetadata:\n  name: web\nspec:\n  ports: {}\n";
        let error = names("a.yaml", wrong_type).unwrap_err();
        assert!(error.starts_with("a.yaml:5: "), "{error}");
        let unnamed = "---\nkind: Service\nmetadata: {}\n";
        let error = names("a.yaml", unnamed).unwrap_err();
        assert_eq!(error, "a.yaml:2: Service: metadata.name is missing");
    }

    #[test]
    fn every_kind_can_be_read() {
        let text = "
kind: Service
metadata: {name: web}
spec: {type: NodePort, clusterIPs: [10.96.0.1], ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]}
---
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}, nodeName: a}]
---
kind: Pod
metadata: {name: p, creationTimestamp: 2026-11-21T04:00:00Z}
spec:
  containers: [{name: c, image: i, ports: [{name: http, containerPort: 80}], resources: {limits: {cpu: 1}}}]
status: {podIPs: [{ip: 10.0.0.1}]}
---
kind: NetworkPolicy
metadata: {name: p}
spec: {podSelector: {}, ingress: [{ports: [{port: 80}, {port: http}]}]}
---
kind: Node
metadata: {name: a}
spec: {podCIDRs: [10.0.0.0/24]}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
";
        assert_eq!(names("a.yaml", text).unwrap().len(), 5);
    }
}
