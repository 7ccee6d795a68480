//! Inherited directories: the zone's root reads of them what every user of the host can, and no more.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::Lab;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Long enough for what was just made to count as settled: before, the list of programs is not kept.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(3100));
}

/// Directories of the host, of which one holds set-user-id programs that are to work.
struct Shared {
    plain: PathBuf,
    system: PathBuf,
}

impl Shared {
    /// Makes both with the same content: what everybody can read, and what is closed in one way or another.
    fn make(lab: &Lab) -> Self {
        lab.open_to_all();
        let made = Self { plain: lab.path().join("plain"), system: lab.path().join("system") };
        for dir in [&made.plain, &made.system] {
            fs::create_dir(dir).expect("a folder");
            mode(dir, 0o755);
            for sub in ["sub", "open", "known"] {
                fs::create_dir(dir.join(sub)).expect("a folder");
                mode(&dir.join(sub), 0o755);
            }
            let files = [
                ("secret", 0o600),
                ("group", 0o640),
                ("sub/file", 0o644),
                ("known/secret", 0o600),
                ("open/file", 0o644),
                ("foreign", 0o600),
            ];
            for (name, bits) in files {
                fs::write(dir.join(name), name).expect("a file");
                mode(&dir.join(name), bits);
            }
            chown(dir.join("foreign"), Some(990), Some(990)).expect("chown");
            for (name, bits) in
                [("program", 0o4755), ("capable", 0o755), ("hidden", 0o4711), ("plain", 0o755)]
            {
                fs::copy("/usr/bin/id", dir.join(name)).expect("a program");
                mode(&dir.join(name), bits);
            }
            mode(&dir.join("sub"), 0o700);
            mode(&dir.join("known"), 0o711);
            symlink("open/../open/file", dir.join("link")).expect("a link");
        }
        made
    }

    /// The resource of the one as it is by default.
    fn default(&self) -> String {
        format!("add inherit-pkg-dir\nset dir={}\nend\n", self.plain.display())
    }

    fn lines(&self) -> String {
        let system = self.system.display();
        format!("{}add inherit-pkg-dir\nset dir={system}\nset setuid=true\nend", self.default())
    }
}

/// Files that `Shared` closes.
const CLOSED: [&str; 8] =
    ["secret", "group", "sub", "sub/file", "known/secret", "known", "foreign", "hidden"];

/// Attacks a directory and returns what has been read of it that is closed.
fn read(lab: &Lab, dir: &Path, names: &[&str]) -> String {
    let mut words = vec![dir.display().to_string()];
    words.extend(names.iter().map(|name| dir.join(name).display().to_string()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    lab.script("zion", include_str!("attack/read_closed.py"), &words).out
}

/// Attacks a directory of a running zone, and looks that the way to what is open is not closed with the rest.
fn attack(lab: &Lab, dir: &Path) {
    assert_eq!(read(lab, dir, &CLOSED), "end\n", "{}", dir.display());
    let at = |name: &str| dir.join(name).display().to_string();
    let run = lab.sh("zion", &format!("cat {} {} && {} -un", at("open/file"), at("link"), at("plain")));
    assert_eq!((run.status, run.out.as_str()), (0, "open/fileopen/fileroot\n"), "{run:?}");
    let run = lab.sh("zion", &format!("cd {} && cd .. && pwd && ls", at("open")));
    assert!(run.out.starts_with(&dir.display().to_string()) && run.out.contains("\nlink\n"), "{run:?}");
}

/// Guards the mounts of inherited directories, whose ids are not mapped: files and directories that the host
/// has closed to others are closed to the zone's root, whatever is mounted, copied or named by handles.
#[test]
fn what_is_closed_to_others_is_closed_to_the_zones_root() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = Shared::make(&lab);
    lab.booted("zion", &shared.default());
    attack(&lab, &shared.plain);
    lab.halted("zion");
}

/// Guards the same beside programs that are mounted with mapped ids, those among them that are closed included.
#[test]
fn set_user_id_programs_open_nothing_else() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = Shared::make(&lab);
    lab.booted("zion", &shared.lines());
    attack(&lab, &shared.system);
    lab.halted("zion");
}

