//! The bench: a namespace with a node's interfaces, the loaded object, one packet at a time.

use std::{
    fs,
    io::{self, ErrorKind, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun as _,
    maps::PerCpuArray,
    programs::{
        Program, ProgramError, ProgramFd, SchedClassifier, TestRunOptions, TestRunResult, Xdp,
        xdp::{XdpLink, XdpMode},
    },
};
use nix::sched::{CloneFlags, unshare};
use proxy_agent::datapath::{Telling, clock, object::OBJECT};
use proxy_common::{
    counters::{Counter, REASONS, reason_name},
    host::HOST_DEVICE,
};

use super::{
    plan::{FAMILIES, Plan},
    spare::Lent,
};

/// Hardware address to which all frames go.
const RECEIVER_MAC: &str = "02:00:00:00:00:02";

/// The packet goes on to the stack; on an uplink to the next program first.
pub const NEXT: i32 = -1;
/// What programs of pods' interfaces say in place of [`NEXT`]: no other program is asked.
const PASS: i32 = 0;
/// The packet is dropped.
pub const SHOT: i32 = 2;
/// The packet is redirected.
pub const REDIRECT: i32 = 7;
/// XDP sends the frame out by the link on which it came.
pub const BACK: i32 = 3;

/// Endpoint id of the plan's pod.
pub(super) const POD: u32 = 1;
/// Endpoint id of the plan's other pod.
pub(super) const NEIGHBOUR: u32 = 2;

/// Where a packet is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `from_pod` on the interface of the pod.
    FromPod,
    /// `from_pod` on the interface of the other pod.
    FromNeighbour,
    /// `to_pod` on the interface of the pod; the packet is a forwarded one.
    ToPod,
    /// `to_pod` on the interface of the pod; the packet is the host's own.
    ToPodFromHost,
    /// `from_wire` on the uplink: XDP.
    FromWire,
    /// `from_net` on the uplink.
    FromNet,
    /// `to_net` on the uplink; the packet is the host's own.
    ToNet,
    /// `to_net` on the uplink; the packet is a forwarded one.
    ToNetForwarded,
    /// `from_host` on `weir_host`; the packet is the host's own.
    FromHost,
    /// `from_host` on `weir_host`; the packet is a forwarded one.
    FromHostForwarded,
    /// `to_queue`, on the interface of the pod.
    ToQueue,
}

impl Hook {
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::FromPod | Self::FromNeighbour => "from_pod",
            Self::ToPod | Self::ToPodFromHost => "to_pod",
            Self::FromWire => "from_wire",
            Self::FromNet => "from_net",
            Self::ToNet | Self::ToNetForwarded => "to_net",
            Self::FromHost | Self::FromHostForwarded => "from_host",
            Self::ToQueue => "to_queue",
        }
    }

    const fn interface(self) -> &'static str {
        match self {
            Self::FromPod | Self::ToPod | Self::ToPodFromHost | Self::ToQueue => "pod1",
            Self::FromNeighbour => "pod2",
            Self::FromWire | Self::FromNet | Self::ToNet | Self::ToNetForwarded => "net0",
            Self::FromHost | Self::FromHostForwarded => HOST_DEVICE,
        }
    }

    /// The action that a test expects for what the program returned.
    pub(super) fn action(self, returned: i32) -> Result<i32> {
        let of_pod = self.interface().starts_with("pod") && self != Self::ToQueue;
        if self == Self::FromWire {
            // `enum xdp_action`.
            return match returned {
                1 => Ok(SHOT),
                2 => Ok(NEXT),
                3 => Ok(BACK),
                4 => Ok(REDIRECT),
                _ => bail!("{self:?} returned {returned}"),
            };
        }
        match returned {
            PASS if of_pod => Ok(NEXT),
            SHOT | REDIRECT => Ok(returned),
            NEXT if !of_pod => Ok(NEXT),
            _ => bail!("{self:?} returned {returned}"),
        }
    }

    /// The context of its program: `struct __sk_buff` or `struct xdp_md`.
    pub(super) fn context(self, length: usize) -> Result<Vec<u8>> {
        let at = index(self.interface())?.to_ne_bytes();
        if self == Self::FromWire {
            let end = u32::try_from(length)?;
            return Ok([[0; 4], end.to_ne_bytes(), [0; 4], at, [0; 4], [0; 4]].concat());
        }
        let mut context = vec![0; 192];
        let came_on = self.came_on().map_or(Ok(0), index)?;
        context[36..40].copy_from_slice(&came_on.to_ne_bytes());
        context[40..44].copy_from_slice(&at);
        Ok(context)
    }

    const fn came_on(self) -> Option<&'static str> {
        match self {
            Self::ToPodFromHost | Self::ToNet | Self::FromHost => None,
            Self::ToPod => Some("net0"),
            Self::ToNetForwarded | Self::FromHostForwarded => Some("pod1"),
            _ => Some(self.interface()),
        }
    }
}

