//! ADD: wires the pod and returns when the agent says that its policy is in force.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Context, node, uninitialised};
use crate::{
    attach::{self, Inside, Plan},
    attachment::{Attachment, State},
    client::{self, Failure},
    detach::Detach,
    ledger,
    node_file::NodeFile,
    protocol::{
        error::{Error, code},
        result::{AddResult, Address, Interface, mac},
    },
    rpc::{Add, Call},
    talk::say,
    wiring::{
        HOST_MAC, full_prefix, gateway, name,
        netns::{self, Netns},
        veth::Pair,
    },
};

/// Seconds that the whole of ADD may take, unless configured.
const DEADLINE: u64 = 15;
/// Seconds to wait for an agent that has never been ready since boot.
const WAIT_FOR_NODE: u64 = 3;
/// Seconds to wait for an agent that is just starting again.
const WAIT_FOR_AGENT: u64 = 5;

/// Runs the verb; what it returns goes to stdout.
pub fn run(context: &Context) -> Result<String, Error> {
    if context.config.prev_result.is_some() {
        return Err(Error::new(
            code::CONFIG,
            "weir must be the first plugin of the network's list",
        )
        .because("ADD came with a prevResult"));
    }
    let path = context.call.netns.clone().unwrap_or_default();
    let netns = open(&path)?;
    let mut inside = attach::enter(&netns, &path)?;
    inside.must_not_have(&context.call.key.ifname)?;
    let node = wait_for_node(context)?;
    let mut attachment = start(context, &netns, path, &node);
    ledger::take(&context.paths, &mut attachment, &node, deadline(context))?;
    match finish(context, inside, &netns, &node, &mut attachment) {
        Ok(()) => Ok(result(context, &attachment, node.mtu)),
        Err((error, announced)) => {
            undo(context, announced);
            Err(error)
        }
    }
}

fn deadline(context: &Context) -> Instant {
    context.after(context.config.timeout_seconds.unwrap_or(DEADLINE))
}

fn open(path: &str) -> Result<Netns, Error> {
    let bad = |why: String| {
        Error::new(code::NETNS, format!("CNI_NETNS {path} is not usable")).because(why)
    };
    let netns = Netns::open(path.as_ref()).map_err(|e| bad(format!("open: {e}")))?;
    if netns::is_own(&netns).map_err(|e| bad(e.to_string()))? {
        return Err(bad("it is the plugin's own network namespace".into()));
    }
    Ok(netns)
}

fn wait_for_node(context: &Context) -> Result<NodeFile, Error> {
    let until = context.after(WAIT_FOR_NODE).min(deadline(context));
    loop {
        match node(&context.paths) {
            Ok(node) => return Ok(node),
            Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(50)),
            Err(cause) => {
                let pod = &context.call.pod;
                return Err(uninitialised(
                    code::TRY_AGAIN,
                    &format!("pod {pod}; {cause}"),
                ));
            }
        }
    }
}

fn start(context: &Context, netns: &Netns, path: String, node: &NodeFile) -> Attachment {
    let key = &context.call.key;
    let runtime = &context.config.runtime_config;
    Attachment {
        state: State::Creating,
        boot_id: node.boot_id.clone(),
        since: ledger::now(),
        mtu: node.mtu,
        netns_id: netns.id(),
        add: Add {
            key: key.clone(),
            netns: path,
            host_ifname: name::host_ifname(key),
            host_mac: HOST_MAC,
            pod_mac: name::pod_mac(key),
            pod: context.call.pod.clone(),
            ports: runtime.port_mappings.clone().unwrap_or_default(),
            bandwidth: runtime.bandwidth.clone(),
            ..Add::default()
        },
    }
}

/// The error says beside itself whether anyone may know of the addresses.
fn finish(
    context: &Context,
    inside: Inside,
    netns: &Netns,
    node: &NodeFile,
    attachment: &mut Attachment,
) -> Result<(), (Error, bool)> {
    let host = Netns::own().map_err(|e| (Error::io("open own network namespace", &e), false))?;
    let add = &attachment.add;
    let wired = inside
        .wire(&Plan {
            netns,
            host: &host,
            pair: Pair {
                ifname: &add.key.ifname,
                mac: add.pod_mac,
                host_ifname: &add.host_ifname,
                mtu: node.mtu,
            },
            ips: &add.ips,
            alias: &add.pod.to_string(),
        })
        .map_err(|e| (e, false))?;
    attachment.add.host_ifindex = wired.host_ifindex;
    attachment.add.netns_cookie = wired.netns_cookie;
    announce(context, attachment).map_err(|e| (e, true))?;
    attach::await_running(&attachment.add.host_ifname, deadline(context)).map_err(|e| (e, true))?;
    attachment.state = State::Ready;
    ledger::record(&context.paths, attachment).map_err(|e| (e, true))
}

/// No pod runs without its policy: the silence of the agent fails the ADD.
fn announce(context: &Context, attachment: &Attachment) -> Result<(), Error> {
    let socket = context.paths.socket();
    let call = Call::Add(Box::new(attachment.add.clone()));
    let deadline = deadline(context);
    let connect = deadline.min(Instant::now() + Duration::from_secs(WAIT_FOR_AGENT));
    match client::ask(&socket, call, connect, deadline) {
        Ok(_) => Ok(()),
        Err(Failure::Refused(error)) => Err(error),
        Err(Failure::Unreachable(cause)) => Err(client::unreachable(&socket, &cause)),
    }
}

fn undo(context: &Context, announced: bool) {
    let errors = Detach {
        key: &context.call.key,
        netns: None,
        tell_agent: announced,
        rest: announced,
        deadline: Instant::now() + Duration::from_secs(1),
    }
    .run(&context.paths);
    for error in errors {
        say(format_args!("undo: {error}"));
    }
}

fn result(context: &Context, attachment: &Attachment, mtu: u32) -> String {
    let add = &attachment.add;
    let interfaces = vec![
        Interface {
            name: add.host_ifname.clone(),
            mac: mac(HOST_MAC),
            mtu: Some(mtu),
            sandbox: None,
        },
        Interface {
            name: add.key.ifname.clone(),
            mac: mac(add.pod_mac),
            mtu: Some(mtu),
            sandbox: Some(add.netns.clone()),
        },
    ];
    let addresses: Vec<_> = add
        .ips
        .iter()
        .map(|&ip| Address {
            ip,
            prefix: full_prefix(ip),
            gateway: Some(gateway(ip)),
        })
        .collect();
    AddResult::new(context.version, interfaces, 1, &addresses).to_json()
}
