//! ADD: wires the pod and returns when the agent says that its policy is in force.

use std::{
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use super::{Context, mtu, node, uninitialised};
use crate::{
    attach::{self, Inside, Plan},
    attachment::{Attachment, State},
    client::{self, Failure, Patience},
    clock,
    detach::Detach,
    heartbeat, ledger,
    node_file::NodeFile,
    protocol::{
        error::{Error, code},
        result::{AddResult, Address, Interface, mac},
    },
    rpc::{Add, Call, Reply},
    talk::say,
    wiring::{
        HOST_MAC, alias,
        device::Device,
        full_prefix, gateway, name,
        netns::{self, Netns},
        veth::Pair,
    },
};

/// Seconds that the whole of ADD may take, unless configured.
const DEADLINE: u64 = 15;
/// How long an agent that is away, or has never been ready since boot, is waited for. Runtimes hold a lock while ADD
/// is at work, which their status waits for.
const AWAY: Duration = Duration::from_millis(800);

/// Runs the verb; what it returns goes to stdout.
pub fn run(context: &Context) -> Result<String, Error> {
    if context.config.prev_result.is_some() {
        return Err(Error::new(
            code::CONFIG,
            "weir must be the first plugin of the network's list",
        )
        .because("ADD came with a prevResult"));
    }
    must_be_a_pod(context)?;
    let path = context.call.netns.clone().unwrap_or_default();
    let netns = open(&path)?;
    let mut inside = attach::enter(&netns, &path)?;
    let beside = inside.must_not_have(&context.call.key.ifname)?;
    let node = wait_for_node(context)?;
    // Before anything is made: without the agent it would only be undone.
    let agent = wait_for_agent(context)?;
    let mut attachment = Attachment {
        beside,
        ..start(context, &netns, path, &node)
    };
    ledger::take(&context.paths, &mut attachment, &node, deadline(context))?;
    match finish(
        context,
        (&mut inside, &netns),
        &node,
        agent,
        &mut attachment,
    ) {
        Ok(()) => Ok(result(context, &attachment)),
        Err((error, announced)) => {
            undo(context, &attachment, announced);
            Err(error)
        }
    }
}

/// The agent admits none but pods, whose policy it can know.
fn must_be_a_pod(context: &Context) -> Result<(), Error> {
    let pod = &context.call.pod;
    if !pod.namespace.is_empty() && !pod.name.is_empty() {
        return Ok(());
    }
    let msg =
        "the container is no Kubernetes pod: CNI_ARGS names no K8S_POD_NAMESPACE and K8S_POD_NAME";
    Err(Error::new(code::ENVIRONMENT, msg)
        .because("weir serves pods alone, whose policies it knows"))
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
    let until = context.began + AWAY;
    loop {
        match node(&context.paths) {
            Ok(node) => return Ok(node),
            Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
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

/// A connection to an agent that lives.
fn wait_for_agent(context: &Context) -> Result<UnixStream, Error> {
    let (socket, heartbeat) = (context.paths.socket(), context.paths.heartbeat());
    let until = context.began + AWAY;
    let failed = |cause| client::unreachable(&socket, &cause);
    let stream = client::connect_until(&socket, until).map_err(failed)?;
    loop {
        match heartbeat::silence(&heartbeat).filter(|silence| *silence > heartbeat::AWAY) {
            None => return Ok(stream),
            Some(_) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
            Some(silence) => {
                let why = format!("it has been silent for {} s", silence.as_secs());
                return Err(failed(std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    why,
                )));
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
        since: clock::now(),
        until: clock::now() + context.config.timeout_seconds.unwrap_or(DEADLINE),
        attempt: (std::process::id(), nanoseconds()),
        beside: false,
        mtu: mtu::of_pods(node),
        device: Device::default(),
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

fn nanoseconds() -> u64 {
    u64::try_from(clock::since_boot().as_nanos()).unwrap_or(u64::MAX)
}

/// The error says beside itself whether anyone may know of the addresses.
fn finish(
    context: &Context,
    (inside, netns): (&mut Inside, &Netns),
    node: &NodeFile,
    agent: UnixStream,
    attachment: &mut Attachment,
) -> Result<(), (Error, bool)> {
    wire(context, (inside, netns), node, attachment).map_err(|e| (e, false))?;
    let reply = announce(context, agent, attachment).map_err(|e| (e, true))?;
    if attachment.add.ports.is_empty() {
        // The next agent takes the record for what there is.
        attachment.add.ports = reply.ports;
    }
    if reply.bandwidth.is_some() {
        attachment.add.bandwidth = reply.bandwidth;
    }
    let index = attachment.add.host_ifindex;
    inside
        .open(attachment.device, index)
        .map_err(|e| (e, true))?;
    attach::await_running(&attachment.add.host_ifname, deadline(context)).map_err(|e| (e, true))?;
    inside
        .await_addresses(&attachment.add.ips, deadline(context))
        .map_err(|e| (e, true))?;
    ledger::confirm(&context.paths, attachment, deadline(context)).map_err(|e| (e, true))
}

fn wire(
    context: &Context,
    (inside, netns): (&mut Inside, &Netns),
    node: &NodeFile,
    attachment: &mut Attachment,
) -> Result<(), Error> {
    let host = Netns::own().map_err(|e| Error::io("open own network namespace", &e))?;
    let still_ours = |attachment: &Attachment| {
        let ours = ledger::is_ours(&context.paths, attachment);
        ours.then_some(()).ok_or_else(|| ledger::lost(attachment))
    };
    let add = &attachment.add;
    let plan = Plan {
        netns,
        host: &host,
        pair: Pair {
            ifname: &add.key.ifname,
            mac: add.pod_mac,
            host_ifname: &add.host_ifname,
            mtu: attachment.mtu,
            sizes: node.sizes,
        },
        devices: &node.devices,
        ips: &add.ips,
        alias: &alias::of(&add.pod),
        table: attachment.beside.then(|| name::table(&add.key)),
    };
    let (device, index) = inside.create(&plan, || still_ours(attachment))?;
    let wired = inside.wire(&plan, index);
    attachment.device = device;
    attachment.add.host_ifindex = index;
    attachment.add.netns_cookie = inside.cookie();
    wired?;
    // The agent must not hear of an interface whose DEL it has heard already.
    still_ours(attachment)
}

/// No pod runs without its policy: the silence of the agent fails the ADD.
fn announce(context: &Context, agent: UnixStream, attachment: &Attachment) -> Result<Reply, Error> {
    let (socket, heartbeat) = (context.paths.socket(), context.paths.heartbeat());
    let call = Call::Add(Box::new(attachment.add.clone()));
    let patience = Patience {
        connect: Instant::now(),
        answer: deadline(context),
        away: &|| heartbeat::is_away(&heartbeat),
    };
    match client::ask_twice(agent, &socket, call, patience) {
        Ok(reply) => Ok(reply),
        Err(Failure::Refused(error)) => Err(error),
        Err(Failure::Unreachable(cause)) => Err(client::unreachable(&socket, &cause)),
    }
}

fn undo(context: &Context, attachment: &Attachment, announced: bool) {
    let errors = Detach {
        key: &context.call.key,
        of: Some(attachment),
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

fn result(context: &Context, attachment: &Attachment) -> String {
    let mtu = attachment.mtu;
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
