//! Flows that begin: what they may be turned into.

use std::net::SocketAddr;

use weir_tests::{
    flow_table::{ICMP, Tuple},
    packets::Hook,
};

use super::{
    fate::{Way, dropped, form, is, is_port, refused, unchanged, went},
    flow::{Beginner, Flow},
    machine::{Fate, Form},
    model::{Judged, Model},
    packet::{Packet, Segment},
    world::{Place, SOURCE_PORTS, place, plan},
};

impl Model {
    /// A flow that no Service has a part in.
    pub(crate) fn begin_plain(
        &mut self,
        packet: &Packet,
        beginner: Beginner,
        by_stack: bool,
        way: Way,
        fate: &Fate,
    ) -> Judged {
        let mut served = packet.tuple;
        if served == served.reversed() {
            // Nobody could tell question from answer.
            return dropped(fate);
        }
        // Another flow's answers arrive as this one's would: only the source's port tells them apart.
        let clashes = self.holds(served.reversed());
        let by_device =
            clashes && beginner == Beginner::Pod && place(served.to.ip()) == Place::Node;
        let form = went(if by_device { Way::Redirected } else { way }, fate)?;
        if clashes {
            take_port(&mut served, form.from.port());
        }
        is(packet, served, form)?;
        let mut flow = Flow::new(beginner, packet.tuple, served, None, self.now);
        flow.by_stack = by_stack;
        self.begin(flow)
    }

    /// A pod's flow out of the cluster, in the node's name.
    pub(crate) fn begin_masqueraded(&mut self, packet: &Packet, fate: &Fate) -> Judged {
        if packet.tuple.protocol == ICMP && !packet.asks() {
            return dropped(fate);
        }
        let form = went(Way::Redirected, fate)?;
        let mut served = packet.tuple;
        served.from.set_ip(plan(served.to.ip()).node);
        take_port(&mut served, form.from.port());
        if !SOURCE_PORTS.contains(&form.from.port()) {
            return Err(format!("{form:?} has no port for translation"));
        }
        is(packet, served, form)?;
        let flow = Flow::new(Beginner::Pod, packet.tuple, served, None, self.now);
        self.begin(flow)
    }

    /// A flow to a Service.
    pub(crate) fn begin_service(
        &mut self,
        packet: &Packet,
        beginner: Beginner,
        fate: &Fate,
    ) -> Judged {
        let frontend = *self.world.frontend(packet.tuple).expect("it is served");
        let opens = packet.segment().map(Segment::opens);
        if opens == Some(false) {
            // Of no connection. Outside, or on the host, it may be somebody else's.
            return match packet.hook {
                Hook::FromNet | Hook::ToNet => unchanged(packet, Way::Left, fate),
                _ => refused(fate),
            };
        }
        let outside = beginner == Beginner::Net;
        let (set, backends) = self.world.set(&frontend, outside);
        if backends.slots.is_empty() {
            let silent = outside && frontend.external_drop && set == frontend.external;
            return if silent { dropped(fate) } else { refused(fate) };
        }
        let form = form(fate).ok_or_else(|| format!("{fate:?}, though somebody serves"))?;
        let chosen = backends
            .slots
            .iter()
            .map(|id| (*id, self.world.backends[id].to))
            .find(|(_, at)| at.ip() == form.to.ip() && is_port(packet, *at, form))
            .ok_or_else(|| format!("{form:?} is no backend of {backends:?}"))?;
        let served = self.source(packet, beginner, chosen.1, form)?;
        let by_stack = match (beginner, place(chosen.1.ip())) {
            (Beginner::Net, Place::Node) => true,
            (Beginner::Pod, Place::Elsewhere) => !self.world.masquerades,
            _ => false,
        };
        went(if by_stack { Way::Left } else { Way::Redirected }, fate)?;
        let service = Some((frontend.service, chosen.0));
        let mut flow = Flow::new(beginner, packet.tuple, served, service, self.now);
        flow.by_stack = by_stack;
        self.begin(flow)
    }

    /// The tuple that a backend sees: the client's source wherever answers come back by this node anyway, and the
    /// client's port wherever they can be told apart.
    fn source(
        &self,
        packet: &Packet,
        beginner: Beginner,
        backend: SocketAddr,
        form: &Form,
    ) -> Result<Tuple, String> {
        let asked = packet.tuple;
        let mut served = Tuple {
            to: backend,
            ..asked
        };
        let hairpin = beginner == Beginner::Pod && backend.ip() == asked.from.ip();
        let stranger = match (beginner, place(backend.ip())) {
            (Beginner::Pod, _) if hairpin => Some(asked.to.ip()),
            (Beginner::Net | Beginner::Host, Place::RemotePod | Place::Elsewhere) => {
                Some(plan(backend.ip()).node)
            }
            (Beginner::Pod, Place::Elsewhere) if self.world.masquerades => {
                Some(plan(backend.ip()).node)
            }
            (Beginner::Host, Place::Node) => Some(form.from.ip()),
            _ => None,
        };
        if let Some(ip) = stranger {
            served.from.set_ip(ip);
        }
        if form.from.ip() != served.from.ip() {
            return Err(format!(
                "source {:?}, expected {:?}",
                form.from, served.from
            ));
        }
        let is_translated = stranger.is_some() && !hairpin;
        if is_translated
            && place(backend.ip()) != Place::Node
            && !SOURCE_PORTS.contains(&form.from.port())
        {
            return Err(format!(
                "{:?} is not of the ports for translation",
                form.from
            ));
        }
        let own_port = form.from.port() == asked.from.port();
        if !own_port && !is_translated && !self.clashes(asked, beginner) {
            return Err(format!("{:?} has another port for no reason", form.from));
        }
        served.from.set_port(form.from.port());
        Ok(served)
    }

    /// Whether the answers of one of a Service's backends to a client's own port are somebody else's already.
    fn clashes(&self, asked: Tuple, beginner: Beginner) -> bool {
        let Some(frontend) = self.world.frontend(asked) else {
            return false;
        };
        let (_, set) = self.world.set(frontend, beginner == Beginner::Net);
        set.slots.iter().any(|id| {
            let to = self.world.backends[id].to;
            let mut served = Tuple { to, ..asked };
            if beginner == Beginner::Pod && to.ip() == asked.from.ip() {
                served.from.set_ip(asked.to.ip());
            }
            self.holds(served.reversed())
        })
    }
}

/// Gives a flow another source port; an echo has one identifier at both ends.
const fn take_port(served: &mut Tuple, port: u16) {
    served.from.set_port(port);
    if served.protocol == ICMP {
        served.to.set_port(port);
    }
}
