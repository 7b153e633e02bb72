//! The configuration in force, and where each part of it is from.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::{
    API_VERSION, Configuration, KIND,
    definition::{DEFINITION, at},
};

/// Where a value was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere.
    #[default]
    Default,
    /// In the file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 is unknown.
        line: u64,
        /// Column, from 1.
        column: u64,
    },
    /// In the environment, by this variable.
    Variable(String),
    /// On the command line, by this flag.
    Flag(String),
    /// The machine says so.
    Machine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
            Self::Machine => f.write_str("this machine"),
        }
    }
}

/// A value and where it was told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Given {
    /// Path of the setting.
    pub path: String,
    /// The value.
    pub value: Value,
    /// Where it was told.
    pub origin: Origin,
}

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective {
    /// It.
    pub configuration: Configuration,
    /// Where settings were told, by path; those that are not here have their defaults.
    pub origins: BTreeMap<String, Origin>,
    /// What the file says that means nothing here.
    pub warnings: Vec<String>,
}

/// As JSON: the configuration, and where each setting is from.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed<'a> {
    api_version: &'static str,
    kind: &'static str,
    configuration: &'a Configuration,
    origins: BTreeMap<&'a str, String>,
}

impl Effective {
    /// Where a setting was told.
    pub fn origin(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or_default()
    }

    /// As one JSON object.
    pub fn json(&self) -> serde_json::Result<String> {
        let settings = DEFINITION.settings.iter();
        let origins = settings.map(|s| (s.path.as_str(), self.origin(&s.path).to_string()));
        let printed = Printed {
            api_version: API_VERSION,
            kind: "EffectiveConfiguration",
            configuration: &self.configuration,
            origins: origins.collect(),
        };
        let mut text = serde_json::to_string_pretty(&printed)?;
        text.push('\n');
        Ok(text)
    }

    /// As a file that the agent takes, every setting with its origin behind it.
    pub fn yaml(&self) -> serde_json::Result<String> {
        let tree = serde_json::to_value(&self.configuration)?;
        let mut lines = vec![
            format!("apiVersion: {API_VERSION}"),
            format!("kind: {KIND}"),
        ];
        let mut open: Vec<&str> = Vec::new();
        for setting in &DEFINITION.settings {
            let mut names: Vec<&str> = setting.path.split('.').collect();
            let name = names.pop().unwrap_or_default();
            let common = open.iter().zip(&names).take_while(|(a, b)| a == b).count();
            for (depth, section) in names.iter().enumerate().skip(common) {
                lines.push(format!("{}{section}:", "  ".repeat(depth)));
            }
            let value = at(&tree, &setting.path);
            let indent = "  ".repeat(names.len());
            let origin = self.origin(&setting.path);
            lines.push(format!("{indent}{name}: {value}  # {origin}"));
            open = names;
        }
        lines.push(String::new());
        Ok(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Flags, file, load::load_with};

    #[test]
    fn what_is_printed_is_taken_and_says_where_it_is_from() {
        let flags = Flags::default()
            .set("nodeName", "a: b # c")
            .set("node.links.include", "eth*")
            .set("conntrack.udpTimeout", "20s");
        let effective = load_with(&flags, [("WEIR_MAPS_SIZE".into(), "small".into())]).unwrap();
        let text = effective.yaml().unwrap();
        let read = file::read(Path::new("x"), &text).configuration;
        assert_eq!(read, effective.configuration, "{text}");
        for line in [
            "nodeName: \"a: b # c\"  # --set nodeName",
            "    include: [\"eth*\"]  # --set node.links.include",
            "  size: \"small\"  # WEIR_MAPS_SIZE",
            "bpffs: \"/sys/fs/bpf\"  # default",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        let json: Value = serde_json::from_str(&effective.json().unwrap()).unwrap();
        assert_eq!(json["apiVersion"], API_VERSION);
        assert_eq!(json["configuration"]["maps"]["size"], "small");
        assert_eq!(json["origins"]["maps.size"], "WEIR_MAPS_SIZE");
        assert_eq!(json["origins"]["cgroupRoot"], "this machine");
    }
}
