//! `values.schema.json`: values as `values.yaml` explains them, the agent's configuration as the agent defines it.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::{File, helm::CHART, preset::Preset, read, values::Explained};

/// A unit test of the agent keeps it in step with the configuration's type.
const CONFIGURATION: &str = "deploy/configuration.schema.json";

/// The file.
pub(super) fn file(values: &[Explained], presets: &[Preset]) -> Result<File> {
    let mut configuration: Value =
        serde_json::from_str(&read(CONFIGURATION)?).context("cannot read the agent's schema")?;
    let parts = configuration
        .as_object_mut()
        .context("the agent's schema is no object")?;
    parts.remove("$schema");
    let mut definitions = parts.remove("$defs").unwrap_or_default();
    definitions["Configuration"] = configuration;
    plain(&mut definitions);
    let mut root = object();
    // Charts that have this one as a part give it that.
    root["properties"]["global"] = json!({ "type": "object" });
    for value in values {
        let mut schema = one(&value.word, presets);
        schema["description"] = value.doc.clone().into();
        put(&mut root, &value.path, schema);
    }
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "Values of the chart weir".into();
    root["$defs"] = definitions;
    Ok(File {
        path: format!("{CHART}/values.schema.json"),
        text: format!("{}\n", serde_json::to_string_pretty(&root)?),
    })
}

/// A part that has only the parts that are named.
fn object() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

fn put(root: &mut Value, path: &str, schema: Value) {
    let mut here = root;
    let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        let parts = &mut here["properties"];
        if parts[parent].is_null() {
            parts[parent] = object();
        }
        here = &mut parts[parent];
    }
    here["properties"][name] = schema;
}

/// What a value must be, from the word for it.
fn one(word: &str, presets: &[Preset]) -> Value {
    match word {
        "configuration" => json!({ "$ref": "#/$defs/Configuration" }),
        "platform" => {
            let names: Vec<_> = presets.iter().map(|preset| &preset.name).collect();
            json!({ "enum": names })
        }
        "list of object" => json!({ "type": "array", "items": { "type": "object" } }),
        "bool" => json!({ "type": "boolean" }),
        "string" | "object" => json!({ "type": word }),
        "string or int" => json!({ "type": ["string", "integer"] }),
        words => json!({ "enum": words.split(" or ").collect::<Vec<_>>() }),
    }
}

/// Takes out what only the agent's own documents read.
fn plain(schema: &mut Value) {
    match schema {
        Value::Object(parts) => {
            let kept: Map<_, _> = std::mem::take(parts)
                .into_iter()
                .filter(|(name, _)| !name.starts_with("x-"))
                .collect();
            *parts = kept;
            parts.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}
