//! ADDs that wait for their pod's policy.

use cni_plugin::rpc::{Key, Refusal, Reply, Response};
use tokio::{sync::oneshot, time::Instant};

/// An ADD that is not answered yet.
#[derive(Debug)]
pub struct Waiting {
    /// Whose.
    pub key: Key,
    /// Its endpoint.
    pub endpoint: u32,
    /// Pod, for the error.
    pub pod: String,
    /// When to give up.
    pub until: Instant,
    /// The API server says that there is no such pod, or cannot say.
    pub hopeless: Option<String>,
    /// Takes the answer.
    pub reply: oneshot::Sender<Response>,
}

/// What becomes of a waiting ADD.
enum Verdict {
    Wait,
    Ready,
    GiveUp(String),
}

impl Waiting {
    fn verdict(&self, now: Instant, ready: bool) -> Verdict {
        if ready {
            return Verdict::Ready;
        }
        if let Some(why) = &self.hopeless {
            return Verdict::GiveUp(why.clone());
        }
        if now >= self.until {
            return Verdict::GiveUp("its pod or policies have not arrived in time".into());
        }
        Verdict::Wait
    }

    fn answer(self, response: Response) {
        // Killed meanwhile: DEL follows.
        drop(self.reply.send(response));
    }
}

/// Answers those that are done, keeps the others.
pub fn settle(waiting: &mut Vec<Waiting>, now: Instant, ready: impl Fn(u32) -> bool) {
    for add in std::mem::take(waiting) {
        match add.verdict(now, ready(add.endpoint)) {
            Verdict::Wait => waiting.push(add),
            Verdict::Ready => {
                let endpoint = add.endpoint;
                add.answer(Response::Ok(Reply { endpoint }));
            }
            Verdict::GiveUp(why) => {
                let refusal = Refusal {
                    code: 11,
                    msg: format!("policy of pod {} is not in force", add.pod),
                    details: why,
                };
                add.answer(Response::Error(refusal));
            }
        }
    }
}
