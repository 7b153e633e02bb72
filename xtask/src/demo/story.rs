//! How the demo speaks: headings, what is done, what a program printed.

use crate::say;

/// Begins a step.
pub(super) fn step(title: &str) {
    say::data(format!("\n== {title} =="));
}

/// Tells.
pub(super) fn tell(text: impl AsRef<str>) {
    say::data(text);
}

/// Shows text that somebody else wrote, set off from ours.
pub(super) fn show(text: &str) {
    for line in text.trim_end().lines() {
        say::data(format!("    {line}"));
    }
}

/// Shows a command and what it printed.
pub(super) fn ran(command: &str, output: &str) {
    say::data(format!("  $ {command}"));
    show(output);
}
