use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use proxy_common::{
    address::{TCP, UDP, address4},
    conntrack::{
        FLOW_ASSURED, FLOW_BUSY, FLOW_ENDED, FLOW_FIN_0, FLOW_FIN_1, FLOW_REPLIED, FLOW_RST_0,
        FLOW_RST_1, FLOW_SOURCE_TRANSLATED, Flow4, Head, Tuple,
    },
};

use super::{FlowState, FlowUsage, Flows, SAMPLE};

const NOW: u32 = 1000;

fn head(flags: u16, protocol: u8) -> Head {
    Head {
        flags,
        protocol,
        // What FINs there are was acknowledged.
        seen: 0x92_3c56,
        generation: 7,
    }
}

fn flow(head: Head, expires: u32) -> Flow4 {
    let tuple = |last: u8, port: u16| Tuple {
        source: address4([10, 0, 0, last]),
        destination: address4([10, 0, 1, last]),
        source_port: port.to_be(),
        destination_port: 80_u16.to_be(),
    };
    Flow4 {
        head: head.pack(),
        expires,
        epoch: [1, 2],
        endpoint: [3, 4],
        cookie: [5, 6],
        service: 7,
        backend: 8,
        target: [tuple(1, 4000), tuple(2, 5000)],
    }
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let flows = Flows::memory(4);
    assert_eq!(flows.iter().count(), 0, "no slot was ever used");
    flows.put(2, &flow(head(FLOW_REPLIED, UDP), NOW + 1));
    let all: Vec<_> = flows.iter().collect();
    let [(2, read)] = all.as_slice() else {
        panic!("{all:?}");
    };
    assert_eq!(Head::unpack(read.head), head(FLOW_REPLIED, UDP));
    assert_eq!((read.expires, read.service, read.backend), (NOW + 1, 7, 8));
    assert_eq!(
        (read.epoch, read.endpoint, read.cookie),
        ([1, 2], [3, 4], [5, 6])
    );
    let asked = read.tuple(0);
    assert_eq!(asked.source.to_string(), "10.0.1.2");
    assert_eq!(u16::from_be(asked.destination_port), 5000);
    assert_eq!(read.target[0].source.to_string(), "10.0.0.1");
}

#[test]
fn a_slot_that_is_being_taken_holds_nothing() {
    let flows = Flows::memory(1);
    flows.put(0, &flow(head(FLOW_BUSY, TCP), NOW + 1));
    assert_eq!(flows.get(0), None);
}

#[test]
fn use_is_counted_by_what_may_become_of_a_slot() {
    let flows = Flows::memory(8);
    for (slot, (flags, expires)) in [
        (FLOW_ASSURED | FLOW_REPLIED, NOW + 1),
        (FLOW_ASSURED | FLOW_ENDED, NOW + 1),
        (FLOW_ASSURED, NOW - 1),
        (FLOW_REPLIED, NOW + 60),
        (0, NOW + 60),
        (FLOW_ASSURED | FLOW_RST_1, NOW + 10),
    ]
    .into_iter()
    .enumerate()
    {
        flows.put(slot as u32, &flow(head(flags, TCP), expires));
    }
    let usage = FlowUsage {
        assured: 1,
        unassured: 3,
        expired: 2,
        states: [1, 1, 1, 0, 0, 1, 2],
    };
    assert_eq!((flows.usage(NOW), usage.live()), (usage, 4));
    assert_eq!(flows.survey(NOW), (usage, Vec::new()));
}

#[test]
fn a_sample_looks_at_other_slots_from_second_to_second() {
    let flows = Flows::memory(4 * SAMPLE);
    flows.put(6, &flow(head(FLOW_ASSURED, TCP), 2 * NOW));
    let seen = (NOW..NOW + 4).map(|now| flows.sample(now));
    assert_eq!(seen.collect::<Vec<_>>(), [0, 0, 4, 0]);
}

#[test]
fn only_the_flow_that_was_read_is_ended() {
    let flows = Flows::memory(2);
    let read = head(FLOW_REPLIED, TCP);
    // It has gone on meanwhile.
    let now = Head {
        flags: FLOW_REPLIED | FLOW_ASSURED,
        seen: 1,
        ..read
    };
    flows.put(0, &flow(now, NOW + 1));
    assert!(flows.records().end(0, read.pack()));
    let ended = Head::unpack(flows.get(0).unwrap().head);
    let expected = Head {
        flags: now.flags | FLOW_ENDED,
        ..now
    };
    assert_eq!(ended, expected);
    let next = Head {
        generation: 8,
        ..read
    };
    flows.put(0, &flow(next, NOW + 1));
    assert!(!flows.records().end(0, read.pack()));
    assert_eq!(Head::unpack(flows.get(0).unwrap().head), next);
    assert!(!flows.records().end(9, read.pack()), "no such slot");
}

