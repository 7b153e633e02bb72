//! The settings one by one, as the structs define them: what flags, environment and documents are made from.

use std::sync::LazyLock;

use schemars::{Schema, generate::SchemaSettings};
use serde_json::{Map, Value};

use super::Configuration;

/// Begins the name of every environment variable.
const PREFIX: &str = "WEIR_";

/// One value that can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Where it is in the file: `node.links.include`.
    pub path: String,
    /// What it means.
    pub doc: String,
    /// What it must be.
    pub shape: Shape,
    /// What it must be, in words: `duration`, `list of CIDR`, `large or small`.
    pub word: String,
    /// The words that it may be, with their meanings; empty if it is free.
    pub choices: Vec<(String, String)>,
    /// What it is unless told.
    pub default: Value,
    /// Its environment variable.
    pub variable: String,
    /// Its own flag, without dashes, beside `--set`.
    pub flag: Option<String>,
    /// Whether a change takes effect without a restart.
    pub reload: bool,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Number,
    /// Any text, of which more may be asked.
    Text,
    /// Texts.
    List,
}

/// A part of the file that has parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Where it is in the file; empty for the whole.
    pub path: String,
    /// What it is about.
    pub doc: String,
}

/// Everything that can be told.
#[derive(Debug)]
pub struct Definition {
    /// The values, by path.
    pub settings: Vec<Setting>,
    /// The parts, the whole first.
    pub sections: Vec<Section>,
}

/// The definition of [`Configuration`].
pub static DEFINITION: LazyLock<Definition> = LazyLock::new(|| {
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let schema = generator.into_root_schema_for::<Configuration>();
    let mut definition = Definition {
        settings: Vec::new(),
        sections: Vec::new(),
    };
    definition.walk("", schema.as_value(), &default(), false);
    definition
});

/// The JSON schema, as editors and `kubeconform` take it.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12();
    settings
        .into_generator()
        .into_root_schema_for::<Configuration>()
}

/// All defaults as a tree. Only a map with keys that are no text could fail to be one.
fn default() -> Value {
    serde_json::to_value(Configuration::default()).unwrap_or_default()
}

impl Definition {
    /// The value at this path.
    pub fn setting(&self, path: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.path == path)
    }

    /// Whether there is a part or a value at this path, or a constant.
    pub fn knows(&self, path: &str) -> bool {
        matches!(path, "apiVersion" | "kind")
            || self.setting(path).is_some()
            || self.sections.iter().any(|section| section.path == path)
    }

    fn walk(&mut self, path: &str, schema: &Value, default: &Value, reload: bool) {
        if schema.get("const").is_some() {
            return;
        }
        let reload = reload || schema["x-reload"] == true;
        let doc = one_paragraph(schema);
        let Some(parts) = schema["properties"].as_object() else {
            return self.settings.push(Setting {
                path: path.to_owned(),
                doc,
                shape: shape(schema),
                word: word(schema),
                choices: choices(schema),
                default: default.clone(),
                variable: variable(path),
                flag: schema["x-flag"].as_str().map(ToOwned::to_owned),
                reload,
            });
        };
        let path_of_section = path.to_owned();
        self.sections.push(Section {
            path: path_of_section,
            doc,
        });
        for (name, part) in parts {
            self.walk(&join(path, name), part, &default[name], reload);
        }
    }
}

/// The path of a part.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The value at a path; null if there is none.
pub(super) fn at<'tree>(tree: &'tree Value, path: &str) -> &'tree Value {
    path.split('.').fold(tree, |tree, name| &tree[name])
}

/// Puts a value at a path, making what leads there.
pub(super) fn put(tree: &mut Value, path: &str, value: Value) {
    let mut here = tree;
    for name in path.split('.') {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        here = &mut here[name];
    }
    *here = value;
}

fn one_paragraph(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The type of a schema, without the null of what may be left out.
fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str).unwrap_or_default(),
        kind => kind.as_str().unwrap_or_default(),
    }
}

