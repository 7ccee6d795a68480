//! `install -o`: a folder in the layout of the Open Container Initiative.
//!
//! `index.json` names manifests, a manifest names layers, all by digest. Every digest is verified
//! before anything is made, so that a damaged image leaves the zone configured.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::InstallError;
use super::archive::{self, detect_file};
use super::unpack::Unpacker;
use crate::apply::Notice;
use crate::apply::fault;
use crate::plan::install::{Layer, Packing};
use crate::spec::shown::Show;
use crate::sys::naive::without;
use crate::sys::path::{At, Dir, reason};

/// Longest index or manifest; the specification asks for at least 4 MiB.
const JSON_MAX: u64 = 4 << 20;

/// Indexes in indexes.
const NESTING: usize = 4;

/// Annotation with the name of an image.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct ImageManifest {
    layers: Vec<Descriptor>,
}

/// Looks at a layout and returns the layers of its image, lowest first, each of them verified.
///
/// `reference` chooses one of several images by name.
///
/// # Errors
/// The message of an error in the layout.
pub(super) fn inspect(layout: &Path, reference: Option<&str>) -> Result<Vec<Layer>, String> {
    let index: Index = json(&layout.join("index.json"))?;
    let mut found = choose(&index.manifests, reference)?;
    for _ in 0..NESTING {
        let path = verified(layout, &found)?.0;
        if !is_index(&found, &path)? {
            let manifest: ImageManifest = json(&path)?;
            return manifest.layers.iter().map(|l| layer(layout, l)).collect();
        }
        let index: Index = json(&path)?;
        found = choose(&index.manifests, None)?;
    }
    Err("indexes are nested too deeply".to_owned())
}

/// Some tools leave the media type out; the content shows it as well.
fn is_index(descriptor: &Descriptor, path: &Path) -> Result<bool, String> {
    match descriptor.media_type.as_str() {
        "application/vnd.oci.image.index.v1+json"
        | "application/vnd.docker.distribution.manifest.list.v2+json" => Ok(true),
        "application/vnd.oci.image.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v2+json" => Ok(false),
        "" => Ok(json::<serde_json::Value>(path)?.get("manifests").is_some()),
        other => Err(format!("'{}' is not an image", other.shown())),
    }
}

/// Chooses the image for this machine.
fn choose(list: &[Descriptor], reference: Option<&str>) -> Result<Descriptor, String> {
    let machine = architecture(std::env::consts::ARCH);
    let name = |d: &Descriptor| d.annotations.get(REF_NAME).cloned();
    let named: Vec<_> = match reference {
        None => list.iter().collect(),
        Some(reference) => list.iter().filter(|d| name(d).as_deref() == Some(reference)).collect(),
    };
    let names = || {
        let shown = |name: String| name.shown().to_string();
        list.iter().filter_map(name).map(shown).collect::<Vec<_>>().join(", ")
    };
    if let (Some(reference), true) = (reference, named.is_empty()) {
        return Err(format!("it holds no image '{reference}'; it has: {}", names()));
    }
    let fits: Vec<_> = named
        .iter()
        .filter(|d| d.platform.as_ref().is_none_or(|p| p.os == "linux" && p.architecture == machine))
        .collect();
    match fits.as_slice() {
        [one] => Ok((**one).clone()),
        [] => Err(format!("it holds no image for linux on {machine}")),
        _ => Err(format!("it holds several images; choose one with -o LAYOUT:NAME: {}", names())),
    }
}

/// Returns the name that images use for an architecture.
fn architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn layer(layout: &Path, descriptor: &Descriptor) -> Result<Layer, String> {
    let kind = descriptor.media_type.as_str();
    if kind.ends_with("+encrypted") {
        return Err(format!("layer {} is encrypted", descriptor.digest.shown()));
    }
    if !kind.is_empty() && !kind.contains(".layer.") && !kind.contains(".rootfs.") {
        return Err(format!(
            "layer {} is '{}', not a part of a file system",
            descriptor.digest.shown(),
            kind.shown()
        ));
    }
    let (path, sha256) = verified(layout, descriptor)?;
    let mut file = open(&path).map_err(|e| format!("{}: {}", path.shown(), reason(&e)))?;
    let packing = detect_file(&mut file).map_err(|e| format!("layer {}: {e}", descriptor.digest.shown()))?;
    Ok(Layer { sha256, size: descriptor.size, packing })
}

/// Returns the path of a blob whose size and digest are as the descriptor says, and the digest.
fn verified(layout: &Path, descriptor: &Descriptor) -> Result<(PathBuf, String), String> {
    let digest = &descriptor.digest;
    let hex = digest
        .strip_prefix("sha256:")
        .ok_or_else(|| format!("digest '{}' is not of kind sha256", digest.shown()))?;
    // The digest becomes a file name: nothing else may pass.
    if !without("digest")
        && (hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
    {
        return Err(format!("'{}' is not a digest", digest.shown()));
    }
    let path = blob(layout, hex);
    let wrong = |e: std::io::Error| format!("{}: {}", path.shown(), reason(&e));
    let mut file = open(&path).map_err(wrong)?;
    let meta = file.metadata().map_err(wrong)?;
    if !meta.is_file() || meta.len() != descriptor.size {
        let (has, should) = (meta.len(), descriptor.size);
        return Err(format!("{}: it has {has} bytes and should have {should}", path.shown()));
    }
    let found = sha256(&mut file).map_err(wrong)?;
    if found != hex && !without("digest") {
        return Err(format!("{}: its content has digest sha256:{found}: the image is damaged", path.shown()));
    }
    Ok((path, hex.to_owned()))
}

/// Opens a file of the layout, and nothing else: a pipe would hold us up for ever.
fn open(path: &Path) -> std::io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("not a regular file")) }
}

fn blob(layout: &Path, hex: &str) -> PathBuf {
    layout.join("blobs/sha256").join(hex)
}

fn sha256(file: &mut File) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let wrong = |e: std::io::Error| format!("{}: {}", path.shown(), reason(&e));
    let mut text = Vec::new();
    open(path).map_err(wrong)?.take(JSON_MAX + 1).read_to_end(&mut text).map_err(wrong)?;
    if text.len() as u64 > JSON_MAX {
        return Err(format!("{}: longer than 4 MiB", path.shown()));
    }
    serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.shown()))
}

/// Fills a root from the layers, lowest first.
pub(super) fn populate(
    out: &mut dyn Notice,
    root: &Dir,
    layout: &Path,
    layers: &[Layer],
) -> Result<(), InstallError> {
    let mut unpacker = Unpacker::image(root);
    for Layer { sha256: digest, size: _, packing } in layers {
        let path = blob(layout, digest);
        let mut file = open(&path).at("open", &path)?;
        // Once more, from the very descriptor that is unpacked: time has passed since the plan.
        if sha256(&mut file).at("read", &path)? != *digest && !without("digest") {
            let why = "it was changed while the zone was being installed".to_owned();
            return Err(InstallError::Source { what: "image layer", path, why });
        }
        file.rewind().at("read", &path)?;
        archive::extract(out, &mut unpacker, file, &path, *packing, *packing != Packing::Plain)?;
        fault::point("layer-unpacked");
    }
    unpacker.left_out.report(out, layout);
    Ok(())
}
