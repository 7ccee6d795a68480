//! Archives: packings, kept attributes, and attacks.

use std::io::Write;

use super::*;
use tar::{EntryType, Header};

/// Builds an archive with names that the `tar` crate itself would refuse to write.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn add(mut self, name: &str, kind: EntryType, target: &str, content: &[u8], mode: u32) -> Self {
        let mut header = Header::new_gnu();
        let fields = header.as_gnu_mut().expect("gnu");
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_mtime(1_000_000_000);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
    fn dir(self, name: &str) -> Self {
        self.add(name, EntryType::Directory, "", b"", 0o755)
    }
    fn file(self, name: &str, content: &str) -> Self {
        self.add(name, EntryType::Regular, "", content.as_bytes(), 0o644)
    }
    fn symlink(self, name: &str, target: &str) -> Self {
        self.add(name, EntryType::Symlink, target, b"", 0o777)
    }
    fn hard_link(self, name: &str, target: &str) -> Self {
        self.add(name, EntryType::Link, target, b"", 0o644)
    }
    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn small() -> Vec<u8> {
    Tar::default()
        .dir("./")
        .dir("usr/")
        .dir("usr/bin/")
        .add("usr/bin/su", EntryType::Regular, "", b"#!", 0o4755)
        .hard_link("usr/bin/su2", "usr/bin/su")
        .symlink("bin", "usr/bin")
        .file("no/dirs/before/file", "deep")
        .add("run/pipe", EntryType::Fifo, "", b"", 0o600)
        .add("dev/null", EntryType::Char, "", b"", 0o666)
        .add("var/zeros", EntryType::Regular, "", &vec![0; 1 << 20], 0o600)
        .file("etc/hosts", "own")
        .file("etc/resolv.conf", "")
        .file("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        .dir("root")
        .end()
}

fn pack(bytes: &[u8], packing: &str) -> Vec<u8> {
    match packing {
        "gzip" => {
            let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            to.write_all(bytes).expect("gzip");
            to.finish().expect("gzip")
        }
        "xz" => {
            let mut to = liblzma::write::XzEncoder::new(Vec::new(), 1);
            to.write_all(bytes).expect("xz");
            to.finish().expect("xz")
        }
        "zstd" => zstd::encode_all(bytes, 1).expect("zstd"),
        _ => bytes.to_vec(),
    }
}

/// Installs from bytes; the name of the file says nothing about its content.
fn install(zone: &mut Zone, bytes: &[u8]) -> Result<(), InstallError> {
    let file = zone.beside("archive.zip");
    fs::write(&file, bytes).expect("write");
    zone.install(&["-a", &file.display().to_string()])
}

#[test]
fn every_packing_gives_the_same_root() {
    for packing in ["plain", "gzip", "xz", "zstd"] {
        let mut zone = Zone::new(&[]);
        install(&mut zone, &pack(&small(), packing)).unwrap_or_else(|e| panic!("{packing}: {e}"));
        assert_eq!(zone.state(), ZoneState::Installed);
        let su = fs::metadata(zone.inside("usr/bin/su")).expect("stat");
        assert_eq!((su.uid(), su.gid(), su.mode() & 0o7777, su.nlink()), (1000, 1001, 0o4755, 2));
        assert_eq!(
            (su.mtime(), su.ino()),
            (1_000_000_000, fs::metadata(zone.inside("usr/bin/su2")).expect("stat").ino())
        );
        assert_eq!(fs::metadata(zone.inside("usr")).expect("stat").mtime(), 1_000_000_000);
        let link = fs::symlink_metadata(zone.inside("bin")).expect("stat");
        assert!(link.is_symlink() && link.uid() == 1000);
        assert_eq!(read(zone.inside("no/dirs/before/file")), "deep");
        assert_eq!((mode(zone.inside("no")), mode(zone.inside("run/pipe"))), (0o755, 0o600));
        let zeros = fs::metadata(zone.inside("var/zeros")).expect("stat");
        assert_eq!((zeros.len(), zeros.blocks()), (1 << 20, 0));
        assert!(!zone.inside("dev/null").exists() && zone.inside("dev").is_dir());
        let root = fs::metadata(zone.inside("")).expect("stat");
        assert_eq!((root.uid(), root.mode() & 0o7777), (0, 0o755), "not as the archive says");
        // Its own name and machine id, but what the archive brings stays.
        assert_eq!(read(zone.inside("etc/hosts")), "own");
        let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        assert_eq!(read(zone.inside("etc/resolv.conf")), host, "an empty one is a place for the host's");
        assert_eq!(read(zone.inside("etc/hostname")), "zion\n");
        assert_ne!(read(zone.inside("etc/machine-id")), "0123456789abcdef0123456789abcdef\n");
        assert!(!zone.inside("etc/shadow").exists());
        assert_eq!(zone.heard.said.len(), 2, "{:?}", zone.heard.said);
        assert!(zone.heard.said[0].contains("device nodes left out: 1;"));
        let (done, total) = *zone.heard.progress.last().expect("progress");
        assert!(done == total && total > 0);
        zone.uninstall().expect("uninstall");
        assert!(!zone.path("zones/zion").exists());
    }
}

#[test]
fn attacks_do_not_leave_the_root() {
    let long = "d/".repeat(49);
    let outside = "OUTSIDE";
    let attacks: Vec<(&str, Tar, &str)> = vec![
        ("up", Tar::default().file("../../../../OUTSIDE/pwned", "x"), "leads out of the zone's root"),
        ("up inside", Tar::default().dir("a").file("a/../../pwned", "x"), "leads out of the zone's root"),
        ("through a link", Tar::default().symlink("l", outside).file("l/pwned", "x"), "symbolic link"),
        ("a directory through a link", Tar::default().symlink("l", outside).dir("l/pwned"), "symbolic link"),
        (
            "a link through a link",
            Tar::default().symlink("l", outside).symlink("l/pwned", "x"),
            "symbolic link",
        ),
        (
            "a hard link through a link",
            Tar::default().symlink("l", outside).hard_link("h", "l/secret"),
            "symbolic link",
        ),
        ("a hard link up", Tar::default().hard_link("h", "../../../../OUTSIDE/secret"), "leads out"),
        ("a hard link to nothing", Tar::default().hard_link("h", "none"), "which is not there"),
        ("a hard link to the host", Tar::default().hard_link("h", "OUTSIDE/secret"), "which is not there"),
        ("a long name", Tar::default().dir(&long).hard_link("x", &long), "archive"),
    ];
    for (what, tar, expect) in attacks {
        let mut zone = Zone::new(&[]);
        let dir = zone.beside("o");
        put(&dir.join("secret"), "secret", 0o600);
        let short = dir.display().to_string();
        assert!(short.len() < 60, "fits into the header");
        let mut bytes = tar.end();
        // The placeholder is replaced in names and targets, and checksums made anew.
        for block in 0..bytes.len() / 512 {
            let block = &mut bytes[block * 512..][..512];
            let mut header = Header::new_old();
            header.as_mut_bytes().copy_from_slice(block);
            if header.cksum().is_err() || block.iter().all(|b| *b == 0) {
                continue;
            }
            for field in [0..100, 157..257] {
                let text = String::from_utf8_lossy(&block[field.clone()]).trim_end_matches('\0').to_owned();
                let text = text.replace(outside, short.trim_start_matches('/'));
                let text = if text.starts_with("tmp") { format!("/{text}") } else { text };
                block[field.clone()].fill(0);
                block[field.start..field.start + text.len()].copy_from_slice(text.as_bytes());
            }
            header.as_mut_bytes().copy_from_slice(block);
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        let error = install(&mut zone, &bytes).expect_err(what);
        assert!(error.to_string().contains(expect), "{what}: {error}");
        // A root in which nothing was unpacked is taken away again.
        let unpacked = zone.path("zones/zion/root").exists();
        assert_eq!(error.hint().is_some(), unpacked, "{what}");
        assert_eq!(walk(&dir), [dir.join("secret")], "{what}");
        let secret = fs::metadata(dir.join("secret")).expect("stat");
        assert_eq!((secret.nlink(), secret.uid(), secret.mode() & 0o777), (1, 0, 0o600), "{what}");
        let state = if unpacked { ZoneState::Incomplete } else { ZoneState::Configured };
        assert_eq!(zone.state(), state, "{what}");
        if unpacked {
            zone.uninstall().expect(what);
        }
        assert_eq!(zone.state(), ZoneState::Configured, "{what}");
        assert_eq!(walk(&dir), [dir.join("secret")], "{what}");
    }
}

#[test]
fn what_means_something_to_the_host_only() {
    let mut zone = Zone::new(&[]);
    let record = |text: &str| {
        let length = (1..).find(|n| *n == text.len() + 2 + n.to_string().len()).expect("a number");
        format!("{length} {text}\n")
    };
    let attributes: String =
        ["trusted.overlay.redirect=/etc", "security.selinux=x", "security.ima=x", "user.kept=x"]
            .map(|a| record(&format!("SCHILY.xattr.{a}")))
            .concat();
    let size = record(&format!("GNU.sparse.size={}", 1_u64 << 62)) + &record("GNU.sparse.map=0,1");
    let bytes = Tar::default()
        .dir("usr")
        .add("x", EntryType::XHeader, "", attributes.as_bytes(), 0o644)
        .file("file", "x")
        .add("sda", EntryType::Block, "", b"", 0o666)
        .add("mem", EntryType::Char, "", b"", 0o666)
        .add("pipe", EntryType::Fifo, "", b"", 0o666)
        .end();
    install(&mut zone, &bytes).expect("install");
    let list = |name: &str| {
        let mut buffer = [0; 1024];
        let length = rustix::fs::lgetxattr(zone.inside("file"), name, &mut buffer);
        length.is_ok()
    };
    for name in ["trusted.overlay.redirect", "security.selinux", "security.ima"] {
        assert!(!list(name), "{name}");
    }
    assert!(!zone.inside("sda").exists() && !zone.inside("mem").exists());
    let told = zone.heard.said.join("\n");
    assert!(told.contains("device nodes left out: 2;") && told.contains(": sda, mem."), "{told}");
    let attributes = "attributes left out: 3: trusted.overlay.redirect of file, security.selinux of file, security.ima of file.";
    assert!(told.contains(attributes), "{told}");
    zone.uninstall().expect("uninstall");
    // A file that is larger than any can be takes neither room nor time.
    let bytes = Tar::default()
        .dir("usr")
        .add("x", EntryType::XHeader, "", size.as_bytes(), 0o644)
        .file("bomb", "x")
        .end();
    match install(&mut zone, &bytes) {
        Ok(()) => assert!(fs::metadata(zone.inside("bomb")).expect("it is there").blocks() < 100),
        Err(e) => assert!(e.to_string().contains("bomb"), "{e}"),
    }
}

#[test]
fn absolute_names_are_meant_from_the_root_and_later_members_win() {
    let mut zone = Zone::new(&[]);
    let out = zone.beside("o");
    put(&out, "outside", 0o644);
    let target = out.display().to_string();
    let bytes = Tar::default()
        .file("/etc/absolute", "inside")
        // A file in place of a link is a file; the link's target is not written.
        .symlink("etc/swapped", &target)
        .file("etc/swapped", "inside")
        // Links to the link, and of attributes that only the link has.
        .symlink("link", &target)
        .hard_link("second", "link")
        // A directory in place of a link.
        .symlink("dir", "/")
        .dir("dir")
        .file("dir/file", "inside")
        .file("file", "first")
        .file("file", "second")
        .end();
    install(&mut zone, &bytes).expect("install");
    assert_eq!(read(zone.inside("etc/absolute")), "inside");
    assert_eq!(read(zone.inside("etc/swapped")), "inside");
    assert_eq!(read(zone.inside("file")), "second");
    assert_eq!(read(zone.inside("dir/file")), "inside");
    assert!(fs::symlink_metadata(zone.inside("second")).expect("stat").is_symlink());
    assert_eq!((read(&out).as_str(), fs::metadata(&out).expect("stat").uid()), ("outside", 0));
}

#[test]
fn a_hostile_etc_does_not_lead_our_own_files_out() {
    let mut zone = Zone::new(&[]);
    let out = zone.beside("o");
    put(&out.join("hostname"), "outside", 0o644);
    let target = out.display().to_string();
    // Seen from inside, the link leads to nothing.
    let error =
        install(&mut zone, &Tar::default().dir("usr").symlink("etc", &target).end()).expect_err("etc");
    assert!(error.to_string().contains("/etc: No such file or directory"), "{error}");
    zone.uninstall().expect("uninstall");
    // A link in place of the file itself is replaced.
    let bytes =
        Tar::default().dir("etc").symlink("etc/hostname", &out.join("hostname").display().to_string()).end();
    install(&mut zone, &bytes).expect("install");
    assert_eq!(read(zone.inside("etc/hostname")), "zion\n");
    zone.uninstall().expect("uninstall");
    // Boot would mount over a place outside.
    let error = install(&mut zone, &Tar::default().symlink("dev", &target).end()).expect_err("dev");
    assert!(error.to_string().contains("must be a directory"), "{error}");
    assert_eq!(walk(&out), [out.join("hostname")]);
    assert_eq!(read(out.join("hostname")), "outside");
}

#[test]
fn damaged_and_foreign_files_are_named() {
    let mut zone = Zone::new(&[]);
    let whole = small();
    for packing in ["plain", "gzip", "xz", "zstd"] {
        let packed = pack(&whole, packing);
        let error = install(&mut zone, &packed[..packed.len() * 2 / 3]).expect_err(packing).to_string();
        assert!(
            error.contains("archive.zip: ") && error.contains("of the unpacked archive"),
            "{packing}: {error}"
        );
        assert!(error.contains("truncated"), "{packing}: {error}");
        assert_eq!(zone.state(), ZoneState::Incomplete);
        zone.uninstall().expect("uninstall");
        if packing != "plain" {
            let mut flipped = packed.clone();
            let at = flipped.len() - 6;
            flipped[at] ^= 0x55;
            let error = install(&mut zone, &flipped).err().map(|e| e.to_string());
            assert!(packing == "zstd" || error.is_some(), "{packing} has a checksum");
            zone.uninstall().expect("uninstall");
        }
    }
    let cut = install(&mut zone, &whole[..whole.len() - 1024]).expect_err("no end mark").to_string();
    assert!(cut.contains("no end mark"), "{cut}");
    zone.uninstall().expect("uninstall");
    for (bytes, expect) in [
        (&b""[..], "the file is empty"),
        (b"BZh91AY", "bzip2"),
        (b"PK\x03\x04", "zip archive"),
        (&[7; 5000], "not a tar archive"),
        (b"hello", "not a tar archive"),
    ] {
        let error = install(&mut zone, bytes).expect_err(expect);
        assert!(error.to_string().contains(expect), "{error}");
        assert_eq!(zone.state(), ZoneState::Configured, "{expect}: refused early");
    }
    assert!(zone.install(&["-a", "/no/such"]).expect_err("missing").to_string().contains("No such file"));
    assert!(
        zone.install(&["-a", "/tmp"]).expect_err("a directory").to_string().contains("not a regular file")
    );
}

/// Returns a record of an extended header.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).find(|n: &usize| *n == rest + n.to_string().len()).expect("a number");
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

#[test]
fn access_lists_are_kept() {
    let mut zone = Zone::new(&[]);
    let gnu = b"user::rw-\nuser:ann:r--\ngroup::r--\nmask::r--\nother::---\n";
    let star = b"user::rwx,user:7:rwx,group::r-x,mask::rwx,other::r-x";
    let raw: Vec<u8> = [&[2, 0, 0, 0][..], &[1, 0, 6, 0, 255, 255, 255, 255], &[2, 0, 4, 0, 9, 0, 0, 0]]
        .into_iter()
        .chain([&[4, 0, 4, 0, 255, 255, 255, 255][..], &[16, 0, 4, 0, 255, 255, 255, 255]])
        .chain([&[32, 0, 0, 0, 255, 255, 255, 255][..]])
        .flatten()
        .copied()
        .collect();
    let header = |content: &[u8]| content.to_vec();
    let bytes = Tar::default()
        .add("x", EntryType::XHeader, "", &header(&record("SCHILY.acl.access", gnu)), 0o644)
        .file("early", "x")
        .add("x", EntryType::XHeader, "", &header(&record("SCHILY.acl.default", star)), 0o644)
        .dir("dir")
        .add(
            "x",
            EntryType::XHeader,
            "",
            &header(&record("SCHILY.xattr.system.posix_acl_access", &raw)),
            0o644,
        )
        .file("raw", "x")
        .add("x", EntryType::XHeader, "", &header(&record("SCHILY.acl.access", gnu)), 0o644)
        .file("twice", "x")
        .file("twice", "without")
        .add("x", EntryType::XHeader, "", &header(&record("SCHILY.acl.access", b"user:bob:rwx")), 0o644)
        .file("unknown", "x")
        // The names count that the archive's own accounts have, although they come later.
        .dir("etc")
        .file("etc/passwd", "root:x:0:0::/:\nann:x:1234:1234::/:\n")
        .end();
    install(&mut zone, &bytes).expect("install");
    let list = |name: &str, attribute: &str| -> Vec<u8> {
        let mut buffer = [0; 1024];
        let length = rustix::fs::lgetxattr(zone.inside(name), attribute, &mut buffer).unwrap_or(0);
        buffer[..length].to_vec()
    };
    let access = |name: &str| list(name, "system.posix_acl_access");
    assert_eq!(access("early")[12..20], [2, 0, 4, 0, 0xd2, 4, 0, 0], "ann is 1234 there");
    assert_eq!(list("dir", "system.posix_acl_default")[12..20], [2, 0, 7, 0, 7, 0, 0, 0]);
    assert_eq!(access("raw"), raw);
    assert_eq!((access("twice"), access("unknown")), (Vec::new(), Vec::new()));
    let told = zone.heard.said.join("\n");
    assert!(told.contains("access lists left out") && told.contains(": unknown."), "{told}");
}

#[test]
fn keys_of_an_archive_are_made_anew() {
    let mut zone = Zone::new(&[]);
    let bytes = Tar::default()
        .dir("etc")
        .dir("etc/ssh")
        .file("etc/ssh/sshd_config", "own")
        .file("etc/ssh/ssh_host_ed25519_key", "everybody's")
        .file("etc/ssh/ssh_host_ed25519_key.pub", "everybody's")
        .file("etc/ssh/ssh_host_dsa_key", "everybody's")
        .dir("var")
        .dir("var/lib")
        .dir("var/lib/systemd")
        .file("var/lib/systemd/random-seed", "everybody's")
        .end();
    install(&mut zone, &bytes).expect("install");
    let ssh = |name: &str| fs::read_to_string(zone.inside("etc/ssh").join(name)).unwrap_or_default();
    assert_eq!(ssh("sshd_config"), "own");
    assert!(ssh("ssh_host_ed25519_key").contains("PRIVATE KEY"), "{}", ssh("ssh_host_ed25519_key"));
    assert!(ssh("ssh_host_ed25519_key.pub").contains("root@zion"));
    assert!(
        !zone.inside("etc/ssh/ssh_host_dsa_key").exists()
            && !zone.inside("var/lib/systemd/random-seed").exists()
    );
    let told = zone.heard.said.join("\n");
    assert!(told.contains("ssh host keys were made anew") && told.contains("ed25519"), "{told}");
}

#[test]
fn systems_without_systemd_get_a_login_on_the_console() {
    let mut zone = Zone::new(&[]);
    let inittab = "id:2:initdefault:\n1:2345:respawn:/sbin/getty --noclear 38400 tty1\n";
    install(&mut zone, &Tar::default().dir("etc").file("etc/inittab", inittab).end()).expect("install");
    let done = read(zone.inside("etc/inittab"));
    assert!(
        done.contains("\n#1:2345:") && done.ends_with("\nco:2345:respawn:/sbin/getty 38400 console linux\n"),
        "{done}"
    );
    assert!(zone.heard.said.join("\n").contains("one on the console"), "{:?}", zone.heard.said);
    zone.uninstall().expect("uninstall");
    let openrc = Tar::default()
        .dir("etc")
        .dir("etc/init.d")
        .file("etc/init.d/agetty", "#!/sbin/openrc-run\n")
        .dir("etc/runlevels")
        .dir("etc/runlevels/default")
        .end();
    install(&mut zone, &openrc).expect("install");
    let link = |name: &str| fs::read_link(zone.inside(name)).expect("a link").display().to_string();
    assert_eq!(link("etc/init.d/agetty.console"), "agetty");
    assert_eq!(link("etc/runlevels/default/agetty.console"), "/etc/init.d/agetty.console");
}
