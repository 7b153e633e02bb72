//! Properties of the builder, beside the paper's own pseudo code.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
};

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::*;

const SIZE: u16 = 16_381;

/// The table as the paper makes it: whole permutations, one turn each.
fn oracle(size: u16, backends: &[Backend]) -> Vec<Backend> {
    let mut sorted = backends.to_vec();
    sorted.sort_by_key(|backend| (backend.address, backend.port));
    let m = u64::from(size);
    let permutation: Vec<Vec<usize>> = sorted
        .iter()
        .map(|backend| {
            let offset = u64::from(hash(SEEDS[0], backend)) % m;
            let skip = u64::from(hash(SEEDS[1], backend)) % (m - 1) + 1;
            (0..m).map(|j| ((offset + j * skip) % m) as usize).collect()
        })
        .collect();
    let mut next = vec![0; sorted.len()];
    let mut entry = vec![None; usize::from(size)];
    let mut n = 0;
    loop {
        for i in 0..sorted.len() {
            let mut c = permutation[i][next[i]];
            while entry[c].is_some() {
                next[i] += 1;
                c = permutation[i][next[i]];
            }
            entry[c] = Some(sorted[i]);
            next[i] += 1;
            n += 1;
            if n == usize::from(size) {
                return entry.into_iter().flatten().collect();
            }
        }
    }
}

/// Who has each place.
fn owners(size: u16, backends: &[Backend]) -> Vec<Backend> {
    let table = build(size, backends).into_iter();
    table.map(|slot| backends[usize::from(slot)]).collect()
}

/// How many places of others have another owner, when one of four leaves, each in turn.
fn moved(backends: &[Backend], first: usize) -> [usize; 4] {
    let before = owners(SIZE, backends);
    [0, 25, 50, 75].map(|further| {
        let gone = backends[(first + further) % backends.len()];
        let rest = backends.iter().filter(|one| **one != gone);
        let rest: Vec<Backend> = rest.copied().collect();
        let after = owners(SIZE, &rest);
        let pairs = before.iter().zip(&after);
        pairs.filter(|(b, a)| **b != gone && b != a).count()
    })
}

#[test]
fn on_the_average_one_percent_of_flows_moves_at_most() {
    let mut runner = TestRunner::deterministic();
    let sets = (0..24).map(|_| backends(100..101).new_tree(&mut runner).unwrap().current());
    let all: Vec<usize> = sets.flat_map(|set| moved(&set, 0)).collect();
    let sum: usize = all.iter().sum();
    assert!(sum * 100 <= all.len() * usize::from(SIZE), "{all:?}");
}

fn shares(table: &[Backend]) -> BTreeMap<(IpAddr, u16), usize> {
    let mut shares = BTreeMap::new();
    for backend in table {
        *shares.entry((backend.address, backend.port)).or_default() += 1;
    }
    shares
}

fn backend(address: IpAddr, port: u16) -> Backend {
    let weight = 1;
    Backend {
        address,
        port,
        weight,
    }
}

/// Some backends, each another one, in any order.
fn backends(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Backend>> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)));
    // As pods have them: near each other, at one port.
    let near =
        any::<u16>().prop_map(|n| IpAddr::from(Ipv4Addr::from_bits(0x0af4_0000 | u32::from(n))));
    let one = prop_oneof![(v4, 1..u16::MAX), (v6, 1..u16::MAX), (near, Just(8080))];
    let set = prop::collection::btree_set(one, count);
    let list = set.prop_map(|set| {
        set.into_iter()
            .map(|(ip, port)| backend(ip, port))
            .collect()
    });
    Strategy::prop_shuffle(list)
}

fn prime() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![251_u16, 509, 1021, 2039, 4093, 8191, 16_381, 32_749])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn without_slack_a_table_is_the_papers(size in prime(), backends in backends(1..60)) {
        let table = populate(size, &backends, [0, 1]).into_iter();
        let table: Vec<Backend> = table.map(|slot| backends[usize::from(slot)]).collect();
        prop_assert_eq!(table, oracle(size, &backends));
    }

    #[test]
    fn all_nodes_have_one_table_in_whatever_order(
        (one, other) in backends(1..200).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        prop_assert_eq!(owners(SIZE, &one), owners(SIZE, &other));
    }

    #[test]
    fn shares_are_even(size in prime(), backends in backends(1..200)) {
        let shares = shares(&owners(size, &backends));
        prop_assert_eq!(shares.len(), backends.len());
        let due = usize::from(size) / backends.len();
        for share in shares.values() {
            prop_assert!(share.abs_diff(due) <= due / 20 + 2, "{} of {}", share, due);
        }
    }

    /// Whoever leaves, it is not more than two percent; see below for the average.
    #[test]
    fn who_leaves_moves_few_flows_of_others(
        backends in backends(100..101), gone in any::<prop::sample::Index>(),
    ) {
        let moved = moved(&backends, gone.index(backends.len()));
        prop_assert!(moved.iter().all(|moved| moved * 50 <= usize::from(SIZE)), "{:?}", moved);
    }

    #[test]
    fn weights_are_shares(
        backends in backends(2..40), weights in prop::collection::vec(0_u32..6, 40),
    ) {
        let weighted: Vec<Backend> = backends
            .iter()
            .zip(&weights)
            .map(|(backend, weight)| Backend { weight: *weight, ..*backend })
            .collect();
        let sum: usize = weighted.iter().map(|b| b.weight as usize).sum();
        let shares = shares(&owners(SIZE, &weighted));
        prop_assume!(sum > 0);
        for backend in &weighted {
            let share = shares.get(&(backend.address, backend.port)).copied().unwrap_or(0);
            let due = usize::from(SIZE) * backend.weight as usize / sum;
            prop_assert!(share.abs_diff(due) <= due / 20 + 2, "{} of weight {}, due {}", share, backend.weight, due);
        }
    }
}

#[test]
fn how_much_moves_when_one_of_a_hundred_leaves() {
    // Whoever of them it is.
    let all: Vec<Backend> = (1..=100)
        .map(|n| backend(Ipv4Addr::new(10, 244, n % 5, n).into(), 8080))
        .collect();
    let before = owners(SIZE, &all);
    let moved = all.iter().map(|gone| {
        let rest: Vec<Backend> = all.iter().filter(|b| *b != gone).copied().collect();
        let after = owners(SIZE, &rest);
        let pairs = before.iter().zip(&after);
        pairs.filter(|(b, a)| *b != gone && b != a).count()
    });
    let moved: Vec<usize> = moved.collect();
    let most = moved.iter().max().copied().unwrap_or(0);
    println!(
        "of {SIZE} places {} moved on average, {most} at most",
        moved.iter().sum::<usize>() / moved.len()
    );
    assert!(most * 100 <= usize::from(SIZE), "{most} of {SIZE}");
}

#[test]
fn there_is_no_table_without_backends_or_with_too_many() {
    assert!(build(251, &[]).is_empty());
    let many: Vec<Backend> = (0..252_u8)
        .map(|n| backend(Ipv4Addr::new(10, 0, 0, n).into(), 1))
        .collect();
    let distinct: BTreeSet<IpAddr> = many.iter().map(|b| b.address).collect();
    assert_eq!(distinct.len(), 252);
    assert!(build(251, &many).is_empty());
    assert_eq!(shares(&owners(251, &many[..251])).len(), 251);
}
