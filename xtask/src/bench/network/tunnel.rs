//! Pods of two nodes by VXLAN: Weir's device and programs, or the kernel's device, routes and tables, as flannel has them.

use anyhow::Result;
use weir_world::{Node, World};

use super::side::Side;
use crate::bench::bed::{Bare, Weir};

/// Around a packet, over IPv4.
const OVERHEAD: u32 = 50;

/// Both beds.
pub(super) fn sides() -> Result<[Side; 2]> {
    let reference = pair("vxlan")?;
    let [a, b] = &reference;
    link_to(a, b, 1)?;
    link_to(b, a, 2)?;
    let bare = Bare::on(&reference)?;
    set_mtu(&bare, 1500 - OVERHEAD)?;
    let weir = Weir::on(&pair("tunnel")?, &["--routing", "tunnel"])?;
    Ok([Side::reference(bare), Side::weir(weir)])
}

/// Two nodes without a way to each other's pods.
pub(super) fn pair(name: &str) -> Result<[Node; 2]> {
    let world = World::new(name)?;
    Ok([world.node("a")?, world.node("b")?])
}

/// A pod has no more room than the way to the other node's.
pub(super) fn set_mtu(bed: &Bare, mtu: u32) -> Result<()> {
    for pod in bed.pods.all() {
        pod.batch(&format!("link set eth0 mtu {mtu}\n"))?;
    }
    Ok(())
}

/// Hardware address of a node's device.
fn hardware(number: u8) -> String {
    format!("02:00:00:00:00:{number:02x}")
}

/// A device for one peer, known beforehand.
fn link_to(node: &Node, peer: &Node, number: u8) -> Result<()> {
    let (own, other) = (hardware(number), hardware(3 - number));
    node.batch(&format!(
        "link add vxlan0 address {own} mtu {} type vxlan id 7 dstport 4789 local {} nolearning\n\
         link set vxlan0 up\n",
        1500 - OVERHEAD,
        node.ipv4(),
    ))?;
    let to = peer.ipv4().to_string();
    node.run(&[
        "bridge", "fdb", "append", &other, "dev", "vxlan0", "dst", &to,
    ])?;
    for range in peer.pod_ranges() {
        let gateway = range.split('/').next().unwrap_or_default();
        node.batch(&format!(
            "neigh replace {gateway} lladdr {other} dev vxlan0 nud permanent\n\
             route add {range} via {gateway} dev vxlan0 onlink\n"
        ))?;
    }
    Ok(())
}
