//! Cookies: the names of rules in cells, intervals and tracked flows.
//!
//! A cookie is made from the name of the policy, the direction and the place of the rule, so that it is the
//! same after a restart and on every node.

use std::{collections::BTreeMap, fmt, hash::Hasher};

use serde::{Deserialize, Serialize};

use super::Direction;
use crate::model::ObjectName;

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleName {
    /// Namespace of the policy.
    pub namespace: String,
    /// Name of the policy.
    pub policy: String,
    /// Which of its two lists.
    pub direction: Direction,
    /// Place in the list, from 0.
    pub rule: u32,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            policy,
            direction,
            rule,
        } = self;
        write!(f, "{namespace}/{policy} {direction}[{rule}]")
    }
}

/// All cookies given out, with what they mean. 0 is never given out: it means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cookies(BTreeMap<u32, RuleName>);

impl Cookies {
    /// The cookie of a rule.
    pub fn of(&mut self, policy: &ObjectName, direction: Direction, rule: u32) -> u32 {
        let name = RuleName {
            namespace: policy.namespace().to_owned(),
            policy: policy.name().to_owned(),
            direction,
            rule,
        };
        let mut cookie = hash(&name).max(1);
        while self.0.get(&cookie).is_some_and(|other| *other != name) {
            cookie = cookie.wrapping_add(1).max(1);
        }
        self.0.insert(cookie, name);
        cookie
    }

    /// What a cookie means.
    pub fn name(&self, cookie: u32) -> Option<&RuleName> {
        self.0.get(&cookie)
    }

    /// All cookies.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &RuleName)> {
        self.0.iter().map(|(cookie, name)| (*cookie, name))
    }

    /// Forgets all that are not needed.
    pub fn retain(&mut self, needed: impl Fn(u32) -> bool) {
        self.0.retain(|cookie, _| needed(*cookie));
    }
}

/// FNV-1a, because the standard library's hash may change between releases.
struct Fnv(u32);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn finish(&self) -> u64 {
        u64::from(self.0)
    }
}

fn hash(name: &RuleName) -> u32 {
    let mut fnv = Fnv(0x811c_9dc5);
    // Each after its length, so that no two pairs are one text: the standard library does so too, but does not say that it will.
    for text in [&name.namespace, &name.policy] {
        fnv.write(&(text.len() as u64).to_le_bytes());
        fnv.write(text.as_bytes());
    }
    fnv.write(&[u8::from(name.direction == Direction::Egress)]);
    fnv.write(&name.rule.to_le_bytes());
    fnv.finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_names_one_rule() {
        let mut cookies = Cookies::default();
        let policy = ObjectName::new("shop", "db");
        let a = cookies.of(&policy, Direction::Ingress, 0);
        let b = cookies.of(&policy, Direction::Egress, 0);
        assert_ne!(a, b);
        assert_eq!(cookies.of(&policy, Direction::Ingress, 0), a);
        assert_eq!(cookies.name(b).unwrap().to_string(), "shop/db egress[0]");
    }

    /// All versions and nodes call a rule the same.
    #[test]
    fn cookies_stay_what_they_are() {
        let rule = |namespace: &str, policy: &str, direction, rule| {
            hash(&RuleName {
                namespace: namespace.to_owned(),
                policy: policy.to_owned(),
                direction,
                rule,
            })
        };
        assert_eq!(rule("shop", "db", Direction::Ingress, 0), 0x9240_899b);
        assert_ne!(
            rule("ab", "c", Direction::Ingress, 1),
            rule("a", "bc", Direction::Ingress, 1)
        );
    }
}
