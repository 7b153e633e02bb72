//! Limits of bandwidth that a Pod's annotations ask for.

/// What one annotation asks for: bits per second, or why it makes no sense.
pub type Asked = Option<Result<u64, String>>;

/// What both ask for (`kubernetes.io/ingress-bandwidth`, `kubernetes.io/egress-bandwidth`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedLimits {
    /// Towards the pod.
    pub ingress: Asked,
    /// From the pod.
    pub egress: Asked,
}
