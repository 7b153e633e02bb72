//! The program that runs others again and again, and those that Weir is compared with.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, ProgramArray},
    programs::{Program, ProgramFd, Xdp},
};
use proxy_common::address::TCP;
use weir_tests::packets::{Bench, Hook};

/// Length of every frame.
pub(crate) const LENGTH: usize = 96;
/// Places and servers of the balancer.
const PLACES: u32 = 16_381;
const SERVERS: u32 = 1024;

/// `enum xdp_action`.
const GIVEN_TO_KERNEL: u32 = 2;

/// Source, destination and ports as they stand in a frame.
pub(crate) type Ends = [u32; 9];

/// What is sent: as in `proxy-ebpf/src/baseline/again.rs`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) frame: [u32; LENGTH / 4],
    pub(crate) mask: u32,
    pub(crate) counts: u32,
    pub(crate) ipv6: u32,
}

// SAFETY: `repr(C)`, words only, no padding.
#[expect(unsafe_code, reason = "the form that aya gives to values of maps")]
unsafe impl Pod for Plan {}

/// Which program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Weir's.
    Weir,
    /// That sends the frame back.
    Back,
    /// That drops it.
    Drop,
    /// A balancer without flows and policy.
    Balancer,
}

impl Subject {
    const fn program(self) -> &'static str {
        match self {
            Self::Weir => "from_wire",
            Self::Back => "bare_back",
            Self::Drop => "bare_drop",
            Self::Balancer => "balance",
        }
    }
}

/// All of them, loaded.
pub(crate) struct Again {
    programs: Ebpf,
}

impl Again {
    /// From their object.
    pub(crate) fn load(object: &[u8]) -> Result<Self> {
        let mut programs = Ebpf::load(object).context("create the maps of the baseline")?;
        for name in ["again", "bare_back", "bare_drop", "balance"] {
            let program: &mut Xdp = programs
                .program_mut(name)
                .with_context(|| format!("no program {name}"))?
                .try_into()?;
            program.load().with_context(|| format!("load {name}"))?;
        }
        let mut again = Self { programs };
        let mut places = again.array::<u32>("PLACES_OF")?;
        for place in 0..PLACES {
            places.set(place, place % SERVERS, 0)?;
        }
        let mut servers = again.array::<u32>("SERVERS")?;
        for server in 0..SERVERS {
            servers.set(server, (0x0a02_0000 + server).to_be(), 0)?;
        }
        Ok(again)
    }

    fn array<V: Pod>(&mut self, name: &str) -> Result<Array<&mut aya::maps::MapData, V>> {
        let map = self.programs.map_mut(name);
        Ok(Array::try_from(
            map.with_context(|| format!("no map {name}"))?,
        )?)
    }

    /// Has the balancer serve an address, among many.
    pub(crate) fn serve(&mut self, at: SocketAddr) -> Result<()> {
        let IpAddr::V4(ip) = at.ip() else {
            return Ok(());
        };
        let map = self.programs.map_mut("VIPS").context("no map VIPS")?;
        let mut vips = HashMap::<_, [u8; 8], u32>::try_from(map)?;
        let mut add = |ip: u32, port: u16| {
            let [a, b, c, d] = ip.to_be_bytes();
            let [high, low] = port.to_be_bytes();
            let [first, second] = u16::from(TCP).to_ne_bytes();
            vips.insert([a, b, c, d, high, low, first, second], 0, 0)
        };
        for number in 0..10_000 {
            add(0x0a61_0000 + number, 80)?;
        }
        Ok(add(ip.into(), at.port())?)
    }

    /// Sets what is sent.
    pub(crate) fn send(&mut self, plan: Plan, flows: &[Ends]) -> Result<()> {
        let mut ends = self.array::<Ends>("FLOW_ENDS")?;
        for (number, flow) in (0..).zip(flows) {
            ends.set(number, flow, 0)?;
        }
        Ok(self.array("PLAN")?.set(0, plan, 0)?)
    }

    /// Nanoseconds that a program takes for what is sent, with the price of sending; fails if what it says at last is not `action`.
    pub(crate) fn time(
        &mut self,
        bench: &Bench,
        (subject, action): (Subject, u32),
        times: u32,
    ) -> Result<u64> {
        let program = if subject == Subject::Weir {
            bench.descriptor(Hook::FromWire)?.try_clone()?
        } else {
            self.fd(subject.program())?.try_clone()?
        };
        let map = self.programs.map_mut("SUBJECT").context("no map SUBJECT")?;
        ProgramArray::try_from(map)?.set(0, &program, 0)?;
        let again = self.programs.program("again").context("no program again")?;
        let Program::Xdp(again) = again else {
            anyhow::bail!("again is no program of XDP");
        };
        let run = || bench.repeat(again, &[0; LENGTH], times);
        let (mut said, mut time) = run()?;
        if said == GIVEN_TO_KERNEL {
            // That the last one was: once in some seconds.
            (said, time) = run()?;
        }
        ensure!(said == action, "{subject:?} said {said}, not {action}");
        Ok(u64::try_from(time.as_nanos())?)
    }

    fn fd(&self, name: &str) -> Result<&ProgramFd> {
        let program = self.programs.program(name);
        Ok(program
            .with_context(|| format!("no program {name}"))?
            .fd()?)
    }
}
