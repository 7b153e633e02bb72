//! Watchdog: whether every task that matters goes on. Each shows a pulse; one that shows none for longer than its limit
//! stands still, be it blocked, ended or panicked, and `/livez` names it. Work that is done now and then, on threads where
//! nothing can beat, must end within its limit: work that panics has not ended. Nothing else begins tasks and threads in the
//! agent, but for those that a test of layers lists with their reasons.

#[cfg(debug_assertions)]
mod fault;

use std::{
    fmt,
    path::Path,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::{AbortHandle, JoinHandle, JoinSet, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval},
};

/// How often a task that waits shows its pulse.
const BEAT: Duration = Duration::from_secs(1);
/// How long a task may show none, unless it says otherwise: far beyond any work of one turn.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The pulses of all tasks. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Watchdog {
    tasks: Arc<Mutex<Vec<Arc<Task>>>>,
    #[cfg(debug_assertions)]
    faults: fault::Faults,
}

#[derive(Debug)]
struct Task {
    name: String,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    last: Instant,
    limit: Duration,
    /// There is nothing to do: no pulse is missed.
    idle: bool,
}

/// Work that is done now and then, one at a time.
#[derive(Clone, Debug)]
pub struct Work {
    task: Arc<Task>,
    #[cfg(debug_assertions)]
    faults: fault::Faults,
}

/// Work that is under way, until this is dropped.
struct Busy<'a>(&'a Task);

impl<'a> Busy<'a> {
    /// Begins. What has panicked before counts as begun then, until it is done for once: work that panics each time stands still.
    fn begin(task: &'a Task) -> Self {
        let mut state = task.state();
        if state.idle {
            (state.last, state.idle) = (Instant::now(), false);
        }
        drop(state);
        Self(task)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        // Work that has panicked has not ended.
        if std::thread::panicking() {
            tracing::error!(work = self.0.name, "panicked");
        } else {
            self.0.state().idle = true;
        }
    }
}

/// One task's pulse. The task is watched for ever, also when this is dropped: it should not have ended.
#[derive(Clone, Debug)]
#[must_use = "a task that shows no pulse counts as standing still"]
pub struct Pulse {
    task: Arc<Task>,
    #[cfg(debug_assertions)]
    faults: fault::Faults,
}

/// A task that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// Name of the task.
    pub task: String,
    /// For how long.
    pub since: Duration,
    /// For how long it may.
    pub limit: Duration,
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (since, limit) = (self.since.as_secs(), self.limit.as_secs());
        write!(
            f,
            "{} has stood still for {since} s (limit {limit} s)",
            self.task
        )
    }
}

impl Watchdog {
    /// Debug builds let tests stop a task: while the folder `faults` in `run_dir` holds a file of its name.
    #[must_use]
    #[cfg_attr(
        not(debug_assertions),
        expect(unused_variables, reason = "there are no faults in it")
    )]
    pub fn new(run_dir: &Path) -> Self {
        Self {
            #[cfg(debug_assertions)]
            faults: fault::Faults::new(run_dir),
            ..Self::default()
        }
    }

    /// Watches a task from now on, with the usual limit.
    pub fn register(&self, name: impl Into<String>) -> Pulse {
        self.register_with(name, LIMIT)
    }

    /// Watches a task from now on.
    pub fn register_with(&self, name: impl Into<String>, limit: Duration) -> Pulse {
        Pulse {
            task: self.task(name.into(), limit, false),
            #[cfg(debug_assertions)]
            faults: self.faults.clone(),
        }
    }

    /// Watches work that is done now and then, each time within a limit.
    pub fn work(&self, name: impl Into<String>, limit: Duration) -> Work {
        Work {
            task: self.task(name.into(), limit, true),
            #[cfg(debug_assertions)]
            faults: self.faults.clone(),
        }
    }

    fn task(&self, name: String, limit: Duration, idle: bool) -> Arc<Task> {
        let last = Instant::now();
        let state = Mutex::new(State { last, limit, idle });
        let task = Arc::new(Task { name, state });
        #[cfg(debug_assertions)]
        self.faults.note(&task);
        self.tasks().push(Arc::clone(&task));
        task
    }

    /// What stands still.
    pub fn stalled(&self) -> Vec<Stalled> {
        self.tasks()
            .iter()
            .filter_map(|task| task.stalled())
            .collect()
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<Arc<Task>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stalled(&self) -> Option<Stalled> {
        let State { last, limit, idle } = *self.state();
        let since = last.elapsed();
        (since > limit && !idle).then(|| Stalled {
            task: self.name.clone(),
            since,
            limit,
        })
    }
}

