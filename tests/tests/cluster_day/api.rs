//! Writes to the API server, and what it makes of them.

use std::fmt;

use anyhow::{Context as _, Result};
use http::{Method, Request};
use kube::{Client, core::Status};
use serde_json::{Value, json};

/// Kinds that the agent watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Service,
    Slice,
    Pod,
    Policy,
    Namespace,
    Node,
}

/// Names an object; no namespace for those that have none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What is done to an object.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Create(Id, Value),
    Replace(Id, Value),
    /// Its status alone.
    Status(Id, Value),
    /// With so many seconds of grace.
    Delete(Id, u32),
}

impl Kind {
    fn api(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Service => ("v1", "Service", "services"),
            Self::Slice => ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
            Self::Pod => ("v1", "Pod", "pods"),
            Self::Policy => ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            Self::Namespace => ("v1", "Namespace", "namespaces"),
            Self::Node => ("v1", "Node", "nodes"),
        }
    }
}

impl Id {
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    fn collection(&self) -> String {
        let (version, _, plural) = self.kind.api();
        let root = if version == "v1" { "/api" } else { "/apis" };
        if self.namespace.is_empty() {
            format!("{root}/{version}/{plural}")
        } else {
            format!("{root}/{version}/namespaces/{}/{plural}", self.namespace)
        }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    /// The object with its type and name.
    fn named(&self, object: &Value) -> Value {
        let (version, kind, _) = self.kind.api();
        let mut object = object.clone();
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object["metadata"]["name"] = json!(self.name);
        if !self.namespace.is_empty() {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        // Whatever there is is replaced.
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
            metadata.remove("managedFields");
            metadata.remove("creationTimestamp");
        }
        object
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl Write {
    pub(crate) const fn id(&self) -> &Id {
        match self {
            Self::Create(id, _)
            | Self::Replace(id, _)
            | Self::Status(id, _)
            | Self::Delete(id, _) => id,
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(id, object) => write!(f, "create {id} {object}"),
            Self::Replace(id, object) => write!(f, "replace {id} {object}"),
            Self::Status(id, object) => write!(f, "status of {id} {}", object["status"]),
            Self::Delete(id, grace) => write!(f, "delete {id} in {grace} s"),
        }
    }
}

/// The object as it is now; none if it is gone.
pub(crate) async fn get(client: &Client, id: &Id) -> Result<Option<Value>> {
    request(client, Method::GET, id.path(), &Value::Null)
        .await
        .with_context(|| format!("get {id}"))
        .map(Result::ok)
}

/// Carries a write out; false if the API server does not accept it.
pub(crate) async fn write(client: &Client, write: &Write) -> Result<bool> {
    let id = write.id();
    let (method, path, body) = match write {
        Write::Create(_, object) => (Method::POST, id.collection(), id.named(object)),
        Write::Replace(_, object) => (Method::PUT, id.path(), id.named(object)),
        Write::Status(_, object) => (Method::PUT, id.path() + "/status", id.named(object)),
        Write::Delete(_, grace) => {
            let options = json!({ "gracePeriodSeconds": grace });
            (Method::DELETE, id.path(), options)
        }
    };
    let answer = request(client, method, path, &body).await;
    Ok(answer.with_context(|| write.to_string())?.is_ok())
}

/// The answer, or what the API server has against the request.
async fn request(
    client: &Client,
    method: Method,
    path: String,
    body: &Value,
) -> Result<Result<Value, String>> {
    let body = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body)?
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body)?;
    match client.request::<Value>(request).await {
        Ok(answer) => Ok(Ok(answer)),
        Err(kube::Error::Api(status)) if is_refusal(&status) => Ok(Err(status.message)),
        Err(error) => Err(error.into()),
    }
}

/// Not a failure of the API server.
fn is_refusal(status: &Status) -> bool {
    // The only refusal that it takes for a failure of its own.
    status.code < 500 || status.message.contains("duplicate nodePort")
}
