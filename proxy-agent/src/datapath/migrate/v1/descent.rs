//! Flows of a family on their way into maps of schema 1.

use aya::Pod;
use proxy_common::{
    conntrack::{Flow, FlowKey},
    v1,
};

use super::flows::{Node, down};
use crate::datapath::{
    clock,
    kernel_table::KernelTable,
    migrate::flows::{Address, Record, Store, key},
    table::{Table as _, TableError},
};

/// From our store into `CONNTRACK*`, pass by pass.
pub(super) struct Descent<A: Address> {
    from: Store<A>,
    to: KernelTable<v1::FlowKey<A>, v1::Flow<A>>,
    /// What was written, by slot. Most of it is as it was, pass after pass.
    written: Vec<Option<Record<A>>>,
}

impl<A: Address> Descent<A>
where
    Flow<A>: Pod,
    FlowKey<A>: Pod,
    v1::FlowKey<A>: Pod + Ord,
    v1::Flow<A>: Pod,
{
    /// Nothing is written yet.
    pub(super) fn new(from: Store<A>, to: KernelTable<v1::FlowKey<A>, v1::Flow<A>>) -> Self {
        Self {
            written: vec![None; from.slots()],
            from,
            to,
        }
    }

    /// Copies what has changed.
    pub(super) fn pass(&mut self, here: &impl Node<A>) -> Result<(), TableError> {
        let (now, mut fresh) = (clock::seconds(), Vec::new());
        for slot in 0..self.written.len() {
            let live = self.from.living(slot, now);
            let before = self.written[slot];
            // One that is being written has its turn in the next pass.
            if live == before || live.is_none() && self.from.is_busy(slot) {
                continue;
            }
            let same = |one: &Record<A>| live.is_some_and(|live| key(&live) == key(one));
            if let Some(gone) = before.filter(|before| !same(before)) {
                self.written[slot] = None;
                for (key, _) in down(&gone, here) {
                    self.to.remove(&key)?;
                }
            }
            fresh.extend(live.map(|live| (slot, live)));
        }
        // After all removals: a flow may have come that has the tuple of one that is gone.
        for (slot, flow) in fresh {
            for (key, entry) in down(&flow, here) {
                self.to.set(&key, &entry)?;
            }
            self.written[slot] = Some(flow);
        }
        Ok(())
    }
}
