//! Writes images as docker-archive files, which containerd, kind and Docker all import: no registry, no builder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::arch::Arch;

/// One image.
#[derive(Debug)]
pub(crate) struct Image {
    /// Full names, tag included.
    pub(crate) names: Vec<String>,
    /// What its programs run on.
    pub(crate) arch: Arch,
    /// Uncompressed tar files, the lowest first.
    pub(crate) layers: Vec<PathBuf>,
    /// Program that a container runs if its pod names none.
    pub(crate) entrypoint: Vec<&'static str>,
    /// Its arguments if the pod names none.
    pub(crate) command: Vec<&'static str>,
    /// What it says of itself (OCI image spec, annotations.md).
    pub(crate) labels: BTreeMap<&'static str, String>,
}

/// Writes all images into one archive; layers that they share are written once.
pub(crate) fn write(images: &[Image], path: &Path) -> Result<()> {
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    let file =
        File::create(&fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
    let mut tar = tar::Builder::new(BufWriter::new(file));
    let mut written: Vec<String> = Vec::new();
    let mut manifest = Vec::new();
    for image in images {
        let digests: Vec<String> = image
            .layers
            .iter()
            .map(|layer| digest(layer))
            .collect::<Result<_>>()?;
        for (layer, digest) in image.layers.iter().zip(&digests) {
            if !written.contains(digest) {
                tar.append_path_with_name(layer, layer_name(digest))?;
                written.push(digest.clone());
            }
        }
        manifest.push(describe(&mut tar, image, &digests)?);
    }
    append(
        &mut tar,
        "manifest.json",
        Value::from(manifest).to_string().as_bytes(),
    )?;
    tar.into_inner()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    std::fs::rename(&fresh, path)
        .with_context(|| format!("cannot rename {} to {}", fresh.display(), path.display()))
}

/// Appends an image's configuration; returns its entry in the manifest.
fn describe<W: io::Write>(
    tar: &mut tar::Builder<W>,
    image: &Image,
    digests: &[String],
) -> Result<Value> {
    let config = json!({
        "architecture": image.arch.name(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": image.entrypoint,
            "Cmd": image.command,
            "Labels": image.labels,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": digests.iter().map(|digest| format!("sha256:{digest}")).collect::<Vec<_>>(),
        },
    })
    .to_string();
    let name = format!("{}.json", hex(&Sha256::digest(config.as_bytes())));
    append(tar, &name, config.as_bytes())?;
    Ok(json!({
        "Config": name,
        "RepoTags": image.names,
        "Layers": digests.iter().map(|digest| layer_name(digest)).collect::<Vec<_>>(),
    }))
}

fn layer_name(digest: &str) -> String {
    format!("{digest}/layer.tar")
}

fn append<W: io::Write>(tar: &mut tar::Builder<W>, name: &str, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, bytes)
        .with_context(|| format!("cannot write {name}"))
}

fn digest(path: &Path) -> Result<String> {
    let mut file = BufReader::new(
        File::open(path).with_context(|| format!("cannot open {}", path.display()))?,
    );
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::{Arch, Image, Value, write};

    /// The image's configuration and its name, which is its digest.
    fn configuration(archive: &Path) -> (String, Value) {
        let mut tar = tar::Archive::new(fs::File::open(archive).unwrap());
        let entry = tar.entries().unwrap().map(Result::unwrap).find(|entry| {
            let path = entry.path().unwrap();
            path.to_string_lossy().ends_with(".json") && !path.ends_with("manifest.json")
        });
        let entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_reader(entry).unwrap())
    }

    #[test]
    fn equal_layers_make_an_equal_image_with_its_labels() {
        let folder = tempfile::tempdir().unwrap();
        let [layer, first, second] =
            ["layer.tar", "1.tar", "2.tar"].map(|name| folder.path().join(name));
        fs::write(&layer, [0; 1024]).unwrap();
        let image = Image {
            names: vec!["localhost/x:1".to_owned()],
            arch: Arch::Arm64,
            layers: vec![layer],
            entrypoint: vec!["/x"],
            command: Vec::new(),
            labels: BTreeMap::from([("org.opencontainers.image.title", "x".to_owned())]),
        };
        for archive in [&first, &second] {
            write(std::slice::from_ref(&image), archive).unwrap();
        }
        let (name, made) = configuration(&first);
        assert_eq!(
            made["config"]["Labels"]["org.opencontainers.image.title"],
            "x"
        );
        assert_eq!(made["architecture"], "arm64");
        assert_eq!(configuration(&second).0, name);
    }
}
