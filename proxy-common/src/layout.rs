//! The layout hash: pinned beside the maps and compared at start, because aya does not check a pinned map
//! against the object that re-uses it.

/// Number of the schema; part of the pins' path. Raised when entries of the old maps cannot be kept.
pub const SCHEMA: u32 = 2;

/// FNV-1a over the code of every module that declares a map type, comments and white space left out, so
/// that any change of a type shows. The same source gives the same hash on every machine.
pub const HASH: u64 = {
    let sources: &[&[u8]] = &[
        include_bytes!("affinity.rs"),
        include_bytes!("backends.rs"),
        include_bytes!("conntrack.rs"),
        include_bytes!("conntrack/head.rs"),
        include_bytes!("conntrack/timeouts.rs"),
        include_bytes!("counters.rs"),
        include_bytes!("endpoints.rs"),
        include_bytes!("fragments.rs"),
        include_bytes!("frontends.rs"),
        include_bytes!("inside.rs"),
        include_bytes!("maglev.rs"),
        include_bytes!("node.rs"),
        include_bytes!("policy/cells.rs"),
        include_bytes!("policy/intervals.rs"),
        include_bytes!("policy/peers.rs"),
        include_bytes!("policy/words.rs"),
        include_bytes!("sockets.rs"),
        include_bytes!("sources.rs"),
        include_bytes!("tunnel.rs"),
        include_bytes!("vips.rs"),
    ];
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut module = 0;
    while module < sources.len() {
        hash = hash_code(hash, sources[module]);
        module += 1;
    }
    hash
};

const fn hash_code(mut hash: u64, source: &[u8]) -> u64 {
    let mut at = 0;
    while at < source.len() {
        if source[at] == b'/' && at + 1 < source.len() && source[at + 1] == b'/' {
            while at < source.len() && source[at] != b'\n' {
                at += 1;
            }
        } else {
            if !source[at].is_ascii_whitespace() {
                hash ^= source[at] as u64;
                hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
            }
            at += 1;
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::hash_code;

    #[test]
    fn comments_and_layout_of_the_text_do_not_count() {
        let plain = hash_code(1, b"pub struct A { b: u32 }");
        assert_eq!(
            plain,
            hash_code(1, b"// words\npub struct A {\n    /// more\n    b: u32\n}")
        );
    }

    #[test]
    fn a_changed_field_shows() {
        assert_ne!(
            hash_code(1, b"a: u32, b: u16"),
            hash_code(1, b"b: u16, a: u32")
        );
    }
}