/// What came of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// [`NEXT`], [`SHOT`], [`REDIRECT`] or [`BACK`].
    pub action: i32,
    /// The packet as the program left it.
    pub bytes: Vec<u8>,
    /// Name of the drop reason that was counted.
    pub drop: Option<&'static str>,
}

/// The bench. Its namespace ends with the thread that made it.
#[derive(Debug)]
pub struct Bench {
    pub(super) ebpf: Lent,
    pub(super) epoch: u32,
    /// Makes a link ready for XDP.
    wire: Option<XdpLink>,
}

/// Runs a script of `ip` commands, all or an error.
fn batch(script: &str) -> Result<()> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start ip")?;
    let mut input = ip.stdin.take().context("ip has an input")?;
    input.write_all(script.as_bytes()).context("write to ip")?;
    drop(input);
    let done = ip.wait_with_output()?;
    let words = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ip: {words}of:\n{script}");
    Ok(())
}

fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, value).with_context(|| format!("write {path}"))
}

/// Whether the kernel said EINVAL.
fn is_invalid(error: &anyhow::Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == ErrorKind::InvalidInput)
}

impl Bench {
    /// Moves this thread into a namespace of its own, makes the interfaces and the maps, describes the node
    /// and its two pods (policy: all allowed), with forwarding past the stack. Programs are loaded when they first run.
    pub fn new() -> Result<Self> {
        let load = || load_object(OBJECT, &mut EbpfLoader::new());
        Self::with(Lent::spare(None, load)?)
    }

    /// With room for so many flows of each family.
    pub fn with_slots(slots: u32) -> Result<Self> {
        let load = || {
            let mut loader = EbpfLoader::new();
            for map in ["FLOWS4", "FLOWS6"] {
                loader.map_max_entries(map, slots);
            }
            for map in ["FLOW_INDEX4", "FLOW_INDEX6"] {
                loader.map_max_entries(map, 2 * slots + 2 * slots.div_ceil(8));
            }
            loader.override_global("FLOW_SLOTS", &slots, true);
            load_object(OBJECT, &mut loader)
        };
        Self::with(Lent::spare(Some(slots), load)?)
    }

    /// As [`Self::new`], of another object, or with maps of other sizes.
    pub fn of(object: &[u8], loader: &mut EbpfLoader<'_>) -> Result<Self> {
        Self::with(Lent::own(load_object(object, loader)?))
    }

