//! What others ask the main loop: names, what differs, and looks at the machine.

use std::time::Duration;

use tokio::time::Instant;

use super::{MainLoop, TICK, answers};
use crate::api::socket::Question;

/// Between two looks at the machine that somebody asks for, at the least.
const LOOKS: Duration = Duration::from_secs(1);

impl MainLoop {
    /// Has the machine looked at, unless that was done a moment ago.
    fn look(&mut self) {
        if self.looked.elapsed() < LOOKS {
            return;
        }
        self.looked = Instant::now();
        for subject in self.subjects.all_mut() {
            subject.look();
        }
        self.sync(false);
        self.untold = true;
        self.publish = self.looked + TICK;
    }

    /// Answers those who wait for a look, once all have looked; what was found is published before.
    pub(super) fn answer_lookers(&mut self) {
        let subjects = self.subjects.all();
        if self.lookers.is_empty() || subjects.iter().any(|subject| subject.is_looking()) {
            return;
        }
        if std::mem::take(&mut self.untold) {
            self.publish();
        }
        for reply in self.lookers.drain(..) {
            // Whoever asked may have gone away.
            reply.send(()).unwrap_or_default();
        }
    }

    /// Answers a question.
    pub(super) fn answer(&mut self, question: Question) {
        if let Question::Look(reply) = question {
            self.lookers.push(reply);
            self.look();
            return;
        }
        let (snapshot, subjects) = (self.store.read(), self.subjects.all());
        let source = self.store.status().borrow().clone();
        let names = || answers::names(&snapshot, &source, &subjects);
        // Whoever asked may have gone away.
        match question {
            Question::Names(reply) => drop(reply.send(names())),
            Question::Diff(reply) => drop(reply.send(answers::diff(&snapshot, &subjects))),
            Question::Look(_) => {}
        }
    }
}
