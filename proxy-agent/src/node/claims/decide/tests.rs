use super::*;
use crate::node::claims::book::Data;

fn nets(texts: &[&str]) -> Vec<IpNetwork> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn settings(cluster: &[&str]) -> Settings {
    Settings {
        cluster: nets(cluster),
        ranges: PodRangeSettings::default(),
    }
}

fn book(claims: &[(&str, &str)]) -> Book {
    let data = claims
        .iter()
        .map(|(node, text)| ((*node).to_owned(), (*text).to_owned()));
    Book::read("1".to_owned(), &data.collect::<Data>())
}

fn asker(node: &str) -> Asker {
    Asker {
        node: node.to_owned(),
        uid: format!("uid-{node}"),
        ..Asker::default()
    }
}

fn claimed(book: &Book, asker: &Asker, settings: &Settings) -> String {
    match decide(book, asker, settings) {
        Ok(Decision::Holds(claim)) => format!("holds {claim}"),
        Ok(Decision::Write(claim, _)) => format!("writes {claim}"),
        Err(refused) => {
            let (refusal, held) = *refused;
            let held = held.map_or_else(|| "nothing".to_owned(), |claim| claim.to_string());
            format!("{}: {refusal}; has {held}", refusal.reason().name())
        }
    }
}

const BOTH: [&str; 2] = ["10.244.0.0/16", "fd00:10:244::/56"];

#[test]
fn a_new_node_gets_the_first_free_range_of_each_family() {
    let settings = settings(&BOTH);
    let first = claimed(&book(&[]), &asker("a"), &settings);
    assert_eq!(first, "writes uid-a 1h 10.244.0.0/24 fd00:10:244::/64");
    let book = book(&[("a", "uid-a 1h 10.244.0.0/24 fd00:10:244::/64")]);
    assert_eq!(
        claimed(&book, &asker("a"), &settings),
        first.replace("writes", "holds")
    );
    let mut second = asker("b");
    second.others = nets(&["10.244.1.0/24"]);
    let second = claimed(&book, &second, &settings);
    assert_eq!(second, "writes uid-b 1h 10.244.2.0/24 fd00:10:244:1::/64");
}

#[test]
fn what_a_node_had_is_kept_if_it_is_free_and_inside() {
    let settings = settings(&BOTH);
    let mut a = asker("a");
    a.had = nets(&["10.9.9.0/24", "10.244.9.0/24", "fd00:10:244:9::/64"]);
    let kept = claimed(&book(&[]), &a, &settings);
    assert_eq!(kept, "writes uid-a 1h 10.244.9.0/24 fd00:10:244:9::/64");
    let taken = book(&[("b", "uid-b 1h 10.244.8.0/23")]);
    let other = claimed(&taken, &a, &settings);
    assert_eq!(other, "writes uid-a 1h 10.244.0.0/24 fd00:10:244:9::/64");
}

#[test]
fn the_same_machine_keeps_its_ranges_under_a_new_uid_and_another_does_not_get_them() {
    let settings = settings(&["10.244.0.0/16"]);
    let book = book(&[("a", "former 1h 10.244.0.0/24")]);
    assert_eq!(
        claimed(&book, &asker("a"), &settings),
        "writes uid-a 1h 10.244.1.0/24"
    );
    let mut same = asker("a");
    same.of_this_boot = nets(&["10.244.0.0/24"]);
    // It had the range before, and another machine had its name and the range since.
    for claimed_by in ["", "before-that"] {
        claimed_by.clone_into(&mut same.claimed_by);
        assert_eq!(
            claimed(&book, &same, &settings),
            "writes uid-a 1h 10.244.1.0/24"
        );
    }
    "former".clone_into(&mut same.claimed_by);
    assert_eq!(
        claimed(&book, &same, &settings),
        "writes uid-a 1h 10.244.0.0/24"
    );
    let Ok(Decision::Write(_, changes)) = decide(&book, &same, &settings) else {
        panic!("nothing to write");
    };
    let line = "uid-a 1h 10.244.0.0/24".to_owned();
    assert_eq!(changes, Changes::from([("a".to_owned(), Some(line))]));
}