    fn with(ebpf: Lent) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
        sysctl("ipv6/conf/default/accept_dad", "0")?;
        sysctl("ipv4/ip_forward", "1")?;
        sysctl("ipv6/conf/all/forwarding", "1")?;
        let links = ["pod1", "pod2", "net0", HOST_DEVICE].map(|name| {
            format!(
                "link add {name} address {RECEIVER_MAC} type veth peer name {name}-peer\n\
                 link set {name}-peer up\n\
                 link set {name} up\n"
            )
        });
        batch(&[links.concat(), FAMILIES.map(|plan| routes(&plan)).concat()].concat())?;
        let mut bench = Self {
            ebpf,
            epoch: 0,
            wire: None,
        };
        bench.describe()?;
        Ok(bench)
    }

    /// Runs the program of a hook on a packet.
    pub fn run(&mut self, hook: Hook, packet: &[u8]) -> Result<Outcome> {
        self.try_run(hook, packet)?
            .with_context(|| format!("the kernel takes no packet of {} bytes", packet.len()))
    }

    /// As [`Self::run`]; nothing if the kernel takes no packet as short as this.
    pub fn try_run(&mut self, hook: Hook, packet: &[u8]) -> Result<Option<Outcome>> {
        let before = self.drops()?;
        let mut bytes = vec![0; packet.len() + 256];
        let result = match self.execute(hook, packet, &mut bytes) {
            Ok(result) => result,
            Err(error) if packet.len() < 54 && is_invalid(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        bytes.truncate(result.data_size_out as usize);
        Ok(Some(Outcome {
            action: hook.action(result.return_value.cast_signed())?,
            bytes,
            drop: self.newly_dropped(&before)?,
        }))
    }

    /// The drop reason that was counted since.
    pub(super) fn newly_dropped(&self, before: &[(u32, u64)]) -> Result<Option<&'static str>> {
        let after = self.drops()?;
        let counted = before.iter().zip(&after).find(|(b, a)| b.1 != a.1);
        Ok(counted.map(|(before, _)| reason_name(before.0)))
    }

    /// How long the program of a hook takes for a packet that it lets through, by the kernel's clock.
    pub fn time(&mut self, hook: Hook, packet: &[u8]) -> Result<Duration> {
        let mut bytes = vec![0; packet.len() + 256];
        let result = self.execute(hook, packet, &mut bytes)?;
        let action = hook.action(result.return_value.cast_signed())?;
        ensure!(action != SHOT, "{hook:?} dropped the packet");
        Ok(result.duration)
    }

    fn execute(&mut self, hook: Hook, packet: &[u8], bytes: &mut [u8]) -> Result<TestRunResult> {
        let context = hook.context(packet.len())?;
        let has_wire = self.wire.is_some();
        let program = self.prepare(hook)?;
        if let Program::Xdp(program) = program
            && !has_wire
        {
            // The kernel lets a frame come by a link only if that is ready for XDP.
            let id = program.attach(hook.interface(), XdpMode::Driver)?;
            let link = program.take_link(id)?;
            self.wire = Some(link);
        }
        let program = self.ebpf.program(hook.program());
        let program = program.context("the program is there")?;
        run_once(program, &context, packet, bytes).context("run the program")
    }

    /// The program of a hook, loaded.
    pub(super) fn prepare(&mut self, hook: Hook) -> Result<&mut Program> {
        let name = hook.program();
        let program = self
            .ebpf
            .program_mut(name)
            .with_context(|| format!("no program {name}"))?;
        if program.fd().is_err() {
            // The verifier takes its time: only what a test needs.
            load(program).with_context(|| format!("load {name}"))?;
        }
        Ok(program)
    }

    /// Names of the drop reasons that were counted, with how often.
    pub fn dropped(&self) -> Result<Vec<(&'static str, u64)>> {
        let counted = self
            .drops()?
            .into_iter()
            .filter(|(_, packets)| *packets > 0);
        Ok(counted
            .map(|(reason, packets)| (reason_name(reason), packets))
            .collect())
    }

    pub(super) fn drops(&self) -> Result<Vec<(u32, u64)>> {
        let reasons = REASONS.iter();
        reasons
            .map(|reason| Ok((*reason, self.counted(*reason)?)))
            .collect()
    }

    /// Packets that were counted for a reason, or a verdict of XDP.
    pub fn counted(&self, reason: u32) -> Result<u64> {
        let map = self.ebpf.map("DROPS").context("the map is there")?;
        let drops: PerCpuArray<_, Counter> = PerCpuArray::try_from(map)?;
        let counters = drops.get(&reason, 0)?;
        Ok(counters.iter().map(|c| c.packets).sum())
    }

    /// Runs lines of `ip` commands in the bench's namespace.
    pub fn ip(&self, lines: &str) -> Result<()> {
        batch(lines)
    }
}

