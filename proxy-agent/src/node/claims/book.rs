//! The book of claims, changed by compare-and-swap: who has which ranges, all in one object, so that whoever changes it has seen all of it.

use std::{collections::BTreeMap, fmt};

use ipnetwork::IpNetwork;

use crate::config::Period;

/// Keys and their texts, as the object has them.
pub type Data = BTreeMap<String, String>;
/// What is to be written: new texts of keys, or none where a key goes.
pub type Changes = BTreeMap<String, Option<String>>;

/// A node's ranges. As text: UID, time, ranges, divided by spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Name of the Node, which is the key.
    pub node: String,
    /// Its UID: a Node that is made anew under the same name may be another machine.
    pub uid: String,
    /// How long that Node must have been gone before somebody gives this back. Its agent relies on it.
    pub keep: Period,
    /// First those that addresses are given out of, one of a family; then those that it had before.
    pub ranges: Vec<IpNetwork>,
}

/// All claims, and as of when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Resource version.
    pub version: String,
    /// In the order of nodes; those of one name in the order of lines.
    pub claims: Vec<Claim>,
    /// Lines that are no claims. As long as there are any nobody can know what is free.
    pub broken: Vec<String>,
}

impl Book {
    /// Reads what an object holds.
    pub fn read(version: String, data: &Data) -> Self {
        let mut book = Self {
            version,
            ..Self::default()
        };
        for (node, text) in data {
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                match Claim::read(node, line) {
                    Some(claim) => book.claims.push(claim),
                    None => book.broken.push(format!("{node}: `{line}`")),
                }
            }
        }
        book
    }

    /// The claim of a Node.
    pub fn of(&self, node: &str, uid: &str) -> Option<&Claim> {
        let mut claims = self.claims.iter();
        claims.find(|claim| claim.is_of(node, uid))
    }

    /// The claim that has a part of a range, of all that are not one's own.
    pub fn taken(&self, range: IpNetwork, is_own: impl Fn(&Claim) -> bool) -> Option<&Claim> {
        let mut others = self.claims.iter().filter(|claim| !is_own(claim));
        others.find(|claim| claim.ranges.iter().any(|r| overlap(*r, range)))
    }

    /// What puts a claim in place of those of the same Node, and of `former` ones of its name.
    pub fn put(&self, claim: &Claim, former: Option<&str>) -> Changes {
        let stays = |old: &&Claim| old.uid != claim.uid && Some(old.uid.as_str()) != former;
        let lines = self.claims.iter().filter(|old| old.node == claim.node);
        let mut lines: Vec<String> = lines.filter(stays).map(ToString::to_string).collect();
        lines.push(claim.to_string());
        Changes::from([(claim.node.clone(), Some(lines.join("\n")))])
    }

    /// What takes claims out.
    pub fn without(&self, gone: &[(String, String)]) -> Changes {
        let is_gone = |claim: &Claim| gone.iter().any(|(node, uid)| claim.is_of(node, uid));
        let mut changes = Changes::new();
        for (node, _) in gone {
            let lines = self.claims.iter().filter(|claim| claim.node == *node);
            let stays = lines.filter(|claim| !is_gone(claim));
            let stays: Vec<String> = stays.map(ToString::to_string).collect();
            changes.insert(node.clone(), (!stays.is_empty()).then(|| stays.join("\n")));
        }
        changes
    }
}

impl Claim {
    fn read(node: &str, line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (uid, keep) = (words.next()?, words.next()?);
        let ranges: Vec<IpNetwork> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        (!ranges.is_empty()).then_some(Self {
            node: node.to_owned(),
            uid: uid.to_owned(),
            keep: keep.parse().ok()?,
            ranges,
        })
    }

    /// Whether it is this Node's.
    pub fn is_of(&self, node: &str, uid: &str) -> bool {
        self.node == node && self.uid == uid
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.uid, self.keep)?;
        self.ranges
            .iter()
            .try_for_each(|range| write!(f, " {range}"))
    }
}

/// Whether two ranges have an address in common.
pub fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    a.contains(b.network()) || b.contains(a.network())
}

/// Whether a range is a part of another.
pub fn within(part: IpNetwork, whole: IpNetwork) -> bool {
    part.prefix() >= whole.prefix() && whole.contains(part.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(node: &str, uid: &str, range: &str) -> Claim {
        Claim {
            node: node.to_owned(),
            uid: uid.to_owned(),
            keep: Period::from_secs(3600),
            ranges: vec![range.parse().unwrap(), "fd00:10:244::/64".parse().unwrap()],
        }
    }

    /// An object after a change.
    fn after(book: &Book, changes: Changes) -> Book {
        let mut data = Data::new();
        for claim in &book.claims {
            let text = data.entry(claim.node.clone()).or_default();
            *text = format!("{text}{claim}\n");
        }
        for (key, text) in changes {
            match text {
                Some(text) => drop(data.insert(key, text)),
                None => drop(data.remove(&key)),
            }
        }
        Book::read(String::new(), &data)
    }

    #[test]
    fn what_is_written_is_read() {
        let first = claim("a", "u1", "10.244.0.0/24");
        assert_eq!(first.to_string(), "u1 1h 10.244.0.0/24 fd00:10:244::/64");
        let book = after(&Book::default(), Book::default().put(&first, None));
        assert_eq!(book.claims.first(), Some(&first));
        // The same name again, once as another machine and once as the same one.
        let second = claim("a", "u2", "10.244.1.0/24");
        let both = after(&book, book.put(&second, None));
        assert_eq!(both.claims, [first, second.clone()]);
        let one = after(&book, book.put(&second, Some("u1")));
        assert_eq!(one.claims.as_slice(), std::slice::from_ref(&second));
        let left = after(&both, both.without(&[("a".to_owned(), "u1".to_owned())]));
        assert_eq!(left.claims, [second]);
        let gone = [("a".to_owned(), "u1".to_owned())];
        assert_eq!(book.without(&gone), Changes::from([("a".to_owned(), None)]));
    }

    #[test]
    fn what_is_no_claim_is_named() {
        for line in ["u1", "u1 1h", "u1 1h 10.0.0.0/33", "u1 soon 10.0.0.0/24"] {
            let data = Data::from([("a".to_owned(), line.to_owned())]);
            let book = Book::read(String::new(), &data);
            assert_eq!(book.broken, [format!("a: `{line}`")]);
        }
    }

    /// A `ConfigMap` holds 1 MiB of values, and etcd takes requests of 1.5 MiB, with the names of keys in `managedFields`.
    #[test]
    fn five_thousand_nodes_have_room() {
        let node = "ip-192-168-123-234.ap-southeast-2.compute.internal";
        let uid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let mut longest = claim(node, uid, "100.100.100.0/24");
        longest.ranges[1] = "fd00:1234:5678:9abc::/64".parse().unwrap();
        let value = longest.to_string().len();
        assert!(value * 5000 <= 1 << 20, "{value}");
        let whole = value + 2 * node.len() + r#""":"","f:":{},"#.len();
        assert!(whole * 5000 < 3 << 19, "{whole}");
    }
}
