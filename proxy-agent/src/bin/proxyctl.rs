//! proxyctl.
fn main() {}
