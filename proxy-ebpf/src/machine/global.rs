//! Big steps as global functions, one per family.
//!
//! The verifier checks each of them once and by itself, instead of anew at every call and in every state of the caller.
//! They take the packet's buffer, pointers to values made of integers, and numbers, and return a number. `global!`
//! makes a generic front of the two.

/// Declares such a function: `name(skb, a: Type, b: Type; n, m) -> body`, where `Type` is generic over the family, and
/// `body` a generic function of the same arguments. With `buffer` in place of `skb` there is one more for programs of XDP, and
/// `body` is generic over the buffer, too. Without either the function has no packet.
macro_rules! global {
    (
        $(#[$doc:meta])*
        $visibility:vis fn $name:ident(buffer $(, $pointer:ident: $kind:ident)* $(; $($number:ident),+)?) = $body:ident
    ) => {
        mod $name {
            use super::*;
            use $crate::machine::{skb::Skb, verdict::Verdict, xdp::Xdp};
            use $crate::maps::{V4, V6};
            use aya_ebpf::bindings::{__sk_buff, xdp_md};

            $crate::machine::global::of_context!(
                "_v4", v4, V4, Skb, __sk_buff, $name(buffer $(, $pointer: $kind)* $(; $($number),+)?) = $body
            );
            $crate::machine::global::of_context!(
                "_v6", v6, V6, Skb, __sk_buff, $name(buffer $(, $pointer: $kind)* $(; $($number),+)?) = $body
            );
            $crate::machine::global::of_context!(
                "_xdp_v4", xdp_v4, V4, Xdp, xdp_md, $name(buffer $(, $pointer: $kind)* $(; $($number),+)?) = $body
            );
            $crate::machine::global::of_context!(
                "_xdp_v6", xdp_v6, V6, Xdp, xdp_md, $name(buffer $(, $pointer: $kind)* $(; $($number),+)?) = $body
            );
        }

        $(#[$doc])*
        #[inline(always)]
        $visibility fn $name<B: $crate::machine::frame::Buffer, F: $crate::maps::Family>(
            buffer: B
            $(, $pointer: &mut $kind<F>)*
            $($(, $number: u32)+)?
        ) -> $crate::machine::verdict::Verdict {
            let context = buffer.context();
            match (B::XDP, F::IPV6) {
                (false, false) => $name::v4(context.cast() $(, (&raw mut *$pointer).cast())* $($(, $number)+)?),
                (false, true) => $name::v6(context.cast() $(, (&raw mut *$pointer).cast())* $($(, $number)+)?),
                (true, false) => $name::xdp_v4(context.cast() $(, (&raw mut *$pointer).cast())* $($(, $number)+)?),
                (true, true) => $name::xdp_v6(context.cast() $(, (&raw mut *$pointer).cast())* $($(, $number)+)?),
            }
        }
    };
    (
        $(#[$doc:meta])*
        $visibility:vis fn $name:ident(skb $(, $pointer:ident: $kind:ident)* $(; $($number:ident),+)?) = $body:ident
    ) => {
        mod $name {
            use super::*;
            use $crate::machine::skb::Skb;
            use $crate::machine::verdict::Verdict;
            use $crate::maps::{V4, V6};
            use aya_ebpf::bindings::__sk_buff;

            #[inline(never)]
            #[unsafe(export_name = concat!(stringify!($name), "_v4"))]
            pub(super) extern "C" fn v4(skb: *mut __sk_buff $(, $pointer: *mut $kind<V4>)* $($(, $number: u32)+)?) -> Verdict {
                $crate::machine::global::given!([$($pointer),*] $crate::machine::verdict::dropped(proxy_common::counters::INVALID_PACKET));
                let skb = Skb::new(skb);
                skb.touch();
                $body::<V4>(skb $(, $pointer)* $($(, $number)+)?)
            }

            #[inline(never)]
            #[unsafe(export_name = concat!(stringify!($name), "_v6"))]
            pub(super) extern "C" fn v6(skb: *mut __sk_buff $(, $pointer: *mut $kind<V6>)* $($(, $number: u32)+)?) -> Verdict {
                $crate::machine::global::given!([$($pointer),*] $crate::machine::verdict::dropped(proxy_common::counters::INVALID_PACKET));
                let skb = Skb::new(skb);
                skb.touch();
                $body::<V6>(skb $(, $pointer)* $($(, $number)+)?)
            }
        }

        $(#[$doc])*
        #[inline(always)]
        $visibility fn $name<F: $crate::maps::Family>(
            skb: $crate::machine::skb::Skb
            $(, $pointer: &mut $kind<F>)*
            $($(, $number: u32)+)?
        ) -> $crate::machine::verdict::Verdict {
            if F::IPV6 {
                $name::v6(skb.raw() $(, (&raw mut *$pointer).cast())* $($(, $number)+)?)
            } else {
                $name::v4(skb.raw() $(, (&raw mut *$pointer).cast())* $($(, $number)+)?)
            }
        }
    };
    (
        $(#[$doc:meta])*
        $visibility:vis fn $name:ident($first:ident: $first_kind:ident $(, $pointer:ident: $kind:ident)* $(; $($number:ident),+)?) = $body:ident
    ) => {
        mod $name {
            use super::*;
            use $crate::machine::verdict::Verdict;
            use $crate::maps::{V4, V6};

            #[inline(never)]
            #[unsafe(export_name = concat!(stringify!($name), "_v4"))]
            pub(super) extern "C" fn v4($first: *mut $first_kind<V4> $(, $pointer: *mut $kind<V4>)* $($(, $number: u32)+)?) -> Verdict {
                $crate::machine::global::given!([$first $(, $pointer)*] $crate::machine::verdict::dropped(proxy_common::counters::INVALID_PACKET));
                $body::<V4>($first $(, $pointer)* $($(, $number)+)?)
            }

            #[inline(never)]
            #[unsafe(export_name = concat!(stringify!($name), "_v6"))]
            pub(super) extern "C" fn v6($first: *mut $first_kind<V6> $(, $pointer: *mut $kind<V6>)* $($(, $number: u32)+)?) -> Verdict {
                $crate::machine::global::given!([$first $(, $pointer)*] $crate::machine::verdict::dropped(proxy_common::counters::INVALID_PACKET));
                $body::<V6>($first $(, $pointer)* $($(, $number)+)?)
            }
        }

        $(#[$doc])*
        #[inline(always)]
        $visibility fn $name<F: $crate::maps::Family>(
            $first: &mut $first_kind<F>
            $(, $pointer: &mut $kind<F>)*
            $($(, $number: u32)+)?
        ) -> $crate::machine::verdict::Verdict {
            if F::IPV6 {
                $name::v6((&raw mut *$first).cast() $(, (&raw mut *$pointer).cast())* $($(, $number)+)?)
            } else {
                $name::v4((&raw mut *$first).cast() $(, (&raw mut *$pointer).cast())* $($(, $number)+)?)
            }
        }
    };
}

/// One function of those that take either kind of buffer: for a family, and programs of a kind of context.
macro_rules! of_context {
    (
        $suffix:literal, $function:ident, $family:ident, $buffer:ident, $context:ident,
        $name:ident(buffer $(, $pointer:ident: $kind:ident)* $(; $($number:ident),+)?) = $body:ident
    ) => {
        #[inline(never)]
        #[unsafe(export_name = concat!(stringify!($name), $suffix))]
        pub(super) extern "C" fn $function(
            context: *mut $context $(, $pointer: *mut $kind<$family>)* $($(, $number: u32)+)?
        ) -> Verdict {
            $crate::machine::global::given!([$($pointer),*] $crate::machine::verdict::dropped(proxy_common::counters::INVALID_PACKET));
            let buffer = $buffer::new(context);
            buffer.touch();
            $body::<$buffer, $family>(buffer $(, $pointer)* $($(, $number)+)?)
        }
    };
}

/// Pointers that a global function got, which the verifier wants compared with null; or return.
macro_rules! given {
    ([$($pointer:ident),*] $otherwise:expr) => {$(
        // SAFETY: the verifier knows the size; callers pass live, exclusive values.
        let Some($pointer) = (unsafe { $pointer.as_mut() }) else {
            return $otherwise;
        };
    )*};
}

pub(crate) use {given, global, of_context};
