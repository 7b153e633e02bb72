//! The big steps as global functions, one per family.
//!
//! The verifier checks each of them once and by itself, instead of anew at every call and in every state of
//! the caller. They take pointers and numbers and return a [`Verdict`]; [`Wire`] gives them back their types.

use aya_ebpf::bindings::__sk_buff;
use proxy_common::conntrack::{Flow4, Flow6};
use proxy_common::counters::INVALID_PACKET;
use proxy_common::endpoints::Endpoint;

use super::packet::Packet;
use super::parse::IcmpTypes;
use super::policy::Question;
use super::skb::Skb;
use super::verdict::{Verdict, dropped};
use super::{allocate, begin, deliver, flow, own, policy, reject, rewrite, route, service};
use crate::maps::{Family, V4, V6};

/// Declares the functions on a packet: name, further arguments (numbers), and for each its implementation.
macro_rules! packet_functions {
    ($($(#[$doc:meta])* $name:ident($($argument:ident),*) = $body:path;)+) => {
        /// A family with its global functions.
        pub trait Wire: Family + IcmpTypes {
            $($(#[$doc])* fn $name(skb: Skb, packet: &mut Packet<Self>, $($argument: u32),*) -> Verdict;)+
            /// See [`own`].
            fn own(endpoint: &Endpoint, packet: &Packet<Self>) -> Verdict;
            /// See [`policy::judge`].
            fn judge(question: &mut Question<Self>) -> Verdict;
            /// See [`policy::again`].
            fn again(
                packet: &Packet<Self>,
                entry: *mut Self::Flow,
                endpoint: u32,
                from_local: bool,
            ) -> Verdict;
            /// See [`flow::refresh`].
            fn refresh(packet: &Packet<Self>, entry: *mut Self::Flow, scope: u32, promote: bool);
            /// See [`flow::forget`].
            fn forget(packet: &Packet<Self>, entry: *mut Self::Flow, scope: u32);
        }

        wire! {
            (V4, v4, Flow4) { $($name($($argument),*) = $body;)+ }
        }
        wire! {
            (V6, v6, Flow6) { $($name($($argument),*) = $body;)+ }
        }
    };
}

/// A pointer that a global function got, which the verifier wants compared with null; or return.
macro_rules! given {
    ($($pointer:ident),+ else $otherwise:expr) => {$(
        // SAFETY: the verifier knows the size; callers pass live, exclusive values.
        let Some($pointer) = (unsafe { $pointer.as_mut() }) else {
            return $otherwise;
        };
    )+};
}

macro_rules! wire {
    (
        ($family:ident, $module:ident, $flow:ty)
        { $($name:ident($($argument:ident),*) = $body:path;)+ }
    ) => {
        mod $module {
            use super::*;

            const INVALID: Verdict = dropped(INVALID_PACKET);

            $(
                #[unsafe(export_name = concat!(stringify!($name), "_", stringify!($module)))]
                pub(super) extern "C" fn $name(
                    skb: *mut __sk_buff,
                    packet: *mut Packet<$family>,
                    $($argument: u32),*
                ) -> Verdict {
                    given!(packet else INVALID);
                    // One volatile load: LLVM passes no context to a function that does not use it.
                    let _ = Skb::new(skb).length();
                    $body(Skb::new(skb), packet, $($argument),*)
                }
            )+

            #[unsafe(export_name = concat!("judge_", stringify!($module)))]
            pub(super) extern "C" fn judge(question: *mut Question<$family>) -> Verdict {
                given!(question else INVALID);
                policy::judge(question)
            }

            #[unsafe(export_name = concat!("again_", stringify!($module)))]
            pub(super) extern "C" fn again(
                packet: *mut Packet<$family>,
                entry: *mut $flow,
                endpoint: u32,
                from_local: u32,
            ) -> Verdict {
                given!(packet, entry else INVALID);
                policy::again(packet, entry, endpoint, from_local != 0)
            }

            #[unsafe(export_name = concat!("refresh_", stringify!($module)))]
            pub(super) extern "C" fn refresh(
                packet: *mut Packet<$family>,
                entry: *mut $flow,
                scope: u32,
                promote: u32,
            ) -> Verdict {
                given!(packet, entry else 0);
                flow::refresh::<$family>(packet, entry, scope, promote != 0);
                0
            }

            #[unsafe(export_name = concat!("forget_", stringify!($module)))]
            pub(super) extern "C" fn forget(
                packet: *mut Packet<$family>,
                entry: *mut $flow,
                scope: u32,
            ) -> Verdict {
                given!(packet, entry else 0);
                flow::forget::<$family>(packet, entry, scope);
                0
            }
        }

        impl Wire for $family {
            $(
                #[inline(always)]
                fn $name(skb: Skb, packet: &mut Packet<Self>, $($argument: u32),*) -> Verdict {
                    $module::$name(skb.raw(), packet, $($argument),*)
                }
            )+

            #[inline(always)]
            fn own(endpoint: &Endpoint, packet: &Packet<Self>) -> Verdict {
                own::$module(endpoint, packet)
            }

            #[inline(always)]
            fn judge(question: &mut Question<Self>) -> Verdict {
                $module::judge(question)
            }

            #[inline(always)]
            fn again(
                packet: &Packet<Self>,
                entry: *mut $flow,
                endpoint: u32,
                from_local: bool,
            ) -> Verdict {
                let packet = (&raw const *packet).cast_mut();
                $module::again(packet, entry, endpoint, u32::from(from_local))
            }

            #[inline(always)]
            fn refresh(packet: &Packet<Self>, entry: *mut $flow, scope: u32, promote: bool) {
                let packet = (&raw const *packet).cast_mut();
                $module::refresh(packet, entry, scope, u32::from(promote));
            }

            #[inline(always)]
            fn forget(packet: &Packet<Self>, entry: *mut $flow, scope: u32) {
                $module::forget((&raw const *packet).cast_mut(), entry, scope);
            }
        }
    };
}

packet_functions! {
    /// See [`super::parse`].
    read() = IcmpTypes::parse;
    /// See [`rewrite::rewrite`].
    rewrite_packet() = rewrite::rewrite;
    /// See [`route::route`].
    route() = route::route;
    /// See [`reject::reject`].
    reject() = reject::reject;
    /// See [`deliver::receive`].
    receive(endpoint) = deliver::receive;
    /// See [`deliver::receive_new`].
    receive_new(endpoint) = deliver::receive_new;
    /// See [`service::frontend`].
    frontend_of(outside) = service::frontend;
    /// See [`service::still_serves`].
    still_serves(service, backend, outside) = service::still_serves;
    /// See [`service::choose`].
    choose() = service::choose;
    /// See [`flow::begin`].
    begin() = flow::begin;
    /// See [`flow::claim`].
    claim() = flow::claim;
    /// See [`begin::from_pod`].
    begin_from_pod(endpoint) = begin::from_pod;
    /// See [`begin::attempt`].
    attempt(endpoint) = begin::attempt;
    /// See [`begin::beside_pod`].
    beside_pod(endpoint) = begin::beside_pod;
    /// See [`begin::at_node`].
    begin_at_node() = begin::at_node;
    /// See [`begin::attempt_at_node`].
    attempt_at_node() = begin::attempt_at_node;
    /// See [`allocate::allocate`].
    allocate() = allocate::allocate;
}
