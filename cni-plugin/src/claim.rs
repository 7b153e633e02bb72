//! Recovery: attachments whose key was lost with their records, and that the runtime names again: by DEL, CHECK, or the list of GC.

use std::{io, time::Instant};

use crate::{
    attachment::Attachment,
    ledger,
    paths::Paths,
    protocol::error::Error,
    rpc::Key,
    wiring::name::{host_ifname, stand_in},
};

/// Gives record and addresses to `key`, if one that stands in for it has them: true then. Of a record that cannot be read
/// nothing is taken: it stays, and its interface decides.
pub fn claim(paths: &Paths, key: &Key, deadline: Instant) -> Result<bool, Error> {
    let stand_in = stand_in(&host_ifname(key));
    let former = paths.attachment(&stand_in);
    if stand_in == *key || !former.exists() {
        return Ok(false);
    }
    let _held = ledger::hold(paths, deadline)?;
    let mut record = match Attachment::read(&former) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io(format!("read {}", former.display()), &e)),
        Ok(record) => record,
    };
    let mut state = ledger::read(paths, &record.boot_id)?;
    record.add.key = key.clone();
    // Killed half-way it has two records, which the next claim makes one.
    ledger::record(paths, &record)?;
    let leases = state.leases.iter_mut();
    for lease in leases.filter(|lease| lease.key == stand_in) {
        lease.key = key.clone();
    }
    ledger::write(paths, &state)?;
    ledger::remove(&former)?;
    Ok(true)
}
