//! Which function of a program calls which, from the object: the verifier tells the stack of each function, but adds
//! them up along the calls without a word.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use aya_obj::{Function, Object, generated::bpf_insn};
use proxy_agent::datapath::object::OBJECT;

/// What nobody calls where packets that are sent are not told of: the kernel takes it out whole
/// (<https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/verifier.c#L19155>).
const TELLING: &str = "log_frame_sent";
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_LD | BPF_IMM | BPF_DW`.
const LOAD: u8 = 0x18;
/// As source of [`CALL`], `BPF_PSEUDO_CALL`: of a function of the program.
const OF_OURS: u8 = 1;
/// As source of [`LOAD`], `BPF_PSEUDO_FUNC`: of a function, as a helper calls it back.
const FUNCTION: u8 = 4;

/// All programs with the functions that they call.
pub(super) struct Calls {
    object: Object,
    /// Names by BTF id.
    names: BTreeMap<u32, String>,
}

/// The deepest chain of calls.
#[derive(Clone, Default)]
pub(super) struct Chain {
    /// What the kernel counts for it.
    pub(super) bytes: u32,
    /// Names with their own bytes, the caller first.
    functions: Vec<(String, u32)>,
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (name, bytes) in &self.functions {
            write!(f, "{between}{name} {bytes}")?;
            between = " > ";
        }
        Ok(())
    }
}

impl Calls {
    /// Reads the object and links its programs, as aya does when it loads them.
    pub(super) fn read() -> Self {
        let mut object = Object::parse(OBJECT).unwrap();
        let functions = object.functions.values();
        let names = functions
            .filter_map(|function| {
                let info = function.func_info.func_info.first()?;
                Some((info.type_id, short(&function.name)))
            })
            .collect();
        let text: HashSet<usize> = object.functions.keys().map(|(index, _)| *index).collect();
        object.relocate_calls(&text).unwrap();
        Self { object, names }
    }

    /// The deepest chain of calls of a program whose functions need these frames, in the order of their first
    /// instructions.
    pub(super) fn deepest(&self, program: &str, frames: &[u32]) -> Result<Chain, String> {
        let key = self.object.programs[program].function_key();
        let linked = &self.object.functions[&key];
        let starts = starts(&linked.instructions);
        let names = self.names_of(program, linked);
        let mut frames = frames.to_vec();
        if frames.len() < starts.len() {
            let telling = |start: &usize| names.get(start).is_some_and(|name| name == TELLING);
            let gone = starts
                .iter()
                .position(telling)
                .filter(|at| *at <= frames.len());
            gone.inspect(|at| frames.insert(*at, 0));
        }
        if starts.len() != frames.len() {
            return Err(format!("{starts:?} begin functions, of which {frames:?}"));
        }
        let functions = starts.iter().zip(frames).map(|(start, frame)| {
            let name = names.get(start).map_or("?", String::as_str);
            (name.to_owned(), frame)
        });
        let functions: Vec<(String, u32)> = functions.collect();
        Ok(deepest_of(
            0,
            &called(&linked.instructions, &starts),
            &functions,
        ))
    }

    /// Names by first instruction.
    fn names_of(&self, program: &str, linked: &Function) -> BTreeMap<usize, String> {
        let informed = linked.func_info.func_info.iter().filter_map(|info| {
            let name = self.names.get(&info.type_id)?;
            Some((info.insn_off as usize, name.clone()))
        });
        informed.chain([(0, program.to_owned())]).collect()
    }
}

/// The name of a function without what it is in.
fn short(name: &str) -> String {
    let plain = format!("{:#}", rustc_demangle::demangle(name));
    let words = plain.split("::<").next().unwrap_or(&plain);
    let last = words.rsplit("::").next().unwrap_or(words);
    let family = ["V4", "V6"]
        .into_iter()
        .find(|family| plain.contains(family));
    family.map_or(last.to_owned(), |family| format!("{last}<{family}>"))
}

/// What an instruction calls: the index of a function's first instruction.
fn target(at: usize, instruction: bpf_insn) -> Option<usize> {
    let calls = match instruction.code {
        CALL => instruction.src_reg() == OF_OURS,
        LOAD => instruction.src_reg() == FUNCTION,
        _ => false,
    };
    let place = (at + 1).checked_add_signed(instruction.imm as isize);
    place.filter(|_| calls)
}

/// First instructions of all functions, in order.
fn starts(instructions: &[bpf_insn]) -> Vec<usize> {
    let targets = instructions.iter().enumerate();
    let mut starts: Vec<usize> = targets.filter_map(|(at, one)| target(at, *one)).collect();
    starts.push(0);
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// The functions that each function calls, by their places in `starts`.
fn called(instructions: &[bpf_insn], starts: &[usize]) -> Vec<Vec<usize>> {
    let place = |start: usize| starts.partition_point(|other| *other <= start) - 1;
    let mut called = vec![Vec::new(); starts.len()];
    for (at, instruction) in instructions.iter().enumerate() {
        if let Some(target) = target(at, *instruction) {
            called[place(at)].push(place(target));
        }
    }
    called
}

/// The kernel counts at least one byte for a function, and rounds each frame up to 32
/// (<https://elixir.bootlin.com/linux/v6.1/source/kernel/bpf/verifier.c#L4407>).
fn deepest_of(function: usize, called: &[Vec<usize>], functions: &[(String, u32)]) -> Chain {
    let below = called[function]
        .iter()
        .map(|callee| deepest_of(*callee, called, functions));
    let mut chain = below.max_by_key(|chain| chain.bytes).unwrap_or_default();
    let own = functions[function].clone();
    chain.bytes += own.1.max(1).next_multiple_of(32);
    chain.functions.insert(0, own);
    chain
}

#[test]
fn the_deepest_chain_counts_frames_rounded_up() {
    let functions = [("a", 8), ("b", 0), ("c", 40), ("d", 65)].map(|(n, b)| (n.to_owned(), b));
    // a calls b and c, b calls d.
    let called = [vec![1, 2], vec![3], vec![], vec![]];
    let chain = deepest_of(0, &called, &functions);
    assert_eq!(chain.bytes, 32 + 32 + 96);
    assert_eq!(chain.to_string(), "a 8 > b 0 > d 65");
}
