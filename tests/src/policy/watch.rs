//! Watches a sync write by write: whatever a packet sees, and however far it got before, must be the verdict
//! of before the sync or of after it.

use std::sync::{Arc, Mutex};

use proxy_agent::policy::{
    PolicyEngine, PolicyError, PolicyReport,
    lookup::{Question, find, judge_by, judge_peer},
    view::PolicyView as _,
};
use proxy_common::policy::{
    cells::ROW_STRIDE,
    peers::Peer,
    words::{PolicyWord, ROW_FIRST},
};

use super::{
    cluster::Cluster,
    maps::{Contents, PolicyMaps},
    questions,
};

/// A packet in flight: what it had read when the sync began, and the verdicts it may get.
struct Flight {
    question: Question,
    word: u64,
    peer: Option<Peer>,
    before: bool,
    after: bool,
}

/// Syncs to `now` under watch; `before` is what the maps were in step with. Gives what the sync gave and the
/// mistakes seen.
pub fn watched_sync(
    engine: &mut PolicyEngine,
    maps: &PolicyMaps,
    before: &Cluster,
    now: &Cluster,
    sync: impl FnOnce(&mut PolicyEngine) -> Result<PolicyReport, PolicyError>,
) -> (Result<PolicyReport, PolicyError>, Vec<String>) {
    let flights = flights(&maps.contents(), before, now);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mistakes = Arc::clone(&seen);
    maps.watch(Some(Box::new(move |contents, cell| {
        if cell.is_none_or(|index| is_in_force(contents, &flights, index)) {
            mistakes.lock().unwrap().extend(wrong(contents, &flights));
        }
    })));
    let result = sync(engine);
    maps.watch(None);
    let seen = seen.lock().unwrap().clone();
    (result, seen)
}

fn flights(contents: &Contents, before: &Cluster, now: &Cluster) -> Vec<Flight> {
    let stays = |q: &Question| {
        let pod = |c: &Cluster| {
            c.endpoints
                .iter()
                .find(|e| e.id == q.endpoint)
                .map(|e| e.pod.clone())
        };
        pod(before).is_some() && pod(before) == pod(now)
    };
    let mut all = questions::all(before);
    all.extend(questions::all(now));
    all.retain(stays);
    all.into_iter()
        .map(|question| {
            let word = contents.word(question.endpoint);
            let side = PolicyWord::unpack(word).side;
            Flight {
                question,
                word,
                peer: find(contents, side, question.peer).unwrap().0,
                before: questions::expected(before, &question),
                after: questions::expected(now, &question),
            }
        })
        .collect()
}

/// Whether a cell lies in a row that some word names, or named when the sync began.
fn is_in_force(contents: &Contents, flights: &[Flight], index: u32) -> bool {
    let words = contents
        .words
        .iter()
        .copied()
        .chain(flights.iter().map(|f| f.word));
    let rows = words.flat_map(|word| {
        let word = PolicyWord::unpack(word);
        [word.ingress_row, word.egress_row]
    });
    rows.filter(|row| *row >= ROW_FIRST).any(|row| {
        let first = row * ROW_STRIDE;
        let classes = contents.cell(first) as u32;
        (first..=first + classes).contains(&index)
    })
}

fn wrong(contents: &Contents, flights: &[Flight]) -> Vec<String> {
    let mut mistakes = Vec::new();
    for flight in flights {
        let question = &flight.question;
        let word = PolicyWord::unpack(flight.word);
        let answers = [
            judge_by(contents, contents.word(question.endpoint), question).unwrap(),
            judge_by(contents, flight.word, question).unwrap(),
            judge_peer(contents, word, flight.peer, None, question).unwrap(),
        ];
        for (stage, answer) in answers.iter().enumerate() {
            if answer.allowed != flight.before && answer.allowed != flight.after {
                mistakes.push(format!("stage {stage}: {question:?} {answer:?}"));
            }
        }
    }
    mistakes
}
