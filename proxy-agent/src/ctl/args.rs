//! The command line of `proxyctl`, which is that of `kubectl weir` too.

pub mod cluster;
pub mod connectivity;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::{beside::SOCKET, output::Format, top::By};
use crate::config::{Configuration, Period};
pub use cluster::ClusterArgs;
pub use connectivity::{AskArgs, ConnectivityArgs, ConnectivityVerb, ProbeVerb};

/// Shows what Weir does on this node, from the live maps
#[derive(Debug, Parser)]
#[command(name = "proxyctl", version, arg_required_else_help = true)]
pub struct Arguments {
    /// Flags common to all verbs.
    #[command(flatten)]
    pub common: Common,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags common to all verbs.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Folder of the agent's API socket. What is not told of this and the next two is as in the agent's configuration, where that is
    /// mounted (/etc/weir/config.yaml, or `WEIR_CONFIG`)
    #[arg(long, global = true, env = "WEIR_RUN_DIR", default_value_os_t = Configuration::default().run_dir)]
    pub run_dir: PathBuf,
    /// Mount point of the BPF file system
    #[arg(long, global = true, env = "WEIR_BPFFS", default_value_os_t = Configuration::default().bpffs)]
    pub bpffs: PathBuf,
    /// Which of several agents on one machine
    #[arg(long, global = true, env = "WEIR_INSTANCE", default_value_t = Configuration::default().instance)]
    pub instance: String,
    /// Shape of the output
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Format,
    /// On which nodes.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

impl Common {
    /// The agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join(SOCKET)
    }

    /// The flags by which another `proxyctl` means the same, but for the shape of its output.
    pub fn told(&self) -> Vec<String> {
        let told = self.unusual().into_iter();
        told.flat_map(|(flag, _, text)| [flag.to_owned(), text])
            .collect()
    }

    /// What differs from what the agent has unless told: flag, setting and value.
    pub fn unusual(&self) -> Vec<(&'static str, &'static str, String)> {
        let usual = Configuration::default();
        let path = |path: &PathBuf| path.display().to_string();
        let flags = [
            (
                "--run-dir",
                "runDir",
                path(&self.run_dir),
                path(&usual.run_dir),
            ),
            ("--bpffs", "bpffs", path(&self.bpffs), path(&usual.bpffs)),
            (
                "--instance",
                "instance",
                self.instance.clone(),
                usual.instance,
            ),
        ];
        let flags = flags.into_iter();
        flags
            .filter(|(_, _, told, usual)| told != usual)
            .map(|(flag, setting, told, _)| (flag, setting, told))
            .collect()
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Whether all is well; exit code 1 if not
    Status(StatusArgs),
    /// Looks for what is wrong with this node, and says what to do about it; exit code 1 if there is an error
    Check(CheckArgs),
    /// Shows the live maps in words
    Dump(DumpArgs),
    /// Shows flows and drops per second: on a terminal as a screen that keys change, else as one table after another
    Top(TopArgs),
    /// Explains policy
    Policy {
        /// What about it.
        #[command(subcommand)]
        verb: PolicyVerb,
    },
    /// Explains Services
    Service {
        /// What about it.
        #[command(subcommand)]
        verb: ServiceVerb,
    },
    /// Explains the CNI plugin
    Cni {
        /// What about it.
        #[command(subcommand)]
        verb: CniVerb,
    },
    /// Tests who reaches whom in a cluster, from outside of it
    Connectivity {
        /// What about it.
        #[command(subcommand)]
        verb: ConnectivityVerb,
    },
    /// What the pods of `connectivity test` run
    #[command(hide = true)]
    Probe {
        /// Which side.
        #[command(subcommand)]
        verb: ProbeVerb,
    },
    /// Finds what kube-proxy has left on this node
    KubeProxy {
        /// What about it.
        #[command(subcommand)]
        verb: KubeProxyVerb,
    },
    /// Shows what a full comparison of Services and policy would change; exit code 1 if anything
    Diff,
    /// Puts all that a report of a fault needs into one file, without secrets
    Sysdump(SysdumpArgs),
    /// Versions of this program, the agent and the map layout
    Version,
    /// Shows or changes the agent's log level
    LogLevel(LogLevelArgs),
    /// Prints a completion script for a shell
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// Flags of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Wait until all is well
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub wait_duration: Duration,
    /// Print only OK or what is wrong
    #[arg(long)]
    pub brief: bool,
    /// Let warnings decide the exit code too
    #[arg(long)]
    pub fail_on_warning: bool,
}

/// Flags of `check`.
#[derive(Clone, Debug, Default, Args)]
pub struct CheckArgs {
    /// Before Weir is installed: whether it can work here. Without a file, as the chart's defaults install it
    #[arg(long)]
    pub pre: bool,
    /// File of `kind: AgentConfiguration`, where the agent does not answer
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG")]
    pub config: Option<PathBuf>,
    /// Any setting of that file, such as clientConnection.kubeconfig=FILE
    #[arg(long, value_name = "PATH=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Checks to leave out, by their names; `programs` takes seconds
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = check_name)]
    pub skip: Vec<String>,
    /// Let warnings decide the exit code too
    #[arg(long)]
    pub fail_on_warning: bool,
}

