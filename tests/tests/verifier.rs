//! Every program of the object passes the verifier of the kernel that runs this test. Run on the kernels of
//! the matrix too (`cargo xtask kernels`).

use aya::{EbpfLoader, programs::Program};
use proxy_agent::datapath::{drop_log, object::OBJECT};

#[test]
fn every_program_loads() {
    every_program_loads_that(false);
}

#[test]
fn every_program_loads_that_tells_of_dropped_packets() {
    every_program_loads_that(true);
}

fn every_program_loads_that(tells: bool) {
    let mut loader = EbpfLoader::new();
    drop_log::set(&mut loader, tells);
    let mut ebpf = loader.load(OBJECT).expect("create the object's maps");
    let mut names: Vec<String> = Vec::new();
    let mut refused: Vec<String> = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        names.push(name.to_owned());
        if let Err(why) = load(program) {
            refused.push(format!("{name}: {why}"));
        }
    }
    assert!(
        refused.is_empty(),
        "{} of {} programs refused:\n{}",
        refused.len(),
        names.len(),
        refused.join("\n")
    );
    assert!(!names.is_empty(), "the object has no programs");
}

fn load(program: &mut Program) -> Result<(), String> {
    let loaded = match program {
        Program::CgroupSock(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::Xdp(program) => program.load(),
        other => {
            return Err(format!(
                "type {:?} is not attached by anyone",
                other.prog_type()
            ));
        }
    };
    loaded.map_err(|error| format!("{error:?}"))
}
