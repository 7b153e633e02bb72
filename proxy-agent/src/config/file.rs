//! The YAML file: what it tells, and where.

use std::path::Path;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::{
    Configuration, Fault, Origin,
    definition::{DEFINITION, at, join},
    effective::Given,
    text,
};

/// What a file tells.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What it makes of the defaults; the defaults where it has faults.
    pub(super) configuration: Configuration,
    /// What it tells that can be.
    pub(super) given: Vec<Given>,
    /// All that is wrong with it.
    pub(super) faults: Vec<Fault>,
}

/// Reads it.
pub(super) fn read(path: &Path, text: &str) -> Told {
    match tree(path, text) {
        Ok(tree) => read_tree(path, text, &tree),
        Err(fault) => Told {
            faults: vec![fault],
            ..Told::default()
        },
    }
}

fn read_tree(path: &Path, text: &str, tree: &Tree) -> Told {
    let mut names = Vec::new();
    tree.told("", &mut names);
    let unknown = names.iter().filter(|(name, _)| !DEFINITION.knows(name));
    let mut faults: Vec<Fault> = unknown
        .map(|(name, place)| Fault::unknown(origin(path, place), name))
        .collect();
    // As a whole, for the best words about the first value that cannot be.
    let mut wrong = None;
    if faults.is_empty() {
        match whole(text) {
            Ok(configuration) => return sound(path, configuration, &names),
            Err(first) => {
                let (error, place) = *first;
                faults.push(fault(path, &error, &place));
                wrong = Some(place);
            }
        }
    }
    let values: Value = serde_saphyr::from_str(text).unwrap_or_default();
    let mut given = Vec::new();
    for (name, place) in &names {
        if wrong.as_deref().is_some_and(|wrong| is_part(wrong, name)) {
            continue;
        }
        match alone(name, at(&values, name)) {
            None => {}
            Some(Ok(value)) => given.push(Given {
                path: name.clone(),
                value,
                origin: origin(path, place),
            }),
            Some(Err((of, cause))) => {
                let place = tree.place(&of).unwrap_or(*place);
                faults.push(Fault::value(origin(path, &place), &of, cause));
            }
        }
    }
    faults.sort_by_key(|fault| match fault.origin {
        Origin::File { line, column, .. } => (line, column),
        _ => (0, 0),
    });
    Told {
        given,
        faults,
        ..Told::default()
    }
}

/// The whole file, or why it cannot be and the path of what cannot.
fn whole(text: &str) -> Result<Configuration, Box<(serde_saphyr::Error, String)>> {
    let mut place = ".".to_owned();
    serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        serde_path_to_error::deserialize::<_, Configuration>(deserializer).map_err(|error| {
            place = error.path().to_string();
            error.into_inner()
        })
    })
    .map_err(|error| Box::new((error, place)))
}

fn sound(path: &Path, configuration: Configuration, names: &[(String, Location)]) -> Told {
    let values = serde_json::to_value(&configuration).unwrap_or_default();
    let given = names
        .iter()
        .filter(|(name, _)| DEFINITION.setting(name).is_some());
    let given = given.map(|(name, place)| Given {
        path: name.clone(),
        value: at(&values, name).clone(),
        origin: origin(path, place),
    });
    Told {
        given: given.collect(),
        configuration,
        faults: Vec::new(),
    }
}

/// A setting's value by itself, or what of it cannot be and why; nothing for what is no setting. YAML's plain numbers are
/// texts, too, where a text is wanted.
fn alone(name: &str, value: &Value) -> Option<Result<Value, (String, String)>> {
    if !DEFINITION.knows(name) || DEFINITION.sections.iter().any(|s| s.path == name) {
        return None;
    }
    let Err(why) = text::try_alone(name, value) else {
        return Some(Ok(value.clone()));
    };
    let as_text = match value {
        Value::Number(number) => Value::from(number.to_string()),
        Value::Bool(truth) => Value::from(truth.to_string()),
        _ => return Some(Err(why)),
    };
    let told = text::try_alone(name, &as_text).map(|()| as_text);
    Some(told.map_err(|_other| why))
}