#[test]
fn an_annotation_goes_first_and_what_was_before_stays_claimed() {
    let settings = settings(&["10.244.0.0/16"]);
    let held = book(&[
        ("a", "uid-a 1h 10.244.0.0/24"),
        ("b", "uid-b 1h 10.1.0.0/24"),
    ]);
    let mut a = asker("a");
    for (wanted, expected) in [
        ("10.7.0.0/24", "writes uid-a 1h 10.7.0.0/24 10.244.0.0/24"),
        (
            " 10.7.0.0/24, fd00:7::/64 ",
            "writes uid-a 1h 10.7.0.0/24 10.244.0.0/24 fd00:7::/64",
        ),
        ("10.244.0.0/23", "writes uid-a 1h 10.244.0.0/23"),
        ("10.244.0.0/24", "holds uid-a 1h 10.244.0.0/24"),
        ("", "holds uid-a 1h 10.244.0.0/24"),
        (
            "10.0.0.0/8",
            "PodRangeTaken: 10.0.0.0/8 is not free: node b has it, or a part of it; has uid-a 1h 10.244.0.0/24",
        ),
        (
            "10.7.0.0/33",
            "PodRangeInvalid: annotation weir.dev/pod-cidrs: `10.7.0.0/33` is not a CIDR range; has uid-a 1h 10.244.0.0/24",
        ),
        (
            "10.7.0.0/31",
            "PodRangeInvalid: annotation weir.dev/pod-cidrs: `10.7.0.0/31` has no address for a pod; has uid-a 1h 10.244.0.0/24",
        ),
        (
            "10.7.0.0/24,10.8.0.0/24",
            "PodRangeInvalid: annotation weir.dev/pod-cidrs: `10.8.0.0/24` is a second range of its family; has uid-a 1h 10.244.0.0/24",
        ),
    ] {
        a.wanted = Some(wanted.to_owned());
        assert_eq!(claimed(&held, &a, &settings), expected, "{wanted}");
    }
}

#[test]
fn exhaustion_names_the_range_and_takes_nothing_away() {
    let full = settings(&["10.244.0.0/23"]);
    let held = book(&[
        ("a", "uid-a 1h 10.244.0.0/24"),
        ("b", "uid-b 1h 10.244.1.0/24"),
    ]);
    assert_eq!(
        claimed(&held, &asker("c"), &full),
        "PodRangesExhausted: no /24 of 10.244.0.0/23 is free: add an IPv4 range to clusterPodCIDRs; has nothing"
    );
    let more = settings(&["10.244.0.0/23", "10.9.0.0/16"]);
    assert_eq!(
        claimed(&held, &asker("c"), &more),
        "writes uid-c 1h 10.9.0.0/24"
    );
    // A family that is added later, which has no room for all: what the node has stays.
    let second = settings(&["10.244.0.0/23", "fd00::/64"]);
    let held = book(&[("a", "uid-a 1h 10.244.0.0/24"), ("b", "uid-b 1h fd00::/64")]);
    let a = claimed(&held, &asker("a"), &second);
    assert!(a.ends_with("has uid-a 1h 10.244.0.0/24"), "{a}");
}

#[test]
fn what_nobody_understands_or_two_have_stops_claims() {
    let settings = settings(&["10.244.0.0/16"]);
    let broken = book(&[("a", "uid-a 1h 10.244.0.0/24"), ("x", "10.244.1.0/24")]);
    let b = claimed(&broken, &asker("b"), &settings);
    assert!(
        b.starts_with("PodRangesUnreadable: ") && b.contains("x: `10.244.1.0/24`"),
        "{b}"
    );
    assert!(claimed(&broken, &asker("a"), &settings).ends_with("has uid-a 1h 10.244.0.0/24"));
    let twice = book(&[
        ("a", "uid-a 1h 10.244.0.0/24"),
        ("b", "uid-b 1h 10.244.0.0/16"),
    ]);
    for node in ["a", "b"] {
        let told = claimed(&twice, &asker(node), &settings);
        assert!(
            told.starts_with("PodRangeTaken: ") && told.ends_with("has nothing"),
            "{told}"
        );
    }
}

#[test]
fn a_new_time_to_keep_is_written_before_anybody_relies_on_it() {
    let mut settings = settings(&["10.244.0.0/16"]);
    settings.ranges.give_back_after = Period::from_secs(7200);
    let held = book(&[("a", "uid-a 1h 10.244.0.0/24")]);
    assert_eq!(
        claimed(&held, &asker("a"), &settings),
        "writes uid-a 2h 10.244.0.0/24"
    );
}
