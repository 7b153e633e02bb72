//! Counts what the plugin asks and how it is answered.

use std::sync::Arc;

use cni_plugin::rpc::{Call, Response};
use tokio::sync::oneshot;

use crate::{
    api::{Shared, metrics::CniRequest},
    pod::{Event, server::Asked},
};

/// Puts itself between a question and its answer.
pub fn count(shared: &Arc<Shared>, event: Event) -> Event {
    let Event::Asked(Asked { call, reply }) = event else {
        return event;
    };
    let verb = match &call {
        Call::Add(_) => "ADD",
        Call::Del(_) => "DEL",
        Call::Check(_) => "CHECK",
    };
    let shared = Arc::clone(shared);
    let (between, answer) = oneshot::channel::<Response>();
    tokio::spawn(async move {
        // Without an answer the agent is stopping: the plugin sees its end of the channel close.
        let Ok(response) = answer.await else { return };
        let code = match &response {
            Response::Ok(_) => 0,
            Response::Error(refusal) => refusal.code,
        };
        let labels = CniRequest::new(verb, code.to_string());
        shared.metrics.cni_requests.get_or_create(&labels).inc();
        drop(reply.send(response));
    });
    Event::Asked(Asked {
        call,
        reply: between,
    })
}
