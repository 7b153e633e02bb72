//! One unary gRPC call over a unix socket: HTTP/2 with a five-byte prefix before each message.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use prost::{Message, bytes::Bytes};
use tokio::net::UnixStream;

/// Calls a method and decodes its answer. Blocks.
pub(super) fn call<Q: Message, A: Message + Default>(
    socket: &Path,
    method: &str,
    question: &Q,
) -> Result<A> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(exchange(socket, method, question))
        .with_context(|| method.to_owned())
}

async fn exchange<Q: Message, A: Message + Default>(
    socket: &Path,
    method: &str,
    question: &Q,
) -> Result<A> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("connect to {}", socket.display()))?;
    let (mut client, connection) = h2::client::handshake(stream).await?;
    // Ends when the client is dropped.
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://localhost/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, mut body) = client.send_request(request, false)?;
    body.send_data(frame(question), true)?;
    let response = response.await?;
    check(response.headers())?;
    let mut stream = response.into_body();
    let mut answer = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        answer.extend_from_slice(&chunk);
    }
    if let Some(trailers) = stream.trailers().await? {
        check(&trailers)?;
    }
    ensure!(answer.len() >= 5, "the answer has no message");
    Ok(A::decode(&answer[5..])?)
}

fn frame(message: &impl Message) -> Bytes {
    let body = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    frame.into()
}

fn check(headers: &http::HeaderMap) -> Result<()> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    match text("grpc-status") {
        Some(status) if status != "0" => {
            bail!(
                "status {status}: {}",
                text("grpc-message").unwrap_or_default()
            )
        }
        _ => Ok(()),
    }
}
