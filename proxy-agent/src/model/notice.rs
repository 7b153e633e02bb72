//! What the owner of an object should know.

use super::{Kind, ObjectName};

/// Something about an object of the cluster, for as long as it is so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// Kind of the object.
    pub kind: Kind,
    /// Its name.
    pub object: ObjectName,
    /// Why, in one word.
    pub reason: EventReason,
    /// What about it.
    pub note: String,
}

impl Notice {
    /// Whether all nodes find the same: one of them tells it.
    pub const fn is_everywhere(&self) -> bool {
        match self.reason {
            // A pod's is a clash on its node.
            EventReason::AddressConflict => matches!(self.kind, Kind::Service),
            EventReason::NotServed | EventReason::InvalidAnnotation | EventReason::NodeConflict => {
                true
            }
            _ => false,
        }
    }
}

/// Declares the reasons of Events once: the word, kinds of the objects that have such, what it means, what to do.
macro_rules! reasons {
    ($($name:ident: $($kind:ident)|+, $meaning:literal, $remedy:literal;)+) => {
        /// Why there is an Event, as `kubectl describe` shows it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventReason {
            $(#[doc = $meaning] $name,)+
        }

        impl EventReason {
            /// All of them, by what they are about.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word, in `CamelCase`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// Kinds of the objects that have such Events.
            pub const fn kinds(self) -> &'static [Kind] {
                match self { $(Self::$name => &[$(Kind::$kind),+],)+ }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)+ }
            }
        }
    };
}

