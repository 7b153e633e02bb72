//! What others' rules and routes take of Weir's ranges: what the host's stack sends there, and what programs ask the kernel the way of,
//! goes another way than Weir's routes lead, or nowhere. It stays, and is told.

use std::{collections::BTreeSet, net::IpAddr};

use cni_plugin::wiring::{
    ROUTE_PROTOCOL,
    route::{Route, all},
    rule::Rule,
};
use ipnetwork::IpNetwork;

use super::{
    facts::{Facts, MAIN_TABLE},
    routes::OURS,
};

/// `RTPROT_KERNEL`: what comes with an address of a link.
const OF_KERNEL: u8 = 2;

/// Something that takes a range, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detour {
    /// What, as an error has it.
    pub text: String,
    /// Takes it away.
    pub removal: String,
}

/// Rules that lead some of these ranges to another table than where Weir's routes are, before that is asked.
pub fn rules(facts: &Facts, ranges: &BTreeSet<IpNetwork>) -> Vec<Detour> {
    let rules = facts.routing.rules.iter();
    rules
        .filter_map(|rule| {
            let taken = ranges.iter().find(|range| takes(rule, **range, facts))?;
            let text = format!(
                "{taken} is taken by {}, before Weir's routes are asked",
                words(rule)
            );
            let family = family(&rule.to);
            let to = to(rule).unwrap_or_default();
            let removal = format!("ip {family} rule delete priority {}{to}", rule.priority);
            Some(Detour { text, removal })
        })
        .collect()
}

/// Routes to parts of these ranges, which the kernel prefers to Weir's.
pub fn routes(facts: &Facts, ranges: &BTreeSet<IpNetwork>) -> Vec<Detour> {
    let own: BTreeSet<IpAddr> = facts.addresses().collect();
    let others = facts.routing.others.iter().filter_map(Route::of);
    let main = facts.routing.main.iter().copied().chain(others);
    // What leads to an address of this machine is told with the address.
    let foreign = main.filter(|route| {
        !OURS.contains(&route.protocol)
            && route.protocol != OF_KERNEL
            && !own.contains(&route.to.ip())
    });
    foreign
        .filter_map(|route| {
            let part =
                |range: &&IpNetwork| route.to.prefix() > range.prefix() && meet(route.to, **range);
            let range = ranges.iter().find(part)?;
            Some(Detour {
                text: format!(
                    "{}, of {range}, is taken by a route of somebody else{}",
                    route.to,
                    way(&route, facts)
                ),
                removal: format!("ip {} route delete {}", family(&route.to), route.to),
            })
        })
        .collect()
}

fn way(route: &Route, facts: &Facts) -> String {
    let link = facts.interface(route.way.index);
    let via = route.way.gateway.map(|ip| format!(" via {ip}"));
    let dev = link.map(|link| format!(" dev {}", link.name));
    let proto = format!(" (proto {})", route.protocol);
    [via, dev, Some(proto)].into_iter().flatten().collect()
}

/// Whether a rule is somebody else's, is asked before the main table, and takes anything of a range. One that is about other things too
/// takes it only where its table leads there.
fn takes(rule: &Rule, range: IpNetwork, facts: &Facts) -> bool {
    let routing = &facts.routing;
    let is_main = |rule: &&Rule| {
        rule.table == Some(MAIN_TABLE.into()) && rule.to.prefix() == 0 && !rule.narrow
    };
    let of_family = routing
        .rules
        .iter()
        .filter(|other| other.to.is_ipv4() == range.is_ipv4());
    let main = of_family.filter(is_main).map(|rule| rule.priority).min();
    let is_early = main.is_none_or(|main| rule.priority < main);
    let is_known = rule
        .table
        .is_some_and(|table| !routing.beside.contains_key(&table));
    if !is_early || is_known || rule.protocol == ROUTE_PROTOCOL || !meet(rule.to, range) {
        return false;
    }
    let leads = || match rule.table.and_then(|table| routing.beside.get(&table)) {
        Some(routes) => routes.iter().any(|to| meet(*to, range)),
        None => true,
    };
    rule.to.prefix() > 0 || !rule.narrow && leads()
}

/// Whether two networks have an address in common.
fn meet(one: IpNetwork, other: IpNetwork) -> bool {
    one.is_ipv4() == other.is_ipv4()
        && (one.contains(other.network()) || other.contains(one.network()))
}

