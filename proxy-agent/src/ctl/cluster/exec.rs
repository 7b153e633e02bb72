//! Runs a program in a pod (`pods/exec`): its streams and its exit code are carried.

use std::{
    io::{self, Read as _},
    thread,
};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy},
    sync::mpsc,
};

use super::Cluster;
use crate::ctl::{CtlError, Exit};

/// Bytes of a stream that are on their way at most.
const PIECE: usize = 64 << 10;

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Call {
    /// Namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container in it.
    pub container: &'static str,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Whether it reads our standard input.
    pub stdin: bool,
}

impl Cluster {
    /// Runs it to its end; its exit code.
    pub async fn exec(
        &self,
        call: &Call,
        out: &mut (impl AsyncWrite + Unpin),
        told: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u8, CtlError> {
        let pods: Api<Pod> = Api::namespaced(self.clients.programs.clone(), &call.namespace);
        let how = AttachParams {
            max_stdout_buf_size: Some(PIECE),
            ..AttachParams::default()
        };
        let how = how.container(call.container).stdin(call.stdin);
        let running = pods.exec(&call.pod, call.words.clone(), &how).await;
        let mut running = match running {
            Ok(running) => running,
            Err(error) => return Err(self.not_run(call, &error).await),
        };
        let status = running.take_status();
        let given = give(&mut running, call.stdin);
        let (of_out, of_told) = (running.stdout(), running.stderr());
        // What it reads does not have to come to an end, what it says does.
        tokio::select! {
            carried = async { tokio::try_join!(carry(of_out, out), carry(of_told, told)) } => carried.map(drop)?,
            failed = given => return Err(failed.into()),
        }
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        let status = status.ok_or_else(|| ended(call))?;
        match code(&status) {
            Some(code) => Ok(code),
            None => Err(self
                .state_of(call)
                .await
                .unwrap_or_else(|| not_run(call, &status))),
        }
    }
}

async fn carry(
    from: Option<impl AsyncRead + Unpin>,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    if let Some(mut from) = from {
        copy(&mut from, to).await?;
    }
    to.flush().await
}

/// Passes our standard input on; comes to an end only if that cannot be read.
fn give(running: &mut AttachedProcess, stdin: bool) -> impl Future<Output = io::Error> + use<> {
    let to = running.stdin();
    async move {
        if let (true, Some(mut to)) = (stdin, to) {
            let mut pieces = pieces();
            while let Some(piece) = pieces.recv().await {
                match piece {
                    // A program that does not read to the end is no error.
                    Ok(piece) => drop(to.write_all(&piece).await),
                    Err(error) => return error,
                }
            }
            drop(to.shutdown().await);
        }
        std::future::pending().await
    }
}

/// What comes on standard input, read by a thread that nobody waits for: a terminal may never end.
fn pieces() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (give, take) = mpsc::channel(1);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut piece = vec![0; PIECE];
        loop {
            let read = match stdin.read(&mut piece) {
                Ok(0) => return,
                Ok(length) => Ok(piece[..length].to_vec()),
                Err(error) => Err(error),
            };
            let last = read.is_err();
            if give.blocking_send(read).is_err() || last {
                return;
            }
        }
    });
    take
}

/// The exit code; none if the program did not run.
fn code(status: &Status) -> Option<u8> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    if status.reason.as_deref() != Some("NonZeroExitCode") {
        return None;
    }
    let causes = status.details.as_ref()?.causes.as_ref()?;
    let mut causes = causes.iter();
    let code = causes.find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    code.message.as_ref()?.parse().ok()
}

fn name(call: &Call) -> String {
    let program = call.words.first().map_or("", String::as_str);
    let program = program.rsplit('/').next().unwrap_or(program);
    format!("{program} in pod {}/{}", call.namespace, call.pod)
}

fn ended(call: &Call) -> CtlError {
    CtlError::new(
        Exit::Unreachable,
        format!("{}: the connection ended", name(call)),
        "did the pod restart meanwhile? try again",
    )
}

fn not_run(call: &Call, status: &Status) -> CtlError {
    let message = status.message.as_deref().unwrap_or("no reason given");
    // By its own loopback a kubelet asks the runtime.
    let hint = if message.contains("dial tcp") {
        "the node's kubelet does not reach its container runtime: on the node, `proxyctl check` and `ip link show lo` say whether the loopback is up"
    } else {
        "is the agent's image of another version? try: kubectl weir version"
    };
    CtlError::new(
        Exit::Unreachable,
        format!("run {}: {message}", name(call)),
        hint,
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
    use serde_json::json;

    use super::code;

    #[test]
    fn how_it_ended_is_understood() {
        let failed = |code: &str| {
            json!({
                "status": "Failure", "reason": "NonZeroExitCode",
                "details": { "causes": [{ "reason": "ExitCode", "message": code }] },
            })
        };
        for (status, wanted) in [
            (json!({ "status": "Success" }), Some(0)),
            (failed("4"), Some(4)),
            (failed("137"), Some(137)),
            (failed("no number"), None),
            (
                json!({ "status": "Failure", "reason": "InternalError" }),
                None,
            ),
        ] {
            let status: Status = serde_json::from_value(status).unwrap();
            assert_eq!(code(&status), wanted);
        }
    }
}
