//! What each hook owes a packet.

use std::net::IpAddr;

use weir_tests::{
    flow_table::{ICMP, Tuple},
    packets::Hook,
};

use super::{
    fate::{Way, dropped, held, is, is_error_about, refused, unchanged, went},
    flow::Beginner,
    machine::Fate,
    model::{Judged, Model, Ports, has_ports},
    packet::{Kind, Packet, Segment},
    world::{Place, place},
};

impl Model {
    /// Whether this may become of the packet; takes what it means into account.
    pub(crate) fn judge(&mut self, packet: &Packet, fate: &Fate, now: u32) -> Judged {
        self.now = now;
        let forged = is_forged(packet);
        if forged && packet.hook != Hook::FromNet {
            return dropped(fate);
        }
        let described = self.with_ports(packet);
        let Ports::Known(packet) = described else {
            return unknown_fragment(packet, forged, fate);
        };
        if forged {
            return self.forged_outside(&packet, fate);
        }
        match packet.hook {
            Hook::FromPod | Hook::FromNeighbour => self.at_pod(&packet, fate),
            Hook::FromNet => self.at_link(&packet, fate),
            Hook::ToPod | Hook::ToPodFromHost => self.before_pod(&packet, fate),
            Hook::ToNet | Hook::FromHost => self.at_host(&packet, fate),
            Hook::FromWire | Hook::ToNetForwarded | Hook::FromHostForwarded | Hook::ToQueue => {
                Err("not generated".to_owned())
            }
        }
    }

    /// A packet from outside with a source of ours: not for a pod, nor for a Service. What concerns nobody but the host's
    /// sockets may be left to the stack, which drops such packets itself.
    fn forged_outside(&self, packet: &Packet, fate: &Fate) -> Judged {
        let (_, to) = packet.addresses();
        let begins = packet.segment().is_none_or(Segment::opens);
        let matters = matches!(place(to), Place::Pod(_)) || begins && self.is_served(packet);
        match fate {
            Fate::Left(_) if !matters => unchanged(packet, Way::Left, fate),
            _ => dropped(fate),
        }
    }

    fn at_pod(&mut self, packet: &Packet, fate: &Fate) -> Judged {
        if let Some((id, direction)) = self.known(packet, false) {
            return self.comes_in(packet, (id, direction), fate);
        }
        let (_, outer) = packet.addresses();
        if let Kind::Error(_) = packet.kind {
            if self.world.is_masqueraded(outer) {
                // Nobody vouches for it.
                return dropped(fate);
            }
            return unchanged(packet, way_out(outer), fate);
        }
        if self.is_served(packet) {
            return self.begin_service(packet, Beginner::Pod, fate);
        }
        let to = packet.tuple.to.ip();
        if self.world.is_masqueraded(to) {
            return self.begin_masqueraded(packet, fate);
        }
        if self.world.masquerades && place(to) == Place::Elsewhere {
            // The stack answers.
            return unchanged(packet, Way::Left, fate);
        }
        let by_stack = place(to) == Place::Elsewhere;
        self.begin_plain(packet, Beginner::Pod, by_stack, way_out(to), fate)
    }

    fn at_link(&mut self, packet: &Packet, fate: &Fate) -> Judged {
        if packet.kind == Kind::Request
            && packet.has_header()
            && place(packet.tuple.to.ip()) == Place::Node
        {
            // Whatever the node has asked itself with this identifier.
            return unchanged(packet, Way::Left, fate);
        }
        if let Some((id, direction)) = self.known(packet, true) {
            return self.comes_in(packet, (id, direction), fate);
        }
        let (_, to) = packet.addresses();
        let is_local = matches!(place(to), Place::Pod(_));
        if let Kind::Error(_) = packet.kind {
            let way = if is_local { Way::Redirected } else { Way::Left };
            return unchanged(packet, way, fate);
        }
        if is_local {
            return self.begin_plain(packet, Beginner::Net, false, Way::Redirected, fate);
        }
        if self.is_served(packet) {
            return self.begin_service(packet, Beginner::Net, fate);
        }
        unchanged(packet, Way::Left, fate)
    }

    /// A packet of a known flow, from a pod or from outside.
    fn comes_in(&mut self, packet: &Packet, (id, direction): (u64, usize), fate: &Fate) -> Judged {
        let flow = &self.flows[&id];
        if flow.by_stack && flow.beginner != Beginner::Host {
            // An answer is turned round where it leaves the stack: that sees what the backend sent.
            let form = if direction == 0 {
                flow.leaves(0)
            } else {
                packet.key()
            };
            return self.becomes(packet, (id, direction), form, Way::Left, fate);
        }
        let form = flow.leaves(direction);
        let way = match place(form.to.ip()) {
            // By the host's own device, where routes lead to Services' addresses.
            Place::Node if flow.is_translated() && packet.hook != Hook::FromNet => Way::Redirected,
            Place::Node => Way::Left,
            _ => Way::Redirected,
        };
        self.becomes(packet, (id, direction), form, way, fate)
    }

