//! `proxyctl connectivity test`: who reaches whom on a real cluster, tested from outside of it.
//!
//! Which tests there are is a value ([`plan`]), made of what the cluster is like; running them asks again until what comes is what
//! was wanted. All is made in one namespace, which is taken away in the end, however it ends.

mod dump;
mod ground;
mod junit;
mod objects;
mod plan;
mod run;
mod setup;
mod topology;

use std::io::Write as _;

use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{
    plan::{Case, plan},
    run::Done,
    setup::{Found, Made},
};
use super::{
    Context, CtlError, Exit,
    args::ConnectivityArgs,
    cluster::Cluster,
    live,
    output::{Output, Row},
};

/// Runs the tests, and prints what came of each.
pub async fn run(
    context: &Context,
    args: &ConnectivityArgs,
    out: &mut Output,
) -> Result<Exit, CtlError> {
    let cluster = Cluster::open(&context.common.cluster).await?;
    let found = Found::look(cluster, args).await?;
    let cases = wanted(plan(&found.topology), args)?;
    if args.list {
        out.rows(cases.into_iter().map(TestRow::from).collect())?;
        return Ok(Exit::Ok);
    }
    let mut signals = Signals::listen()?;
    let made = found.namespace().await?;
    live::note(&format!(
        "{} tests on {} in namespace {}",
        cases.len(),
        found.topology.nodes.join(", "),
        made.name
    ));
    let ended = tokio::select! {
        ended = tested(&found, &made, cases, args) => ended,
        interrupted = signals.come() => Err(interrupted),
    };
    let removed = remove(&made, args.keep, &mut signals).await;
    let done = ended.map_err(|error| both(error, removed.as_ref().err()))?;
    let failed = done.iter().any(|one| one.failure.is_some());
    let written = args.junit.as_ref().map(|path| junit::write(path, &done));
    out.rows(done.into_iter().map(TestRow::from).collect())?;
    out.flush()?;
    written.transpose()?;
    removed?;
    Ok(if failed { Exit::Failed } else { Exit::Ok })
}

/// The tests that are asked for.
fn wanted(mut cases: Vec<Case>, args: &ConnectivityArgs) -> Result<Vec<Case>, CtlError> {
    if let Some(names) = &args.test {
        cases.retain(|case| names.is_match(&case.name));
    }
    if cases.is_empty() {
        return Err(CtlError::new(
            Exit::Usage,
            "no test is selected",
            "proxyctl connectivity test --list prints their names",
        ));
    }
    Ok(cases)
}

async fn tested(
    found: &Found,
    made: &Made,
    cases: Vec<Case>,
    args: &ConnectivityArgs,
) -> Result<Vec<Done>, CtlError> {
    let real = found.fill(made, args.wait_duration).await?;
    let done = run::run(&real, cases, args.timeout, |done| {
        if let Some(failure) = &done.failure {
            live::told(&format!("FAILED {}: {failure}\n", done.case.name));
        }
    })
    .await;
    if done.iter().any(|one| one.failure.is_some()) {
        let folder = dump::gather(&real, &done, args.dump.as_deref()).await?;
        live::note(&format!(
            "what the nodes say of it is in {}",
            folder.display()
        ));
    }
    Ok(done)
}

/// What ended the tests, and what is left of them.
fn both(error: CtlError, left: Option<&CtlError>) -> CtlError {
    match left {
        None => error,
        Some(left) => CtlError {
            message: format!("{}; {}", error.message, left.message),
            hint: left.hint.clone(),
            ..error
        },
    }
}

async fn remove(made: &Made, keep: bool, signals: &mut Signals) -> Result<(), CtlError> {
    if keep {
        live::note(&format!("namespace {} is left", made.name));
        return Ok(());
    }
    let left = |error: CtlError| {
        let hint = format!("kubectl delete namespace {}", made.name);
        CtlError { hint, ..error }
    };
    tokio::select! {
        removed = made.remove() => removed.map_err(left),
        error = signals.come() => Err(left(error)),
    }
}

/// What tells us to end. Listened to before anything is made.
struct Signals([Signal; 2]);

impl Signals {
    fn listen() -> Result<Self, CtlError> {
        let [interrupt, terminate] =
            [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| {
                signal(kind).map_err(|error| {
                    let message = format!("listen to signals: {error}");
                    CtlError::new(Exit::Failed, message, "does the system have room for more?")
                })
            });
        Ok(Self([interrupt?, terminate?]))
    }

    async fn come(&mut self) -> CtlError {
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        CtlError::new(
            Exit::Failed,
            "interrupted",
            "without --keep what was made is taken away",
        )
    }
}

/// A test, and what came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TestRow {
    test: String,
    /// None if it was not run.
    passed: Option<bool>,
    seconds: Option<f64>,
    failure: Option<String>,
}

impl From<Case> for TestRow {
    fn from(case: Case) -> Self {
        Self {
            test: case.name,
            passed: None,
            seconds: None,
            failure: None,
        }
    }
}

impl From<Done> for TestRow {
    fn from(done: Done) -> Self {
        Self {
            test: done.case.name,
            passed: Some(done.failure.is_none()),
            seconds: Some(done.took.as_secs_f64()),
            failure: done.failure,
        }
    }
}

impl Row for TestRow {
    const KIND: &'static str = "ConnectivityTestList";
    const COLUMNS: &'static [&'static str] = &["TEST", "RESULT", "SECONDS", "WHY"];
    const WIDE: &'static [&'static str] = &[];

    fn cells(&self) -> Vec<String> {
        let result = match self.passed {
            None => "",
            Some(true) => "ok",
            Some(false) => "FAILED",
        };
        let seconds = self.seconds.map(|seconds| format!("{seconds:.1}"));
        vec![
            self.test.clone(),
            result.to_owned(),
            seconds.unwrap_or_default(),
            self.failure.clone().unwrap_or_default(),
        ]
    }

    fn name(&self) -> String {
        self.test.clone()
    }
}
