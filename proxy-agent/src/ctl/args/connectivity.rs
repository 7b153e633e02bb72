//! The flags of `connectivity`, and of what its pods run.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use regex::Regex;

use super::{duration, interval};

/// `connectivity ...`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConnectivityVerb {
    /// Makes pods, Services and policies in a namespace of its own, tests who reaches whom, and takes all away again; exit code 1
    /// if a test fails
    Test(ConnectivityArgs),
}

/// Flags of `connectivity test`.
#[derive(Clone, Debug, Args)]
pub struct ConnectivityArgs {
    /// Only tests whose names match this
    #[arg(long, value_name = "REGEX")]
    pub test: Option<Regex>,
    /// Print the names of the tests, and make nothing
    #[arg(long)]
    pub list: bool,
    /// Write what came of each test into this file, for programs that read `JUnit` XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// How long a test may take to come out right
    #[arg(long, default_value = "20s", value_parser = interval)]
    pub timeout: Duration,
    /// How long the pods may take to start
    #[arg(long, default_value = "3m", value_parser = duration)]
    pub wait_duration: Duration,
    /// Leave the namespace as it is
    #[arg(long)]
    pub keep: bool,
    /// Nodes that take part at most, by their names; each with itself and with the next
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_nodes: u16,
    /// Image of the pods, with proxyctl in it (default: that of the agents)
    #[arg(long)]
    pub image: Option<String>,
    /// Where to gather what the nodes of a failed test say (default: weir-connectivity-TIME here)
    #[arg(long, value_name = "FOLDER")]
    pub dump: Option<PathBuf>,
}

/// `probe ...`: what the pods of `connectivity test` run.
#[derive(Clone, Debug, Subcommand)]
pub enum ProbeVerb {
    /// Answers who it is and who asks, by TCP and UDP
    Serve {
        /// Where it listens.
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
    /// Asks once, and says what came of it
    Ask(AskArgs),
}

/// Arguments of `probe ask`.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// A name or an address, with a port.
    pub to: String,
    /// By UDP.
    #[arg(long)]
    pub udp: bool,
    /// Of the addresses of a name, those of the family of this one.
    #[arg(long, default_value = "0.0.0.0")]
    pub family: IpAddr,
    /// How long to wait.
    #[arg(long, default_value = "2s", value_parser = interval)]
    pub timeout: Duration,
}