fn check_name(name: &str) -> Result<String, String> {
    let names = super::check::table::CHECKS
        .iter()
        .map(|check| check.topic.name);
    let names: Vec<&str> = names.collect();
    if names.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!("there are {}", names.join(", ")))
}

fn setting(text: &str) -> Result<(String, String), String> {
    crate::config::flags::pair(text)
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval.is_zero() {
        return Err("must be longer than 0s".to_owned());
    }
    Ok(interval)
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Period>().map(|period| period.0)
}

/// Flags of `sysdump`.
#[derive(Clone, Debug, Args)]
pub struct SysdumpArgs {
    /// Where to; `-` for standard output (default: weir-sysdump-NODE-TIME.tar.gz here)
    pub file: Option<PathBuf>,
    /// Further logs to take the ends of
    #[arg(long, value_name = "FILE")]
    pub log: Vec<PathBuf>,
    /// MiB that all of it may take, before it is compressed
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// File of `kind: AgentConfiguration`, where the agent does not answer
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Flags of `dump`.
#[derive(Clone, Debug, Args)]
pub struct DumpArgs {
    /// What to show
    #[arg(value_enum)]
    pub subject: Subject,
    /// Only rows of this Service (`namespace/name`)
    #[arg(long)]
    pub service: Option<String>,
    /// Do not ask the agent for names
    #[arg(long)]
    pub raw: bool,
    /// Show flows too that are over, as long as their slots are not taken by others (conntrack only)
    #[arg(long)]
    pub all: bool,
    /// Print flows that begin, change their state or end, until interrupted (conntrack only)
    #[arg(long)]
    pub watch: bool,
    /// How often `--watch` looks
    #[arg(long, default_value = "500ms", value_parser = interval)]
    pub interval: Duration,
}

/// Flags of `top`.
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    /// What is counted by
    #[arg(long, value_enum, default_value_t)]
    pub by: By,
    /// How long a look lasts: rates are means over it
    #[arg(long, default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// End after so many looks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,
    /// Sort by this column: the largest first, names by the alphabet
    #[arg(long, value_name = "COLUMN")]
    pub sort: Option<String>,
    /// Only rows whose name has this in it, in any case
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Do not ask the agent for names
    #[arg(long)]
    pub raw: bool,
}

/// What can be dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// Frontends and their backends
    Services,
    /// Backends and the Services that use them
    Backends,
    /// Tracked flows
    Conntrack,
    /// Pods of this node
    Endpoints,
    /// Policy of every endpoint
    Policy,
    /// Maps and their fullness
    Maps,
    /// Session affinities
    Affinity,
    /// Maglev tables: who has how many places
    Maglev,
    /// Who may use load balancers' addresses (`loadBalancerSourceRanges`)
    Sources,
    /// What pods reach under their own address; to all else they speak in the node's name
    Inside,
    /// Other nodes' ranges and the ends of their tunnels
    Tunnels,
    /// Load balancers' addresses that Weir has given: whose they are, and which node answers for them
    Addresses,
}

