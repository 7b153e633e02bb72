//! The sandbox image: one program that sleeps, packed as an OCI archive.

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Writes an archive with `program` (busybox) under `name`.
pub(super) fn write(to: &Path, program: &Path, name: &str) -> Result<()> {
    let contents = std::fs::read(program).with_context(|| format!("read {}", program.display()))?;
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "pause", &contents, 0o755)?;
    let layer = layer.into_inner()?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Entrypoint": ["/pause", "sleep", "1000000"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = serde_json::to_vec(&config)?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))?;
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name,
    });
    let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [entry] }))?;
    let mut archive = tar::Builder::new(File::create(to)?);
    append(
        &mut archive,
        "oci-layout",
        br#"{"imageLayoutVersion":"1.0.0"}"#,
        0o644,
    )?;
    for blob in [&layer, &config, &manifest] {
        let path = digest(blob).replace(':', "/");
        append(&mut archive, &format!("blobs/{path}"), blob, 0o644)?;
    }
    append(&mut archive, "index.json", &index, 0o644)?;
    archive.finish().context("write the archive")
}

fn append<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    contents: &[u8],
    mode: u32,
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(contents.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, path, contents)?;
    Ok(())
}

fn digest(blob: &[u8]) -> String {
    let hash = Sha256::digest(blob);
    let hex: Vec<String> = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", hex.concat())
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}
