//! Earliest departure time (EDT): the queue that lets packets go at the times which programs have given them (`sch_fq`).

use std::io;

use netlink_packet_core::{DefaultNla, Nla as _, NlaBuffer, NlasIterator};
use netlink_packet_route::tc::TcOption;

/// Kind of the queueing discipline.
pub(super) const KIND: &str = "fq";

/// How many packets may wait, of one sender and of all. Programs say how long any may, which is less: the kernel's own choice
/// (100 and 10 000) would drop some before.
const PACKETS: u32 = 1 << 24;
/// Attributes (`TCA_FQ_*`), all of 32 bits, and what they are to be. What a socket asks of a queue at the link to the network
/// (`rate_enable`) is none of this one's business, and no time that a program gives is too far away (the horizon is in
/// microseconds).
const PARAMETERS: [(u16, u32); 4] = [
    (1, PACKETS),   // TCA_FQ_PLIMIT
    (2, PACKETS),   // TCA_FQ_FLOW_PLIMIT
    (5, 0),         // TCA_FQ_RATE_ENABLE
    (14, u32::MAX), // TCA_FQ_HORIZON
];

/// As the kernel takes it.
pub(super) fn options() -> Vec<TcOption> {
    let options = PARAMETERS.iter();
    options
        .map(|(kind, value)| TcOption::Other(DefaultNla::new(*kind, value.to_ne_bytes().to_vec())))
        .collect()
}

/// Whether what the kernel shows is as it was given.
pub(super) fn is_whole(options: &[TcOption]) -> io::Result<bool> {
    let [TcOption::Other(nested)] = options else {
        return Ok(false);
    };
    let mut value = vec![0; nested.value_len()];
    nested.emit_value(&mut value);
    let mut right = 0;
    for attribute in NlasIterator::new(value.as_slice()) {
        let attribute = attribute.map_err(|e| io::Error::other(e.to_string()))?;
        right += usize::from(is_right(&attribute));
    }
    Ok(right == PARAMETERS.len())
}

fn is_right(attribute: &NlaBuffer<&[u8]>) -> bool {
    let mut known = PARAMETERS.iter();
    known.any(|(kind, value)| {
        attribute.kind() == *kind && attribute.value() == value.to_ne_bytes().as_slice()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(parameters: &[(u16, u32)]) -> [TcOption; 1] {
        let mut bytes = Vec::new();
        for (kind, value) in parameters {
            bytes.extend(8_u16.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
        }
        [TcOption::Other(DefaultNla::new(2, bytes))]
    }

    #[test]
    fn a_queue_that_somebody_changed_is_not_whole() {
        let mut all = PARAMETERS.to_vec();
        all.insert(2, (3, 3028));
        assert!(is_whole(&shown(&all)).unwrap());
        all[1].1 = 100;
        assert!(!is_whole(&shown(&all)).unwrap());
        assert!(!is_whole(&shown(&PARAMETERS[1..])).unwrap());
    }
}
