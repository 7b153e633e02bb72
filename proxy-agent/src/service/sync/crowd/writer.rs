//! A thread that writes one crowd while the next one is planned. What is planned meanwhile takes what the crowd has chosen for
//! taken ([`Draft`](super::Draft)), and brings along all entries that it needs itself: should the crowd fail, it stands by itself.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{Builder, Scope},
};

use super::{Crowd, write::PlanTables};

/// The thread, which writes at most one crowd.
pub(super) struct Writer {
    crowds: SyncSender<Crowd>,
    written: Receiver<Crowd>,
    writes: bool,
}

impl Writer {
    /// Starts it. It ends with the value; if it panics, so does the scope.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        mut tables: PlanTables,
    ) -> io::Result<Self> {
        let (crowds, orders) = sync_channel::<Crowd>(1);
        let (done, written) = sync_channel(1);
        Builder::new()
            .name("service-writer".to_owned())
            .spawn_scoped(scope, move || {
                for mut crowd in orders {
                    tables.write(&mut crowd.members);
                    if done.send(crowd).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            crowds,
            written,
            writes: false,
        })
    }

    /// Begins to write a crowd, after the last one has been taken back.
    pub(super) fn begin(&mut self, crowd: Crowd) {
        self.writes = self.crowds.send(crowd).is_ok();
    }

    /// Waits for the crowd that is being written, and takes it back; an empty one if there is none.
    pub(super) fn finish(&mut self) -> Crowd {
        let writes = std::mem::take(&mut self.writes);
        let written = writes.then(|| self.written.recv().ok());
        written.flatten().unwrap_or_default()
    }
}
