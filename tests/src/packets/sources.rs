//! Filling `SOURCES*`.

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{LpmTrie, lpm_trie::Key},
};
use ipnetwork::IpNetwork;
use proxy_agent::service::sources::Source;
use proxy_common::sources::SOURCE_ALLOWED;

use super::bench::Bench;

impl Bench {
    /// Lets these clients use the frontends with `FLAG_SOURCES` of a Service port.
    pub fn serve_only(&mut self, id: u32, ranges: &[IpNetwork]) -> Result<()> {
        for range in ranges {
            match Source::new(id, *range) {
                Source::V4(key) => self.allow("SOURCES4", key.length, key.data)?,
                Source::V6(key) => self.allow("SOURCES6", key.length, key.data)?,
            }
        }
        Ok(())
    }

    fn allow<K: Pod>(&mut self, name: &str, length: u32, data: K) -> Result<()> {
        let map = self.ebpf.map_mut(name);
        let map = map.with_context(|| format!("no map {name}"))?;
        LpmTrie::try_from(map)?.insert(&Key::new(length, data), SOURCE_ALLOWED, 0)?;
        Ok(())
    }
}
