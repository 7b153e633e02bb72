//! Chains of kube-proxy's modes `iptables` and `ipvs`, and the rules that lead there.

use std::fs;

use super::{KEPT, Leftover, Survey};
use crate::ctl::{CtlError, tool::Call};

/// A family: its tools, and where the kernel names its tables of the elder kind (`legacy`).
struct Family {
    place: &'static str,
    legacy_tables: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        place: "iptables",
        legacy_tables: "/proc/net/ip_tables_names",
    },
    Family {
        place: "ip6tables",
        legacy_tables: "/proc/net/ip6_tables_names",
    },
];
/// The variants that a host may have side by side. Where neither is told apart there is one.
const VARIANTS: [&str; 2] = ["-nft", "-legacy"];
const PLAIN: &str = "";

const PREFIX: &str = "KUBE-";
/// The kubelet's own (KEP-3178), which it would only make again.
const OF_KUBELET: [&str; 3] = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY", "KUBE-FIREWALL"];

/// What is there, by table.
pub(super) fn look(survey: &mut Survey) {
    for family in FAMILIES {
        family.look(survey);
    }
}

impl Family {
    fn look(&self, survey: &mut Survey) {
        let [nft, legacy] = VARIANTS.map(|variant| self.save(variant, survey));
        if nft || legacy || self.save(PLAIN, survey) {
            // Who has only the newer tool does not see what the elder one has made.
            if nft && !legacy && self.has_legacy() {
                survey.lacks(self.place, &format!("{}-legacy-save", self.place));
            }
        } else {
            survey.lacks(self.place, &format!("{}-save", self.place));
        }
    }

    /// Whether there is such a tool.
    fn save(&self, variant: &str, survey: &mut Survey) -> bool {
        let place = format!("{}{variant}", self.place);
        match Call::new(&[&format!("{place}-save")]).output() {
            Ok(None) => return false,
            Ok(Some(rules)) => {
                let restore = format!("{place}-restore");
                let found = tables(&rules).filter_map(|table| leftover(&place, &restore, &table));
                survey.found.extend(found);
            }
            Err(CtlError { message, .. }) => survey.fails(self.place, message),
        }
        true
    }

    /// Whether the kernel has tables that only the elder tool shows.
    fn has_legacy(&self) -> bool {
        fs::read_to_string(self.legacy_tables).is_ok_and(|names| !names.trim().is_empty())
    }
}

/// A table as it is saved.
struct Table<'a> {
    name: &'a str,
    lines: Vec<&'a str>,
}

fn tables(rules: &str) -> impl Iterator<Item = Table<'_>> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    for line in rules.lines() {
        if let Some(name) = line.strip_prefix('*') {
            let lines = Vec::new();
            tables.push(Table { name, lines });
        } else if let Some(table) = tables.last_mut() {
            table.lines.push(line);
        }
    }
    tables.into_iter()
}

fn leftover(place: &str, restore: &str, table: &Table<'_>) -> Option<Leftover> {
    let chains = table.lines.iter().filter_map(|line| {
        let (chain, _) = line.strip_prefix(':')?.split_once(' ')?;
        is_ours(chain).then_some(chain)
    });
    let chains: Vec<&str> = chains.collect();
    if chains.is_empty() {
        return None;
    }
    let leads = table.lines.iter().filter_map(|line| lead(line));
    let leads: Vec<String> = leads.collect();
    // First nothing leads there, then they are emptied (a chain that is named is), then none leads to another.
    let emptied = chains.iter().map(|chain| format!(":{chain} - [0:0]\n"));
    let removed = chains.iter().map(|chain| format!("-X {chain}\n"));
    let lines = emptied.chain(leads.iter().map(|lead| format!("{lead}\n")));
    let lines: String = lines.chain(removed).collect();
    let kept = if table.name == "nat" {
        keeper(table)
    } else {
        String::new()
    };
    let input = format!("*{}\n{kept}{lines}COMMIT\n", table.name);
    Some(Leftover {
        place: place.to_owned(),
        what: format!(
            "table {}: {} chains, {} rules that lead there",
            table.name,
            chains.len(),
            leads.len()
        ),
        commands: vec![Call::new(&[restore, "--noflush"]).reading(input)],
        stays: None,
    })
}

/// A chain to which nothing leads, but which has connections tracked further on.
fn keeper(table: &Table<'_>) -> String {
    let [_, chain] = KEPT;
    let is_there = table
        .lines
        .iter()
        .any(|line| line.starts_with(&format!(":{chain} ")));
    if is_there {
        return String::new();
    }
    format!(":{chain} - [0:0]\n-A {chain} -m conntrack --ctstate ESTABLISHED -j RETURN\n")
}

/// The removal of a rule by which somebody else's chain leads to one of kube-proxy's.
fn lead(line: &str) -> Option<String> {
    let rule = line.strip_prefix("-A ")?;
    let (chain, _) = rule.split_once(' ')?;
    let mut words = rule.split_whitespace();
    let to = words
        .find(|word| matches!(*word, "-j" | "-g"))
        .and(words.next())?;
    (!is_ours(chain) && is_ours(to)).then(|| format!("-D {rule}"))
}

fn is_ours(chain: &str) -> bool {
    chain.starts_with(PREFIX) && !OF_KUBELET.contains(&chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_kubelets_and_everybody_elses_stays() {
        let rules = "*nat\n\
             :PREROUTING ACCEPT [0:0]\n\
             :KUBE-KUBELET-CANARY - [0:0]\n\
             :KUBE-SERVICES - [0:0]\n\
             :KUBE-SVC-A - [0:0]\n\
             :DOCKER - [0:0]\n\
             -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
             -A PREROUTING -j DOCKER\n\
             -A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-A\n\
             COMMIT\n\
             *filter\n\
             :KUBE-FIREWALL - [0:0]\n\
             -A INPUT -j KUBE-FIREWALL\n\
             COMMIT\n";
        let found: Vec<Leftover> = tables(rules)
            .filter_map(|table| leftover("iptables", "iptables-restore", &table))
            .collect();
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].what,
            "table nat: 2 chains, 1 rules that lead there"
        );
        assert_eq!(
            found[0].commands[0].to_string(),
            "iptables-restore --noflush <<'END'\n\
             *nat\n\
             :WEIR-KEPT - [0:0]\n\
             -A WEIR-KEPT -m conntrack --ctstate ESTABLISHED -j RETURN\n\
             :KUBE-SERVICES - [0:0]\n\
             :KUBE-SVC-A - [0:0]\n\
             -D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
             -X KUBE-SERVICES\n\
             -X KUBE-SVC-A\n\
             COMMIT\n\
             END"
        );
    }
}
