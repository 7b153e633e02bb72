//! The kubelet's part in `kubectl logs` and `kubectl exec`: the log of a container is what [`log`] says. For a program the API server passes the
//! WebSocket on to it (since Kubernetes 1.36, to nodes that declare `ExtendWebSocketsToKubelet`), and it runs the program in the container.

use std::{path::Path, process::Output, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use axum::{extract::Query, http::Uri};
use futures::{SinkExt as _, Stream, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, spawn_blocking},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        self, Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::HeaderValue,
    },
};

/// The newest protocol of streams over a WebSocket (KEP-4006): the first byte of a message is its channel.
const PROTOCOL: &str = "v5.channel.k8s.io";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// Before the channel that ends.
const CLOSE: u8 = 255;

/// Runs what is asked for.
type Run = Arc<dyn Fn(&Exec) -> Result<Output> + Send + Sync>;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// In which pod.
    pub pod: String,
    /// The words of the command.
    pub words: Vec<String>,
    /// All that it reads, if it is to read anything.
    pub input: Option<Vec<u8>>,
}

/// A running one, on loopback; it ends when this is dropped.
#[derive(Debug)]
pub struct Kubelet {
    port: u16,
    task: JoinHandle<()>,
}

impl Kubelet {
    /// Starts it.
    pub async fn start(
        run: impl Fn(&Exec) -> Result<Output> + Send + Sync + 'static,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let acceptor = TlsAcceptor::from(Arc::new(config(&folder)?));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let run: Run = Arc::new(run);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, run) = (acceptor.clone(), Arc::clone(&run));
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &acceptor, run).await {
                        tracing::error!("kubelet: {error:#}");
                    }
                });
            }
        });
        Ok(Self { port, task })
    }

    /// The status of a Node that has it.
    pub fn status(&self, address: &str) -> Value {
        json!({
            "addresses": [
                { "type": "InternalIP", "address": "127.0.0.1" },
                { "type": "ExternalIP", "address": address },
            ],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": self.port } },
            "declaredFeatures": ["ExtendWebSocketsToKubelet"],
        })
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// With a certificate that nobody knows, as kubelets have them.
fn config(folder: &TempDir) -> Result<ServerConfig> {
    let file = |name: &str| folder.path().join(name);
    let (key, certificate) = (file("key.pem"), file("cert.pem"));
    make(&key, &certificate)?;
    let certificate = CertificateDer::from_pem_file(&certificate)?;
    let key = PrivateKeyDer::from_pem_file(&key)?;
    Ok(
        ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?,
    )
}

fn make(key: &Path, certificate: &Path) -> Result<()> {
    let made = std::process::Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", "/CN=kubelet", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output();
    let made = made.context("cannot start openssl\nhint: install package openssl")?;
    let told = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "openssl req failed: {told}");
    Ok(())
}

async fn serve(stream: TcpStream, acceptor: &TlsAcceptor, run: Run) -> Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await.context("TLS")?);
    let begin = String::from_utf8_lossy(stream.fill_buf().await?).into_owned();
    let path = begin.split(' ').nth(1).unwrap_or_default();
    if let Some(of) = path.strip_prefix("/containerLogs/") {
        return serve_log(stream, of).await;
    }
    let mut uri = Uri::default();
    #[expect(clippy::result_large_err, reason = "as the library has it")]
    let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        uri = request.uri().clone();
        let protocol = HeaderValue::from_static(PROTOCOL);
        response
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, answer).await?;
    let mut exec = asked(&uri)?;
    if let Some(input) = &mut exec.input {
        *input = read(&mut socket).await?;
    }
    let output = spawn_blocking(move || run(&exec)).await??;
    for (channel, bytes) in [
        (STDOUT, output.stdout.clone()),
        (STDERR, output.stderr.clone()),
        (STATUS, status(&output).to_string().into_bytes()),
    ] {
        let message = [&[channel][..], &bytes].concat();
        socket.send(Message::binary(message)).await?;
    }
    socket.close(None).await?;
    Ok(())
}

/// What the container of a pod has said; it holds a secret.
pub fn log(pod: &str) -> String {
    format!("said by the agent of {pod}, password=planted-password\n")
}

/// Answers for `NAMESPACE/POD/CONTAINER?query`: there was no container before this one.
async fn serve_log(mut stream: impl AsyncWrite + Unpin, of: &str) -> Result<()> {
    let pod = of.split('/').nth(1).context("no pod")?;
    let (status, text) = if of.contains("previous=true") {
        let text = format!("previous terminated container in pod {pod} not found");
        ("400 Bad Request", text)
    } else {
        ("200 OK", log(pod))
    };
    let length = text.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all((head + &text).as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

/// What comes for the program until its end is told.
async fn read(
    socket: &mut (impl Stream<Item = tungstenite::Result<Message>> + Unpin),
) -> Result<Vec<u8>> {
    let mut input = Vec::new();
    while let Some(message) = socket.next().await {
        match message?.into_data().as_ref() {
            [STDIN, piece @ ..] => input.extend_from_slice(piece),
            [CLOSE, STDIN] => return Ok(input),
            _ => {}
        }
    }
    bail!("the connection ended before standard input did")
}

/// The pod and the command of `/exec/NAMESPACE/POD/CONTAINER?command=…`.
fn asked(uri: &Uri) -> Result<Exec> {
    let pod = uri.path().split('/').nth(3).context("no pod")?.to_owned();
    let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(uri)?;
    let reads = query
        .iter()
        .any(|(name, value)| name == "input" && value == "1");
    let commands = query.into_iter().filter(|(name, _)| name == "command");
    Ok(Exec {
        pod,
        words: commands.map(|(_, word)| word).collect(),
        input: reads.then(Vec::new),
    })
}

/// As the kubelet says how it ended (`k8s.io/apimachinery`, `metav1.Status`).
fn status(output: &Output) -> Value {
    match output.status.code() {
        Some(0) => json!({ "metadata": {}, "status": "Success" }),
        code => json!({
            "metadata": {},
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "message": "command terminated with non-zero exit code",
            "details": { "causes": [{
                "reason": "ExitCode",
                "message": code.unwrap_or(-1).to_string(),
            }] },
        }),
    }
}
