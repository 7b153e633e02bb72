//! What the agent does to the node's own network: routes to the peers, and settings of the kernel.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod node {
    mod routes;
    mod sysctls;
}
