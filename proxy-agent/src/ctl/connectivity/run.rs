//! Runs tests: asks again until what comes is what was wanted, or time is up.

use futures::{StreamExt as _, stream};
use tokio::time::{Duration, Instant, sleep};

use super::plan::{Case, Wanted};
use crate::ctl::{CtlError, probe::Outcome};

/// So many tests run at once.
const AT_ONCE: usize = 8;
/// Between two times of asking.
const PAUSE: Duration = Duration::from_millis(500);

/// What the tests run on.
pub(super) trait Ground {
    /// Has the one side ask the other.
    async fn ask(&self, case: &Case) -> Result<Outcome, CtlError>;
    /// The address of who asks, as the other side should see it.
    fn own_address(&self, case: &Case) -> Option<std::net::IpAddr>;
}

/// What came of a test.
#[derive(Clone, Debug)]
pub(super) struct Done {
    /// The test.
    pub(super) case: Case,
    /// Why it failed, if it did.
    pub(super) failure: Option<String>,
    /// How long it took.
    pub(super) took: Duration,
}

/// Runs tests in their order, several at once; those that want silence after all others have ended.
pub(super) async fn run(
    ground: &impl Ground,
    cases: Vec<Case>,
    patience: Duration,
    mut tell: impl FnMut(&Done),
) -> Vec<Done> {
    let (silent, others): (Vec<Case>, Vec<Case>) = cases
        .into_iter()
        .partition(|case| case.wanted == Wanted::Silence);
    let mut all = Vec::new();
    for part in [others, silent] {
        let tests = stream::iter(part).map(|case| one(ground, case, patience));
        let mut done = tests.buffered(AT_ONCE);
        while let Some(done) = done.next().await {
            tell(&done);
            all.push(done);
        }
    }
    all
}

async fn one(ground: &impl Ground, case: Case, patience: Duration) -> Done {
    let began = Instant::now();
    loop {
        let failure = match ground.ask(&case).await {
            Ok(outcome) => wrong(&case, &outcome, ground.own_address(&case)),
            Err(error) => Some(error.message),
        };
        let took = began.elapsed();
        if failure.is_none() || took >= patience {
            return Done {
                case,
                failure,
                took,
            };
        }
        sleep(PAUSE).await;
    }
}

/// What is wrong with what came.
fn wrong(case: &Case, came: &Outcome, own: Option<std::net::IpAddr>) -> Option<String> {
    let answer = match (came, case.wanted) {
        (Outcome::Silent, Wanted::Silence)
        | (Outcome::Answered { .. }, Wanted::Answer { by: None, .. }) => return None,
        (Outcome::Answered { answer }, _) => answer,
        (Outcome::Silent, _) => return Some("no answer".to_owned()),
        (Outcome::Refused, _) => return Some("refused".to_owned()),
        (Outcome::Failed { error }, _) => return Some(error.clone()),
    };
    let Some(answer) = answer else {
        return Some("answered by a stranger".to_owned());
    };
    let Wanted::Answer { by, as_itself } = case.wanted else {
        return Some(format!(
            "answered by {}, which should be out of reach",
            answer.name
        ));
    };
    let by = by.map(|by| by.to_string()).unwrap_or_default();
    if answer.name != by {
        return Some(format!("answered by {} instead of {by}", answer.name));
    }
    let seen = answer.client.ip();
    own.filter(|own| as_itself && *own != seen)
        .map(|own| format!("{by} saw {seen} instead of the client's own address {own}"))
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::time::Duration;

    use super::{Ground, Outcome, run};
    use crate::ctl::{
        CtlError, Exit,
        connectivity::{
            plan::{Case, From, Member, Role, To, Wanted},
            topology::Family,
        },
        probe::Answer,
    };

    const ITSELF: &str = "10.0.0.1";

    /// Answers as it is told, after so many errors.
    struct Told {
        outcome: Outcome,
        errors: AtomicUsize,
    }

    impl Ground for Told {
        async fn ask(&self, _: &Case) -> Result<Outcome, CtlError> {
            let left = self.errors.load(Ordering::Relaxed);
            if left > 0 {
                self.errors.store(left - 1, Ordering::Relaxed);
                return Err(CtlError::new(Exit::Failed, "no pod yet", ""));
            }
            Ok(self.outcome.clone())
        }

        fn own_address(&self, _: &Case) -> Option<IpAddr> {
            ITSELF.parse().ok()
        }
    }

    async fn failure(outcome: Outcome, errors: usize, wanted: Wanted) -> Option<String> {
        let errors = AtomicUsize::new(errors);
        let case = Case {
            name: "it".to_owned(),
            from: From::Pod(Member(Role::Client, 0)),
            to: To::Pod(Member(Role::Server, 1)),
            family: Family::Ipv4,
            udp: false,
            wanted,
        };
        let ground = Told { outcome, errors };
        let patience = Duration::from_secs(2);
        let mut told = 0;
        let mut done = run(&ground, vec![case], patience, |_| told += 1).await;
        assert_eq!((done.len(), told), (1, 1));
        done.remove(0).failure
    }

    fn answer(name: &str, client: &str) -> Outcome {
        Outcome::Answered {
            answer: Some(Answer {
                name: name.to_owned(),
                client: (client.parse::<IpAddr>().unwrap(), 1).into(),
            }),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_is_compared_with_what_was_wanted() {
        let server = Member(Role::Server, 1);
        let wanted = |by, as_itself| Wanted::Answer { by, as_itself };
        let (itself, other) = (wanted(Some(server), true), wanted(Some(server), false));
        let anybody = wanted(None, false);
        let failed = || Outcome::Failed {
            error: "why".to_owned(),
        };
        let table = [
            (answer("server-1", ITSELF), itself, None),
            (answer("server-1", "10.9.9.9"), other, None),
            (
                answer("server-1", "10.9.9.9"),
                itself,
                Some("server-1 saw 10.9.9.9 instead of the client's own address 10.0.0.1"),
            ),
            (
                answer("server-0", ITSELF),
                other,
                Some("answered by server-0 instead of server-1"),
            ),
            (
                Outcome::Answered { answer: None },
                itself,
                Some("answered by a stranger"),
            ),
            (Outcome::Answered { answer: None }, anybody, None),
            (Outcome::Silent, anybody, Some("no answer")),
            (Outcome::Silent, Wanted::Silence, None),
            (
                answer("server-1", ITSELF),
                Wanted::Silence,
                Some("answered by server-1, which should be out of reach"),
            ),
            // Denied is not refused: nobody may be there at all.
            (Outcome::Refused, Wanted::Silence, Some("refused")),
            (failed(), Wanted::Silence, Some("why")),
            (failed(), itself, Some("why")),
        ];
        for (outcome, wanted, said) in table {
            let what = format!("{outcome:?} {wanted:?}");
            assert_eq!(failure(outcome, 0, wanted).await.as_deref(), said, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_again_until_time_is_up() {
        assert_eq!(failure(Outcome::Silent, 3, Wanted::Silence).await, None);
        let late = failure(Outcome::Silent, 9, Wanted::Silence).await;
        assert_eq!(late.as_deref(), Some("no pod yet"));
    }
}