/// Gives a file or folder an access list (acl(5)). Each entry is a tag, permissions, and for a named user the id.
fn acl(path: &Path, entries: &[(u16, u16, u32)]) -> bool {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()).chain(id.to_le_bytes()));
    }
    let none = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(path, c"system.posix_acl_access", &value, none).is_ok()
}

/// Guards the same for access lists: what one user of the host may read by his entry, or a mask seems to open
/// or to close, is the zone's root's to read when it is any user's, and only then. So it is with the user of the
/// zone who has that number.
#[test]
fn access_lists_open_nothing_to_the_zones_root() {
    const OWNER: u16 = 0x01;
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x04;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;
    const NONE: u32 = u32::MAX;
    let Some(lab) = Lab::on_disk() else { return };
    let shared = Shared::make(&lab);
    // Owner, user 990, group, mask, others; and the mode bits that show then.
    let lists = [
        ("acl-user", [6, 4, 0, 4, 0], 0o640),
        ("acl-mask", [6, 4, 4, 0, 4], 0o604),
        ("acl-refused", [6, 0, 4, 4, 4], 0o644),
        ("acl-program", [7, 5, 0, 5, 0], 0o4750),
        ("acl-shown", [7, 5, 0, 5, 1], 0o4751),
        ("acl-dir", [7, 5, 0, 5, 0], 0o750),
        ("acl-dir/file", [6, 4, 0, 4, 0], 0o640),
    ];
    for dir in [&shared.plain, &shared.system] {
        fs::create_dir(dir.join("acl-dir")).expect("a folder");
        for (name, [owner, user, group, mask, other], bits) in lists {
            let path = dir.join(name);
            if bits & 0o4000 != 0 {
                fs::copy("/usr/bin/id", &path).expect("a program");
                mode(&path, bits);
            } else if name != "acl-dir" {
                fs::write(&path, name).expect("a file");
            }
            let entries = [
                (OWNER, owner, NONE),
                (USER, user, 990),
                (GROUP, group, NONE),
                (MASK, mask, NONE),
                (OTHER, other, NONE),
            ];
            if !acl(&path, &entries) {
                eprintln!("SKIPPED: the file system of {} has no access lists", path.display());
                return;
            }
            assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o7777, bits, "{name}");
        }
    }
    lab.booted("zion", &shared.lines());
    let closed = ["acl-user", "acl-program", "acl-shown", "acl-dir", "acl-dir/file"];
    for dir in [&shared.plain, &shared.system] {
        assert_eq!(read(&lab, dir, &closed), "end\n", "{}", dir.display());
        for name in ["acl-mask", "acl-refused"] {
            let run = lab.sh("zion", &format!("cat {}", dir.join(name).display()));
            assert_eq!(
                (run.status, run.out.as_str()),
                (0, name),
                "as every user but one of the host: {run:?}"
            );
        }
        for name in closed {
            let path = dir.join(name).display().to_string();
            let script =
                format!("setpriv --reuid=990 --regid=990 --clear-groups sh -c 'test -r {path}' && echo in");
            let run = lab.sh("zion", &script);
            assert_eq!(run.out, "", "{path}: {run:?}");
        }
    }
    lab.halted("zion");
}

/// Guards the same while the zone runs, and at its next boot: nothing is looked for, so nothing is found too late.
#[test]
fn what_is_closed_later_is_closed_at_once() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = Shared::make(&lab);
    lab.booted("zion", &shared.lines());
    let dirs = [&shared.plain, &shared.system];
    for dir in dirs {
        let file = dir.join("open/file");
        assert_eq!(lab.sh("zion", &format!("cat {}", file.display())).out, "open/file");
        mode(&file, 0o600);
        fs::write(dir.join("new"), "new").expect("a file");
        mode(&dir.join("new"), 0o600);
        assert_eq!(read(&lab, dir, &["open/file", "new"]), "end\n", "while it runs");
    }
    lab.ok("zoneadm", &["-z", "zion", "reboot"]);
    for dir in dirs {
        assert_eq!(read(&lab, dir, &["open/file", "new"]), "end\n", "after a boot");
    }
    lab.halted("zion");
}

/// Guards the mode of a set-user-id program, which is asked at each boot: its owner could read it.
#[test]
fn a_program_that_is_closed_after_it_was_found_is_closed_at_the_next_boot() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = Shared::make(&lab);
    lab.installed("zion", &shared.lines());
    settle();
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    mode(&shared.system.join("program"), 0o4711);
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
    assert_eq!(read(&lab, &shared.system, &["program"]), "end\n");
    lab.halted("zion");
}