/// Whether a path (`node.podCIDRs[1]`) is that of a setting, or in it.
fn is_part(path: &str, setting: &str) -> bool {
    let rest = path.strip_prefix(setting);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
}

fn origin(path: &Path, place: &Location) -> Origin {
    Origin::File {
        path: path.to_owned(),
        line: place.line(),
        column: place.column(),
    }
}

/// Names and values of any file.
pub(super) fn parse<T: de::DeserializeOwned>(path: &Path, text: &str) -> Result<(Tree, T), Fault> {
    let values = serde_saphyr::from_str(text).map_err(|error| fault(path, &error, "."))?;
    Ok((tree(path, text)?, values))
}

fn tree(path: &Path, text: &str) -> Result<Tree, Fault> {
    let tree = serde_saphyr::from_str::<Option<Tree>>(text);
    Ok(tree
        .map_err(|error| fault(path, &error, "."))?
        .unwrap_or_default())
}

fn fault(path: &Path, error: &serde_saphyr::Error, place: &str) -> Fault {
    let at = error.location();
    let origin = Origin::File {
        path: path.to_owned(),
        line: at.map_or(0, |at| at.line()),
        column: at.map_or(0, |at| at.column()),
    };
    Fault::value(origin, place, one_line(error))
}

/// The error without the source excerpt and without the place, which we print ourselves.
fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let end = line.rfind(" at line ").unwrap_or(line.len());
    line[..end].to_owned()
}