/// `kube-proxy ...`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum KubeProxyVerb {
    /// What is left in iptables, nftables and IPVS; exit code 1 if anything, 5 if nothing where it could be looked, but that
    /// is not everywhere. Looks by the tools of the host, so run it as root on the node itself
    Status,
    /// Removes it; connections that live go on
    Cleanup {
        /// Only print the commands that would be run
        #[arg(long)]
        dry_run: bool,
    },
}

/// `policy ...`.
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyVerb {
    /// Which rule lets a new flow pass or not; exit code 1 if it is denied, 5 if another node decides too. With --all-nodes every
    /// node that has a say is asked, which is what `kubectl weir` does unless told a node
    Why(WhyArgs),
}

/// Arguments of `policy why`.
#[derive(Clone, Debug, Args)]
pub struct WhyArgs {
    /// Who begins: an address, namespace/pod or node/name
    pub from: String,
    /// The other side: the same, or a Service by its address or name, namespace/name (service/namespace/name where a pod
    /// has that name too), whose backends are looked at
    pub to: String,
    /// Destination port, such as 80 or 53/udp; of a Service its own port
    pub port: String,
}

/// `service ...`.
#[derive(Clone, Debug, Subcommand)]
pub enum ServiceVerb {
    /// What a new connection to a Service meets; exit code 1 if it goes nowhere
    Trace(TraceArgs),
}

/// Arguments of `service trace`.
#[derive(Clone, Debug, Args)]
pub struct TraceArgs {
    /// Who connects: an address, namespace/pod or node/name
    pub client: String,
    /// Where to: an address and port, such as 10.96.0.10:80 or 10.96.0.10:53/udp, IPv6 addresses in brackets; or a Service,
    /// as shop/web, shop/web:80, svc/web:http
    pub destination: String,
}

/// `cni ...`.
#[derive(Clone, Debug, Subcommand)]
pub enum CniVerb {
    /// Whether the plugin is installed and can serve: program, configuration, what the agent tells it, addresses left; exit
    /// code 1 if not
    Status(CniStatusArgs),
    /// What the plugin has made: the interfaces of pods, as its records say; exit code 1 if one cannot be read
    List(CniListArgs),
    /// What the plugin said on this node; runtimes throw it away when a call succeeds
    Log(CniLogArgs),
}

/// Flags of `cni status`.
#[derive(Clone, Debug, Args)]
pub struct CniStatusArgs {
    /// File of `kind: AgentConfiguration`, where the agent does not answer
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG")]
    pub config: Option<PathBuf>,
    /// Let warnings decide the exit code too
    #[arg(long)]
    pub fail_on_warning: bool,
}

/// Flags of `cni list`.
#[derive(Clone, Debug, Args)]
pub struct CniListArgs {
    /// Only interfaces of this pod (`namespace/name`)
    #[arg(long)]
    pub pod: Option<String>,
}

/// Flags of `cni log`.
#[derive(Clone, Debug, Args)]
pub struct CniLogArgs {
    /// How many of the newest entries
    #[arg(short = 'n', long, default_value_t = 200)]
    pub lines: usize,
    /// Only entries of this pod (`namespace/name`)
    #[arg(long)]
    pub pod: Option<String>,
}

/// Flags of `log-level`.
#[derive(Clone, Debug, Args)]
pub struct LogLevelArgs {
    /// error, warn, info, debug, trace, or a filter; none shows the present one
    pub level: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;
    use crate::config::definition::DEFINITION;

    #[test]
    fn what_the_agent_is_told_too_is_told_alike() {
        let command = Arguments::command();
        for path in ["runDir", "bpffs", "instance"] {
            let setting = DEFINITION.setting(path).unwrap();
            let mut arguments = command.get_arguments();
            let same = arguments.find(|a| a.get_long() == setting.flag.as_deref());
            let variable = same.and_then(|argument| argument.get_env());
            assert_eq!(variable, Some(setting.variable.as_ref()), "{path}");
        }
    }
}
