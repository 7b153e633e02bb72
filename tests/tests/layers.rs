//! The layers of `proxy-ebpf`: each uses only those before it, and no two files use each other, directly or not.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// From the ground up.
const LAYERS: [&str; 8] = [
    "maps", "machine", "packet", "know", "track", "act", "socket", "hook",
];

/// What a file is a part of: its layer, and within it the module of that name with all that is below it.
type Unit = (String, String);

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy-ebpf/src")
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
fn arrows() -> BTreeMap<Unit, BTreeSet<Unit>> {
    let root = sources();
    let mut all = Vec::new();
    files(&root, &mut all);
    let mut arrows: BTreeMap<Unit, BTreeSet<Unit>> = BTreeMap::new();
    for file in all {
        let relative = file.strip_prefix(&root).unwrap().with_extension("");
        let own: Vec<String> = relative
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        if own == ["lib"] || own == ["main"] {
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
            if modules.is_empty() || !LAYERS.contains(&modules[0].as_str()) {
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
    let rank = |layer: &str| LAYERS.iter().position(|known| *known == layer);
    let arrows = arrows();
    assert!(arrows.len() > 30, "the sources are read: {}", arrows.len());
    let mut up = Vec::new();
    for (from, targets) in &arrows {
        let own = rank(&from.0).unwrap_or_else(|| panic!("{from:?} is in no layer"));
        let wrong = targets.iter().filter(|to| rank(&to.0) > Some(own));
        up.extend(wrong.map(|to| format!("{}/{} -> {}/{}", from.0, from.1, to.0, to.1)));
    }
    assert!(up.is_empty(), "arrows that run up:\n{}", up.join("\n"));
}

#[test]
fn no_two_files_use_each_other() {
    let arrows = arrows();
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
