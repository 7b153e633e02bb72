//! The tables in the chart's README, and the page of the book that has them too.

use anyhow::{Context as _, Result};

use super::{File, helm::CHART, preset::Preset, read, values::Explained};

/// The file, with its tables made anew.
pub(super) fn file(values: &[Explained], presets: &[Preset]) -> Result<File> {
    let path = format!("{CHART}/README.md");
    let text = between(&read(&path)?, "values", &table(values))?;
    let text = between(&text, "platforms", &platforms(presets))?;
    Ok(File { path, text })
}

/// The page of the book.
pub(super) fn page(values: &[Explained], presets: &[Preset]) -> File {
    let (platforms, values) = (platforms(presets), table(values));
    File {
        path: "docs/reference/chart.md".to_owned(),
        text: format!(
            "# Values of the chart\n\nMade by `cargo xtask manifests` from `deploy/chart`; do not edit.\n\n{values}\n## Platforms\nWhat \
             `platform` may be. What has been tested: [install](../install.md).\n\n{platforms}"
        ),
    }
}

fn table(values: &[Explained]) -> String {
    let mut text = "| value | takes | unless told | |\n|---|---|---|---|\n".to_owned();
    text.extend(values.iter().map(|value| {
        let doc = value.doc.replace('|', r"\|");
        let Explained {
            path,
            word,
            default,
            ..
        } = value;
        format!(
            "| `{path}` | {word} | `{default}` | {doc} |
"
        )
    }));
    text
}

fn platforms(presets: &[Preset]) -> String {
    let mut text = "| platform | what it is, and what else it needs |\n|---|---|\n".to_owned();
    text.extend(presets.iter().map(|preset| {
        let Preset { name, needs, .. } = preset;
        format!(
            "| `{name}` | {needs} |
"
        )
    }));
    text
}

/// Puts `inside` between the marks of this name.
fn between(text: &str, name: &str, inside: &str) -> Result<String> {
    let [begin, end] = ["begin", "end"].map(|word| format!("<!-- {name}: {word} -->\n"));
    let missing = || format!("the chart's README has no marks `{name}`");
    let (before, rest) = text.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}{inside}{end}{after}"))
}
