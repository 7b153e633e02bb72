//! `VIPS4`, `VIPS6` (HASH address → `VIP_*` bits, `u32`): addresses that Services have, whatever the port. Asked only
//! where no frontend was found.

/// A cluster IP: the whole address is its Service's, and a port that it has not is refused. What no Service of the ranges of
/// cluster IPs has is dropped.
pub const VIP_CLUSTER_IP: u32 = 1 << 0;
/// Somebody serves at one of its ports.
pub const VIP_SERVED: u32 = 1 << 1;
