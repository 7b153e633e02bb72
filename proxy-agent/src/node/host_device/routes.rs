//! Which routes to `weir_host` are to be set. What others route stays as it is: their more specific routes win, and
//! one to the very same range is not replaced.

use crate::node::routes::{self, Plan, Present, Routes};

/// The difference, and what others route of the desired ranges. Nothing is removed before the ranges are `complete`.
pub fn plan(desired: &Routes, present: &Present, complete: bool) -> (Plan, Vec<String>) {
    let mut elsewhere = Vec::new();
    for to in desired.keys() {
        let inside = present.others.iter().filter(|other| {
            to.is_ipv4() == other.is_ipv4()
                && other.prefix() >= to.prefix()
                && to.contains(other.ip())
        });
        elsewhere.extend(inside.map(|other| format!("{other} is routed elsewhere")));
    }
    let mut plan = routes::plan(desired, &present.ours, complete);
    plan.set.retain(|(to, _)| !present.others.contains(to));
    (plan, elsewhere)
}

#[cfg(test)]
mod tests {
    use cni_plugin::wiring::route::Way;
    use ipnetwork::IpNetwork;

    use super::*;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn way(gateway: Option<&str>) -> Way {
        Way {
            index: 7,
            gateway: gateway.map(|ip| ip.parse().unwrap()),
            ..Way::default()
        }
    }

    #[test]
    fn the_gateway_comes_first_and_stale_routes_wait_until_the_ranges_are_known() {
        let (via, direct) = (way(Some("169.254.87.2")), way(None));
        let desired = [(net("10.96.0.0/16"), via), (net("169.254.87.2/32"), direct)].into();
        let present = Present {
            ours: [(net("10.97.0.0/16"), via)].into(),
            ..Present::default()
        };
        let (early, elsewhere) = plan(&desired, &present, false);
        let order: Vec<_> = early.set.iter().map(|(to, _)| *to).collect();
        assert_eq!(order, [net("169.254.87.2/32"), net("10.96.0.0/16")]);
        assert!(early.remove.is_empty() && elsewhere.is_empty());
        let (late, _) = plan(&desired, &present, true);
        assert_eq!(late.remove, [(net("10.97.0.0/16"), via)]);
    }

    #[test]
    fn routes_of_others_stay_and_are_named() {
        let desired = [(net("10.96.0.0/16"), way(None))].into();
        let mut present = Present {
            others: ["10.96.7.0/24", "10.0.0.0/8", "fd00::/8"].map(net).into(),
            ..Present::default()
        };
        let (inside, elsewhere) = plan(&desired, &present, true);
        assert_eq!(inside.set.len(), 1, "theirs is more specific than ours");
        assert_eq!(elsewhere, ["10.96.7.0/24 is routed elsewhere"]);
        present.others.insert(net("10.96.0.0/16"));
        let (same, elsewhere) = plan(&desired, &present, true);
        assert!(same.set.is_empty(), "theirs is not replaced");
        assert_eq!(elsewhere.len(), 2);
    }
}
