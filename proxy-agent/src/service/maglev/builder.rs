//! Who builds tables: a thread beside the main loop, or, for tests, the caller.

use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread,
};

use super::build::{Backend, build};
use crate::watchdog::{LIMIT, Watchdog};

/// A table that is wanted.
#[derive(Clone, Debug)]
pub struct Order {
    /// The set.
    pub set: u32,
    /// Places.
    pub size: u16,
    /// By what the order is known.
    pub of: u64,
    /// The set's backends, by slot.
    pub backends: Vec<Backend>,
}

/// A table that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The set.
    pub set: u32,
    /// What the order had.
    pub of: u64,
    /// Slots, by place.
    pub slots: Vec<u16>,
}

impl Order {
    fn build(&self) -> Built {
        Built {
            set: self.set,
            of: self.of,
            slots: build(self.size, &self.backends),
        }
    }
}

/// Builds tables.
#[derive(Debug, Default)]
pub struct Builder {
    /// What was built and not taken yet.
    built: VecDeque<Built>,
    /// None: built by who orders.
    thread: Option<(Sender<Order>, Receiver<Built>)>,
    /// Orders that the thread has.
    orders: usize,
}

impl Builder {
    /// One that builds in a thread, which ends with it.
    pub fn beside(watchdog: &Watchdog) -> std::io::Result<Self> {
        let (order, orders) = channel::<Order>();
        let (tell, built) = channel();
        let watched = watchdog.work("building of Maglev tables", LIMIT);
        let work = move || {
            for order in orders {
                if tell.send(watched.run(|| order.build())).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new()
            .name("maglev".to_owned())
            .spawn(work)?;
        Ok(Self {
            thread: Some((order, built)),
            ..Self::default()
        })
    }

    /// Orders a table.
    pub fn order(&mut self, order: Order) {
        let order = match &self.thread {
            None => order,
            Some((thread, _)) => match thread.send(order) {
                Ok(()) => {
                    self.orders += 1;
                    return;
                }
                Err(refused) => refused.0,
            },
        };
        self.built.push_back(order.build());
    }

    /// A table that was built.
    pub fn take(&mut self) -> Option<Built> {
        let told = self.thread.as_ref().map(|(_, built)| built.try_recv());
        match told {
            Some(Ok(built)) => {
                self.orders -= 1;
                return Some(built);
            }
            // It has ended: nothing more will come.
            Some(Err(TryRecvError::Disconnected)) => self.orders = 0,
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        self.built.pop_front()
    }

    /// Whether there is something to take, or will be soon.
    pub fn is_busy(&self) -> bool {
        self.orders > 0 || !self.built.is_empty()
    }
}
