//! ADDs that wait for their pod's policy and `hostPort`s.

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

/// What an ADD waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The pod or its policies have not arrived.
    Policy,
    /// The `hostPort`s are not in the maps, and why.
    HostPorts(String),
    /// The limits of bandwidth are not in force, and why.
    Limits(String),
    /// What the Pod asks for makes no sense, and why not.
    Sense(String),
}

impl Missing {
    fn refusal(self, pod: &str) -> Refusal {
        let (msg, details) = match self {
            Self::Policy => (
                format!("policy of pod {pod} is not in force"),
                "its pod or policies have not arrived in time".to_owned(),
            ),
            Self::HostPorts(why) => (format!("hostPorts of pod {pod} are not in force"), why),
            Self::Limits(why) => (
                format!("limits of bandwidth of pod {pod} are not in force"),
                why,
            ),
            Self::Sense(why) => {
                return Refusal {
                    code: 7,
                    msg: format!("annotations of pod {pod} make no sense"),
                    details: why,
                };
            }
        };
        Refusal {
            code: 11,
            msg,
            details,
        }
    }
}

/// What becomes of a waiting ADD.
enum Verdict {
    Wait,
    Ready,
    GiveUp(Refusal),
}

impl Waiting {
    fn verdict(&self, now: Instant, ready: Result<(), Missing>) -> Verdict {
        let Err(missing) = ready else {
            return Verdict::Ready;
        };
        let hopeless = self.hopeless.as_ref();
        let hopeless = hopeless.filter(|_| missing == Missing::Policy);
        let waits = !matches!(missing, Missing::Sense(_));
        if waits && hopeless.is_none() && now < self.until {
            return Verdict::Wait;
        }
        let refusal = missing.refusal(&self.pod);
        Verdict::GiveUp(Refusal {
            details: hopeless.cloned().unwrap_or(refusal.details),
            ..refusal
        })
    }

    fn answer(self, response: Response) {
        // Killed meanwhile: DEL follows.
        drop(self.reply.send(response));
    }
}

/// Answers those that are done, keeps the others. Gives whose pods may start.
pub fn settle(
    waiting: &mut Vec<Waiting>,
    now: Instant,
    ready: impl Fn(u32, &str) -> Result<(), Missing>,
    reply: impl Fn(&Waiting) -> Reply,
) -> Vec<Key> {
    let mut begun = Vec::new();
    for add in std::mem::take(waiting) {
        let endpoint = add.endpoint;
        match add.verdict(now, ready(endpoint, &add.pod)) {
            Verdict::Wait => waiting.push(add),
            Verdict::Ready => {
                begun.push(add.key.clone());
                let reply = reply(&add);
                add.answer(Response::Ok(reply));
            }
            Verdict::GiveUp(refusal) => add.answer(Response::Error(refusal)),
        }
    }
    begun
}
