//! Client of the unix-socket API, for `proxyctl`.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use super::messages::ErrorBody;

/// How long an answer may take; the main loop may be in the middle of a large sync.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("cannot reach the agent on {socket}: {source}")]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The agent took too long.
    #[error("the agent on {socket} did not answer {path} in {PATIENCE:?}")]
    Timeout {
        /// The socket.
        socket: PathBuf,
        /// What was asked.
        path: String,
    },
    /// The agent refused.
    #[error("{method} {path}: {message}")]
    Refused {
        /// Method.
        method: Method,
        /// What was asked.
        path: String,
        /// What the agent says.
        message: String,
    },
    /// The connection broke or the answer makes no sense.
    #[error("{method} {path}: {message}")]
    Broken {
        /// Method.
        method: Method,
        /// What was asked.
        path: String,
        /// What happened.
        message: String,
    },
}

/// A client of one agent.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the agent on this socket. Nothing is opened yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The agent's process, by the kernel's word; none if nobody listens, or it is in a namespace of processes that is not
    /// ours.
    pub async fn peer(&self) -> Option<u32> {
        let stream = UnixStream::connect(&self.socket).await.ok()?;
        let process = stream.peer_cred().ok()?.pid()?;
        u32::try_from(process).ok().filter(|process| *process > 0)
    }

    /// `GET path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    /// `PUT path` with a JSON body.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| broken(&Method::PUT, path, &error))?;
        self.request(Method::PUT, path, body.into()).await
    }

    /// `GET path` of what is not JSON.
    pub async fn text(&self, path: &str) -> Result<Bytes, ClientError> {
        self.answer(Method::GET, path, Bytes::new()).await
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let bytes = self.answer(method.clone(), path, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| broken(&method, path, &error))
    }

    async fn answer(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        match timeout(PATIENCE, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(ClientError::Timeout {
                socket: self.socket.clone(),
                path: path.to_owned(),
            }),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|source| ClientError::Unreachable {
                    socket: self.socket.clone(),
                    source,
                })?;
        let fail = |error: &dyn std::fmt::Display| broken(&method, path, error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| fail(&e))?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header("host", "agent")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|e| fail(&e))?;
        let answer = sender.send_request(request).await.map_err(|e| fail(&e))?;
        let code = answer.status();
        let bytes = answer
            .into_body()
            .collect()
            .await
            .map_err(|e| fail(&e))?
            .to_bytes();
        driver.abort();
        if code.is_success() {
            return Ok(bytes);
        }
        let message = serde_json::from_slice::<ErrorBody>(&bytes).map_or_else(
            |_plain| format!("{code} {}", String::from_utf8_lossy(&bytes)),
            |body| body.error,
        );
        Err(ClientError::Refused {
            method,
            path: path.to_owned(),
            message,
        })
    }
}

fn broken(method: &Method, path: &str, error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Broken {
        method: method.clone(),
        path: path.to_owned(),
        message: error.to_string(),
    }
}