impl Pulse {
    /// The task goes on.
    pub async fn beat(&self) {
        #[cfg(debug_assertions)]
        self.faults.stand_still(&self.task).await;
        self.task.state().last = Instant::now();
    }

    /// Changes for how long the task may show no pulse.
    pub fn limit(&self, limit: Duration) {
        *self.task.state() = State {
            last: Instant::now(),
            limit,
            idle: false,
        };
    }

    /// Does a work and beats meanwhile, for as long as the work leaves its thread when it waits.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => self.beat().await,
                done = &mut work => return done,
            }
        }
    }
}

impl Pulse {
    /// Begins a task that this is the pulse of.
    pub fn spawn<F>(self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(async move { self.during(work).await })
    }

    /// Begins a task among others.
    pub fn spawn_in<F>(self, tasks: &mut JoinSet<F::Output>, work: F) -> AbortHandle
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tasks.spawn(async move { self.during(work).await })
    }
}

impl Work {
    /// Does it on a thread of the runtime that may block.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let this = self.clone();
        spawn_blocking(move || this.run(work))
    }

    /// Begins a task that does it.
    pub fn begin<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let this = self.clone();
        tokio::spawn(async move {
            let _busy = Busy::begin(&this.task);
            #[cfg(debug_assertions)]
            this.faults.stand_still(&this.task).await;
            work.await
        })
    }

    /// Does it, on a thread that may block.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _busy = Busy::begin(&self.task);
        #[cfg(debug_assertions)]
        self.faults.block(&self.task);
        work()
    }
}

#[cfg(test)]
mod tests {
    use std::{future, time::Duration};

    use super::{LIMIT, Watchdog};

    fn names(watchdog: &Watchdog) -> Vec<String> {
        let stalled = watchdog.stalled().into_iter();
        stalled.map(|stalled| stalled.task).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_waits_beats_and_one_that_is_stuck_is_named() {
        let watchdog = Watchdog::default();
        let (waits, stuck) = (watchdog.register("waits"), watchdog.register("stuck"));
        tokio::spawn(async move { waits.during(future::pending::<()>()).await });
        stuck.beat().await;
        tokio::time::sleep(LIMIT).await;
        assert_eq!(names(&watchdog), [""; 0]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(names(&watchdog), ["stuck"]);
        stuck.beat().await;
        assert_eq!(names(&watchdog), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_is_named_and_none_is_no_harm() {
        let watchdog = Watchdog::default();
        let work = watchdog.work("builds", Duration::from_secs(5));
        tokio::time::advance(LIMIT).await;
        assert_eq!(names(&watchdog), [""; 0]);
        let (begun, begins) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn({
            let work = work.clone();
            move || {
                work.run(|| {
                    begun.send(()).unwrap();
                    ends.recv().unwrap_err();
                });
            }
        });
        begins.recv().unwrap();
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(names(&watchdog), ["builds"]);
        drop(end);
        thread.join().unwrap();
        assert_eq!(names(&watchdog), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_has_not_ended() {
        let watchdog = Watchdog::default();
        let work = watchdog.work("fails", Duration::from_secs(5));
        let thread = std::thread::spawn(move || work.run(|| panic!("as a fault would")));
        thread.join().unwrap_err();
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(names(&watchdog), ["fails"]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_each_time_is_named_and_no_more_once_it_is_done() {
        let watchdog = Watchdog::default();
        let work = watchdog.work("fails", Duration::from_secs(5));
        for _ in 0..3 {
            assert_eq!(names(&watchdog), [""; 0]);
            work.begin(async { panic!("as a fault would") })
                .await
                .unwrap_err();
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        assert_eq!(names(&watchdog), ["fails"]);
        work.begin(async {}).await.unwrap();
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(names(&watchdog), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_end_is_named() {
        let watchdog = Watchdog::default();
        let work = watchdog.work("asks", Duration::from_secs(5));
        let asks = work.begin(future::pending::<()>());
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(names(&watchdog), ["asks"]);
        asks.abort();
        asks.await.unwrap_err();
        assert_eq!(names(&watchdog), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_stands_still() {
        let watchdog = Watchdog::default();
        let pulse = watchdog.register_with("fails", Duration::from_secs(5));
        let task = tokio::spawn(async move {
            pulse.during(async { panic!("as a fault would") }).await;
        });
        task.await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(6)).await;
        let text = watchdog.stalled()[0].to_string();
        assert_eq!(text, "fails has stood still for 6 s (limit 5 s)");
    }
}
