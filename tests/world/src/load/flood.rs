//! Datagrams that nobody answers, as many as one processor sends.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

/// Datagrams between two looks at the clock.
const BATCH: usize = 64;

/// What to send.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Flood {
    /// Where to.
    pub to: SocketAddr,
    /// Sockets, each a flow.
    pub sockets: usize,
    /// For how long.
    pub span: Duration,
}

/// Sends to its end; how many datagrams were sent. What the machine does with each follows on the same processor.
pub fn flood(request: &Flood) -> Result<u64> {
    stay_on_one_cpu()?;
    let any = if request.to.is_ipv6() {
        SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0)
    } else {
        SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)
    };
    let open = || -> Result<UdpSocket> {
        let socket = UdpSocket::bind(any)?;
        socket.connect(request.to)?;
        Ok(socket)
    };
    let sockets = (0..request.sockets).map(|_| open());
    let sockets = sockets
        .collect::<Result<Vec<_>>>()
        .with_context(|| format!("open sockets to {}", request.to))?;
    let end = Instant::now() + request.span;
    let mut turns = sockets.iter().cycle();
    let mut sent = 0;
    while Instant::now() < end {
        for socket in turns.by_ref().take(BATCH) {
            // One that a full queue or an earlier refusal takes away was not sent.
            sent += u64::from(socket.send(b"?").is_ok());
        }
    }
    Ok(sent)
}

/// Keeps the calling thread on the last processor that we may use: interrupts mostly go to the first.
pub fn stay_on_one_cpu() -> Result<()> {
    let here = Pid::from_raw(0);
    let allowed = sched_getaffinity(here).context("ask for the CPUs")?;
    let last = (0..CpuSet::count()).rfind(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(last.context("no CPU")?)?;
    sched_setaffinity(here, &one).context("stay on a CPU")
}
