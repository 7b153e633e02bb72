//! The layers of `proxy-ebpf` and `proxy-agent`: each uses only those before it. In `proxy-ebpf` no two files use each
//! other, directly or not.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "layers/listed.rs"]
mod listed;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A crate's sources and its layers, from the ground up.
struct Crate {
    folder: &'static str,
    layers: &'static [&'static str],
}

/// `baseline` is what benches compare with: programs of their own, which use none of Weir's.
const EBPF: Crate = Crate {
    folder: "proxy-ebpf",
    layers: &[
        "baseline", "maps", "machine", "packet", "know", "track", "act", "socket", "hook",
    ],
};

/// `usage` words errors of command lines; `api` is what subjects tell and how it is served; `agent` is the process, and
/// `ctl` is `proxyctl`.
const AGENT: Crate = Crate {
    folder: "proxy-agent",
    layers: &[
        "usage", "model", "watchdog", "datapath", "config", "observe", "api", "subject", "policy",
        "service", "node", "pod", "pools", "ctl", "agent",
    ],
};

/// What a file is a part of: its layer, and within it the module of that name with all that is below it.
type Unit = (String, String);

impl Crate {
    fn sources(&self) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        root.join("..").join(self.folder).join("src")
    }

    fn rank(&self, layer: &str) -> Option<usize> {
        self.layers.iter().position(|known| *known == layer)
    }

    /// Arrows from a layer to one above it.
    fn arrows_up(&self) -> Vec<String> {
        let arrows = arrows(self);
        assert!(arrows.len() > 30, "the sources are read: {}", arrows.len());
        let mut up = Vec::new();
        for (from, targets) in &arrows {
            let own = self.rank(&from.0);
            let own = own.unwrap_or_else(|| panic!("{from:?} is in no layer"));
            let wrong = targets.iter().filter(|to| self.rank(&to.0) > Some(own));
            up.extend(wrong.map(|to| format!("{}/{} -> {}/{}", from.0, from.1, to.0, to.1)));
        }
        up
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The unit of a path of modules below the crate's root. The maps are declared in one place, which is one unit.
fn unit(modules: &[String]) -> Unit {
    let [layer, rest @ ..] = modules else {
        panic!("no module of a layer");
    };
    let module = match (layer.as_str(), rest) {
        ("maps", _) | (_, []) => String::new(),
        (_, [module, ..]) => module.clone(),
    };
    (layer.clone(), module)
}

/// The first segments that a `use` of `text` names, groups taken apart.
fn uses(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    for statement in code.split("use ").skip(1) {
        let Some((path, _)) = statement.split_once(';') else {
            continue;
        };
        let path: String = path.split_whitespace().collect();
        spread(&path, &[], &mut found);
    }
    found
}

fn spread(path: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let Some((head, group)) = path.split_once('{') else {
        let mut whole = before.to_vec();
        whole.extend(path.split("::").map(ToOwned::to_owned));
        found.push(whole);
        return;
    };
    let mut begun = before.to_vec();
    begun.extend(
        head.split("::")
            .filter(|part| !part.is_empty())
            .map(ToOwned::to_owned),
    );
    let group = group.strip_suffix('}').unwrap_or(group);
    let mut depth = 0;
    let mut start = 0;
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                spread(&group[start..at], &begun, found);
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < group.len() {
        spread(&group[start..], &begun, found);
    }
}

/// Which units each unit uses.
fn arrows(of: &Crate) -> BTreeMap<Unit, BTreeSet<Unit>> {
    let root = of.sources();
    let mut all = Vec::new();
    files(&root, &mut all);
    let mut arrows: BTreeMap<Unit, BTreeSet<Unit>> = BTreeMap::new();
    for file in all {
        let relative = file.strip_prefix(&root).unwrap().with_extension("");
        let own: Vec<String> = relative
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        if own == ["lib"] || own == ["main"] || own[0] == "bin" {
            continue;
        }
        let from = unit(&own);
        let targets = arrows.entry(from.clone()).or_default();
        for path in uses(&fs::read_to_string(&file).unwrap()) {
            let modules = match path.first().map(String::as_str) {
                Some("crate" | "$crate") => path[1..].to_vec(),
                Some("super") => {
                    let up = path.iter().take_while(|part| *part == "super").count();
                    let kept = own.len().saturating_sub(up);
                    [&own[..kept], &path[up..]].concat()
                }
                _ => continue,
            };
            if modules.is_empty() || of.rank(&modules[0]).is_none() {
                continue;
            }
            let to = unit(&modules);
            if to != from {
                targets.insert(to);
            }
        }
    }
    arrows
}

#[test]
fn each_layer_uses_only_those_before_it() {
    for one in [EBPF, AGENT] {
        let up = one.arrows_up();
        assert!(
            up.is_empty(),
            "{}: arrows that run up:\n{}",
            one.folder,
            up.join("\n")
        );
    }
}

#[test]
fn agent_and_proxyctl_do_not_use_each_other() {
    let arrows = arrows(&AGENT);
    let mut between = arrows
        .iter()
        .flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    assert_eq!(
        between.find(|(from, to)| from.0 == "agent" && to.0 == "ctl"),
        None
    );
}

#[test]
fn no_two_files_use_each_other() {
    let arrows = arrows(&EBPF);
    for start in arrows.keys() {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&Unit> = arrows[start].iter().collect();
        while let Some(unit) = open.pop() {
            assert_ne!(unit, start, "{start:?} uses itself by way of {seen:?}");
            if seen.insert(unit) {
                open.extend(arrows.get(unit).into_iter().flatten());
            }
        }
    }
}

#[test]
fn a_use_is_taken_apart() {
    let text = "// use crate::hook::no;\nuse super::{a, b::{c, d}};\nuse crate::know::node;";
    let paths: Vec<String> = uses(text).iter().map(|path| path.join("::")).collect();
    assert_eq!(
        paths,
        [
            "super::a",
            "super::b::c",
            "super::b::d",
            "crate::know::node"
        ]
    );
}
