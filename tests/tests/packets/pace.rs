//! Times of departure, against a bucket of tokens that counts bytes.

use std::cell::RefCell;

use nix::time::{ClockId, clock_gettime};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy as _, any},
    test_runner::{Config, TestRunner},
};
use proxy_common::{
    endpoints::{ENDPOINT_PACED, ENDPOINT_SHAPED},
    pace::Pace,
    policy::words::ROW_DENY_ALL,
};
use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, SHOT, Tcp, Timed, V4, tcp, udp};

const SECOND: u64 = 1_000_000_000;
const LIMITED: u32 = ENDPOINT_SHAPED | ENDPOINT_PACED;

fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    time.tv_sec().cast_unsigned() * SECOND + time.tv_nsec().cast_unsigned()
}

/// Bytes per second, bytes that may go at once, bytes that may wait.
#[derive(Clone, Copy, Debug)]
struct Limit {
    rate: u64,
    burst: u64,
    queue: u64,
}

impl Limit {
    /// As the programs have it, with nothing left until some time.
    fn pace(self, full_at: u64) -> Pace {
        Pace {
            full_at,
            rate: self.rate,
            burst: self.burst * SECOND / self.rate,
            patience: self.queue.saturating_mul(SECOND / self.rate.min(SECOND)),
        }
    }
}

/// One whose program is loaded, which takes seconds where the machine has other things to do.
fn bench(hook: Hook) -> Bench {
    let mut bench = Bench::new().unwrap();
    let packet = udp(V4.neighbour(1000), V4.pod(80), b"?");
    bench.run_timed(hook, &packet, 1000).unwrap();
    bench
}

fn send(bench: &mut Bench, length: u32) -> Timed {
    let packet = udp(V4.pod(1000), V4.neighbour(80), b"?");
    bench.run_timed(Hook::ToQueue, &packet, length).unwrap()
}

/// What a full bucket holds goes at once, then one after the other, each as many bytes later as it is long, with the headers of its
/// segments; what would wait too long is dropped, and takes nothing.
#[test]
fn packets_depart_one_after_the_other() {
    let limit = Limit {
        rate: 1000,
        burst: 3000,
        queue: 20_000,
    };
    let mut bench = bench(Hook::ToQueue);
    bench.set_pace(limit.pace(0), LIMITED).unwrap();
    let began = now();
    for length in [1000, 1500, 500] {
        let Timed { outcome, time } = send(&mut bench, length);
        assert_eq!((outcome.action, outcome.drop), (NEXT, None));
        assert!((began..=now()).contains(&time), "{length} waits");
    }
    let mut due = bench.pace().unwrap().full_at;
    for length in [100, 9000, 60, 7000] {
        due += u64::from(length) * SECOND / limit.rate;
        let Timed { outcome, time } = send(&mut bench, length);
        assert_eq!((outcome.action, outcome.drop), (NEXT, None));
        assert_eq!(time, due - 3 * SECOND, "{length}");
    }
    let before = bench.pace().unwrap();
    let Timed { outcome, time } = send(&mut bench, 6000);
    assert_eq!((outcome.action, outcome.drop), (SHOT, Some("bandwidth")));
    assert_eq!((time, bench.pace().unwrap()), (0, before));
    // A smaller one has room.
    assert_eq!(send(&mut bench, 200).outcome.action, NEXT);
}

/// Of those whose ends understand it, as much again waits, marked.
#[test]
fn congestion_is_told_of_to_who_understands_it() {
    let limit = Limit {
        rate: 1000,
        burst: 1000,
        queue: 10_000,
    };
    for plan in FAMILIES {
        let mut bench = bench(Hook::ToQueue);
        bench
            .set_pace(limit.pace(now() + 11 * SECOND), LIMITED)
            .unwrap();
        let mut packet = tcp(plan.pod(1000), plan.neighbour(80), Tcp::Ack, b"");
        let send = |bench: &mut Bench, packet: &[u8]| {
            let sent = bench.run_timed(Hook::ToQueue, packet, 1000);
            sent.unwrap().outcome
        };
        assert_eq!(send(&mut bench, &packet).drop, Some("bandwidth"));
        // ECT(0), in the second byte of an IPv4 header, across two of an IPv6 header.
        packet[15] |= if plan.is_ipv6() { 0x20 } else { 2 };
        for _ in 0..9 {
            let sent = send(&mut bench, &packet);
            assert_eq!((sent.action, sent.drop), (NEXT, None));
            let mark = if plan.is_ipv6() { 0x30 } else { 3 };
            assert_eq!(sent.bytes[15] & mark, mark);
        }
        // Room for one more at most, since time has passed.
        send(&mut bench, &packet);
        assert_eq!(send(&mut bench, &packet).drop, Some("bandwidth"));
    }
}

