//! The YAML file: what it tells, and where.

use std::path::Path;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

use super::{
    Configuration, Fault, Origin,
    definition::{DEFINITION, at, join},
    effective::Given,
};

/// What a file tells. All that is wrong with its names is told at once, and only the first value that cannot be.
pub(super) fn read(path: &Path, text: &str) -> Result<(Configuration, Vec<Given>), Vec<Fault>> {
    let one = |error, place: &str| vec![fault(path, &error, place)];
    let tree = tree(path, text).map_err(|fault| vec![fault])?;
    let mut told = Vec::new();
    tree.told("", &mut told);
    let origin = |place: &Location| Origin::File {
        path: path.to_owned(),
        line: place.line(),
        column: place.column(),
    };
    let unknown = told.iter().filter(|(name, _)| !DEFINITION.knows(name));
    let unknown: Vec<_> = unknown
        .map(|(name, place)| Fault::unknown(origin(place), name))
        .collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let mut place = ".".to_owned();
    let parsed = serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        serde_path_to_error::deserialize::<_, Configuration>(deserializer).map_err(|error| {
            place = error.path().to_string();
            error.into_inner()
        })
    });
    let configuration = parsed.map_err(|error| one(error, &place))?;
    let values = serde_json::to_value(&configuration).unwrap_or_default();
    let given = told
        .iter()
        .filter(|(name, _)| DEFINITION.setting(name).is_some());
    let given = given.map(|(name, place)| Given {
        path: name.clone(),
        value: at(&values, name).clone(),
        origin: origin(place),
    });
    Ok((configuration, given.collect()))
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
    /// Names, in the file's order.
    Parts(Vec<(Spanned<String>, Self)>),
}

impl Tree {
    /// All that has a value, whether anything is known of it or not.
    pub(super) fn leaves(&self, path: &str, found: &mut Vec<(String, Location)>) {
        let Self::Parts(parts) = self else {
            return;
        };
        for (name, part) in parts {
            let path = join(path, &name.value);
            match part {
                Self::Leaf => found.push((path, name.referenced)),
                Self::Parts(_) => part.leaves(&path, found),
            }
        }
    }

    /// All that has a value, and every name that nothing is known of.
    fn told(&self, path: &str, found: &mut Vec<(String, Location)>) {
        let Self::Parts(parts) = self else {
            return;
        };
        for (name, part) in parts {
            let path = join(path, &name.value);
            let is_section = DEFINITION.sections.iter().any(|s| s.path == path);
            if is_section && matches!(part, Self::Parts(_)) {
                part.told(&path, found);
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
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Tree::Leaf)
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
        let faults = read(Path::new("agent.yaml"), text).unwrap_err();
        let told = faults.iter();
        told.map(|fault| format!("{fault}; {}", fault.hint))
            .collect()
    }

    #[test]
    fn reads_what_serde_writes() {
        let config = Configuration::default();
        let text = serde_saphyr::to_string(&config).unwrap();
        let (read, given) = read(Path::new("x"), &text).unwrap();
        assert_eq!(read, config, "{text}");
        assert_eq!(given.len(), DEFINITION.settings.len());
    }

    #[test]
    fn an_empty_file_tells_nothing() {
        for text in ["", "# nothing\n", "---\n", "cni:\n", "cni: {}\n"] {
            let (config, given) = read(Path::new("x"), text).unwrap();
            assert_eq!(config, Configuration::default(), "{text}");
            assert_eq!(given.len(), 0, "{text}");
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
                    "agent.yaml:2:15: sync.fullPeriod: `soon` is not a duration such as 5ms, 30s or 1m30s; sync.fullPeriod takes duration, and is \"1m\" unless told",
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

    #[test]
    fn values_know_their_lines() {
        let (_, given) = read(Path::new("x"), "cni:\n  mtu: 9\n  install: true\n").unwrap();
        let told: Vec<_> = given
            .iter()
            .map(|given| format!("{} {} {}", given.path, given.value, given.origin))
            .collect();
        assert_eq!(told, ["cni.mtu 9 x:2:3", "cni.install true x:3:3"]);
    }
}