/// Guards the read-only attribute of the mounts of programs, the only ones of the host's files that the zone's
/// root owns: they are locked, since they are made before the zone's mount namespace is.
#[test]
fn programs_of_the_host_are_not_changed() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = Shared::make(&lab);
    lab.booted("zion", &shared.lines());
    let program = shared.system.join("program");
    let before = fs::metadata(&program).expect("it is there");
    let name = program.display().to_string();
    let run = lab.sh("zion", &format!("stat -c %u {name}"));
    assert_eq!(run.out, "0\n", "the attack is none: {run:?}");
    assert_eq!(lab.script("zion", include_str!("attack/write_program.py"), &[&name]).out, "end\n");
    let after = fs::metadata(&program).expect("it is there");
    let told = |m: &fs::Metadata| (m.ctime(), m.ctime_nsec(), m.len(), m.mode(), m.uid());
    assert_eq!(told(&after), told(&before));
    assert_eq!(fs::read(&program).expect("a file"), fs::read("/usr/bin/id").expect("a file"));
    lab.halted("zion");
}

/// Set-user-id programs and those with capabilities work where the spec says so, those of `/usr` by default,
/// and nowhere else.
#[test]
fn set_user_id_programs_of_the_system_work() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = Shared::make(&lab);
    let cap = |dir: &Path| {
        let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
        // cap_net_raw, permitted and effective.
        value.extend(0x2000_u32.to_le_bytes());
        value.extend([0; 12]);
        let file = fs::File::open(dir.join("capable")).expect("a program");
        rustix::fs::fsetxattr(&file, c"security.capability", &value, rustix::fs::XattrFlags::empty())
    };
    fs::copy("/usr/bin/cat", shared.system.join("capable")).expect("a program");
    fs::copy("/usr/bin/cat", shared.plain.join("capable")).expect("a program");
    let capable = cap(&shared.system).and_then(|()| cap(&shared.plain)).is_ok();
    lab.booted("zion", &shared.lines());
    let user = "setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all";
    let id = |dir: &Path| lab.sh("zion", &format!("{user} {}/program -u", dir.display())).out;
    assert_eq!((id(&shared.system), id(&shared.plain)), ("0\n".to_owned(), "1000\n".to_owned()));
    let effective = |dir: &Path| {
        let run = lab.sh("zion", &format!("{user} {}/capable /proc/self/status", dir.display()));
        run.out.lines().find_map(|l| l.strip_prefix("CapEff:\t")).unwrap_or_default().to_owned()
    };
    if capable {
        let none = "0000000000000000".to_owned();
        assert_eq!((effective(&shared.system), effective(&shared.plain)), ("0000000000002000".into(), none));
    }
    // The linker of a program that runs as somebody else does not tell what it is told to.
    let told = |program: &str| lab.sh("zion", &format!("{user} env LD_SHOW_AUXV=1 {program} --version")).out;
    assert!(told("/usr/bin/env").contains("AT_SECURE"), "the control");
    assert!(!told("/usr/bin/su").contains("AT_SECURE"), "su of the host's /usr does not run as root");
    lab.halted("zion");
}

/// The list of programs is kept. What comes into a directory that holds some is found at the next boot; a
/// changed mode alone is found by `verify`, and the host's package data base has a say as well.
#[test]
fn programs_that_come_later_are_found() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = Shared::make(&lab);
    lab.installed("zion", &shared.lines());
    settle();
    // A plan only reads the list that verify, doctor and boot keep.
    let keep = || lab.run("zoneadm", &["-z", "zion", "verify"]);
    keep();
    let listed = || {
        let plan = lab.ok("zoneadm", &["-z", "zion", "plan", "boot"]);
        let line = plan.lines().find(|l| l.contains("/system: mount")).expect("a line").to_owned();
        line.split_once("of it ").map(|(_, list)| list.to_owned()).unwrap_or_default()
    };
    assert_eq!(listed(), "program");
    let another = shared.system.join("another");
    fs::copy("/usr/bin/id", &another).expect("a program");
    mode(&another, 0o2755);
    assert_eq!(listed(), "another program");
    settle();
    keep();
    mode(&shared.system.join("plain"), 0o4755);
    assert_eq!(listed(), "another program", "what zones(7) says of a changed mode is not true any more");
    keep();
    assert_eq!(listed(), "another plain program");
}

