//! Datapath and model, side by side.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context as _, Result, anyhow};

use weir_tests::flow_table::consistent;

use super::{
    generate::{Generator, Step},
    machine::{Fate, Machine},
    model::Model,
    packet::Packet,
    world::{Change, World},
};

/// Steps between two looks at the whole table.
const BETWEEN_DUMPS: u64 = 128;
/// Flows that end within so many seconds are ended at once: no packet meets a flow on the edge.
const EDGE: u32 = 3;
/// So many seconds ago.
const OVER: u32 = 4;
/// Steps that are told when something is wrong.
const TOLD: usize = 60;

/// A run.
#[derive(Debug)]
pub(crate) struct Run<M> {
    machine: M,
    /// Slots of each family, if there are too few for all flows.
    few_slots: Option<usize>,
    model: Model,
    generator: Generator,
    last: VecDeque<String>,
}

impl<M: Machine> Run<M> {
    /// A machine without flows, and the Services of all tests.
    pub(crate) fn new(machine: M, seed: u64) -> Result<Self> {
        let world = World::with_services();
        let mut run = Self {
            machine,
            few_slots: None,
            model: Model::of(world.nothing_yet()),
            generator: Generator::new(seed),
            last: VecDeque::new(),
        };
        for (id, set) in &world.sets {
            for backend in &set.members {
                let (set, backend) = (*id, *backend);
                run.change(Change::Serve { set, backend })?;
            }
        }
        for (address, frontend) in &world.offers {
            run.change(Change::Offer(*address, *frontend))?;
        }
        Ok(run)
    }

    /// What pods send out of the cluster leaves in the node's name.
    pub(crate) fn masquerading(mut self) -> Self {
        self.model.world.masquerades = true;
        self
    }

    /// The machine has only so many slots for the flows of a family.
    pub(crate) fn with_slots(mut self, slots: usize) -> Self {
        self.few_slots = Some(slots);
        self
    }

    /// So many steps.
    pub(crate) fn steps(&mut self, count: u64) -> Result<()> {
        for number in 1..=count {
            let step = self.generator.step(&self.model);
            let done = self.step(step).and_then(|()| {
                if number % BETWEEN_DUMPS == 0 {
                    self.look()?;
                }
                Ok(())
            });
            done.with_context(|| self.story())
                .with_context(|| format!("step {number}: {step:?}"))?;
        }
        self.look().with_context(|| self.story())
    }

    fn step(&mut self, step: Step) -> Result<()> {
        let now = self.machine.now()?;
        if now != self.model.now {
            self.model.now = now;
            for (id, tuple) in self.model.ending(EDGE) {
                self.machine.age(tuple, now - OVER)?;
                self.model.age(id, now - OVER);
            }
        }
        match step {
            Step::Put(packet) if self.model.is_ambiguous(&packet) => Ok(()),
            Step::Put(packet) => {
                self.put(&packet, now)?;
                self.stalled(now)
            }
            Step::Age(id, left) => {
                // It may have come to its end by the clock since it was chosen.
                let Some(flow) = self.model.flows.get(&id) else {
                    return Ok(());
                };
                let (asked, expires) = (flow.asked, now.saturating_add_signed(left));
                // Time only ever goes on.
                if expires < flow.expires {
                    self.tell(format!("{asked:?} has {left} s left"));
                    self.machine.age(asked, expires)?;
                    self.model.age(id, expires);
                }
                Ok(())
            }
            Step::Change(change) => {
                self.tell(format!("{change:?}"));
                self.change(change)
            }
        }
    }

    fn put(&mut self, packet: &Packet, now: u32) -> Result<()> {
        let fate = self.machine.put(packet)?;
        self.tell(format!("{packet:?} -> {fate:?}"));
        if let Some(slots) = self.few_slots
            && fate == Fate::Dropped("flows-full")
        {
            let dumps = self.machine.dump()?;
            let family = &dumps[usize::from(packet.tuple.from.is_ipv6())];
            if self.model.is_full(family, slots) {
                return Ok(());
            }
        }
        if self.few_slots.is_none() {
            let judged = self.model.judge(packet, &fate, now);
            judged.map_err(|wrong| anyhow!("{wrong}"))?;
            return self.settle();
        }
        let dumps = self.machine.dump()?;
        self.model.give_way(&dumps, packet);
        let judged = self.model.judge(packet, &fate, now);
        judged.map_err(|wrong| anyhow!("{wrong}"))?;
        self.settle()?;
        let judged = self.model.lose(&dumps);
        judged.map_err(|wrong| anyhow!("{wrong}"))
    }

    /// Where this process had to wait between its look at the clock and the packet, the datapath knows when that was.
    fn stalled(&mut self, before: u32) -> Result<()> {
        let late = self.machine.now()? - before;
        if late > 1 {
            self.model.came_late(&self.machine.dump()?, late);
        }
        Ok(())
    }

    fn change(&mut self, change: Change) -> Result<()> {
        self.model.world.apply(change);
        self.machine.change(change, &self.model.world)
    }

    /// Looks at the whole table.
    fn look(&mut self) -> Result<()> {
        let dumps = self.machine.dump()?;
        for dump in &dumps {
            consistent(dump).map_err(|wrong| anyhow!("{wrong}"))?;
        }
        let judged = self.model.compare(&dumps);
        judged.map_err(|wrong| anyhow!("{wrong}"))
    }

    /// Asks the datapath where the model cannot know.
    fn settle(&mut self) -> Result<()> {
        let mut records = HashMap::new();
        for tuple in self.model.doubts() {
            records.insert(tuple, self.machine.record(tuple)?);
        }
        self.model
            .settle(|tuple| records.get(&tuple).copied().flatten());
        Ok(())
    }

    fn tell(&mut self, what: String) {
        if self.last.len() == TOLD {
            self.last.pop_front();
        }
        self.last.push_back(what);
    }

    fn story(&self) -> String {
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        format!("after\n  {}", lines.join("\n  "))
    }
}
