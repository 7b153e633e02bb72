//! Talking to the person at the terminal: data on stdout, talk on stderr, a live line for long steps.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// Prints a line of talk.
#[expect(clippy::print_stderr, reason = "the one place that talks")]
pub(crate) fn line(text: impl AsRef<str>) {
    eprintln!("{}", text.as_ref());
}

/// Prints a line of data.
#[expect(clippy::print_stdout, reason = "the one place that prints data")]
pub(crate) fn data(text: impl AsRef<str>) {
    println!("{}", text.as_ref());
}

/// Prints an error with its causes; a cause that starts with `hint:` gets a line of its own.
pub(crate) fn error(error: &anyhow::Error) {
    let (hints, causes): (Vec<String>, Vec<String>) = error
        .chain()
        .map(ToString::to_string)
        .partition(|cause| cause.starts_with("hint:"));
    line(format!("error: {}", causes.join(": ")));
    for hint in hints {
        line(hint);
    }
}

/// Does a long step: a live line with the time on a terminal, otherwise a line before and one after.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let bar = live_line(what);
    if bar.is_none() {
        line(format!("{what} ..."));
    }
    let done = work();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let verdict = if done.is_ok() {
        "done in"
    } else {
        "FAILED after"
    };
    line(format!("{what}: {verdict} {}", span(started.elapsed())));
    done
}

fn live_line(what: &str) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    Some(bar)
}

/// A span of time as people say it: `0.4 s`, `38 s`, `3 min 20 s`.
pub(crate) fn span(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rounded_to_what_matters() {
        assert_eq!(span(Duration::from_millis(440)), "0.4 s");
        assert_eq!(span(Duration::from_secs(38)), "38 s");
        assert_eq!(span(Duration::from_secs(200)), "3 min 20 s");
    }
}
