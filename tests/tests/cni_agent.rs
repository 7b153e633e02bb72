//! The plugin and a real agent: pods as the kubelet makes them, and what an agent does for the plugin.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cni_agent {
    mod interfaces;
    mod records;
    mod static_pod;
    mod tuned;
    mod upkeep;
}
