//! What the verifier's log says at level 4, of statistics.

/// Figures of one program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Bytes of stack of each function, in the order of their first instructions.
    pub(super) frames: Vec<u32>,
    /// Instructions that the verifier went through, of a million.
    pub(super) processed: u32,
}

impl Facts {
    /// Reads `stack depth 96+0+32` (<https://elixir.bootlin.com/linux/v6.1/source/kernel/bpf/verifier.c#L15009>), or of
    /// newer kernels lines such as `subprog 1 (memmove) static insns_self 714 insns_total 714 stack 0`, and
    /// `processed 1234 insns (limit 1000000) …`.
    pub(super) fn parse(log: &str) -> Option<Self> {
        let after = |word: &str| log.lines().find_map(|line| line.strip_prefix(word));
        let number = |word: &str| word.parse().ok();
        let processed = after("processed ")?.split_whitespace().next()?;
        let functions = log.lines().filter(|line| line.starts_with("subprog "));
        let mut frames = functions
            .map(|line| number(line.rsplit_once(" stack ")?.1))
            .collect::<Option<Vec<u32>>>()?;
        if frames.is_empty() {
            let depths = after("stack depth ")?.split('+');
            frames = depths.map(number).collect::<Option<_>>()?;
        }
        Some(Self {
            frames,
            processed: number(processed)?,
        })
    }
}

#[test]
fn both_forms_of_a_log_are_read() {
    let facts = Facts {
        frames: vec![96, 0, 32],
        processed: 1234,
    };
    let end = "processed 1234 insns (limit 1000000) max_states_per_insn 4 total_states 91\n";
    let plain = format!("func#1 @9\nverification time 1289 usec\nstack depth 96+0+32\n{end}");
    let functions = "subprog 0 (connect6) main insns_self 2065 insns_total 4921 stack 96\n\
                     subprog 1 (memmove) static insns_self 714 insns_total 714 stack 0\n\
                     subprog 2 (v4) global insns_self 280 insns_total 280 stack 32\n";
    let newer = format!("verification time 1 usec\nstack depth max 96\n{functions}{end}");
    assert_eq!(Facts::parse(&plain).as_ref(), Some(&facts));
    assert_eq!(Facts::parse(&newer), Some(facts));
    assert_eq!(Facts::parse(end), None);
}
