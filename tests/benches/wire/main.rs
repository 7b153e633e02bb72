//! Fills a link with frames, all by one processor, with what is done at the link's other end; called by
//! `cargo xtask bench north-south`.
//!
//! Arguments: the object of the programs, then `fill DEVICE PLAN`, in which `PLAN` is JSON, or `attach DEVICE PROGRAM`. Frames go into
//! DEVICE, and what comes back by it ends there. Each line on stdin asks for a round of so many milliseconds: what was sent, and in which
//! time, is printed as a line of JSON. Without more lines it ends, and its programs go.

use std::{
    env, fs,
    io::{self, BufRead as _, Write as _},
    net::Ipv4Addr,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, Pod, TestRun as _,
    maps::Array,
    programs::{TestRunAttrs, TestRunOptions, Xdp, xdp::XdpMode},
};
use etherparse::{PacketBuilder, TcpHeader};
use nix::net::if_::if_nametoindex;
use serde::Deserialize;
use serde_json::{Value, json};
use weir_tests::world::load::stay_on_one_cpu;

/// Frames that the kernel sends before it looks at what came of them: fewer than a veth's queue holds.
const BATCH: u32 = 64;
/// Frames between two looks at the clock, at first and at most. Each call takes long before it begins.
const FRAMES: [u32; 2] = [1 << 10, 1 << 20];
/// What is written anew in each frame, in words.
const WORDS: usize = 13;
/// From which port, if not from many.
const SOURCE_PORT: u16 = 40_000;

/// What to send.
#[derive(Deserialize)]
struct Plan {
    /// Hardware addresses of who sends and who receives.
    macs: [[u8; 6]; 2],
    /// From where and to where.
    addresses: [Ipv4Addr; 2],
    /// To which port; frames to this one or the other end where they come back.
    ports: [u16; 2],
    /// 0: connections are asked for, each from another address. Else datagrams of so many flows and one, a power of two.
    flows: u32,
}

/// As in `proxy-ebpf/src/baseline/wire.rs`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Wire {
    frame: [u32; WORDS],
    link: u32,
    mask: u32,
    ends: [u32; 2],
}

// SAFETY: `repr(C)`, words only, no padding.
#[expect(unsafe_code, reason = "the form that aya gives to values of maps")]
unsafe impl Pod for Wire {}

fn main() -> Result<()> {
    // Cargo says `--bench` to every bench.
    let arguments: Vec<String> = env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [object, verb, device, what] = words.as_slice() else {
        bail!("usage: OBJECT fill|attach DEVICE PLAN|PROGRAM");
    };
    let object = fs::read(object).with_context(|| format!("read {object}"))?;
    let mut programs = Ebpf::load(&object).context("create the maps of the baseline")?;
    match *verb {
        "attach" => {
            attach(&mut programs, what, device)?;
            rounds(|_| Ok(json!({})))
        }
        "fill" => {
            let plan: Plan = serde_json::from_str(what).context("read the plan")?;
            fill(&mut programs, device, &plan)
        }
        _ => bail!("{verb} is neither fill nor attach"),
    }
}

/// Answers each line with what a round says.
fn rounds(mut round: impl FnMut(&str) -> Result<Value>) -> Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line.context("be asked for a round")?;
        writeln!(out, "{}", json!([round(&line)?])).context("print the results")?;
        out.flush().context("print the results")?;
    }
    Ok(())
}

fn program<'a>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp = programs
        .program_mut(name)
        .with_context(|| format!("no program {name}"))?
        .try_into()?;
    program.load().with_context(|| format!("load {name}"))?;
    Ok(program)
}

fn attach(programs: &mut Ebpf, name: &str, device: &str) -> Result<()> {
    program(programs, name)?
        .attach(device, XdpMode::Driver)
        .with_context(|| format!("attach {name} to {device}"))?;
    Ok(())
}

fn fill(programs: &mut Ebpf, device: &str, plan: &Plan) -> Result<()> {
    stay_on_one_cpu()?;
    let frame = frame(plan)?;
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(frame.as_chunks().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    let wire = Wire {
        frame: words,
        link: if_nametoindex(device).with_context(|| format!("find {device}"))?,
        mask: plan.flows,
        ends: plan.ports.map(|port| u32::from(port.to_be())),
    };
    let map = programs.map_mut("WIRE").context("no map WIRE")?;
    Array::try_from(map)?
        .set(0, wire, 0)
        .context("say what is sent")?;
    attach(programs, "sink", device)?;
    let send = program(programs, "send")?;
    rounds(|milliseconds| {
        let milliseconds = milliseconds.parse().context("read how long")?;
        send_for(send, &frame, Duration::from_millis(milliseconds))
    })
}

/// Sends in calls that are larger each time.
fn send_for(send: &Xdp, frame: &[u8], span: Duration) -> Result<Value> {
    let [mut repeat, most] = FRAMES;
    let (mut sent, mut taken) = (0_u64, Duration::ZERO);
    while taken < span {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        let result = send.test_run(options).context("send frames")?;
        sent += u64::from(repeat);
        // It says how long each one took.
        taken += result.duration * repeat;
        repeat = most.min(repeat * 2);
    }
    Ok(json!({ "sent": sent, "seconds": taken.as_secs_f64() }))
}

/// A datagram without checksum, or what asks for a connection.
fn frame(plan: &Plan) -> Result<Vec<u8>> {
    let [from, to] = plan.addresses.map(|address| address.octets());
    let start = PacketBuilder::ethernet2(plan.macs[0], plan.macs[1]).ipv4(from, to, 64);
    let port = plan.ports[0];
    let mut bytes = Vec::new();
    if plan.flows == 0 {
        let mut header = TcpHeader::new(SOURCE_PORT, port, 1, 512);
        header.syn = true;
        start.tcp_header(header).write(&mut bytes, &[])?;
    } else {
        start.udp(SOURCE_PORT, port).write(&mut bytes, &[0; 18])?;
        let checksum = bytes.get_mut(40..42).context("a datagram is too short")?;
        checksum.fill(0);
    }
    ensure!(bytes.len() >= 54, "a frame is too short");
    Ok(bytes)
}
