//! Pods as the main loop knows them.

use std::{collections::BTreeMap, sync::Arc};

use cni_plugin::rpc::Call;
use tokio::time::Instant;

use super::{Event, Missing, Pods, server};
use crate::{
    api::messages::{Names, Status},
    datapath::TcMode,
    model::{Notice, ObjectName, Pod, Snapshot},
    observe::Store,
    subject::{self, Asked, Depth, Here, Room, Subject, Turn, Verified},
};

impl Pods {
    /// Takes what has happened: of a whole crowd in one go, so that one sync of policy serves it. An id that was given
    /// back in this turn is nobody's until policy has denied everything to it, so an ADD that might get it waits.
    fn take_all(&mut self, snapshot: &Snapshot, here: &mut Here) {
        let (freed, mut changed) = (self.ids.freed(), false);
        while let Some(event) = self.next() {
            if self.ids.freed() != freed && takes_id(&event) {
                self.next = Some(event);
                break;
            }
            let known = |pod: &ObjectName, uid: &str| of_this_uid(snapshot, pod, uid);
            changed |= self.take(event, &mut here.datapath, known);
        }
        changed |= self.attach(&mut here.datapath);
        if changed {
            self.tell(here);
        }
    }

    /// Tells the others of all endpoints.
    pub fn tell(&self, here: &mut Here) {
        here.endpoints.tell(self.endpoints());
        here.host_ports.tell(self.host_ports());
        here.wires.tell(self.wires());
    }
}

fn takes_id(event: &Event) -> bool {
    match event {
        Event::Asked(server::Asked { call, .. }) => matches!(call, Call::Add(_)),
        Event::Swept(_) => true,
        Event::Fetched(..)
        | Event::Attached(_)
        | Event::Watched(_)
        | Event::Limited(_)
        | Event::LookedAtLimits(_)
        | Event::Lifted(_)
        | Event::Looked(_)
        | Event::Kept(_)
        | Event::Tick => false,
    }
}

/// Each pod has an entry in these.
const MAPS: [&str; 5] = [
    "ENDPOINTS",
    "INTERFACES",
    "CLIENTS",
    "LOCAL_PODS4",
    "LOCAL_PODS6",
];

impl Subject for Pods {
    fn name(&self) -> &'static str {
        "pods"
    }

    fn sync(&mut self, turn: &Turn<'_>, here: &mut Here) {
        self.take_all(turn.snapshot, here);
        self.review_forgotten(turn.snapshot);
        if self.identify(turn) {
            self.tell(here);
        }
        if !turn.dirty.pods.is_empty() || turn.relisted || !self.waiting.is_empty() {
            let known = |pod: &ObjectName, uid: &str| of_this_uid(turn.snapshot, pod, uid);
            if self.follow_pods(&mut here.datapath, known) {
                self.tell(here);
            }
        }
        let ready = |endpoint: u32, pod: &str| {
            if !here.policed.get().contains(&endpoint) {
                return Err(Missing::Policy);
            }
            match here.no_host_ports.get().get(pod) {
                Some(why) => Err(Missing::HostPorts(why.clone())),
                None => Ok(()),
            }
        };
        self.settle(ready);
    }

    fn look(&mut self) {
        self.next_look = Instant::now();
        self.asked = Asked::Waits;
        self.watching.look();
        self.keeping.look();
        self.next.get_or_insert(Event::Tick);
    }

    fn is_looking(&self) -> bool {
        self.asked != Asked::Nobody
    }

    /// They have a clock of their own: see [`Pods::changed`].
    fn due(&self) -> Instant {
        if self.next.is_some() {
            return Instant::now();
        }
        subject::after(None)
    }

    fn verify(&mut self, _: &Store, budget: usize, _: Depth) -> Verified {
        self.tables.verify(budget)
    }

    fn waits_for_room(&self, room: &mut Room) {
        if (self.starved || self.ids.is_tight()) && self.ids.may_be_more() {
            let more = self.ids.in_use() / 4 + 1;
            for map in MAPS {
                *room.entry(map.to_owned()).or_default() += more;
            }
        }
    }

    fn resized(&mut self, _: &BTreeMap<String, u32>) {
        self.starved = false;
        self.ids.limit((self.config.limit)());
        // Of those that began while the array was exchanged.
        self.end_flows();
        self.reconcile();
    }

    /// Who cannot be taken in is refused; that the kernel takes no write is the node's trouble.
    fn broken(&self) -> Option<&str> {
        self.tables.refused()
    }

    fn notices(&self) -> Vec<Notice> {
        let mut notices = self.notices_of_limits();
        notices.extend(self.notices_of_cut_off());
        notices
    }

    fn status(&self, status: &mut Status) {
        self.repairs.status(&mut status.repairs);
        let cni = &mut status.cni;
        cni.notes
            .extend(self.unsure().into_iter().chain(self.record_problems()));
        cni.notes.extend(self.limits_at_fault());
        cni.cut_off = self.cut_off();
        cni.limited = self.limited() as u64;
        cni.timed = self.timed() as u64;
        let known = self.known.values();
        cni.pods = known.filter(|local| local.tried).count() as u64;
        cni.tcx = self.attached(TcMode::Tcx) as u64;
        cni.clsact = self.attached(TcMode::Clsact) as u64;
    }

    fn names(&self, names: &mut Names) {
        for (id, pod, ips) in self.wired() {
            let addresses = ips.iter().map(|ip| (*ip, pod.to_string()));
            names.addresses.extend(addresses);
            names.endpoints.insert(id, pod.to_string());
        }
        let cut_off = self.cut_off().into_iter();
        names.cut_off = cut_off.map(|one| (one.pod, one.why)).collect();
    }

    fn diff(&self, _: &Snapshot) -> anyhow::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

fn of_this_uid(snapshot: &Snapshot, pod: &ObjectName, uid: &str) -> Option<Arc<Pod>> {
    let pod = snapshot.pods.get(pod);
    pod.filter(|pod| pod.is(uid)).cloned()
}
