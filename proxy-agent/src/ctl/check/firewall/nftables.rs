//! Chains of nftables, and of iptables where that makes those. By the JSON of `nft`.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::{Dropping, Found, Lets};
use crate::ctl::tool::Call;

/// Whoever lets connections begin lets their answers pass so.
const ANSWERS: Lets = Lets {
    out: false,
    back: true,
};
/// Jumps from chain to chain that are followed.
const DEEP: usize = 16;

/// A table with a chain that is asked before something is forwarded.
struct Table {
    family: String,
    name: String,
    objects: Vec<Value>,
}

pub(super) fn look(ranges: &[IpNetwork], found: &mut Found) {
    let chains = match list(&["chains"]) {
        Ok(Some(chains)) => chains,
        Ok(None) => return found.lacking.push("nft"),
        Err(why) => return found.failed.push(why),
    };
    let asked = chains.iter().filter_map(|object| {
        let chain = object
            .get("chain")
            .filter(|chain| chain["hook"] == "forward")?;
        let word = |key: &str| chain[key].as_str().map(ToOwned::to_owned);
        Some((word("family")?, word("table")?))
    });
    let tables: BTreeSet<(String, String)> = asked.collect();
    for (family, name) in tables {
        match list(&["table", &family, &name]) {
            Ok(objects) => {
                let objects = objects.unwrap_or_default();
                let table = Table {
                    family,
                    name,
                    objects,
                };
                found.dropping.extend(table.dropping(ranges));
            }
            Err(why) => found.failed.push(why),
        }
    }
}

/// What `nft` lists; none if it is not here.
fn list(what: &[&str]) -> Result<Option<Vec<Value>>, String> {
    let words = [&["nft", "--json", "list"], what].concat();
    let text = Call::new(&words).output().map_err(|error| error.message)?;
    let Some(text) = text else {
        return Ok(None);
    };
    let listed: Value =
        serde_json::from_str(&text).map_err(|error| format!("`{}`: {error}", words.join(" ")))?;
    let objects = listed["nftables"].as_array().cloned();
    Ok(Some(objects.unwrap_or_default()))
}

impl Table {
    fn dropping(&self, ranges: &[IpNetwork]) -> Vec<Dropping> {
        let chains = self.objects.iter().filter_map(|object| object.get("chain"));
        let asked = chains.filter(|chain| chain["hook"] == "forward");
        let asked = asked.filter(|chain| self.drops(chain));
        asked
            .flat_map(|chain| {
                let name = chain["name"].as_str().unwrap_or_default();
                let of_family = ranges.iter().filter(|range| self.is_of(range));
                let stopped = of_family.filter(|range| self.lets(name, range, DEEP) != Lets::ALL);
                stopped.map(|range| self.complaint(name, *range))
            })
            .collect()
    }

    fn is_of(&self, range: &IpNetwork) -> bool {
        match self.family.as_str() {
            "ip" => range.is_ipv4(),
            "ip6" => range.is_ipv6(),
            family => family == "inet",
        }
    }

    fn complaint(&self, chain: &str, range: IpNetwork) -> Dropping {
        let Self { family, name, .. } = self;
        let header = if range.is_ipv4() { "ip" } else { "ip6" };
        let insert = |side: &str| {
            format!("nft insert rule {family} {name} {chain} {header} {side} {range} accept")
        };
        Dropping {
            chain: format!("chain {chain} of nftables' table {family} {name}"),
            range,
            remedy: format!("{}; {}", insert("saddr"), insert("daddr")),
        }
    }

    fn rules<'a>(&'a self, chain: &'a str) -> impl DoubleEndedIterator<Item = &'a [Value]> {
        let rules = self.objects.iter().filter_map(|object| object.get("rule"));
        let rules = rules.filter(move |rule| rule["chain"] == chain);
        rules.filter_map(|rule| rule["expr"].as_array().map(Vec::as_slice))
    }

    /// Whether it drops what none of its rules says anything about.
    fn drops(&self, chain: &Value) -> bool {
        let name = chain["name"].as_str().unwrap_or_default();
        let ends = |expr: &[Value]| {
            let is = |key: &str| expr.iter().any(|one| one.get(key).is_some());
            conditions(expr).next().is_none() && (is("drop") || is("reject"))
        };
        chain["policy"] == "drop" || self.rules(name).next_back().is_some_and(ends)
    }