#[test]
fn flows_are_ended_by_what_they_are() {
    let flows = Flows::memory(3);
    for slot in 0..3 {
        let mut one = flow(head(0, TCP), NOW + 1);
        one.endpoint = [slot, 9];
        flows.put(slot.into(), &one);
    }
    let ended = flows.end_where(NOW, |flow| flow.endpoint[0] != 1);
    let states = flows.iter().map(|(_, flow)| FlowState::of(&flow, NOW));
    let expected = [FlowState::Expired, FlowState::New, FlowState::Expired];
    assert_eq!(states.collect::<Vec<_>>(), expected);
    assert_eq!((ended, flows.end_where(NOW, |_| true)), (2, 1));
}

/// As the programs take a slot: busy, then the record, then its head with the next generation.
#[test]
fn no_copy_is_of_two_flows() {
    let flows = Flows::memory(1);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for generation in 0..200_000_u32 {
                let mut one = flow(head(FLOW_BUSY, TCP), NOW);
                one.service = generation;
                one.backend = generation;
                one.epoch = [generation; 2];
                one.target[1].source = generation;
                let word = Head {
                    flags: FLOW_BUSY,
                    generation: generation as u16,
                    ..Head::default()
                };
                flows.words.load().store(0, word.pack());
                one.head = word.pack();
                flows.put(0, &one);
                let word = Head { flags: 0, ..word };
                flows.words.load().store(0, word.pack());
            }
            stop.store(true, Ordering::Release);
        });
        let mut copies = 0;
        while !stop.load(Ordering::Acquire) {
            let Some(one) = flows.get(0) else {
                continue;
            };
            copies += 1;
            assert_eq!(one.epoch, [one.service; 2]);
            assert_eq!(one.backend, one.service);
            assert_eq!(Head::unpack(one.head).generation, one.service as u16);
        }
        assert!(copies > 0);
    });
}

#[test]
fn a_flow_goes_through_its_states() {
    let of = |flags, protocol| FlowState::of(&flow(head(flags, protocol), NOW + 1), NOW).word();
    let open = FLOW_REPLIED | FLOW_ASSURED;
    for (flags, word) in [
        (0, "new"),
        (FLOW_REPLIED, "half-open"),
        (open, "established"),
        (open | FLOW_FIN_0, "closing"),
        (open | FLOW_FIN_1, "closing"),
        (open | FLOW_FIN_0 | FLOW_FIN_1, "closed"),
        (FLOW_RST_0, "reset"),
        (open | FLOW_RST_1 | FLOW_FIN_0, "reset"),
        (open | FLOW_ENDED, "expired"),
    ] {
        assert_eq!(of(flags, TCP), word, "{flags:#x}");
    }
    assert_eq!(of(open, UDP), "established");
    let late = flow(head(open, TCP), NOW - 1);
    assert_eq!(FlowState::of(&late, NOW), FlowState::Expired);
}

#[test]
fn source_ports_are_counted_by_backend() {
    let flows = Flows::memory(16);
    let translated = FLOW_SOURCE_TRANSLATED | FLOW_REPLIED;
    for (slot, (flags, expires, backend)) in [
        (translated, NOW, 7),
        (translated, NOW, 7),
        (translated | FLOW_ASSURED, NOW + 9, 8),
        // Not translated, over, closed, broken off.
        (FLOW_REPLIED, NOW, 8),
        (translated, NOW - 1, 8),
        (translated | FLOW_FIN_0 | FLOW_FIN_1, NOW, 8),
        (translated | FLOW_RST_0, NOW, 8),
    ]
    .into_iter()
    .enumerate()
    {
        let mut one = flow(head(flags, TCP), expires);
        one.target[0].destination = address4([10, 0, 9, backend]);
        flows.put(slot as u32, &one);
    }
    let mut other = flow(head(translated, UDP), NOW);
    other.target[0].destination = address4([10, 0, 9, 7]);
    flows.put(9, &other);
    let taken: Vec<_> = flows
        .survey(NOW)
        .1
        .into_iter()
        .map(|taken| (taken.count, taken.backend.to_string(), taken.protocol))
        .collect();
    let expected = [
        (2, "10.0.9.7:80", TCP),
        (1, "10.0.9.8:80", TCP),
        (1, "10.0.9.7:80", UDP),
    ];
    assert_eq!(
        taken,
        expected.map(|(n, backend, p)| (n, backend.to_owned(), p))
    );
}
