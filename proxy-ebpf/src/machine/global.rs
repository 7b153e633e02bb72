//! Big steps as global functions, one per family.
//!
//! The verifier checks each of them once and by itself, instead of anew at every call and in every state of the caller.
//! They take the packet's buffer, pointers to values made of integers, and numbers, and return a number. `global!`
//! makes a generic front of the two.

/// Declares such a function: `name(skb, a: Type, b: Type; n, m) -> body`, where `Type` is generic over the family, and
/// `body` a generic function of the same arguments. Without `skb` the function has no packet.
macro_rules! global {
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

/// Pointers that a global function got, which the verifier wants compared with null; or return.
macro_rules! given {
    ([$($pointer:ident),*] $otherwise:expr) => {$(
        // SAFETY: the verifier knows the size; callers pass live, exclusive values.
        let Some($pointer) = (unsafe { $pointer.as_mut() }) else {
            return $otherwise;
        };
    )*};
}

pub(crate) use {given, global};
