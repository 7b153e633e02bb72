//! Words for people, on stderr. `eprintln!` would panic when the runtime has closed it.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Writes one line.
pub fn say(text: impl Display) {
    // Nobody listens: there is no one to tell.
    drop(writeln!(io::stderr(), "weir: {text}"));
}