    /// What of a range of pods is accepted before the end.
    fn lets(&self, chain: &str, range: &IpNetwork, deep: usize) -> Lets {
        let mut all = Lets::default();
        for expr in self.rules(chain) {
            let matched = matched(expr, range);
            let jump = expr
                .iter()
                .find_map(|one| one.get("jump").or_else(|| one.get("goto")));
            if expr.iter().any(|one| one.get("accept").is_some()) {
                all = all.and(matched);
            } else if let Some(to) = jump.and_then(|jump| jump["target"].as_str())
                && let Some(deep) = deep.checked_sub(1)
            {
                let inside = self.lets(to, range, deep);
                all = all.and(Lets {
                    out: inside.out && matched.out,
                    back: inside.back && matched.back,
                });
            }
        }
        all
    }
}

/// What a rule asks for, without what it only counts or says.
fn conditions(expr: &[Value]) -> impl Iterator<Item = &Value> {
    const VERDICTS: [&str; 8] = [
        "counter", "log", "accept", "drop", "reject", "jump", "goto", "comment",
    ];
    let is_verdict = |one: &&Value| VERDICTS.iter().any(|key| one.get(key).is_some());
    expr.iter().filter(move |one| !is_verdict(one))
}

/// Which packets of a range a rule is about: from it, to it, or both.
fn matched(expr: &[Value], range: &IpNetwork) -> Lets {
    let mut about = Lets::ALL;
    for condition in conditions(expr) {
        let of = match condition.get("match") {
            Some(one) => side(one, range),
            // iptables' own, of which no more than the name is listed.
            None if condition["xt"]["name"] == "conntrack" => ANSWERS,
            None => Lets::default(),
        };
        about = Lets {
            out: about.out && of.out,
            back: about.back && of.back,
        };
    }
    about
}

/// What one condition lets through of a range of pods.
fn side(condition: &Value, range: &IpNetwork) -> Lets {
    let (left, right) = (&condition["left"], &condition["right"]);
    let (out, back) = (true, true);
    if condition["op"] != "==" && condition["op"] != "in" {
        return Lets::default();
    }
    let of_pods = |right: &Value| {
        right.as_str().is_some_and(|name| {
            "weir".starts_with(name.trim_end_matches('*')) || name.starts_with("weir")
        })
    };
    match (
        left["payload"]["field"].as_str(),
        left["meta"]["key"].as_str(),
    ) {
        (Some("saddr"), _) if holds(right, range) => Lets { out, back: false },
        (Some("daddr"), _) if holds(right, range) => Lets { out: false, back },
        (_, Some("iifname")) if of_pods(right) => Lets { out, back: false },
        (_, Some("oifname")) if of_pods(right) => Lets { out: false, back },
        _ if left["ct"]["key"] == "state" && right.to_string().contains("established") => ANSWERS,
        _ => Lets::default(),
    }
}

