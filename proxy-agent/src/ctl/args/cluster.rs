//! The flags that say on which nodes a verb runs, and where their cluster is.

use std::path::PathBuf;

use clap::Args;

/// On which nodes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Other nodes, through the API server, by your rights")]
pub struct ClusterArgs {
    /// Run on this node, in the container of its agent; needs list of pods, and get and create of pods/exec where the
    /// agents are. `kubectl weir` takes the only agent, if there is one
    #[arg(long, global = true, value_name = "NAME")]
    pub node: Option<String>,
    /// Run on every node that has an agent; the exit code is the highest. `policy why` asks those that have a say, which
    /// needs get and list of pods and nodes too
    #[arg(long, global = true)]
    pub all_nodes: bool,
    /// Let the program on the node read what this one gets on standard input
    #[arg(long, global = true)]
    pub stdin: bool,
    /// A kubeconfig file (default: as kubectl)
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig (default: its current one)
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace of the agents (default: kube-system)
    #[arg(long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// The flags with a value, and those without.
const WITH_VALUE: [&str; 4] = ["--node", "--kubeconfig", "--context", "--namespace"];
const ALONE: [&str; 2] = ["--all-nodes", "--stdin"];

impl ClusterArgs {
    /// The agents' namespace.
    pub fn agents(&self) -> &str {
        self.namespace.as_deref().unwrap_or("kube-system")
    }

    /// The flag that says which nodes, or what they read, if one does.
    pub fn nodes(&self) -> Option<&'static str> {
        let flags = [
            ("--node", self.node.is_some()),
            ("--all-nodes", self.all_nodes),
            ("--stdin", self.stdin),
        ];
        flags
            .into_iter()
            .find_map(|(flag, told)| told.then_some(flag))
    }

    /// A flag that says something about the other nodes, but not which; none if there is none.
    pub fn stray(&self) -> Option<&'static str> {
        let flags = [
            ("--kubeconfig", self.kubeconfig.is_some()),
            ("--context", self.context.is_some()),
            ("--namespace", self.namespace.is_some()),
            ("--stdin", self.stdin),
        ];
        flags
            .into_iter()
            .find_map(|(flag, told)| told.then_some(flag))
    }
}

/// The words of a command line without these flags, and without the program's name: what the other node is told. The command
/// line has been understood before, so no value of another flag looks like one of these.
pub fn without(words: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if word == "--" {
            kept.push(word.clone());
            kept.extend(words.cloned());
            break;
        }
        let flag = word.split_once('=').map_or(word.as_str(), |(flag, _)| flag);
        if WITH_VALUE.contains(&flag) {
            if flag == word {
                words.next();
            }
        } else if !ALONE.contains(&flag) {
            kept.push(word.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{ALONE, WITH_VALUE, without};
    use crate::ctl::args::Arguments;

    fn left(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        without(&words).join(" ")
    }

    #[test]
    fn what_is_not_for_the_other_node_is_left_out() {
        for (line, wanted) in [
            ("kubectl-weir status --node a --brief", "status --brief"),
            ("proxyctl --node=a -o json status", "-o json status"),
            (
                "proxyctl --all-nodes dump --kubeconfig /x services --context=y",
                "dump services",
            ),
            (
                "proxyctl policy why --namespace weir -- --node a 80",
                "policy why -- --node a 80",
            ),
            (
                "proxyctl check --stdin --config /dev/stdin",
                "check --config /dev/stdin",
            ),
            ("proxyctl cni log --pod a/--node", "cni log --pod a/--node"),
        ] {
            assert_eq!(left(line), wanted);
        }
    }

    #[test]
    fn every_flag_is_known() {
        let command = Arguments::command();
        let ours = command.get_arguments().filter(|argument| {
            let heading = argument.get_help_heading();
            heading.is_some_and(|heading| heading.starts_with("Other nodes"))
        });
        let mut flags: Vec<String> = ours
            .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
            .collect();
        let mut known: Vec<&str> = [&WITH_VALUE[..], &ALONE].concat();
        flags.sort_unstable();
        known.sort_unstable();
        assert_eq!(flags, known);
    }
}
