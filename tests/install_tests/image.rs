//! OCI image layouts: layers, whiteouts, digests.

use super::*;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// One layer: `(name, content)`; a name ending in `/` is a directory, a content `-> x` a link.
fn layer(members: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = Header::new_gnu();
        header.set_mode(if name.ends_with('/') { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        if let Some(target) = content.strip_prefix("-> ") {
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, name, target).expect("link");
            continue;
        }
        header.set_entry_type(if name.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes()).expect("member");
    }
    tar.into_inner().expect("tar")
}

fn blob(layout: &Path, content: &[u8]) -> (String, usize) {
    let digest: String = Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
    fs::create_dir_all(layout.join("blobs/sha256")).expect("dir");
    fs::write(layout.join("blobs/sha256").join(&digest), content).expect("blob");
    (format!("sha256:{digest}"), content.len())
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

fn manifest(layout: &Path, layers: &[Vec<u8>]) -> serde_json::Value {
    let layers: Vec<_> = layers
        .iter()
        .map(|l| {
            let (digest, size) = blob(layout, l);
            serde_json::json!({"mediaType": LAYER, "digest": digest, "size": size})
        })
        .collect();
    let text = serde_json::json!({"schemaVersion": 2, "config": {}, "layers": layers}).to_string();
    let (digest, size) = blob(layout, text.as_bytes());
    serde_json::json!({"mediaType": MANIFEST, "digest": digest, "size": size})
}

fn index(layout: &Path, manifests: &[serde_json::Value]) {
    let text = serde_json::json!({"schemaVersion": 2, "manifests": manifests}).to_string();
    fs::write(layout.join("index.json"), text).expect("index");
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("layout");
}

fn install(zone: &mut Zone, layout: &Path) -> Result<(), InstallError> {
    zone.install(&["-o", &layout.display().to_string()])
}

fn names(zone: &Zone, dir: &str) -> Vec<String> {
    let top = zone.inside(dir);
    walk(&top).iter().map(|p| p.strip_prefix(&top).expect("below").display().to_string()).collect()
}

#[test]
fn layers_lie_over_each_other() {
    let mut zone = Zone::new(&[]);
    let layout = zone.beside("layout");
    let one = layer(&[
        ("usr/", ""),
        ("usr/bin/", ""),
        ("usr/bin/sh", "shell"),
        ("bin", "-> usr/bin"),
        ("a/", ""),
        ("a/keep", "1"),
        ("a/gone", "1"),
        ("a/tree/x", "1"),
        ("b/", ""),
        ("b/old", "1"),
        ("b/sub/old", "1"),
        ("b/sub/deep/old", "1"),
        ("c", "a file"),
        ("d/in", "a directory"),
        ("e", "-> /proc"),
    ]);
    let two = flate(&layer(&[
        // Through a link of the lower layer, as the specification says.
        ("bin/new", "2"),
        ("a/.wh.gone", ""),
        ("a/.wh.tree", ""),
        ("a/.wh.never", ""),
        ("b/sub/new", "2"),
        // The opaque mark hides lower layers only, wherever it stands in its own.
        ("b/.wh..wh..opq", ""),
        ("b/new", "2"),
        ("c/", ""),
        ("c/now", "2"),
        ("d", "2"),
        ("e/", ""),
        ("e/file", "2"),
        ("none/.wh.x", ""),
        (".wh..wh.plnk", ""),
    ]));
    let three = zstd::encode_all(&layer(&[("a/again", "3"), ("b/.wh.new", "")])[..], 1).expect("zstd");
    let manifest = manifest(&layout, &[one, two, three]);
    index(&layout, &[manifest]);
    install(&mut zone, &layout).expect("install");
    assert_eq!(names(&zone, "a"), ["again", "keep"]);
    assert_eq!(names(&zone, "b"), ["sub", "sub/new"]);
    assert_eq!((names(&zone, "c"), names(&zone, "e")), (vec!["now".to_owned()], vec!["file".to_owned()]));
    assert_eq!(read(zone.inside("d")), "2");
    assert_eq!(fs::read_link(zone.inside("bin")).expect("link"), Path::new("usr/bin"));
    assert_eq!(names(&zone, "usr/bin"), ["new", "sh"]);
    assert!(!zone.inside("none").exists());
    assert!(walk(&zone.inside("")).iter().all(|p| !p.display().to_string().contains(".wh.")));
}

fn flate(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut to, bytes).expect("gzip");
    to.finish().expect("gzip")
}