/// Names and where they stand.
#[derive(Default)]
pub(super) enum Tree {
    /// No names.
    #[default]
    Leaf,
    /// A list.
    Items(Vec<Spanned<Self>>),
    /// Names, in the file's order.
    Parts(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl Tree {
    /// All that has a value, whether anything is known of it or not.
    pub(super) fn leaves(&self, path: &str, found: &mut Vec<(String, Location)>) {
        let Self::Parts(parts) = self else {
            return;
        };
        for (name, part) in parts {
            let path = join(path, &name.value);
            match &part.value {
                Self::Leaf | Self::Items(_) => found.push((path, name.referenced)),
                part @ Self::Parts(_) => part.leaves(&path, found),
            }
        }
    }

    /// Where the value of a path stands: `node.podCIDRs[1]`.
    fn place(&self, path: &str) -> Option<Location> {
        let (mut here, mut place) = (self, None);
        for step in path.split(['.', '[']) {
            let part = match (here, step.strip_suffix(']')) {
                (Self::Items(items), Some(index)) => items.get(index.parse::<usize>().ok()?)?,
                (Self::Parts(parts), None) => {
                    let part = parts.iter().find(|(name, _)| name.value == step);
                    &part?.1
                }
                _ => return place,
            };
            place = Some(part.referenced);
            here = &part.value;
        }
        place
    }

    /// All that has a value, and every name that nothing is known of.
    fn told(&self, path: &str, found: &mut Vec<(String, Location)>) {
        let Self::Parts(parts) = self else {
            return;
        };
        for (name, part) in parts {
            let path = join(path, &name.value);
            let is_section = DEFINITION.sections.iter().any(|s| s.path == path);
            if is_section && matches!(part.value, Self::Parts(_)) {
                part.value.told(&path, found);
            } else {
                found.push((path, name.referenced));
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut parts = Vec::new();
        while let Some(name) = map.next_key()? {
            parts.push((name, map.next_value()?));
        }
        Ok(Tree::Parts(parts))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::Items(items))
    }

    fn visit_bool<E: de::Error>(self, _value: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E: de::Error>(self, _value: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E: de::Error>(self, _value: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i128<E: de::Error>(self, _value: i128) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u128<E: de::Error>(self, _value: u128) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E: de::Error>(self, _value: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E: de::Error>(self, _value: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let faults = read(Path::new("agent.yaml"), text).faults;
        let told = faults.iter();
        told.map(|fault| format!("{fault}; {}", fault.hint))
            .collect()
    }

    #[test]
    fn reads_what_serde_writes() {
        let config = Configuration::default();
        let text = serde_saphyr::to_string(&config).unwrap();
        let told = read(Path::new("x"), &text);
        assert_eq!(told.configuration, config, "{text}");
        assert_eq!(told.faults, [], "{text}");
        assert_eq!(told.given.len(), DEFINITION.settings.len());
    }

    #[test]
    fn an_empty_file_tells_nothing() {
        for text in ["", "# nothing\n", "---\n", "cni:\n", "cni: {}\n"] {
            let told = read(Path::new("x"), text);
            assert_eq!(told.configuration, Configuration::default(), "{text}");
            assert_eq!((told.given.len(), told.faults.len()), (0, 0), "{text}");
        }
    }

    #[test]
    fn faults_name_file_line_path_and_what_to_do() {
        for (text, expected) in [
            (
                "kind: AgentConfiguration\ncni:\n  mut: 1500\nnodeports: [1, a]\n",
                &[
                    "agent.yaml:3:3: cni.mut: unknown setting; did you mean `cni.mtu`?",
                    "agent.yaml:4:1: nodeports: unknown setting; `proxy-agent config reference` lists all settings",
                ][..],
            ),
            (
                "healthzBindAddress: nowhere\n",
                &[
                    "agent.yaml:1:21: healthzBindAddress: invalid socket address syntax; healthzBindAddress takes address:port, and is \"0.0.0.0:10256\" unless told",
                ],
            ),
            (
                "node:\n  podCIDRs: [10.0.0.0/8, 300.0.0.0/8]\n",
                &[
                    "agent.yaml:2:26: node.podCIDRs[1]: invalid address: 300.0.0.0/8; node.podCIDRs takes list of CIDR, and is [] unless told",
                ],
            ),
            (
                "sync:\n  fullPeriod: soon\n",
                &[
                    "agent.yaml:2:15: sync.fullPeriod: `soon` is not a duration such as 5ms, 30s or 1m30s; sync.fullPeriod takes duration, and is \"10m\" unless told",
                ],
            ),
            (
                "node: {uplink: eth1}\n",
                &[
                    "agent.yaml:1:8: node.uplink: unknown setting; did you mean `node.links.include`?",
                ],
            ),
        ] {
            assert_eq!(faults(text), expected);
        }
        for text in [
            "a: [\n",
            "cni: 5\n",
            "cni: [5]\n",
            "- a\n",
            "cni: {mtu: 1, mtu: 2}\n",
        ] {
            let told = faults(text).join("\n");
            assert!(told.starts_with("agent.yaml:"), "{told}");
        }
    }

    /// Nobody mends a file fault by fault, with an agent that starts anew for each.
    #[test]
    fn all_faults_are_told_at_once() {
        let values = "logging: {level: 5}\nnode:\n  podCIDRs: [10.0.0.0/33, fd00::/64, x]\ncni:\n  install: maybe\nsync: {fullPeriod: soon}\n";
        for (text, shift) in [
            (values.to_owned(), 0),
            (format!("colour: red\n{values}"), 1),
        ] {
            let faults = read(Path::new("agent.yaml"), &text).faults;
            let told: Vec<_> = faults
                .iter()
                .map(|fault| (fault.origin.to_string(), fault.path.as_str()))
                .collect();
            let at = |line: u64, column| format!("agent.yaml:{}:{column}", line + shift);
            let mut expected = vec![
                (at(3, 14), "node.podCIDRs[0]"),
                (at(5, 12), "cni.install"),
                (at(6, 20), "sync.fullPeriod"),
            ];
            if shift > 0 {
                expected.insert(0, (at(0, 1), "colour"));
            }
            assert_eq!(told, expected, "{faults:?}");
        }
    }

    #[test]
    fn values_know_their_lines() {
        let given = read(Path::new("x"), "cni:\n  mtu: 9\n  install: true\n").given;
        let told: Vec<_> = given
            .iter()
            .map(|given| format!("{} {} {}", given.path, given.value, given.origin))
            .collect();
        assert_eq!(told, ["cni.mtu 9 x:2:3", "cni.install true x:3:3"]);
    }
}
