//! Routes to the nodes' pod ranges, as the controller manager gave them out.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::lab::{Lab, Node};
use super::place::Place;
use super::shape::{Link, Shape};
use super::{kubectl, wait};
use crate::run;

/// A node's pod ranges.
#[derive(Debug)]
pub(crate) struct PodCidrs {
    /// The node.
    pub(crate) node: Node,
    /// Its addresses.
    addresses: [String; 2],
    /// Its ranges, of the families that there are.
    pub(crate) cidrs: Vec<String>,
}

impl PodCidrs {
    /// Reads them for all nodes, once they are given out; in no particular order of nodes.
    pub(crate) fn read(lab: &Lab, shape: Shape) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        wait::until("the nodes' podCIDRs", || {
            all = shape
                .all()
                .filter_map(|node| Self::of(lab, shape, node).transpose())
                .collect::<Result<_>>()?;
            Ok(all.len() == usize::from(shape.nodes))
        })?;
        Ok(all)
    }

    fn of(lab: &Lab, shape: Shape, node: Node) -> Result<Option<Self>> {
        let mut get = kubectl(lab)?;
        get.args([
            "get",
            "node",
            &node.name(),
            "--ignore-not-found",
            "-o",
            "json",
        ]);
        let text = run::output(&mut get)?;
        if text.is_empty() {
            return Ok(None);
        }
        let object: Value = serde_json::from_str(&text).context("kubectl printed no JSON")?;
        let cidrs = object["spec"]["podCIDRs"].as_array().into_iter().flatten();
        let cidrs: Vec<String> = cidrs
            .filter_map(|cidr| cidr.as_str().map(str::to_owned))
            .collect();
        Ok((!cidrs.is_empty()).then_some(Self {
            node,
            addresses: shape.address(node, Link(0)).words(),
            cidrs,
        }))
    }

    /// Adds the routes at another place.
    pub(crate) fn route(&self, place: &Place) -> Result<()> {
        for cidr in &self.cidrs {
            let [v4, v6] = &self.addresses;
            let via = if cidr.contains(':') { v6 } else { v4 };
            run::output(
                place
                    .command("ip")
                    .args(["route", "replace", cidr, "via", via]),
            )?;
        }
        Ok(())
    }
}
