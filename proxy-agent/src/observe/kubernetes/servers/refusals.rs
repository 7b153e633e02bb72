//! What the API server refuses beside lists and watches, for as long as it does.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What was refused so long ago is wanted no more: it would have been asked for again.
const STALE: Duration = Duration::from_mins(5);

/// By what was asked for, without the object: what is refused for one is for all, and who asks again may begin with another.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<String, (String, Instant)>>);

impl Refusals {
    /// Takes note of how a request was answered, `why` it was refused if it was; true if that is news.
    pub(super) fn note(&self, what: &str, why: Option<&str>) -> bool {
        let mut all = self.lock();
        let act = act(what);
        match why {
            None => all.remove(act).is_some(),
            Some(why) => {
                let text = format!("the API server refuses to {what}: {why}");
                let was = all.insert(act.to_owned(), (text, Instant::now()));
                was.is_none()
            }
        }
    }

    /// All that is refused, in words.
    pub(super) fn told(&self) -> Vec<String> {
        let mut all = self.lock();
        all.retain(|_, (_, at)| at.elapsed() < STALE);
        all.values().map(|(text, _)| text.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (String, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `write an Event of Pod shop/web`: what is done, without the object.
fn act(what: &str) -> &str {
    what.split_once(" of ").map_or(what, |(act, _)| act)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_told_until_it_is_done_or_nobody_asks_any_more() {
        let refusals = Refusals::default();
        assert!(!refusals.note("write an Event of Pod a/b", None), "as ever");
        assert!(refusals.note("write an Event of Pod a/b", Some("forbidden")));
        assert!(!refusals.note("write an Event of Node n", Some("forbidden")));
        assert!(refusals.note("write a condition of Node n", Some("forbidden")));
        assert_eq!(
            refusals.told(),
            [
                "the API server refuses to write a condition of Node n: forbidden",
                "the API server refuses to write an Event of Node n: forbidden",
            ]
        );
        assert!(refusals.note("write an Event of Pod c/d", None));
        assert_eq!(refusals.told().len(), 1);
        tokio::time::advance(STALE).await;
        assert_eq!(refusals.told(), [""; 0]);
    }
}