/// Closed files are named, and so are the rights that a set-user-id program loses.
#[test]
fn plan_verify_and_doctor_name_what_is_closed() {
    let Some(lab) = Lab::on_disk() else { return };
    let shared = Shared::make(&lab);
    lab.installed("zion", &shared.lines());
    let plan = lab.ok("zoneadm", &["-z", "zion", "plan", "boot"]);
    let (plain, system) = (shared.plain.display(), shared.system.display());
    for line in [
        format!("inherit-pkg-dir {plain}: mount the host's {plain} read-only, its files nobody's, nosuid\n"),
        format!(
            "inherit-pkg-dir {system}: mount the host's {system} read-only, its files nobody's, and with mapped ids of it program\n"
        ),
    ] {
        assert!(plan.contains(&line), "{line}{plan}");
    }
    let usr = plan.lines().find(|l| l.contains("inherit-pkg-dir /usr: ")).expect("a line");
    assert!(usr.split_whitespace().any(|word| word == "bin/su"), "{usr}");
    // Of what lies in a directory that others cannot list, not even the names are told.
    let closed = |dir: &Path| {
        ["foreign", "group", "hidden", "known", "secret", "sub"]
            .map(|name| dir.join(name).display().to_string())
            .join(", ")
    };
    let said = lab.run("zoneadm", &["-z", "zion", "verify"]);
    assert_eq!(said.status, 0, "{said:?}");
    for dir in [&shared.plain, &shared.system] {
        let text = format!(
            "inherit-pkg-dir {}: closed to the zone, since not all users of the host may read it: {}\n",
            dir.display(),
            closed(dir)
        );
        assert!(said.err.contains(&text), "{text}{said:?}");
    }
    let hidden = format!("since not all users of the host may read them: {system}/hidden\n");
    assert!(said.err.contains(&hidden), "{said:?}");
    assert!(!said.err.contains(&format!("{plain}/hidden\n")), "{said:?}");
    let told = lab.run("zoneadm", &["doctor", "--json"]).out;
    for dir in [&shared.plain, &shared.system] {
        let text = format!("closed to zones, as it is to other users: {}", closed(dir));
        assert!(told.contains(&text), "{text}{told}");
    }
}

/// The property has a row in the table; a directory that is named twice is not quietly more open.
#[test]
fn one_directory_has_one_word_on_its_programs() {
    let Some(lab) = Lab::on_disk() else { return };
    let add = |setuid: &str| format!("add inherit-pkg-dir\nset dir=/usr\n{setuid}end\n");
    let script = |lines: &str| lab.run_with("zonecfg", &["-z", "zion"], &[], lines);
    assert_eq!(script(&format!("create\n{}exit\n", add(""))).status, 0, "the same again is no clash");
    let run = script(&format!("{}exit\n", add("set setuid=false\n")));
    assert!(run.err.contains("An inherit-pkg-dir resource with the dir '/usr' already exists."), "{run:?}");
    let run = script(
        "select inherit-pkg-dir dir=/usr\nset setuid=false\nend\ninfo inherit-pkg-dir dir=/usr\nexit\n",
    );
    assert!(run.status == 0 && run.out.contains("\tsetuid: false\n"), "{run:?}");
    lab.ok("zoneadm", &["-z", "zion", "install"]);
    let plan = lab.ok("zoneadm", &["-z", "zion", "plan", "boot"]);
    assert!(plan.contains("/usr read-only, its files nobody's, nosuid\n"), "{plan}");
    // By hand, both: the one that opens less counts.
    let file = lab.path().join("etc/zones.d/zion.toml");
    let text = fs::read_to_string(&file).expect("a spec");
    fs::write(&file, format!("{text}\n[[inherit-pkg-dir]]\ndir = \"/usr\"\nsetuid = true\n"))
        .expect("written");
    let plan = lab.ok("zoneadm", &["-z", "zion", "plan", "boot"]);
    assert_eq!(plan.matches("inherit-pkg-dir /usr: ").count(), 1, "{plan}");
    assert!(plan.contains("/usr read-only, its files nobody's, nosuid\n"), "{plan}");
}
