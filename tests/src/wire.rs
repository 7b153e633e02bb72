//! The other end of a node's uplink, made ready for XDP.

use std::{os::fd::AsFd as _, thread};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, xdp::XdpMode},
};
use nix::sched::{CloneFlags, setns};
use proxy_agent::datapath::{Telling, clock, object::OBJECT};

use crate::world::{Place, set_tx_checksum};

/// Programs that let every frame pass: ours, with maps that say nothing. A `veth` sends by XDP only to an end that has it.
#[derive(Debug)]
pub struct Ends {
    /// They go with it.
    _programs: Ebpf,
}

impl Ends {
    /// On these interfaces of a place, whose packets get their checksums there: what a `veth` leaves unfinished XDP does not
    /// take.
    pub fn ready(place: &Place, interfaces: &[&str]) -> Result<Self> {
        for interface in interfaces {
            set_tx_checksum(place, interface, false)?;
        }
        let interfaces: Vec<String> = interfaces.iter().map(ToString::to_string).collect();
        let netns = place.netns().try_clone()?;
        let attached = thread::spawn(move || {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).context("enter the place")?;
            attach(&interfaces)
        });
        attached.join().expect("the thread does not panic")
    }
}

fn attach(interfaces: &[String]) -> Result<Ends> {
    let mut loader = EbpfLoader::new();
    Telling::NOTHING.set(&mut loader);
    clock::set(&mut loader, true);
    let mut programs = loader.load(OBJECT).context("create the object's maps")?;
    let program = programs.program_mut("from_wire").context("no program")?;
    let Program::Xdp(program) = program else {
        bail!("from_wire is no XDP program");
    };
    program.load().context("load from_wire")?;
    for interface in interfaces {
        program
            .attach(interface, XdpMode::Driver)
            .with_context(|| format!("attach to {interface}"))?;
    }
    Ok(Ends {
        _programs: programs,
    })
}
