//! `values.yaml`: the values with their comments, `# -- (type) what it says`, as helm-docs reads them.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{helm::CHART, read};

/// Begins the comment of a value.
const BEGIN: &str = "# -- (";

/// A value that is explained.
#[derive(Debug, PartialEq)]
pub(super) struct Explained {
    /// `image.tag`.
    pub(super) path: String,
    /// What it must be: `bool`, `list of object`, `A or B`.
    pub(super) word: String,
    /// What it says.
    pub(super) doc: String,
    /// What it is unless told.
    pub(super) default: Value,
}

/// All of them in their order.
pub(super) fn read_from(text: &str) -> Result<Vec<Explained>> {
    let tree: Value = serde_saphyr::from_str(text).context("cannot read values.yaml")?;
    let mut found = Vec::new();
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut comment: Option<(String, String)> = None;
    for line in text.lines() {
        let words = line.trim_start();
        if let Some(begun) = words.strip_prefix(BEGIN) {
            let (word, doc) = begun.split_once(") ").context("a comment has no type")?;
            comment = Some((word.to_owned(), doc.to_owned()));
        } else if let Some(more) = words.strip_prefix("# ") {
            if let Some((_, doc)) = &mut comment {
                doc.extend([" ", more]);
            }
        } else if let Some((name, _)) = key(words) {
            let indent = line.len() - words.len();
            parents.retain(|(before, _)| *before < indent);
            parents.push((indent, name.to_owned()));
            let Some((word, doc)) = comment.take() else {
                continue;
            };
            let names: Vec<&str> = parents.iter().map(|(_, name)| name.as_str()).collect();
            let default = tree.pointer(&format!("/{}", names.join("/")));
            found.push(Explained {
                default: default.cloned().context("a value is not where it is")?,
                path: names.join("."),
                word,
                doc,
            });
        }
    }
    covered(&tree, "", &found)?;
    Ok(found)
}

/// Those of the chart.
pub(super) fn chart() -> Result<Vec<Explained>> {
    read_from(&read(&format!("{CHART}/values.yaml"))?)
}

/// `name: ...`, if a line begins so.
fn key(words: &str) -> Option<(&str, &str)> {
    let (name, rest) = words.split_once(':')?;
    let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric());
    (plain && !name.is_empty() && (rest.is_empty() || rest.starts_with(' ')))
        .then_some((name, rest))
}

/// Fails for a value that nobody explains.
fn covered(tree: &Value, path: &str, found: &[Explained]) -> Result<()> {
    if found.iter().any(|one| one.path == path) {
        return Ok(());
    }
    let Some(parts) = tree.as_object() else {
        bail!("values.yaml does not explain {path}");
    };
    for (name, part) in parts {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        covered(part, &path, found)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_comments() {
        let text = "# Head.\n\n# -- (string) What\n# it is.\nname: x\nimage:\n  # -- (object) More.\n  more:\n    a: 1\n";
        let found = read_from(text).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|one| (one.path.as_str(), one.word.as_str(), one.doc.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("name", "string", "What it is."),
                ("image.more", "object", "More.")
            ]
        );
        assert_eq!(found[1].default, serde_json::json!({ "a": 1 }));
    }

    #[test]
    fn a_value_without_a_comment_is_refused() {
        let error = read_from("# -- (string) A.\na: x\nb:\n  c: 1\n").unwrap_err();
        assert!(error.to_string().contains("b.c"), "{error}");
    }
}
