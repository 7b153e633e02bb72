//! What nodes tell each other on a link: that they live, and for which addresses they may answer.
//!
//! Frames of the Ethernet type that IEEE 802 keeps for experiments, to everybody on the link: they go where ARP requests go and
//! nowhere else, so that who hears a node is who would hear its answers, whatever the network lets through of IP. Like ARP,
//! they are believed of anybody on the link; a frame of a Node that this cluster does not have counts for nothing.
//!
//! ```text
//! "weir" | version 1 | flags | part | parts | length of name | length of UID | count of hashes (2) | name | UID | hashes (8 each)
//! ```

use std::net::IpAddr;

/// Local Experimental Ethertype 1 (IEEE Std 802).
pub const ETHER_TYPE: u16 = 0x88b5;
const MAGIC: [u8; 5] = *b"weir\x01";
/// It may be elected.
const READY: u8 = 1;
/// Hashes in a frame, so that it fits whatever the MTU is.
const MOST: usize = 64;
const HEAD: usize = 12;

/// A frame's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Name of the node.
    pub node: String,
    /// UID of its Node object; empty if there is none.
    pub uid: String,
    /// It may be elected: it has listened for long enough, and does not leave.
    pub ready: bool,
    /// Which part of what it tells this is, and of how many.
    pub part: (u8, u8),
    /// Of the addresses that only nodes with endpoints serve: those that it serves ([`hash`]).
    pub serves: Vec<u64>,
}

impl Beat {
    /// All frames in which a node tells what it serves.
    pub fn all(node: &str, uid: &str, ready: bool, serves: &[u64]) -> Vec<Self> {
        let most = MOST * usize::from(u8::MAX);
        let told = &serves[..serves.len().min(most)];
        let parts: Vec<&[u64]> = if told.is_empty() {
            vec![told]
        } else {
            told.chunks(MOST).collect()
        };
        let count = parts.len() as u8;
        let parts = (0..count).zip(parts);
        parts
            .map(|(part, serves)| Self {
                node: node.to_owned(),
                uid: uid.to_owned(),
                ready,
                part: (part, count),
                serves: serves.to_vec(),
            })
            .collect()
    }

    /// As bytes; none if a name is longer than Kubernetes lets it be.
    pub fn write(&self) -> Option<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([u8::from(self.ready) * READY, self.part.0, self.part.1]);
        bytes.push(u8::try_from(self.node.len()).ok()?);
        bytes.push(u8::try_from(self.uid.len()).ok()?);
        bytes.extend(u16::try_from(self.serves.len()).ok()?.to_be_bytes());
        bytes.extend(self.node.as_bytes());
        bytes.extend(self.uid.as_bytes());
        bytes.extend(self.serves.iter().flat_map(|hash| hash.to_be_bytes()));
        Some(bytes)
    }

    /// Of bytes, behind which there may be padding; none if they are none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let tail = head.strip_prefix(&MAGIC)?;
        let [flags, part, parts, node, uid, high, low] = *tail else {
            return None;
        };
        let count = usize::from(u16::from_be_bytes([high, low]));
        let (node, rest) = rest.split_at_checked(node.into())?;
        let (uid, rest) = rest.split_at_checked(uid.into())?;
        let (hashes, _) = rest.split_at_checked(count * 8)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let (hashes, _) = hashes.as_chunks::<8>();
        Some(Self {
            node: text(node)?,
            uid: text(uid)?,
            ready: flags & READY != 0,
            part: (part < parts).then_some((part, parts))?,
            serves: hashes
                .iter()
                .map(|hash| u64::from_be_bytes(*hash))
                .collect(),
        })
    }
}

/// A number for an address, the same on all nodes and of all versions.
pub fn hash(address: IpAddr) -> u64 {
    let bits = match address {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    mix(mix((bits >> 64) as u64) ^ bits as u64)
}

/// A number for a name.
pub fn hash_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        mix(hash ^ u64::from(byte))
    })
}

/// The finaliser of `SplitMix64`, which leaves no bit of the sum unmixed.
pub const fn mix(of: u64) -> u64 {
    let z = of.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_in_as_many_frames_as_it_takes() {
        let many: Vec<u64> = (0..1000).collect();
        let beats = Beat::all("node-1", "u1", true, &many);
        assert_eq!(beats.len(), 16);
        let mut heard = Vec::new();
        for beat in &beats {
            let bytes = beat.write().unwrap();
            assert!(bytes.len() + 14 + 2 * 255 < 1280);
            assert_eq!(Beat::read(&bytes).as_ref(), Some(beat));
            let padded = [&bytes[..], &[0; 46]].concat();
            assert_eq!(Beat::read(&padded).as_ref(), Some(beat));
            for short in 0..bytes.len() {
                assert_eq!(Beat::read(&bytes[..short]), None);
            }
            heard.extend(beat.serves.clone());
        }
        assert_eq!(heard, many);
        assert_eq!(Beat::all("n", "", false, &[]).len(), 1);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let magic = [&MAGIC[..], &bytes].concat();
            for bytes in [&bytes, &magic] {
                if let Some(beat) = Beat::read(bytes) {
                    prop_assert!(bytes.starts_with(&beat.write().unwrap()[..5]));
                }
            }
        }
    }

    /// Other versions must elect the same nodes.
    #[test]
    fn hashes_stay_as_they_are() {
        assert_eq!(hash("192.0.2.1".parse().unwrap()), HASH4);
        assert_eq!(hash_name("node-1"), NAME);
    }

    const HASH4: u64 = 0xd21f_2ca3_5c22_1d8d;
    const NAME: u64 = 0x564c_2159_cee5_8a0b;
}
