//! Readiness as values: each task that must be done first holds a [`Guard`] with its name; the agent is
//! ready when none is left.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// The tasks that are awaited.
#[derive(Clone, Debug)]
pub struct Readiness {
    awaited: Arc<Mutex<Vec<String>>>,
    began: Instant,
}

/// A task that is awaited until this is dropped.
#[derive(Debug)]
#[must_use = "the task counts as done when this is dropped"]
pub struct Guard {
    readiness: Readiness,
    task: String,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            awaited: Arc::default(),
            began: Instant::now(),
        }
    }
}

impl Readiness {
    fn awaited(&self) -> MutexGuard<'_, Vec<String>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a task.
    pub fn register(&self, task: impl Into<String>) -> Guard {
        let task = task.into();
        self.awaited().push(task.clone());
        Guard {
            readiness: self.clone(),
            task,
        }
    }

    /// What is awaited; empty once ready.
    pub fn awaiting(&self) -> Vec<String> {
        self.awaited().clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Self { readiness, task } = self;
        let mut awaited = readiness.awaited();
        awaited.retain(|name| name != task);
        let took = readiness.began.elapsed();
        if awaited.is_empty() {
            tracing::info!(task, ?took, "ready");
        } else {
            tracing::info!(task, ?took, awaiting = ?*awaited, "task done");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Readiness;

    #[test]
    fn is_ready_when_no_guard_is_left() {
        let readiness = Readiness::default();
        let lists = readiness.register("lists");
        let sync = readiness.register("first sync");
        assert_eq!(readiness.awaiting(), ["lists", "first sync"]);
        drop(lists);
        assert_eq!(readiness.awaiting(), ["first sync"]);
        drop(sync);
        assert!(readiness.awaiting().is_empty());
    }
}
