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
    /// Reads `stack depth 96+0+32` and `processed 1234 insns (limit 1000000) …`
    /// (<https://elixir.bootlin.com/linux/v6.1/source/kernel/bpf/verifier.c#L15009>). Kernels that load a program whose
    /// global functions are verified one by one say it once, for all.
    pub(super) fn parse(log: &str) -> Option<Self> {
        let after = |word: &str| log.lines().rev().find_map(|line| line.strip_prefix(word));
        let frames = after("stack depth ")?.split_whitespace().next()?.split('+');
        let processed = after("processed ")?.split_whitespace().next()?;
        Some(Self {
            frames: frames
                .map(|frame| frame.parse().ok())
                .collect::<Option<_>>()?,
            processed: processed.parse().ok()?,
        })
    }
}

#[test]
fn a_log_is_read() {
    let log = "func#1 @9\nverification time 1289 usec\nstack depth 96+0+32\n\
               processed 1234 insns (limit 1000000) max_states_per_insn 4 total_states 91\n";
    let facts = Facts {
        frames: vec![96, 0, 32],
        processed: 1234,
    };
    assert_eq!(Facts::parse(log), Some(facts));
    assert_eq!(Facts::parse("processed 1234 insns"), None);
}