#[test]
fn links_of_layers_stay_inside() {
    let mut zone = Zone::new(&[]);
    let (layout, out) = (zone.beside("layout"), zone.beside("out"));
    put(&out.join("file"), "outside", 0o644);
    let target = format!("-> {}", out.display());
    let one = layer(&[("usr/", ""), ("l", &target), ("up", "-> ../../../../../../..")]);
    let two = layer(&[
        ("up/file", "in the root"),
        ("up/.wh.gone", ""),
        (&format!("up{}/.wh.file", out.display()), ""),
        ("l/.wh..wh..opq", ""),
    ]);
    let manifest = manifest(&layout, &[one, two]);
    index(&layout, &[manifest]);
    install(&mut zone, &layout).expect("install");
    assert_eq!(read(zone.inside("file")), "in the root");
    assert_eq!(read(out.join("file")), "outside");
}

#[test]
fn damage_is_found_before_anything_is_made() {
    let mut zone = Zone::new(&[]);
    let layout = zone.beside("layout");
    let content = layer(&[("usr/", ""), ("file", "content")]);
    let good = manifest(&layout, std::slice::from_ref(&content));
    let (digest, _) = blob(&layout, &content);
    let path = layout.join("blobs/sha256").join(&digest["sha256:".len()..]);
    let mut check = |expect: &str| {
        let error = install(&mut zone, &layout).expect_err(expect).to_string();
        assert!(error.contains(expect), "{error}");
        assert_eq!(zone.state(), ZoneState::Configured);
        assert!(!zone.path("zones").exists());
    };
    check("index.json: No such file");
    fs::write(layout.join("index.json"), "{").expect("write");
    check("index.json: EOF while parsing");
    index(&layout, &[]);
    check("no image for linux");
    index(&layout, std::slice::from_ref(&good));
    let mut flipped = content.clone();
    flipped[600] ^= 1;
    fs::write(&path, &flipped).expect("write");
    check("the image is damaged");
    fs::write(&path, &content[..content.len() - 1]).expect("write");
    check("bytes and should have");
    fs::remove_file(&path).expect("remove");
    check("No such file or directory");
    // What is no file is not waited for.
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    check("not a regular file");
    fs::remove_file(&path).expect("remove");
    for digest in ["sha256:../../../etc/shadow", "md5:0", &format!("sha256:{}", "A".repeat(64))] {
        let mut bad = good.clone();
        bad["digest"] = digest.into();
        index(&layout, &[bad]);
        check("digest");
    }
    fs::write(&path, &content).expect("write");
    for (kind, expect) in
        [("application/x+encrypted", "encrypted"), ("text/plain", "not a part of a file system")]
    {
        let (digest, size) = blob(&layout, &content);
        let text =
            serde_json::json!({"layers": [{"mediaType": kind, "digest": digest, "size": size}]}).to_string();
        let (digest, size) = blob(&layout, text.as_bytes());
        index(&layout, &[serde_json::json!({"mediaType": MANIFEST, "digest": digest, "size": size})]);
        check(expect);
    }
}

#[test]
fn the_image_for_this_machine_is_chosen() {
    let mut zone = Zone::new(&[]);
    let layout = zone.beside("layout");
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let image = |content: &str, arch: &str, name: Option<&str>| {
        let mut found = manifest(&layout, &[layer(&[("usr/", ""), ("which", content)])]);
        found["platform"] = serde_json::json!({"os": "linux", "architecture": arch});
        if let Some(name) = name {
            found["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": name});
        }
        found
    };
    // An index in the index, as tools write it for several machines.
    let inner = serde_json::json!({"manifests": [image("other", "pdp11", None), image("mine", arch, None)]});
    let (digest, size) = blob(&layout, inner.to_string().as_bytes());
    let kind = "application/vnd.oci.image.index.v1+json";
    index(&layout, &[serde_json::json!({"mediaType": kind, "digest": digest, "size": size})]);
    install(&mut zone, &layout).expect("install");
    assert_eq!(read(zone.inside("which")), "mine");
    zone.uninstall().expect("uninstall");

    index(&layout, &[image("a", arch, Some("1.0")), image("b", arch, Some("2.0"))]);
    let error = install(&mut zone, &layout).expect_err("several").to_string();
    assert!(error.ends_with("choose one with -o LAYOUT:NAME: 1.0, 2.0"), "{error}");
    zone.install(&["-o", &format!("{}:2.0", layout.display())]).expect("install");
    assert_eq!(read(zone.inside("which")), "b");
    zone.uninstall().expect("uninstall");
    let error = zone.install(&["-o", &format!("{}:3", layout.display())]).expect_err("none").to_string();
    assert!(error.contains("no image '3'"), "{error}");
    index(&layout, &[image("other", "pdp11", None)]);
    assert!(install(&mut zone, &layout).expect_err("arch").to_string().contains("no image for linux on"));
}
