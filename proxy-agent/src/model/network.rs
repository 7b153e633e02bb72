//! What a Node says of its network.

/// A Node's condition `NetworkUnavailable`. While it is True no pods are scheduled there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkUnavailable {
    /// True, not False.
    pub is_true: bool,
    /// Why, in one word.
    pub reason: String,
    /// Why.
    pub message: String,
}

impl NetworkUnavailable {
    /// The reason of an agent that has opened its node to pods.
    pub const UP: &str = "WeirIsUp";
    /// The reason of `proxy-agent cleanup`.
    pub const GONE: &str = "WeirIsGone";
    /// The reason of an agent while another plugin comes first.
    pub const RIVAL: &str = "WeirIsNotFirst";
    /// The reason of an agent that does not give pods a network.
    pub const CLOSED: &str = "WeirIsClosed";

    /// Pods have a network.
    pub fn no() -> Self {
        Self {
            is_true: false,
            reason: Self::UP.to_owned(),
            message: "Weir is running on this node".to_owned(),
        }
    }

    /// New pods have none, for a reason.
    pub fn yes(reason: &str, message: impl Into<String>) -> Self {
        Self {
            is_true: true,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// Whether Weir has said it.
    pub fn is_ours(&self) -> bool {
        [Self::UP, Self::GONE, Self::RIVAL, Self::CLOSED].contains(&self.reason.as_str())
    }
}
