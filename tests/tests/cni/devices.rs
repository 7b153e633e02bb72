//! What a container's interface is: netkit where the kernel has it, shut until the agent says yes, and veth elsewhere.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use cni_plugin::{
    attachment::Attachment,
    rpc::Key,
    wiring::{device::Device, netkit, netlink::Netlink, sizes::Sizes, veth},
};
use weir_tests::{
    cni::{Container, Outcome, Runtime, Space, runtime},
    devices::{best, has_netkit},
    world::until,
};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:244:1::/64"];
const PATIENCE: Duration = Duration::from_secs(2);

fn machine(devices: &[Device]) -> Runtime {
    let mut runtime = Runtime::new(&DUAL).unwrap();
    runtime.devices = devices.to_vec();
    runtime.write_node(&DUAL).unwrap();
    runtime
}

fn recorded(runtime: &Runtime, container: &Container) -> Device {
    let key = Key {
        container_id: container.id.clone(),
        ifname: "eth0".into(),
    };
    let record = Attachment::read(&runtime.paths.attachment(&key));
    record.unwrap().device
}

/// The kernel's word for both sides.
fn is_of_kind(runtime: &Runtime, container: &Container, device: Device) {
    let host = &runtime.host.links().unwrap()[1];
    for (space, name) in [(&container.space, "eth0"), (&runtime.host, host.as_str())] {
        let told = space.ip(&format!("-details link show {name}")).unwrap();
        let words = told.split_whitespace();
        assert!(words.clone().any(|word| word == device.name()), "{told}");
    }
}

#[test]
fn it_is_the_first_kind_that_the_kernel_can_make() {
    let choices: [(&[Device], Device); 3] = [
        (&[Device::Netkit, Device::Veth], best()),
        (&[Device::Veth], Device::Veth),
        // As an agent says it that knows of no choice.
        (&[], Device::Veth),
    ];
    for (devices, expected) in choices {
        let runtime = machine(devices);
        let container = Container::new("a").unwrap();
        let added = runtime.add(&container).unwrap();
        assert_eq!(added.status, Some(0), "{added:?}");
        is_of_kind(&runtime, &container, expected);
        assert_eq!(recorded(&runtime, &container), expected);
        let checked = runtime.check(&container, &added.document).unwrap();
        assert_eq!((checked.status, checked.stderr.as_str()), (Some(0), ""));
        runtime.del(&container).unwrap();
        assert_eq!(container.space.links().unwrap(), ["lo"]);
        runtime.nothing_left().unwrap();
    }
}

#[test]
fn netkit_alone_is_refused_clearly_where_there_is_none() {
    let runtime = machine(&[Device::Netkit]);
    let container = Container::new("a").unwrap();
    let added = runtime.add(&container).unwrap();
    if has_netkit() {
        assert_eq!(added.status, Some(0), "{added:?}");
        is_of_kind(&runtime, &container, Device::Netkit);
        return;
    }
    assert_eq!(added.code(), 101, "{added:?}");
    let (msg, details) = (added.msg(), added.document["details"].as_str().unwrap());
    assert!(msg.starts_with("create netkit pair eth0 and weir"), "{msg}");
    for words in ["this kernel has no netkit", "hint: set cni.device"] {
        assert!(details.contains(words), "{details}");
    }
    assert_eq!(container.space.links().unwrap(), ["lo"]);
    runtime.nothing_left().unwrap();
}

/// What comes by a socket of the host from the container, which sends until it does, for as long as it is waited.
fn comes(runtime: &Runtime, container: &Space, port: u16, patience: Duration) -> bool {
    let at: SocketAddr = ([192, 0, 2, 1], port).into();
    let bind = |space: &Space, at: SocketAddr| space.inside(|| Ok(UdpSocket::bind(at)?)).unwrap();
    let socket = bind(&runtime.host, at);
    socket.set_nonblocking(true).unwrap();
    let sender = bind(container, ([0, 0, 0, 0], 0).into());
    until("a datagram", patience, || {
        // Without a way out yet, or with the drop told.
        drop(sender.send_to(b"!", at));
        Ok(socket.recv(&mut [0; 8]).ok())
    })
    .is_ok()
}