/// Towards a pod: what policy lets through, only where the pod is limited so, and whatever its sender says.
#[test]
fn what_a_limited_pod_is_sent_is_timed_after_policy() {
    let limit = Limit {
        rate: 1_000_000,
        burst: 1000,
        queue: 1 << 30,
    };
    for plan in FAMILIES {
        for (flags, timed) in [(LIMITED, true), (ENDPOINT_SHAPED, false), (0, false)] {
            let mut bench = bench(Hook::ToPod);
            // Begins a flow, follows it, and comes as a pod's packet that was judged already.
            let (pod, client) = (plan.pod(80), plan.outside(1000));
            let neighbour = plan.neighbour(1000);
            let began = tcp(neighbour, pod, Tcp::Syn, b"");
            bench.run(Hook::FromNeighbour, &began).unwrap();
            let due = now() + 50 * SECOND;
            bench.set_pace(limit.pace(due), flags).unwrap();
            let packets = [
                (Hook::ToPod, tcp(client, pod, Tcp::Syn, b"")),
                (Hook::ToPod, tcp(client, pod, Tcp::Ack, b"")),
                (Hook::ToPod, began),
                (Hook::ToPodFromHost, udp(plan.node(9), pod, b"?")),
            ];
            let mut due = due - SECOND / 1000;
            for (hook, packet) in packets {
                due += SECOND / 1000;
                let Timed { outcome, time } = bench.run_timed(hook, &packet, 1000).unwrap();
                assert_eq!((outcome.action, outcome.drop), (NEXT, None), "{hook:?}");
                assert_eq!(time, if timed { due } else { 0 }, "{hook:?} {flags}");
            }
            // Denied, it takes nothing.
            let before = bench.pace().unwrap();
            bench.policy(1, ROW_DENY_ALL, ROW_DENY_ALL).unwrap();
            let denied = tcp(plan.outside(2000), pod, Tcp::Syn, b"");
            let outcome = bench.run_timed(Hook::ToPod, &denied, 1000).unwrap().outcome;
            assert_eq!(outcome.action, SHOT);
            assert_eq!(bench.pace().unwrap(), before);
        }
    }
}

/// Whatever is sent, no stretch of time sees more leave than its share and one burst, or one packet that is larger than that.
#[test]
fn no_stretch_of_time_sees_more_than_its_share_and_a_burst() {
    let limits = (125..=12_500_000_u64, 1500..=200_000_u64, any::<bool>());
    let series = limits.prop_flat_map(|(rate, burst, empty)| {
        (Just((rate, burst, empty)), vec(60..=65_000_u32, 1..60))
    });
    let bench = RefCell::new(bench(Hook::ToQueue));
    let mut runner = TestRunner::new(Config::with_cases(60));
    let run = runner.run(&series, |((rate, burst, empty), lengths)| {
        let mut bench = bench.borrow_mut();
        let limit = Limit {
            rate,
            burst,
            queue: u64::MAX,
        };
        // Far away, so that no time passes between the packets.
        let full_at = if empty { now() + 1000 * SECOND } else { 0 };
        let pace = limit.pace(full_at);
        bench.set_pace(pace, LIMITED).unwrap();
        let mut left: Vec<(u64, u64)> = Vec::new();
        for length in lengths {
            let Timed { outcome, time } = send(&mut bench, length);
            assert_eq!((outcome.action, outcome.drop), (NEXT, None));
            assert!(left.last().is_none_or(|(before, _)| time >= *before));
            left.push((time, length.into()));
        }
        let largest = left.iter().map(|(_, length)| *length).max();
        let spare = burst.max(largest.unwrap_or(0));
        for (first, (from, _)) in left.iter().enumerate() {
            let mut sent = 0;
            for (until, length) in &left[first..] {
                sent += length;
                let share = u128::from(until - from) * u128::from(rate) / u128::from(SECOND);
                assert!(
                    u128::from(sent) <= share + u128::from(spare) + 1,
                    "{sent} bytes in {} ns of {limit:?}",
                    until - from
                );
            }
        }
        Ok(())
    });
    run.unwrap();
}
