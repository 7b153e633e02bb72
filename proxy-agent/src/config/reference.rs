//! The reference document, made from the definition.

use super::definition::{DEFINITION, Section, Setting};

const HEAD: &str = "\
# Configuration of `proxy-agent`

Made by `proxy-agent config reference`; do not edit.

Every setting can be told in three ways. What comes later in this list wins:

1. in the file that `--config` (or `WEIR_CONFIG`) names, `kind: AgentConfiguration`: `node: {links: {include: [eth*]}}`;
2. in the environment: `WEIR_NODE_LINKS_INCLUDE='eth*'`. The name is the path in capitals, with `_` between its words;
3. on the command line: `--set 'node.links.include=eth*'`, or by a flag of its own where one is named below.

In the environment and on the command line, items of a list are divided by commas. A setting that does not exist is an
error, wherever it is told. A variable is one if its name is nearly that of a setting; others that begin with `WEIR_` are
left alone, for Kubernetes makes such for a Service called weir.

`proxy-agent config check FILE` says what is wrong with a file, `proxy-agent config print` what is in force and where it was
told, and `proxy-agent config schema` prints the JSON schema for editors (`deploy/configuration.schema.json`).

The agent looks at its file while it runs. What is marked *live* takes effect at once. Of all else that has changed,
`proxyctl status` and the log say that it waits for a restart. A file that is wrong changes nothing.
";

/// The document.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for section in &DEFINITION.sections {
        write_section(&mut text, section);
    }
    text
}

fn write_section(text: &mut String, section: &Section) {
    let title = if section.path.is_empty() {
        "The file itself".to_owned()
    } else {
        format!("`{}`", section.path)
    };
    text.extend(["\n## ", &title, "\n", &section.doc, "\n\n"]);
    text.push_str("| setting | takes | unless told | |\n|---|---|---|---|\n");
    if section.path.is_empty() {
        text.push_str("| `apiVersion` | `weir.dev/v1alpha1` | that | |\n");
        text.push_str("| `kind` | `AgentConfiguration` | that | |\n");
    }
    let inside = |setting: &&Setting| {
        let parent = setting
            .path
            .rsplit_once('.')
            .map_or("", |(parent, _)| parent);
        parent == section.path
    };
    for setting in DEFINITION.settings.iter().filter(inside) {
        text.push_str(&row(setting));
    }
}

fn row(setting: &Setting) -> String {
    let choices: Vec<_> = setting
        .choices
        .iter()
        .map(|(word, meaning)| format!("`{word}`: {meaning}"))
        .collect();
    let mut notes = vec![setting.doc.clone()];
    notes.extend(choices);
    notes.extend(setting.reload.then(|| "*Live.*".to_owned()));
    notes.extend(
        setting
            .flag
            .as_ref()
            .map(|flag| format!("Flag: `--{flag}`.")),
    );
    let default = match &setting.default {
        serde_json::Value::Null => "nothing".to_owned(),
        value => format!("`{value}`"),
    };
    let name = setting.path.rsplit('.').next().unwrap_or_default();
    let notes = notes.join(" ").replace('|', "\\|");
    format!("| `{name}` | {} | {default} | {notes} |\n", setting.word)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::config::definition::schema;

    fn is_in_step(file: &str, expected: &str, verb: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == expected,
            "{file} is not what the definition makes. To make it again:\n\
             cargo run --quiet -p proxy-agent -- config {verb} > {file}"
        );
    }

    #[test]
    fn the_files_in_the_repository_are_in_step() {
        is_in_step("docs/reference/configuration.md", &markdown(), "reference");
        let mut json = serde_json::to_string_pretty(&schema()).unwrap();
        json.push('\n');
        is_in_step("deploy/configuration.schema.json", &json, "schema");
    }

    #[test]
    fn every_setting_is_in_the_document() {
        let text = markdown();
        for setting in &DEFINITION.settings {
            assert!(
                text.contains(&setting.doc.replace('|', "\\|")),
                "{}",
                setting.path
            );
        }
    }
}
