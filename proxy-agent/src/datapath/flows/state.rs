//! The state of a flow, in a word.

use std::fmt;

use proxy_common::{
    address::TCP,
    conntrack::{
        FLOW_ASSURED, FLOW_ENDED, FLOW_FIN_0, FLOW_FIN_1, FLOW_REPLIED, FLOW_RST_0, FLOW_RST_1,
        Flow, Head,
    },
};

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowState {
    /// Not answered.
    New,
    /// Answered, but its beginner has not spoken again.
    HalfOpen,
    /// Both have spoken.
    Established,
    /// TCP: one side has closed.
    Closing,
    /// TCP: both sides have, and know it of each other.
    Closed,
    /// TCP: one side has broken it off.
    Reset,
    /// It is over: the slot is free.
    Expired,
}

impl FlowState {
    /// In the order of a flow's life.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::HalfOpen,
        Self::Established,
        Self::Closing,
        Self::Closed,
        Self::Reset,
        Self::Expired,
    ];

    /// Of a flow, `now` seconds after boot.
    pub fn of<A>(flow: &Flow<A>, now: u32) -> Self {
        Self::of_parts(Head::unpack(flow.head), flow.expires, now)
    }

    /// Of a flow with this head that lives until `expires`.
    pub fn of_parts(head: Head, expires: u32, now: u32) -> Self {
        let has = |flag: u16| head.flags & flag != 0;
        if expires < now || has(FLOW_ENDED) {
            return Self::Expired;
        }
        if head.protocol == TCP {
            if has(FLOW_RST_0 | FLOW_RST_1) {
                return Self::Reset;
            }
            if head.is_closed() {
                return Self::Closed;
            }
            if has(FLOW_FIN_0 | FLOW_FIN_1) {
                return Self::Closing;
            }
        }
        if has(FLOW_ASSURED) {
            Self::Established
        } else if has(FLOW_REPLIED) {
            Self::HalfOpen
        } else {
            Self::New
        }
    }

    /// Whether one side may still speak.
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Closed | Self::Reset | Self::Expired)
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::HalfOpen => "half-open",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for FlowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