/// Whether addresses (a prefix, or a set of them) hold all of a range.
fn holds(addresses: &Value, range: &IpNetwork) -> bool {
    if let Some(all) = addresses["set"].as_array() {
        return all.iter().any(|one| holds(one, range));
    }
    let prefix = &addresses["prefix"];
    let length = prefix["len"]
        .as_u64()
        .and_then(|length| u8::try_from(length).ok());
    let address = prefix["addr"]
        .as_str()
        .and_then(|address| address.parse().ok());
    let network = address
        .zip(length)
        .and_then(|(ip, length)| IpNetwork::new(ip, length).ok());
    network.is_some_and(|network| {
        network.prefix() <= range.prefix() && network.contains(range.network())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RANGES: [&str; 2] = ["10.244.1.0/24", "fd00:1::/64"];

    fn ranges() -> [IpNetwork; 2] {
        RANGES.map(|range| range.parse().unwrap())
    }

    fn address(field: &str, net: &str) -> Value {
        let net: IpNetwork = net.parse().unwrap();
        let prefix = json!({ "prefix": { "addr": net.network(), "len": net.prefix() } });
        json!({ "match": { "op": "==", "left": { "payload": { "protocol": "ip", "field": field } }, "right": prefix } })
    }

    fn accept(conditions: &[Value]) -> Value {
        let mut expr = conditions.to_vec();
        expr.extend([
            json!({ "counter": { "packets": 0, "bytes": 0 } }),
            json!({ "accept": null }),
        ]);
        Value::Array(expr)
    }

    /// Ranges that a chain with these rules drops; what a rule jumps to is `rules` of chain `user`.
    fn dropped(family: &str, policy: &str, rules: &[Value], user: &[Value]) -> Vec<String> {
        let chain = json!({ "chain": { "name": "FORWARD", "hook": "forward", "policy": policy } });
        let rule = |chain: &str, expr: &Value| json!({ "rule": { "chain": chain, "expr": expr } });
        let mut objects = vec![chain];
        objects.extend(rules.iter().map(|expr| rule("FORWARD", expr)));
        objects.extend(user.iter().map(|expr| rule("user", expr)));
        let table = Table {
            family: family.to_owned(),
            name: "filter".to_owned(),
            objects,
        };
        let dropped = table.dropping(&ranges()).into_iter();
        dropped.map(|one| one.range.to_string()).collect()
    }

    #[test]
    fn a_chain_that_ends_in_a_drop_is_told_by_family() {
        let reject = json!([{ "counter": {} }, { "reject": { "type": "icmpx", "expr": "admin-prohibited" } }]);
        assert_eq!(dropped("ip", "drop", &[], &[]), RANGES[..1]);
        assert_eq!(dropped("ip6", "drop", &[], &[]), RANGES[1..]);
        assert_eq!(dropped("inet", "accept", &[reject], &[]), RANGES);
        assert_eq!(dropped("ip", "accept", &[], &[]), [""; 0]);
        // Of some packets only.
        let some = json!([address("saddr", "192.0.2.0/24"), { "drop": null }]);
        assert_eq!(dropped("inet", "accept", &[some], &[]), [""; 0]);
        // Dockers own are accepted, pods are not.
        let dockers = accept(&[
            json!({ "match": { "op": "==", "left": { "meta": { "key": "iifname" } }, "right": "docker0" } }),
        ]);
        assert_eq!(dropped("ip", "drop", &[dockers], &[]), RANGES[..1]);
    }

    #[test]
    fn a_chain_that_lets_pods_pass_is_not() {
        let established = json!({ "match": { "op": "in", "left": { "ct": { "key": "state" } }, "right": ["established", "related"] } });
        let (from, to) = (
            address("saddr", "10.244.0.0/16"),
            address("daddr", RANGES[0]),
        );
        let jump = json!([{ "jump": { "target": "user" } }]);
        let way = |key: &str| json!({ "match": { "op": "==", "left": { "meta": { "key": key } }, "right": "weir*" } });
        for (rules, user) in [
            (vec![accept(&[])], vec![]),
            (
                vec![
                    accept(std::slice::from_ref(&from)),
                    accept(std::slice::from_ref(&to)),
                ],
                vec![],
            ),
            (
                vec![
                    accept(std::slice::from_ref(&established)),
                    accept(std::slice::from_ref(&from)),
                ],
                vec![],
            ),
            (
                vec![accept(&[way("iifname")]), accept(&[way("oifname")])],
                vec![],
            ),
            (
                vec![jump.clone()],
                vec![
                    accept(std::slice::from_ref(&from)),
                    accept(std::slice::from_ref(&to)),
                ],
            ),
        ] {
            assert_eq!(dropped("ip", "drop", &rules, &user), [""; 0], "{rules:?}");
        }
        // Half of it, less than the range, or under another condition.
        let port = json!({ "match": { "op": "==", "left": { "payload": { "protocol": "tcp", "field": "dport" } }, "right": 80 } });
        for rules in [
            vec![accept(std::slice::from_ref(&from))],
            vec![
                accept(&[address("saddr", "10.244.1.0/25")]),
                accept(std::slice::from_ref(&to)),
            ],
            vec![accept(&[from, port]), accept(&[to])],
        ] {
            assert_eq!(dropped("ip", "drop", &rules, &[]), RANGES[..1], "{rules:?}");
        }
    }
}