fn words(rule: &Rule) -> String {
    let to = to(rule).unwrap_or_else(|| " from all".to_owned());
    let leads = match rule.table {
        Some(table) => format!("lookup {table}"),
        None => "to nowhere".to_owned(),
    };
    format!(
        "rule {} of `ip {} rule`:{to} {leads}",
        rule.priority,
        family(&rule.to)
    )
}

/// Destinations that it names.
fn to(rule: &Rule) -> Option<String> {
    (rule.to != all(rule.to.is_ipv4())).then(|| format!(" to {}", rule.to))
}

fn family(of: &IpNetwork) -> &'static str {
    if of.is_ipv4() { "-4" } else { "-6" }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cni_plugin::wiring::route::Way;

    use super::*;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn rule(priority: u32, to: &str, table: u32) -> Rule {
        Rule {
            priority,
            to: net(to),
            narrow: false,
            table: Some(table),
            protocol: 3,
        }
    }

    /// What is told of one rule beside the kernel's own, where table 100 leads everywhere, 101 to a pod, 102 nowhere.
    fn told(rule: Rule) -> Vec<String> {
        let mut facts = Facts::default();
        facts.routing.rules = vec![
            self::rule(0, "0.0.0.0/0", 255),
            rule,
            self::rule(32766, "0.0.0.0/0", 254),
        ];
        let routes = |all: &[&str]| all.iter().map(|to| net(to)).collect();
        facts.routing.beside = BTreeMap::from([
            (100, routes(&["0.0.0.0/0"])),
            (101, routes(&["10.244.1.7/32"])),
            (102, routes(&[])),
        ]);
        let ranges = ["10.244.1.0/24", "fd00::/64"].map(net).into();
        let told = rules(&facts, &ranges).into_iter();
        told.map(|one| one.removal).collect()
    }

    #[test]
    fn rules_that_take_a_range_before_the_main_table_are_told() {
        let general = "0.0.0.0/0";
        let nowhere = Rule {
            table: None,
            ..rule(9, general, 0)
        };
        for (rule, removal) in [
            (
                rule(9, "10.244.0.0/16", 102),
                "ip -4 rule delete priority 9 to 10.244.0.0/16",
            ),
            (
                rule(9, "10.244.1.128/25", 100),
                "ip -4 rule delete priority 9 to 10.244.1.128/25",
            ),
            (rule(9, general, 100), "ip -4 rule delete priority 9"),
            (rule(9, general, 101), "ip -4 rule delete priority 9"),
            (nowhere, "ip -4 rule delete priority 9"),
        ] {
            assert_eq!(told(rule), [removal], "{rule:?}");
        }
    }

    #[test]
    fn rules_that_take_nothing_are_not() {
        let general = "0.0.0.0/0";
        let narrow = Rule {
            narrow: true,
            ..rule(9, general, 100)
        };
        let plugins = Rule {
            protocol: ROUTE_PROTOCOL,
            ..rule(9, general, 100)
        };
        for rule in [
            rule(40_000, "10.244.0.0/16", 100),
            rule(9, "10.245.0.0/16", 100),
            rule(9, "10.244.0.0/16", 254),
            rule(9, general, 102),
            narrow,
            plugins,
        ] {
            assert_eq!(told(rule), [""; 0], "{rule:?}");
        }
    }

    #[test]
    fn routes_to_parts_of_a_range_are_told_if_they_are_somebody_elses() {
        let mut facts = Facts::default();
        let way = Way {
            index: 1,
            ..Way::default()
        };
        for (to, protocol) in [
            ("10.244.1.128/25", 3),
            ("10.244.1.0/24", 3),
            ("10.244.0.0/16", 3),
            ("10.244.1.0/25", 87),
            ("10.244.1.7/32", 88),
            ("10.244.1.64/26", OF_KERNEL),
            ("fd00::/80", 16),
        ] {
            let to = net(to);
            facts.routing.main.push(Route { to, protocol, way });
        }
        let ranges = ["10.244.1.0/24", "fd00::/64"].map(net).into();
        let told = routes(&facts, &ranges).into_iter();
        assert_eq!(
            told.map(|one| one.removal).collect::<Vec<_>>(),
            [
                "ip -4 route delete 10.244.1.128/25",
                "ip -6 route delete fd00::/80"
            ]
        );
    }
}
