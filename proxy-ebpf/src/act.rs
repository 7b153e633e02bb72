//! What is done with a packet: a known flow is followed, a new one judged and begun, and the packet sent on its way.

pub mod begin;
pub mod course;
pub mod draft;
pub mod follow;
pub mod forward;
pub mod host;
pub mod judge;
pub mod length;
pub mod masquerade;
pub mod own_socket;
pub mod pace;
pub mod port;
pub mod refuse;
pub mod relay;
pub mod relay_through;
pub mod review;
pub mod through;
pub mod tunnel;
