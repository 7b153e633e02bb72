//! Fault injection: lets a test stop one task of a running agent. Debug builds only.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::Task;

/// How often a task that was stopped looks whether it may go on.
const AGAIN: Duration = Duration::from_millis(100);

/// Holds the names of all tasks.
const LIST: &str = ".tasks";

/// The folder of files named after the tasks to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Option<Arc<PathBuf>>);

impl Faults {
    pub(super) fn new(run_dir: &Path) -> Self {
        Self(Some(Arc::new(run_dir.join("faults"))))
    }

    /// Tells a test what there is to stop: a line each in a file, if the folder is there.
    pub(super) fn note(&self, task: &Task) {
        let list = self.0.as_ref().map(|folder| folder.join(LIST));
        let list = list.map(|list| File::options().create(true).append(true).open(list));
        if let Some(Ok(mut list)) = list
            && let Err(error) = writeln!(list, "{}", task.name)
        {
            tracing::warn!(%error, "task not listed");
        }
    }

    /// Returns when no file of this name is there. What the file holds is the task's limit meanwhile, in seconds:
    /// tests have no half minute for each task.
    pub(super) async fn stand_still(&self, task: &Task) {
        let limit = task.state().limit;
        while self.stops(task, limit) {
            tokio::time::sleep(AGAIN).await;
        }
        task.state().limit = limit;
    }

    /// The same on a thread that may block.
    pub(super) fn block(&self, task: &Task) {
        let limit = task.state().limit;
        while self.stops(task, limit) {
            std::thread::sleep(AGAIN);
        }
        task.state().limit = limit;
    }

    fn stops(&self, task: &Task, limit: Duration) -> bool {
        let Some(folder) = &self.0 else {
            return false;
        };
        let Ok(text) = fs::read_to_string(folder.join(&task.name)) else {
            return false;
        };
        let seconds = text.trim().parse().map(Duration::from_secs);
        task.state().limit = seconds.unwrap_or(limit);
        true
    }
}