impl Bench {
    /// Runs another program of XDP many times at the place of `from_wire`: its last action (`enum xdp_action`), and how long one run
    /// takes, by the kernel's clock.
    pub fn repeat(&self, program: &Xdp, packet: &[u8], times: u32) -> Result<(u32, Duration)> {
        let context = Hook::FromWire.context(packet.len())?;
        let mut bytes = vec![0; packet.len() + 256];
        let result = program.test_run(TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut bytes),
            ctx_in: Some(&context),
            repeat: times,
            ..TestRunOptions::default()
        })?;
        Ok((result.return_value, result.duration))
    }

    /// The program of a hook, which has run already, for others to call.
    pub fn descriptor(&self, hook: Hook) -> Result<&ProgramFd> {
        let program = self.ebpf.program(hook.program());
        Ok(program.context("the program is there")?.fd()?)
    }

    /// As [`Self::run`], of a program that has run already, for several threads at once: action and bytes.
    pub fn put(&self, hook: Hook, packet: &[u8]) -> Result<(i32, Vec<u8>)> {
        let context = hook.context(packet.len())?;
        let program = self.ebpf.program(hook.program());
        let program = program.context("the program is there")?;
        let mut bytes = vec![0; packet.len() + 256];
        let result = run_once(program, &context, packet, &mut bytes).context("run the program")?;
        bytes.truncate(result.data_size_out as usize);
        Ok((hook.action(result.return_value.cast_signed())?, bytes))
    }
}

fn run_once(
    program: &Program,
    context: &[u8],
    packet: &[u8],
    bytes: &mut [u8],
) -> Result<TestRunResult> {
    let options = TestRunOptions {
        data_in: Some(packet),
        data_out: Some(bytes),
        ctx_in: Some(context),
        repeat: 1,
        ..TestRunOptions::default()
    };
    Ok(match program {
        Program::SchedClassifier(program) => program.test_run(options)?,
        Program::Xdp(program) => program.test_run(options)?,
        other => bail!("nobody runs {:?} here", other.prog_type()),
    })
}

fn load_object(object: &[u8], loader: &mut EbpfLoader<'_>) -> Result<Ebpf> {
    Telling::NOTHING.set(loader);
    clock::set(loader, true);
    loader.load(object).context("create the object's maps")
}

/// Loads a program; the verifier gives up on a signal to the thread and asks to be called again.
fn load(program: &mut Program) -> Result<(), ProgramError> {
    for _ in 0..10 {
        match load_once(program) {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.kind() == ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
    load_once(program)
}

fn load_once(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(program) => program.load(),
        program => <&mut SchedClassifier>::try_from(program)?.load(),
    }
}

pub(super) fn index(name: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(name).with_context(|| format!("index of {name}"))
}

/// What leads to the plan's addresses, for `ip`.
fn routes(plan: &Plan) -> String {
    let (node, outside) = (plan.node, plan.outside);
    let (whole, net, behind) = if plan.is_ipv6() {
        (128, "64 nodad", "fd00:2::/64")
    } else {
        (32, "24", "10.2.0.0/24")
    };
    format!(
        "address add {node}/{net} dev net0\n\
         route add {}/{whole} dev pod1\n\
         route add {}/{whole} dev pod2\n\
         neighbour add {outside} lladdr 02:00:00:00:00:99 dev net0\n\
         route add {behind} via {outside}\n",
        plan.pod, plan.neighbour
    )
}
