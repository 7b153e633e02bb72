//! Floods: one packet each of more clients than anybody has, as fast as the machine sends them.

mod forge;
mod responder;
mod sender;

pub use forge::Forge;
pub use responder::Responder;
pub use sender::{Flood, Sent};
