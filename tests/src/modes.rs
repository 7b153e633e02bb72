//! How an agent is told to balance and forward.

/// Flags of the agent.
pub type Mode = &'static [&'static str];

/// Makes each topic, a `fn(Mode)`, a test once per mode: at the socket, packet by packet, and through the host's stack.
#[macro_export]
macro_rules! in_every_mode {
    ($($topic:ident),* $(,)?) => {
        mod socket { $(#[test] fn $topic() { super::$topic(&[]); })* }
        mod packet { $(#[test] fn $topic() { super::$topic(&["--socket-balancing", "false"]); })* }
        mod stack { $(#[test] fn $topic() {
            super::$topic(&["--socket-balancing", "false", "--forwarding", "stack"]);
        })* }
    };
}
