//! Liveness, in the file `heartbeat`: when the agent last showed that it lives, in seconds since boot.

use std::{fs, io, path::Path, time::Duration};

use crate::clock;

/// An agent that beats every two seconds and has not for so long is hung, or dead. A full comparison of a large cluster
/// takes a fraction of this.
pub const AWAY: Duration = Duration::from_secs(10);

/// Beats.
pub fn beat(path: &Path) -> io::Result<()> {
    fs::write(path, clock::now().to_string())
}

/// How long the agent has been silent. None: it never said, or what it said is being written.
pub fn silence(path: &Path) -> Option<Duration> {
    let text = fs::read_to_string(path).ok()?;
    let stamp = text.trim().parse().ok()?;
    Some(Duration::from_secs(clock::age(clock::now(), stamp)))
}

/// Whether the agent is known to be away.
pub fn is_away(path: &Path) -> bool {
    silence(path).is_some_and(|silence| silence > AWAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_from_the_last_beat() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heartbeat");
        assert_eq!(silence(&path), None);
        beat(&path).unwrap();
        assert!(silence(&path).unwrap() < Duration::from_secs(2));
        assert!(!is_away(&path));
        fs::write(&path, clock::now().saturating_sub(11).to_string()).unwrap();
        assert_eq!(is_away(&path), clock::now() > 11);
        // Of the future, half written, of an older version: no reason to give the agent up.
        for text in ["99999999999", "", "x"] {
            fs::write(&path, text).unwrap();
            assert!(!is_away(&path), "{text:?}");
        }
    }
}
