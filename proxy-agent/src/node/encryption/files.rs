//! The node's keys on disk: the present one, and beside it the next one and when the present one was made.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;

use super::{
    key::PrivateKey,
    made::Made,
    rotation::{Age, Held, Shown, Step},
};

/// Name of the present key's file, in the agent's folder.
pub const PRESENT: &str = "wireguard.key";
/// Name of the next one's.
pub const NEXT: &str = "wireguard-next.key";
/// For how long a key is young.
const YOUNG: Duration = Duration::from_mins(1);

/// The keys of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// That which the device is to have.
    pub present: PrivateKey,
    /// That which is to take its place once others can know it.
    pub next: Option<PrivateKey>,
}

/// Where they are.
#[derive(Clone, Debug)]
pub struct Files {
    present: PathBuf,
    next: PathBuf,
    made: PathBuf,
}

impl Files {
    /// In the agent's folder.
    pub fn of(folder: &Path) -> Self {
        let present = folder.join(PRESENT);
        Self {
            next: folder.join(NEXT),
            made: Made::file(&present),
            present,
        }
    }

    /// All of them.
    pub fn all(self) -> [PathBuf; 3] {
        [self.made, self.next, self.present]
    }

    /// Does what is due ([`Held::step`]), and gives the keys. `device`: the key that is in use. One is old after `rotation` (zero:
    /// never), by the clock of this boot ([`Made`]), which no calendar moves: one of an earlier boot is too old, and one of which
    /// nobody noted when it was made is taken to be made now.
    pub fn turn(
        &self,
        device: Option<&PrivateKey>,
        rotation: Duration,
        now: &Made,
        shown: Shown,
    ) -> anyhow::Result<Keys> {
        // Each step ends in one that is not the same.
        loop {
            let present = PrivateKey::read(&self.present)?;
            let next = PrivateKey::read(&self.next)?;
            let held = Held {
                present: present.as_ref().map(PrivateKey::public),
                next: next.as_ref().map(PrivateKey::public),
                device: device.map(PrivateKey::public),
                age: self.age(rotation, now)?,
            };
            match (held.step(shown), present, device) {
                (Step::Stay, Some(present), _) => return Ok(Keys { present, next }),
                (Step::Restore, _, Some(device)) => device.write(&self.present)?,
                (Step::Prepare, ..) => make(&self.next)?,
                (Step::Adopt, ..) => self.adopt(now)?,
                _ => self.begin(now)?,
            }
        }
    }

    /// The note before the key, which never looks older than it is then.
    fn begin(&self, now: &Made) -> anyhow::Result<()> {
        now.write(&self.made)?;
        make(&self.present)
    }

    fn adopt(&self, now: &Made) -> anyhow::Result<()> {
        now.write(&self.made)?;
        fs::rename(&self.next, &self.present)
            .with_context(|| format!("rename {}", self.next.display()))?;
        tracing::info!("the next key of this node is the present one");
        Ok(())
    }

    fn age(&self, rotation: Duration, now: &Made) -> anyhow::Result<Age> {
        let Some(made) = Made::read(&self.made) else {
            if exists(&self.present)? {
                now.write(&self.made)?;
            }
            return Ok(Age::Settled);
        };
        Ok(if !rotation.is_zero() && made.is_older(now, rotation) {
            Age::Old
        } else if made.is_older(now, YOUNG) {
            Age::Settled
        } else {
            Age::Young
        })
    }
}

fn make(path: &Path) -> anyhow::Result<()> {
    PrivateKey::random().context("make a key")?.write(path)?;
    tracing::info!(path = %path.display(), "key of this node made");
    Ok(())
}

fn exists(path: &Path) -> anyhow::Result<bool> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

#[cfg(test)]
mod tests;
