//! The alias of a host side: namespace and name of its pod, for people and for [`crate::salvage`].

use sha2::{Digest as _, Sha256};

use crate::rpc::PodRef;

/// Longest alias of a link, whose attribute ends with a zero that counts, too
/// (<https://elixir.bootlin.com/linux/v6.8/source/net/core/dev.c#L1388>).
const LONGEST: usize = 254;
/// Stands in no name of Kubernetes: what follows is a digest of the whole.
const CUT: char = '~';

/// The alias of a pod. Of a name that is too long the end is replaced by a digest, so that no two pods share one.
pub fn of(pod: &PodRef) -> String {
    let whole = pod.to_string();
    if whole.len() <= LONGEST {
        return whole;
    }
    let digest = Sha256::digest(whole.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    let digits = format!("{:016x}", u64::from_be_bytes(first));
    let room = LONGEST - digits.len() - CUT.len_utf8();
    let at = (0..=room).rev().find(|at| whole.is_char_boundary(*at));
    format!("{}{CUT}{digits}", &whole[..at.unwrap_or(0)])
}

/// The pod of an alias; none if the alias does not tell it whole.
pub fn pod(alias: &str) -> Option<PodRef> {
    let (namespace, name) = alias.split_once('/').filter(|_| !alias.contains(CUT))?;
    Some(PodRef {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod_ref(length: usize, end: char) -> PodRef {
        PodRef {
            namespace: "ns".into(),
            name: format!("{}{end}", "a".repeat(length - 4)),
            uid: String::new(),
        }
    }

    #[test]
    fn it_fits_tells_pods_apart_and_never_names_another() {
        for length in [10, 254, 255, 256, 257, 317] {
            let (one, other) = (pod_ref(length, 'x'), pod_ref(length, 'y'));
            assert_eq!(one.to_string().len(), length);
            assert!(of(&one).len() <= LONGEST);
            assert_ne!(of(&one), of(&other));
            assert_eq!(pod(&of(&one)), (length <= LONGEST).then_some(one));
        }
        assert_eq!(pod(""), None);
    }
}