reasons! {
    AddressConflict: Service | Pod,
        "Another one has an address, port and protocol that this one wants; that one is served. Of two Services the older one has it, a Service before a pod's `hostPort`, and of two pods of a node the one that was wired last. Who names one address of the node (`hostIP`, or an external IP that is the node's) has it there, before who has the port on all of them.",
        "Give one of the two another address or port. When the other one goes, this one is served.";
    NodePortTaken: Service,
        "On one address of the node another one has the port of its `NodePort`: a pod by a `hostPort` with a `hostIP`, or a Service by an external IP that is the node's. There that one is served.",
        "Give one of the two another port, or clients another address.";
    NotProgrammed: Service | Pod | NetworkPolicy,
        "A map has no room for it and does not grow. A Service, or a pod's `hostPort`, keeps its last state; pods that a policy selects are denied in the directions that it isolates.",
        "Raise `maps.memory`, or the capacity of the map that the note names. It is tried again by itself.";
    NotServed: Service,
        "It has external IPs, which the setting `services.externalIPs` turns off, or an external or load balancer's address where one of the cluster's API servers listens. The rest of it is served.",
        "Take `spec.externalIPs` away, or set `services.externalIPs: true` if whoever makes Services may take any address. What is an API server's (`kubectl get endpointslices -l kubernetes.io/service-name=kubernetes`) no Service gets: nodes would lose sight of the cluster.";
    FailedToStartServiceHealthcheck: Service,
        "The port of `spec.healthCheckNodePort` cannot be opened on the node.",
        "Find who listens there (`ss -ltnp`), or make the Service anew for another port.";
    AddressesExhausted: Service,
        "No address of a pool (`loadBalancer.pools`) is free for it.",
        "Add addresses to a pool, or let Services share one (annotation `weir.dev/allow-shared-ip`).";
    AddressTaken: Service,
        "The address that it asks for is another one's.",
        "Ask for another one (annotation `weir.dev/load-balancer-ips`).";
    AddressRequestInvalid: Service,
        "Its annotations ask for what cannot be: an address of no pool, two of one family, an unknown pool.",
        "Correct what the note names.";
    PodRangesExhausted: Node,
        "With `ipam: cluster` no range of `clusterPodCIDRs` is free: the node's pods get no addresses.",
        "Add a range to `clusterPodCIDRs`. Ranges of Nodes that are gone are free after `podRanges.giveBackAfter`.";
    PodRangeTaken: Node,
        "The range that its annotation `weir.dev/pod-cidrs` names is another node's.",
        "Name another one, or none.";
    PodRangeInvalid: Node,
        "Its annotation `weir.dev/pod-cidrs` cannot be followed.",
        "At most one range of each family, as `10.1.2.0/24,fd00::/64`.";
    PodRangeLost: Node,
        "The node could not confirm its range in time, and another node has it now: pods from before have addresses that are not theirs.",
        "Make the pods anew that the note names.";
    PodRangesUnreadable: Node,
        "The map of claims, `kube-system/weir-pod-ranges`, cannot be read: no node claims a range.",
        "Correct the entries that the note names.";
    NodeConflict: Node,
        "It names a range of pods, or an `InternalIP`, that another Node has: what overlaps is not in force, and traffic goes to the other one as before. The Node that had it first keeps it; of two that are found at once the older one has it. Or it has published the WireGuard key of another one, as copies of a machine do that ran: none of them is reached, until their agents have made new keys.",
        "Correct the Node that the note names first, or delete the one that is not there any more. When the other one goes, this one has it at once. New keys are made by themselves, at most one a minute; where an agent is away, remove `wireguard.key` and `wireguard.made` in its `runDir`.";
    MapsFillingUp: Node,
        "At least four fifths of the capacity of a map are in use.",
        "Raise its capacity, or `maps.memory`, in `maps:` of the configuration.";
    DriftRepaired: Node,
        "Something that Weir keeps on the node was changed or taken away, and is back: a kernel setting, a route, a program, a file.",
        "Find who did it, if it was not you. `proxyctl status` and the agent's log name the thing.";
    DriftRecurs: Node,
        "Something that Weir keeps on the node is changed or taken away again and again. Weir puts it back each time, and in between it is not in force.",
        "Find the program that wants it otherwise (another network, a tuning daemon, a configuration management), and tell it to leave the thing alone.";
    AnotherPluginFirst: Node,
        "In the folder of network configurations another file comes before Weir's: the runtime calls that plugin for new pods, and Weir does not know them.",
        "Remove the file that the note names from the node, or give it a name that comes after Weir's (`cni.confFile`).";
    InterfaceGone: Pod,
        "Somebody has removed the interface of the pod from its node: it runs without a network, and two minutes later its addresses are given back.",
        "Delete the pod, which makes it anew. Find what removes interfaces that it has not made: the names of pods' begin with `weir`.";
    ProgramsNotAttached: Pod,
        "The kernel does not take the programs of the pod's interface: the pod has no Services, and no policy is in force for it.",
        "It is tried again every five seconds; the note has what the kernel said.";
    InvalidAnnotation: Service | Pod | Node,
        "The value of an annotation `weir.dev/...` is refused: everything is as if it were not there.",
        "Correct the annotation that the note names, or take it away.";
    InvalidBandwidth: Pod,
        "An annotation `kubernetes.io/ingress-bandwidth` or `kubernetes.io/egress-bandwidth` is no rate from 1k to 1P: that limit is not changed.",
        "Correct the annotation, as `10M`.";
    BandwidthNotPossible: Pod,
        "The node's kernel has neither departure times (`CONFIG_NET_SCH_FQ`) nor token buckets (`CONFIG_NET_SCH_TBF`): the pod runs without its limits of bandwidth.",
        "Load the module `sch_fq` or `sch_tbf` on the node, or take the annotations away.";
    BandwidthNotInForce: Pod,
        "The pod's limits of bandwidth could not be set.",
        "It is tried again by itself; the note names what the kernel said.";
}

#[cfg(test)]
mod tests {
    use super::EventReason;

    #[test]
    fn api_servers_take_the_words() {
        for reason in EventReason::ALL {
            let name = reason.name();
            assert!(name.len() <= 128 && name.chars().all(|c| c.is_ascii_alphanumeric()));
            assert!(reason.meaning().ends_with('.') && reason.remedy().ends_with('.'));
        }
    }
}
