//! What is measured: flows, and the frame that is sent for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use proxy_common::address::TCP;
use weir_tests::packets::{BACK, Bench, FAMILIES, Hook, NEXT, Plan as Addresses, Tcp, tcp};

use crate::{
    again::{Ends, LENGTH, Plan, Subject},
    node::{CLOSED, DIRECT, FAR, balanced},
};

/// Flows that are known: any of them is asked for, in no order.
const KNOWN: u16 = 8192;
/// The first port of their client.
const FIRST: u16 = 10_000;
/// `enum xdp_action`.
const DROPPED: u32 = 1;
const SENT_BACK: u32 = 3;
/// No word of the ends counts.
const NONE: u32 = 9;

use Subject::{Back, Balancer, Drop, Weir};

/// A row of the table.
pub(crate) struct Measured {
    pub(crate) case: &'static str,
    pub(crate) family: &'static str,
    /// `one`, `random` or `new`.
    pub(crate) keys: &'static str,
    pub(crate) subject: Subject,
    /// What the program says.
    pub(crate) action: u32,
    /// Who is asked, for the balancer.
    pub(crate) to: SocketAddr,
    pub(crate) plan: Plan,
    pub(crate) ends: Vec<Ends>,
}

/// All rows; the flows that they are about are begun.
pub(crate) fn subjects(bench: &mut Bench) -> Result<Vec<Measured>> {
    let mut all = Vec::new();
    for (plan, family) in FAMILIES.iter().zip(["IPv4", "IPv6"]) {
        let far = plan.node(FAR);
        let (forth, back) = known(bench, plan, far, true)?;
        let (direct, _) = known(bench, plan, plan.node(DIRECT), false)?;
        let closed = SocketAddr::new(balanced(plan), CLOSED);
        let mut add = |case, subject, action, kind, to: SocketAddr, flows: &[[SocketAddr; 2]]| {
            let row = |keys, mask, counts| {
                measured(
                    (case, family, keys),
                    (subject, action, to),
                    kind,
                    flows,
                    [mask, counts],
                )
            };
            if flows.len() == 1 {
                all.push(row("new", 0, if plan.is_ipv6() { 3 } else { 0 }));
            } else {
                all.push(row("one", 0, NONE));
                all.push(row("random", u32::from(KNOWN) - 1, NONE));
            }
        };
        add("sent back, no more", Back, SENT_BACK, Tcp::Ack, far, &forth);
        add("established", Weir, SENT_BACK, Tcp::Ack, far, &forth);
        add("answer", Weir, SENT_BACK, Tcp::Ack, far, &back);
        add(
            "direct server return",
            Weir,
            SENT_BACK,
            Tcp::Ack,
            plan.node(DIRECT),
            &direct,
        );
        if !plan.is_ipv6() {
            add(
                "hash, Maglev, IPIP",
                Balancer,
                SENT_BACK,
                Tcp::Ack,
                plan.node(DIRECT),
                &direct,
            );
        }
        let anybody = SocketAddr::new(anybody(plan), 4000);
        add("begun", Weir, SENT_BACK, Tcp::Syn, far, &[[anybody, far]]);
        add(
            "dropped, no more",
            Drop,
            DROPPED,
            Tcp::Syn,
            closed,
            &[[anybody, closed]],
        );
        add(
            "refused by source ranges",
            Weir,
            DROPPED,
            Tcp::Syn,
            closed,
            &[[anybody, closed]],
        );
    }
    Ok(all)
}

/// Of all of them, the last 22 bits of the address count.
fn anybody(plan: &Addresses) -> IpAddr {
    if plan.is_ipv6() {
        IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0))
    } else {
        IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0))
    }
}

type Flows = Vec<[SocketAddr; 2]>;

/// Begins flows of a client; there and, where the answers come by the wire, back.
fn known(
    bench: &mut Bench,
    plan: &Addresses,
    to: SocketAddr,
    answered: bool,
) -> Result<(Flows, Flows)> {
    let (mut forth, mut back) = (Vec::new(), Vec::new());
    for port in FIRST..FIRST + KNOWN {
        let client = plan.outside(port);
        put(bench, [client, to], Tcp::Syn)?;
        forth.push([client, to]);
        if answered {
            let flow = bench.flow(client, to, TCP)?.context("no flow")?;
            let (node, backend) = flow.target();
            put(bench, [backend, node], Tcp::SynAck)?;
            put(bench, [client, to], Tcp::Ack)?;
            back.push([backend, node]);
        }
    }
    Ok((forth, back))
}

/// Again if it is left to tc: once in some seconds the kernel is given a packet, which tells it that a neighbour is still there. A
/// checksum that is by chance that of an unfinished packet is left to it always; another payload has another one.
fn put(bench: &mut Bench, [from, to]: [SocketAddr; 2], what: Tcp) -> Result<()> {
    for payload in [b"a", b"b"] {
        let outcome = bench.run(Hook::FromWire, &tcp(from, to, what, payload))?;
        match outcome.action {
            BACK => return Ok(()),
            NEXT => {}
            _ => bail!("{from} to {to}: {outcome:?}"),
        }
    }
    bail!("{from} to {to}: left to tc")
}

fn measured(
    (case, family, keys): (&'static str, &'static str, &'static str),
    (subject, action, to): (Subject, u32, SocketAddr),
    kind: Tcp,
    flows: &[[SocketAddr; 2]],
    [mask, counts]: [u32; 2],
) -> Measured {
    let [from, at] = flows[0];
    let is_ipv6 = from.is_ipv6();
    let headers = if is_ipv6 { 74 } else { 54 };
    let bytes = tcp(from, at, kind, &vec![0; LENGTH - headers]);
    let mut frame = [0; LENGTH / 4];
    for (word, four) in frame.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes([four[0], four[1], four[2], four[3]]);
    }
    Measured {
        case,
        family,
        keys,
        subject,
        action,
        to,
        plan: Plan {
            frame,
            mask,
            counts,
            ipv6: is_ipv6.into(),
        },
        ends: flows.iter().map(ends).collect(),
    }
}

/// As they stand in a frame.
fn ends([from, to]: &[SocketAddr; 2]) -> Ends {
    let mut bytes = Vec::new();
    for ip in [from.ip(), to.ip()] {
        match ip {
            IpAddr::V4(ip) => bytes.extend(ip.octets()),
            IpAddr::V6(ip) => bytes.extend(ip.octets()),
        }
    }
    bytes.extend(from.port().to_be_bytes());
    bytes.extend(to.port().to_be_bytes());
    let mut words = [0; 9];
    for (word, four) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes([four[0], four[1], four[2], four[3]]);
    }
    words
}