fn shape(schema: &Value) -> Shape {
    match kind(schema) {
        "boolean" => Shape::Bool,
        "integer" => Shape::Number,
        "array" => Shape::List,
        _ => Shape::Text,
    }
}

fn word(schema: &Value) -> String {
    match shape(schema) {
        Shape::Bool => "true or false".to_owned(),
        Shape::Number => "number".to_owned(),
        Shape::List => format!("list of {}", word(&schema["items"])),
        Shape::Text if schema["oneOf"].is_array() => {
            let words: Vec<_> = choices(schema).into_iter().map(|(word, _)| word).collect();
            words.join(" or ")
        }
        Shape::Text => schema["format"].as_str().unwrap_or("text").to_owned(),
    }
}

fn choices(schema: &Value) -> Vec<(String, String)> {
    let all = schema["oneOf"].as_array().into_iter().flatten();
    all.filter_map(|choice| Some((choice["const"].as_str()?.to_owned(), one_paragraph(choice))))
        .collect()
}

/// `node.podCIDRs` is `WEIR_NODE_POD_CIDRS`.
fn variable(path: &str) -> String {
    let letters: Vec<char> = path.chars().collect();
    let mut name = PREFIX.to_owned();
    for (index, &letter) in letters.iter().enumerate() {
        let after_small = index > 0 && letters[index - 1].is_ascii_lowercase();
        if letter == '.' || (letter.is_ascii_uppercase() && after_small) {
            name.push('_');
        }
        if letter != '.' {
            name.push(letter.to_ascii_uppercase());
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_setting_is_explained_and_can_be_told_in_every_way() {
        let settings = &DEFINITION.settings;
        let mut names = BTreeSet::new();
        for setting in settings {
            assert!(!setting.doc.is_empty(), "{setting:?}");
            assert!(!setting.word.is_empty(), "{setting:?}");
            assert!(names.insert(&setting.variable), "{setting:?}");
            assert!(
                setting.flag.as_ref().is_none_or(|flag| names.insert(flag)),
                "{setting:?}"
            );
            for (word, meaning) in &setting.choices {
                assert!(!meaning.is_empty(), "{}: {word}", setting.path);
            }
        }
        for section in &DEFINITION.sections {
            assert!(!section.doc.is_empty(), "{section:?}");
        }
    }

    /// What the structs have is what the definition has, and the other way round.
    #[test]
    fn settings_are_the_leaves_of_the_configuration() {
        fn leaves(path: &str, tree: &Value, found: &mut BTreeSet<String>) {
            match tree {
                Value::Object(parts) => {
                    for (name, part) in parts {
                        leaves(&join(path, name), part, found);
                    }
                }
                _ => drop(found.insert(path.to_owned())),
            }
        }
        let mut expected = BTreeSet::new();
        leaves("", &default(), &mut expected);
        expected.retain(|path| path != "apiVersion" && path != "kind");
        let settings = DEFINITION.settings.iter();
        let paths: BTreeSet<_> = settings.map(|setting| setting.path.clone()).collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn settings_of_every_shape() {
        let links = DEFINITION.setting("node.links.include").unwrap();
        assert_eq!(
            (links.variable.as_str(), links.flag.as_deref(), links.shape),
            ("WEIR_NODE_LINKS_INCLUDE", Some("link"), Shape::List)
        );
        let ranges = DEFINITION.setting("node.podCIDRs").unwrap();
        assert_eq!(
            (ranges.variable.as_str(), ranges.word.as_str()),
            ("WEIR_NODE_POD_CIDRS", "list of CIDR")
        );
        let size = DEFINITION.setting("maps.size").unwrap();
        let choices: Vec<_> = size.choices.iter().map(|(word, _)| word.as_str()).collect();
        assert_eq!(
            (choices, &size.default),
            (vec!["large", "small"], &"large".into())
        );
        let timeout = DEFINITION.setting("conntrack.udpTimeout").unwrap();
        assert!(timeout.reload && timeout.word == "duration", "{timeout:?}");
        assert!(size.reload && !DEFINITION.setting("cni.mtu").unwrap().reload);
    }
}
