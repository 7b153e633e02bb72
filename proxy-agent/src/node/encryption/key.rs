//! Keys: the private one in a file of this node alone, the public one as base64, as `wg` writes both.

use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::made::Made;

/// Name of the private key's file, in the agent's folder.
pub const FILE: &str = "wireguard.key";
/// Only the agent reads it.
const MODE: u32 = 0o600;

/// What others know of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// What nobody else may know.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        decode(text).map(Self)
    }
}

/// 32 bytes that are not all zero: the kernel takes those for none.
fn decode(text: &str) -> Result<[u8; 32], String> {
    let bytes = STANDARD.decode(text.trim());
    let bytes = bytes.map_err(|error| format!("it is not base64: {error}"))?;
    let length = bytes.len();
    let key: [u8; 32] = bytes
        .try_into()
        .map_err(|_wrong| format!("it has {length} bytes, a key 32"))?;
    if key == [0; 32] {
        return Err("it is zero".to_owned());
    }
    Ok(key)
}

impl PrivateKey {
    /// A new one: random bits, but for those that Curve25519 fixes (RFC 7748, 5).
    fn random() -> io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::from)?;
        key[0] &= 0b1111_1000;
        key[31] = key[31] & 0b0111_1111 | 0b0100_0000;
        Ok(Self(key))
    }

    /// The node's, from its file; a new one if there is none, or it is older than `rotation` (zero: never too old). Its age is
    /// told by the clock of this boot ([`Made`]), which no calendar moves: one of an earlier boot is too old, and one of which
    /// nobody noted when it was made is taken to be made now.
    pub fn of_node(path: &Path, rotation: Duration, now: &Made) -> anyhow::Result<Self> {
        let found = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found.with_context(|| format!("read {}", path.display()))?),
        };
        let Some(found) = found else {
            return Self::make(path, now);
        };
        if found.permissions().mode() & 0o077 != 0 {
            bail!(
                "{} may be read by others than its owner; hint: remove it, and the agent makes a new key",
                path.display()
            );
        }
        let key = Self::read(path)?;
        let note = Made::file(path);
        match Made::read(&note) {
            None => now.write(&note)?,
            Some(made) if !rotation.is_zero() && made.is_older(now, rotation) => {
                return Self::make(path, now);
            }
            Some(_) => {}
        }
        Ok(key)
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        decode(&text).map(Self).map_err(|why| {
            anyhow::anyhow!(
                "{} holds no key: {why}; hint: remove it, and the agent makes a new one",
                path.display()
            )
        })
    }

    /// Whole at once, so that no half of one is ever read.
    fn make(path: &Path, now: &Made) -> anyhow::Result<Self> {
        let key = Self::random().context("make a key")?;
        let hidden = path.with_extension("new");
        // Before the key, which never looks older than it is then.
        now.write(&Made::file(path))?;
        let write = || -> io::Result<()> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            // One that was cut off may have been made by somebody else.
            match fs::remove_file(&hidden) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(MODE)
                .open(&hidden)?;
            writeln!(file, "{}", STANDARD.encode(key.0))?;
            file.sync_all()?;
            fs::rename(&hidden, path)
        };
        write().with_context(|| format!("write {}", path.display()))?;
        tracing::info!(path = %path.display(), "key of this node made");
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot: &str, seconds: u64) -> Made {
        Made {
            boot: boot.to_owned(),
            seconds,
        }
    }

    #[test]
    fn the_age_of_a_key_is_told_by_no_calendar() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let day = Duration::from_hours(24);
        let key = |now: Made| PrivateKey::of_node(&path, day, &now).unwrap();
        let first = key(at("a", 100));
        // The calendar steps both ways.
        for years in [-20_i64, 20] {
            let file = fs::File::options().write(true).open(&path).unwrap();
            let step = Duration::from_hours(years.unsigned_abs() * 24 * 365);
            let now = std::time::SystemTime::now();
            let stepped = if years < 0 { now - step } else { now + step };
            file.set_modified(stepped).unwrap();
            assert_eq!(key(at("a", 100 + 86_399)), first, "{years}");
        }
        let second = key(at("a", 100 + 86_400));
        assert_ne!(second, first);
        assert_eq!(key(at("a", 100 + 86_401)), second);
        let third = key(at("b", 5));
        assert_ne!(third, second, "of an earlier boot");
        assert_eq!(key(at("b", 6)), third);
        // As a former version left it.
        fs::remove_file(Made::file(&path)).unwrap();
        assert_eq!(key(at("b", 7)), third);
        assert_eq!(key(at("b", 7 + 86_399)), third);
        assert_ne!(key(at("b", 7 + 86_400)), third);
    }

    #[test]
    fn a_key_stays_until_it_is_old_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run").join(FILE);
        let day = Duration::from_hours(24);
        let now = at("a", 1);
        let first = PrivateKey::of_node(&path, Duration::ZERO, &now).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(PrivateKey::of_node(&path, day, &now).unwrap(), first);
        let late = at("a", 2 * 86_400);
        let never = Duration::ZERO;
        assert_eq!(PrivateKey::of_node(&path, never, &late).unwrap(), first);
        let second = PrivateKey::of_node(&path, day, &late).unwrap();
        assert_ne!(second, first);
        assert_eq!(PrivateKey::of_node(&path, day, &late).unwrap(), second);
        fs::remove_file(&path).unwrap();
        assert_ne!(PrivateKey::of_node(&path, day, &late).unwrap(), second);
    }

    #[test]
    fn what_is_no_key_is_neither_used_nor_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "AAAA\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE)).unwrap();
        let said = PrivateKey::of_node(&path, Duration::ZERO, &at("a", 1)).unwrap_err();
        assert!(said.to_string().contains("hint: remove it"), "{said:#}");
        fs::remove_file(&path).unwrap();
        PrivateKey::of_node(&path, Duration::ZERO, &at("a", 1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let said = PrivateKey::of_node(&path, Duration::ZERO, &at("a", 1)).unwrap_err();
        assert!(
            said.to_string().contains("may be read by others"),
            "{said:#}"
        );
    }

    #[test]
    fn public_keys_are_written_as_wg_writes_them() {
        let text = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        for wrong in [
            "",
            "AAAA",
            "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8D",
            "?",
        ] {
            wrong.parse::<PublicKey>().unwrap_err();
        }
    }
}
