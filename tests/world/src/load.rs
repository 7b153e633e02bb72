//! Load on a path, and what it cost: connections, round trips, bytes.
//!
//! A client and a server, each a process of its own in the pod that it stands for; xtask runs itself under
//! hidden verbs for that. One TCP port serves all three kinds: the first byte of a connection tells which.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts of one run are far below 2^52, and none is negative"
)]

mod client;
mod cpu;
mod histogram;
mod one_cpu;
mod server;

pub use client::{Kind, Report, Request, run};
pub use cpu::{busy, of_process};
pub use one_cpu::stay_on_one_cpu;
pub use server::serve;
