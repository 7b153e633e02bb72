//! Load on a path: what the benches send and count. Client and server run as processes of their own.
