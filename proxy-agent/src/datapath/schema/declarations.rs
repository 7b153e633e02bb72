//! What this version declares of the contents of maps, declaration by declaration: structures, constants, and how fields are
//! packed into words.

use std::{collections::BTreeMap, sync::LazyLock};

use proxy_common::layout::SOURCES;

/// Declarations by name, each with a hash of its text (FNV-1a), comments and white space left out. The same source gives the
/// same on every machine.
pub type Declarations = BTreeMap<String, u64>;

/// What this version declares.
pub static OURS: LazyLock<Declarations> =
    LazyLock::new(|| SOURCES.iter().flat_map(|source| read(source)).collect());

/// Declarations that were changed so that maps of the former text may stay: what is new in them was zero before, and zero
/// means what was meant before. By name, with the former hash.
const COMPATIBLE: [(&str, u64); 0] = [];

/// Whether maps that were made with this declaration may stay.
pub fn fits(name: &str, pinned: u64) -> bool {
    OURS.get(name) == Some(&pinned) || COMPATIBLE.contains(&(name, pinned))
}

/// One number for all.
pub fn hash() -> u64 {
    OURS.iter().fold(BASIS, |hash, (name, text)| {
        fnv(fnv(hash, name.bytes()), text.to_le_bytes())
    })
}

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a.
pub fn fnv(basis: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    let bytes = bytes.into_iter();
    bytes.fold(basis, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The number by which a declaration of this name is pinned.
pub fn number(name: &str) -> u64 {
    fnv(BASIS, name.bytes())
}

/// What begins a declaration at the left margin.
const OUTER: [&str; 3] = ["pub struct ", "pub type ", "pub const "];
/// Functions that say where in a word a field is.
const PACKING: [&str; 2] = ["pub const fn pack(", "pub const fn unpack("];

/// The declarations of a module. Defaults and times are none: they are in no map.
fn read(source: &str) -> Vec<(String, u64)> {
    let (mut all, mut owner) = (Vec::new(), "");
    let mut lines = source.lines().filter(|line| !is_comment(line));
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("impl") {
            owner = rest.trim_end_matches('{').trim();
        }
        let Some((name, end)) = begin(line, owner) else {
            continue;
        };
        let mut text = line.to_owned();
        while !end.is_in(&text) {
            let Some(more) = lines.next() else { break };
            text.push('\n');
            text.push_str(more);
        }
        let text = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
        all.push((name, fnv(BASIS, text)));
    }
    all
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// How a declaration ends.
#[derive(Clone, Copy)]
enum End {
    /// With a semicolon at the end of a line.
    Semicolon,
    /// With a brace alone in a line, so far from the left.
    Brace(usize),
}

impl End {
    fn is_in(self, text: &str) -> bool {
        let last = text.lines().next_back().unwrap_or_default();
        match self {
            Self::Semicolon => last.ends_with(';'),
            Self::Brace(indent) => last.len() == indent + 1 && last.ends_with('}'),
        }
    }
}

/// The name of the declaration that a line begins, and how it ends; none if it begins none.
fn begin(line: &str, owner: &str) -> Option<(String, End)> {
    let indent = line.len() - line.trim_start().len();
    let inner = line.trim_start();
    if let Some(start) = PACKING.iter().find(|start| inner.starts_with(**start)) {
        let verb = start
            .trim_start_matches("pub const fn ")
            .trim_end_matches('(');
        return Some((format!("{owner}::{verb}"), End::Brace(indent)));
    }
    let start = OUTER.iter().find(|start| line.starts_with(**start))?;
    let rest = &line[start.len()..];
    let name: String = rest
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let is_none = ["DEFAULT", "SECONDS"]
        .iter()
        .any(|word| name.contains(word));
    if name == "fn" || is_none {
        return None;
    }
    let end = if line.ends_with('{') && *start == "pub struct " {
        End::Brace(indent)
    } else {
        End::Semicolon
    };
    Some((name, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
//! Words.
use x;

/// More words.
#[repr(C)]
pub struct Key<A> {
    /// Words.
    pub address: A,
    pub port: u16,
}

pub type Key4 = Key<u32>;
pub const FLAG: u32 = 1 << 0;
pub const SIZES_DEFAULT: u32 = 7;

impl Word {
    pub const fn pack(self) -> u64 {
        if self.a {
            1
        } else {
            2
        }
    }

    pub const fn other(self) -> u64 {
        0
    }
}

pub const fn free() -> u32 {
    1
}
";

    fn declared(source: &str) -> Declarations {
        read(source).into_iter().collect()
    }

    #[test]
    fn what_maps_hold_is_declared_and_nothing_else() {
        let names: Vec<String> = declared(SOURCE).into_keys().collect();
        assert_eq!(names, ["FLAG", "Key", "Key4", "Word::pack"]);
        for name in [
            "Flow",
            "FlowKey4",
            "FLAG_SOURCES",
            "Head::pack",
            "PolicyWord::unpack",
        ] {
            assert!(OURS.contains_key(name), "{name}: {:?}", OURS.keys());
        }
    }

    #[test]
    fn only_what_is_declared_counts() {
        let before = declared(SOURCE);
        let same = [
            ("/// More words.", "// Others."),
            ("    pub port: u16,", "    // Why.\n    pub  port: u16,"),
            ("        0\n", "        3\n"),
            ("    1\n}", "    5\n}"),
            ("= 7;", "= 8;"),
        ];
        for (from, to) in same {
            assert_eq!(declared(&SOURCE.replace(from, to)), before, "{from}");
        }
        let others = [
            ("pub port: u16", "pub port: u32", "Key"),
            ("= Key<u32>", "= Key<u64>", "Key4"),
            ("1 << 0", "1 << 1", "FLAG"),
            ("            2\n", "            3\n", "Word::pack"),
        ];
        for (from, to, name) in others {
            let now = declared(&SOURCE.replace(from, to));
            let differ: Vec<&String> = now.keys().filter(|k| now[*k] != before[*k]).collect();
            assert_eq!(differ, [name]);
        }
    }

    /// What maps of this schema were made with. A line that is changed here stands for maps out there that this version
    /// would refuse: raise `SCHEMA` and convert them, or note in `COMPATIBLE` that they may stay. New lines are added.
    #[test]
    fn what_was_declared_once_fits_for_ever() {
        let known = include_str!("declared.txt").lines();
        let known: BTreeMap<&str, u64> = known
            .filter_map(|line| line.split_once(' '))
            .map(|(name, hash)| (name, u64::from_str_radix(hash, 16).unwrap()))
            .collect();
        let changed: Vec<&str> = known
            .iter()
            .filter(|(name, hash)| OURS.contains_key(**name) && !fits(name, **hash))
            .map(|(name, _)| *name)
            .collect();
        assert!(changed.is_empty(), "declared otherwise: {changed:?}");
        let new: Vec<String> = OURS
            .iter()
            .filter(|(name, _)| !known.contains_key(name.as_str()))
            .map(|(name, hash)| format!("{name} {hash:016x}"))
            .collect();
        assert!(new.is_empty(), "add to declared.txt:\n{}", new.join("\n"));
    }
}
