//! Archives as other programs write them, and malformed ones.

use super::*;
use std::process::Command;

fn list(bytes: &[u8]) -> Result<Vec<(ArchiveMember, Vec<u8>)>, TarError> {
    let mut tar = Tarball::new(bytes);
    let mut found = Vec::new();
    while let Some(member) = tar.next()? {
        let mut content = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            match tar.read(&mut buffer)? {
                0 => break,
                n => content.extend_from_slice(&buffer[..n]),
            }
        }
        found.push((member, content));
    }
    Ok(found)
}

/// A header with a right checksum.
fn header(name: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_path(name).expect("path");
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

fn archive(parts: &[(Header, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (header, content) in parts {
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

#[test]
fn every_form_of_gnu_tar() {
    let temp = tempfile::tempdir().expect("temp");
    let long = "n".repeat(200);
    std::fs::create_dir_all(temp.path().join("d").join(&long)).expect("dir");
    std::fs::write(temp.path().join("d").join(&long).join("file"), "content").expect("file");
    std::os::unix::fs::symlink("t".repeat(300), temp.path().join("d/link")).expect("link");
    let sparse = std::fs::File::create(temp.path().join("d/sparse")).expect("file");
    for at in 0..60u64 {
        std::os::unix::fs::FileExt::write_at(&sparse, b"data", at << 20).expect("write");
    }
    sparse.set_len(100 << 20).expect("size");
    let whole = std::fs::read(temp.path().join("d/sparse")).expect("read");
    for args in [
        &["--format=gnu", "--sparse"][..],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=gnu"],
        &["--format=posix"],
    ] {
        let file = temp.path().join("out.tar");
        let done =
            Command::new("tar").args(args).arg("-C").arg(temp.path()).arg("-cf").arg(&file).arg("d").status();
        let Ok(status) = done else { return };
        assert!(status.success());
        let found = list(&std::fs::read(&file).expect("read")).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        let get = |name: &str| {
            let fits = |(m, _): &&(ArchiveMember, Vec<u8>)| m.name.ends_with(name.as_bytes());
            found.iter().find(fits).unwrap_or_else(|| panic!("{args:?}: {name}"))
        };
        assert_eq!(found.len(), 5, "{args:?}");
        assert_eq!(get("/file").1, b"content");
        assert_eq!(get("/file").0.name, format!("d/{long}/file").as_bytes());
        assert_eq!(get("d/link").0.target, "t".repeat(300).as_bytes());
        let (member, content) = get("d/sparse");
        let mut unpacked = vec![0; 100 << 20];
        match &member.sparse {
            None => unpacked.copy_from_slice(content),
            Some((map, size)) => {
                assert_eq!(*size, 100 << 20);
                let mut rest = &content[..];
                for (offset, length) in map {
                    let (part, tail) = rest.split_at(usize::try_from(*length).expect("length"));
                    let at = usize::try_from(*offset).expect("offset");
                    unpacked[at..at + part.len()].copy_from_slice(part);
                    rest = tail;
                }
            }
        }
        assert_eq!(member.sparse.is_some(), args.contains(&"--sparse"), "{args:?}");
        assert!(unpacked == whole, "{args:?}");
    }
}

#[test]
fn attributes_from_pax_records() {
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while format!("{length}{rest}").len() != length {
            length += 1;
        }
        format!("{length}{rest}")
    };
    let pax = [
        record("path", "long/name"),
        record("uid", "70000"),
        record("mtime", "-1.25"),
        record("SCHILY.xattr.user.a", "x=\ny"),
        record("size", "3"),
    ]
    .concat();
    let bytes = archive(&[
        (header("pax", EntryType::XHeader, pax.len() as u64), pax.as_bytes()),
        (header("short", EntryType::Regular, 0), b"abc"),
        (header("old/", EntryType::Regular, 0), b""),
    ]);
    let found = list(&bytes).expect("archive");
    let (member, content) = &found[0];
    assert_eq!((member.name.as_slice(), content.as_slice()), (&b"long/name"[..], &b"abc"[..]));
    assert_eq!((member.uid, member.mtime), (70000, (-2, 750_000_000)));
    assert_eq!(member.xattrs, [(b"user.a".to_vec(), b"x=\ny".to_vec())]);
    assert_eq!((found[1].0.kind, found.len()), (MemberKind::Directory, 2));
}

#[test]
fn cuts_are_seen_at_every_byte() {
    let bytes = archive(&[
        (header("a", EntryType::Regular, 600), &[7; 600]),
        (header("././@LongLink", EntryType::GNULongName, 5), b"name\0"),
        (header("b", EntryType::Regular, 0), b""),
    ]);
    assert_eq!(list(&bytes).expect("whole").len(), 2);
    // The end mark is two blocks, of which one is enough.
    for cut in 0..bytes.len() - 1024 + 511 {
        assert!(list(&bytes[..cut]).is_err(), "{cut}");
    }
    for flip in 0..512 {
        let mut bytes = bytes.clone();
        bytes[flip] ^= 0x41;
        assert!(list(&bytes).is_err(), "{flip}");
    }
}

#[test]
fn lengths_are_not_believed() {
    let error = |parts: &[(Header, &[u8])]| match list(&archive(parts)) {
        Err(e) => e.to_string(),
        Ok(found) => panic!("{found:?}"),
    };
    let huge = header("x", EntryType::GNULongName, 8 << 40);
    assert!(error(&[(huge, b"")]).contains("more than 1 MiB"));
    let endless = header("x", EntryType::Regular, u64::MAX >> 2);
    assert!(error(&[(endless, b"abc")]).contains("truncated"));
    for pax in
        ["9 size=\n", "99999 a=b\n", "-1 a=b\n", "6 a=b", "7 ab=cd\n", "30 size=99999999999999999999\n"]
    {
        let record = header("p", EntryType::XHeader, pax.len() as u64);
        let file = header("f", EntryType::Regular, 0);
        assert!(error(&[(record, pax.as_bytes()), (file, b"")]).contains("bad header"), "{pax}");
    }
    let mut owner = header("x", EntryType::Regular, 0);
    owner.set_uid(u64::from(u32::MAX));
    owner.set_cksum();
    assert!(error(&[(owner, b"")]).contains("owner"));
    for map in ["5,1,0,1", "0,99", "18446744073709551615,2", "a,b"] {
        let text = format!(" GNU.sparse.map={map}\n");
        let size = " GNU.sparse.size=10\n";
        let pax = format!("{}{size}{}{text}", size.len() + 2, text.len() + 2);
        let record = header("p", EntryType::XHeader, pax.len() as u64);
        let file = header("f", EntryType::Regular, 2);
        assert!(error(&[(record, pax.as_bytes()), (file, b"ab")]).contains("sparse map"), "{map}");
    }
}

#[test]
fn damage_anywhere_is_an_error_or_nothing() {
    let pax = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n27 GNU.sparse.realsize=100\n";
    let map = [b"1\n0\n3\n".as_slice(), &[0; 506], b"abc"].concat();
    let bytes = archive(&[
        (header("p", EntryType::XHeader, pax.len() as u64), &pax[..]),
        (header("sparse", EntryType::Regular, map.len() as u64), &map),
        (header("././@LongLink", EntryType::GNULongLink, 5), b"name\0"),
        (header("link", EntryType::Symlink, 0), b""),
    ]);
    let found = list(&bytes).expect("whole");
    assert_eq!(found[0].0.sparse, Some((vec![(0, 3)], 100)));
    assert_eq!((found[0].1.as_slice(), found[1].0.target.as_slice()), (&b"abc"[..], &b"name"[..]));
    // A generator of its own, so that a failure comes again.
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits")
    };
    for _ in 0..20_000 {
        let mut bytes = bytes.clone();
        for _ in 0..1 + random() % 3 {
            let at = random() % bytes.len();
            bytes[at] = [0, 0xff, b'9', b' ', b'\n', 0x80][random() % 6];
            // With a right checksum the damage gets further.
            let block = at / 512 * 512;
            let mut fixed = Header::new_old();
            fixed.as_mut_bytes().copy_from_slice(&bytes[block..block + 512]);
            if fixed.cksum().is_ok() {
                fixed.set_cksum();
                bytes[block..block + 512].copy_from_slice(fixed.as_bytes());
            }
        }
        if let Ok(found) = list(&bytes) {
            assert!(found.iter().map(|(_, content)| content.len()).sum::<usize>() < bytes.len());
        }
    }
}
