//! The socket on which the CNI plugin asks: one line of JSON there, one back, per connection.

use std::{io, sync::Arc};

use cni_plugin::rpc::{Call, MAX_LINE, Refusal, Request, Response, VERSION};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Duration, Instant, timeout},
};

use crate::{
    api::{
        Shared,
        metrics::{CniRequest, CniVerb},
        unix::Bound,
    },
    watchdog::Pulse,
};

/// How long a peer may take to send its line.
const PATIENCE: Duration = Duration::from_secs(5);

/// A question of the plugin and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub call: Call,
    /// Takes the answer. The plugin may have been killed meanwhile: nobody listens then.
    pub reply: oneshot::Sender<Response>,
}

/// Counts requests: verb, code, and how long the answer took.
pub type Count = Arc<dyn Fn(&'static str, u32, Duration) + Send + Sync>;

/// Counts them in the metrics.
pub fn count_in(shared: &Arc<Shared>) -> Count {
    let shared = Arc::clone(shared);
    Arc::new(move |verb, code, took| {
        let labels = CniRequest::new(verb, code.to_string());
        let metrics = &shared.metrics;
        metrics.cni_requests.get_or_create(&labels).inc();
        let duration = metrics.cni_duration.get_or_create(&CniVerb::new(verb));
        duration.observe(took.as_secs_f64());
    })
}

/// Where questions go, and who counts them.
#[derive(Clone)]
struct Asks {
    to: mpsc::Sender<Asked>,
    count: Count,
}

/// Passes on what is asked on a socket.
pub fn serve(socket: Bound, to: mpsc::Sender<Asked>, count: Count, pulse: Pulse) -> JoinHandle<()> {
    pulse.spawn(accept(socket, Asks { to, count }))
}

async fn accept(mut socket: Bound, asks: Asks) {
    loop {
        let stream = socket.next().await;
        drop(tokio::spawn(serve_one(stream, asks.clone())));
        if asks.to.is_closed() {
            return;
        }
    }
}

async fn serve_one(stream: UnixStream, asks: Asks) {
    if let Err(error) = converse(stream, &asks).await {
        tracing::debug!(%error, "cni socket: the plugin went away");
    }
}

async fn converse(stream: UnixStream, asks: &Asks) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    let mut read = BufReader::new(read).take(MAX_LINE);
    timeout(PATIENCE, read.read_until(b'\n', &mut line)).await??;
    let response = match parse(&line) {
        Ok(call) => asks.ask(call).await,
        Err(refusal) => Some(Response::Error(refusal)),
    };
    // The agent is stopping. Closed without an answer, the plugin asks the next one.
    let Some(response) = response else {
        return Ok(());
    };
    let mut line = serde_json::to_vec(&response)?;
    line.push(b'\n');
    write.write_all(&line).await
}

fn parse(line: &[u8]) -> Result<Call, Refusal> {
    let request: Request = serde_json::from_slice(line).map_err(|e| Refusal {
        code: 6,
        msg: "the agent does not understand the plugin".into(),
        details: e.to_string(),
    })?;
    if request.version > VERSION {
        return Err(Refusal {
            code: 1,
            msg: "the plugin is newer than the agent".into(),
            details: format!("it speaks version {}, the agent {VERSION}", request.version),
        });
    }
    Ok(request.call)
}

impl Asks {
    async fn ask(&self, call: Call) -> Option<Response> {
        let verb = match &call {
            Call::Add(_) => "ADD",
            Call::Del(_) => "DEL",
            Call::Check(_) => "CHECK",
        };
        let began = Instant::now();
        let (reply, answer) = oneshot::channel();
        self.to.send(Asked { call, reply }).await.ok()?;
        let response = answer.await.ok()?;
        let code = match &response {
            Response::Ok(_) => 0,
            Response::Error(refusal) => refusal.code,
        };
        (self.count)(verb, code, began.elapsed());
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::atomic::{AtomicU32, Ordering},
    };

    use cni_plugin::rpc::{Key, Reply};

    use super::*;
    use crate::{model::Owned, watchdog::Watchdog};

    /// Asks, and gives the line that comes back.
    async fn ask(path: &Path) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        let call = Request::new(Call::Del(Key::default()));
        let line = serde_json::to_string(&call).unwrap() + "\n";
        stream.write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn an_agent_that_stops_hangs_up_so_that_the_next_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cni.sock");
        let (to, mut asked) = mpsc::channel(1);
        let pulse = Watchdog::default().register("pod server");
        let counted = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&counted);
        let count: Count = Arc::new(move |_, _, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let socket = Bound::new(&path, Owned::PluginSocket).unwrap();
        let serving = serve(socket, to, count, pulse);
        let (answer, ()) = tokio::join!(ask(&path), async {
            let question: Asked = asked.recv().await.unwrap();
            drop(question.reply);
        });
        assert_eq!((answer.as_str(), counted.load(Ordering::Relaxed)), ("", 0));
        tokio::join!(ask(&path), async {
            let question: Asked = asked.recv().await.unwrap();
            question.reply.send(Response::Ok(Reply::default())).unwrap();
        });
        assert_eq!(counted.load(Ordering::Relaxed), 1);
        drop(asked);
        assert_eq!(ask(&path).await, "");
        serving.abort();
    }
}
