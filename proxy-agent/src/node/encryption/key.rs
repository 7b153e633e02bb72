//! Keys: the private one in a file of this node alone, the public one as base64, as `wg` writes both.

use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    str::FromStr,
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Only the agent reads it.
pub(super) const MODE: u32 = 0o600;

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
    pub(super) fn random() -> io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::from)?;
        key[0] &= 0b1111_1000;
        key[31] = key[31] & 0b0111_1111 | 0b0100_0000;
        Ok(Self(key))
    }

    /// What others know of it.
    pub fn public(&self) -> PublicKey {
        let secret = x25519_dalek::StaticSecret::from(self.0);
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }

    /// The one of a file; none if there is no file. One that others may read is refused.
    pub(super) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let found = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.with_context(|| format!("read {}", path.display()))?,
        };
        if found.permissions().mode() & 0o077 != 0 {
            bail!(
                "{} may be read by others than its owner; hint: remove it, and the agent makes a new key",
                path.display()
            );
        }
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let key = decode(&text).map_err(|why| {
            anyhow::anyhow!(
                "{} holds no key: {why}; hint: remove it, and the agent makes a new one",
                path.display()
            )
        })?;
        Ok(Some(Self(key)))
    }

    /// Writes it to a file, whole at once, so that no half of one is ever read.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let hidden = path.with_extension("new");
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
            writeln!(file, "{}", STANDARD.encode(self.0))?;
            file.sync_all()?;
            fs::rename(&hidden, path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alice's and Bob's of RFC 7748, 6.1.
    #[test]
    fn the_public_half_is_that_of_the_standard() {
        for (private, public) in [
            (
                "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=",
                "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
            ),
            (
                "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=",
                "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
            ),
        ] {
            let private = PrivateKey(decode(private).unwrap());
            assert_eq!(private.public().to_string(), public);
        }
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