    /// What the stack gives to a pod: as it leaves, not as it arrived at the node.
    fn before_pod(&mut self, packet: &Packet, fate: &Fate) -> Judged {
        if let Some((id, direction)) = self.known_as_it_left(packet) {
            return self.becomes(packet, (id, direction), packet.key(), Way::Left, fate);
        }
        if let Some((id, direction)) = self.known(packet, true) {
            let form = self.flows[&id].leaves(direction);
            return self.becomes(packet, (id, direction), form, Way::Left, fate);
        }
        if let Kind::Error(_) = packet.kind {
            return unchanged(packet, Way::Left, fate);
        }
        let (beginner, by_stack) = if packet.hook == Hook::ToPod {
            (Beginner::Net, true)
        } else {
            (Beginner::Host, false)
        };
        self.begin_plain(packet, beginner, by_stack, Way::Left, fate)
    }

    /// What the host itself sends to Services, or in answer to what came by one.
    fn at_host(&mut self, packet: &Packet, fate: &Fate) -> Judged {
        let by_link = packet.hook == Hook::ToNet;
        if by_link && !self.may_concern_services(packet) {
            return unchanged(packet, Way::Left, fate);
        }
        if let Some((id, direction)) = self.known(packet, false) {
            let flow = &self.flows[&id];
            let way = if flow.by_stack {
                Way::Left
            } else {
                Way::Redirected
            };
            let leaves = flow.leaves(direction);
            if by_link && leaves == packet.key() && matches!(packet.kind, Kind::Error(_)) {
                return unchanged(packet, Way::Left, fate);
            }
            if !by_link && leaves == packet.key() {
                // Known, but nobody's frontend.
                self.touch(packet, id, direction);
                return refused(fate);
            }
            return self.becomes(packet, (id, direction), leaves, way, fate);
        }
        let frontend = self.world.frontend(packet.tuple);
        let is_error = matches!(packet.kind, Kind::Error(_));
        if !is_error && has_ports(packet) && frontend.is_some() {
            return self.begin_service(packet, Beginner::Host, fate);
        }
        if !by_link {
            // Nothing else lies behind that device.
            return refused(fate);
        }
        let begins = if packet.tuple.protocol == ICMP {
            packet.asks()
        } else {
            packet.segment().is_none_or(Segment::opens)
        };
        if !is_error && begins && self.world.port_matters(packet.tuple.from.port()) {
            // Its answers come back to a port that others may use as well.
            return self.begin_plain(packet, Beginner::Host, true, Way::Left, fate);
        }
        unchanged(packet, Way::Left, fate)
    }

    /// Whether what the host sends by a link may be more than its own sockets' traffic. To cluster IPs the routes lead by
    /// the host's own device.
    fn may_concern_services(&self, packet: &Packet) -> bool {
        let Tuple { from, to, .. } = packet.key();
        let is_error = matches!(packet.kind, Kind::Error(_));
        let masqueraded = self.world.masquerades && (is_error || packet.asks());
        masqueraded && is_error
            || (has_ports(packet) || masqueraded)
                && (self.world.port_matters(from.port()) || self.world.port_serves(to.port()))
    }

    fn is_served(&self, packet: &Packet) -> bool {
        has_ports(packet)
            && !matches!(packet.kind, Kind::Error(_))
            && self.world.frontend(packet.tuple).is_some()
    }

    /// A packet of a known flow: turned into what the flow says.
    fn becomes(
        &mut self,
        packet: &Packet,
        (id, direction): (u64, usize),
        expected: Tuple,
        way: Way,
        fate: &Fate,
    ) -> Judged {
        let form = went(way, fate)?;
        if let Kind::Error(by) = packet.kind {
            is_error_about(packet, by, expected, form)?;
        } else {
            is(packet, expected, form)?;
            self.touch(packet, id, direction);
        }
        Ok(())
    }
}

/// Whether the source is not one that comes in there.
fn is_forged(packet: &Packet) -> bool {
    let (from, _) = packet.addresses();
    match packet.hook {
        hook @ (Hook::FromPod | Hook::FromNeighbour) => place(from) != Place::Pod(hook),
        Hook::FromNet => matches!(place(from), Place::Pod(_) | Place::Node),
        _ => false,
    }
}

/// A later fragment whose first one has not been seen: it is held where it is a pod's.
fn unknown_fragment(packet: &Packet, forged: bool, fate: &Fate) -> Judged {
    let (_, to) = packet.addresses();
    match packet.hook {
        Hook::FromNet if matches!(place(to), Place::Pod(_)) => {
            if forged {
                dropped(fate)
            } else {
                held(fate)
            }
        }
        Hook::FromPod | Hook::FromNeighbour => held(fate),
        Hook::FromHost => dropped(fate),
        _ => unchanged(packet, Way::Left, fate),
    }
}

/// The way of a pod's packet to nobody known.
fn way_out(to: IpAddr) -> Way {
    match place(to) {
        Place::Pod(_) | Place::RemotePod => Way::Redirected,
        Place::Node | Place::Elsewhere => Way::Left,
    }
}