#[test]
fn it_is_shut_until_the_agent_says_yes() {
    let runtime = machine(&[best()]);
    runtime.agent.answer(None);
    let container = Container::new("a").unwrap();
    let mut environment = vec![("CNI_COMMAND", "ADD".to_owned())];
    environment.extend(runtime::of(&container));
    let config = runtime.config.to_string();
    let (added, while_it_waits) = thread::scope(|scope| {
        let adding = scope.spawn(|| {
            let child = runtime.start(&environment, config.as_bytes()).unwrap();
            runtime::finish(child).unwrap()
        });
        until("the agent to be asked", PATIENCE, || {
            Ok((!runtime.agent.calls().is_empty()).then_some(()))
        })
        .unwrap();
        let came = comes(&runtime, &container.space, 4000, PATIENCE / 4);
        runtime.agent.release();
        (adding.join().unwrap(), came)
    });
    assert_eq!(added.status, Some(0), "{added:?}");
    // A veth cannot be shut: what is in the pod by then has no programs yet.
    assert_eq!(while_it_waits, !has_netkit());
    assert!(comes(&runtime, &container.space, 4001, PATIENCE));
}

#[test]
fn check_finds_a_pair_that_somebody_has_shut() {
    if !has_netkit() {
        // There is nothing that could be shut.
        let space = Space::new().unwrap();
        let error = space.inside(|| {
            let mut netlink = Netlink::open()?;
            Ok(netkit::set_shut(&mut netlink, veth::LO, true)?)
        });
        assert!(error.is_err());
        return;
    }
    let runtime = machine(&[Device::Netkit]);
    let container = Container::new("a").unwrap();
    let added = runtime.add(&container).unwrap();
    let host = runtime.host.links().unwrap()[1].clone();
    let check = |shut: bool| -> Outcome {
        let set = || {
            let mut netlink = Netlink::open()?;
            let index = veth::index(&mut netlink, &host)?;
            Ok(netkit::set_shut(&mut netlink, index, shut)?)
        };
        runtime.host.inside(set).unwrap();
        runtime.check(&container, &added.document).unwrap()
    };
    let broken = check(true);
    assert_eq!(broken.code(), 102, "{broken:?}");
    assert!(broken.msg().contains("is shut"), "{broken:?}");
    assert_eq!(check(false).status, Some(0));
}

#[test]
fn packets_of_many_segments_are_as_large_as_the_agent_says() {
    for device in [Device::Veth, best()] {
        let mut runtime = machine(&[device]);
        let usual = Container::new("usual").unwrap();
        assert_eq!(runtime.add(&usual).unwrap().status, Some(0));
        runtime.sizes = Sizes {
            gso: 185_000,
            gro: 180_000,
            gso_ipv4: 175_000,
            gro_ipv4: 170_000,
        };
        runtime.write_node(&DUAL).unwrap();
        let large = Container::new("large").unwrap();
        assert_eq!(runtime.add(&large).unwrap().status, Some(0));
        let sizes = |space: &Space, name: &str| {
            let read = || {
                let link = veth::find(&mut Netlink::open()?, name)?;
                Ok(Sizes::of(&link.unwrap_or_default().attributes))
            };
            space.inside(read).unwrap()
        };
        assert_eq!(sizes(&usual.space, "eth0").raised(), Sizes::default());
        assert_given(sizes(&large.space, "eth0"), runtime.sizes);
        let hosts = runtime.host.links().unwrap();
        let raised = hosts
            .iter()
            .map(|name| sizes(&runtime.host, name).raised())
            .filter(|sizes| *sizes != Sizes::default());
        let raised: Vec<Sizes> = raised.collect();
        assert_eq!(raised.len(), 1, "{raised:?}");
        assert_given(raised[0], runtime.sizes);
    }
}

/// Kernels before 6.3 have no limits of their own for IPv4.
fn assert_given(found: Sizes, given: Sizes) {
    assert_eq!((found.gso, found.gro), (given.gso, given.gro));
    if found.gso_ipv4 != 0 {
        assert_eq!(found, given);
    }
}
