//! What a process of a zone brings along: keys, descriptors, terminal, environment.

use super::Lab;

/// Tells the descriptors of this process and of process 1 that lead anywhere but into the zone.
const LOOK: &str = r#"
def descriptors(pid):
    folder = f"/proc/{pid}/fd"
    for number in sorted(os.listdir(folder), key=int):
        try: target = os.readlink(folder + "/" + number)
        except OSError: continue
        if target.startswith("/proc/"): continue
        print("fd", pid, number, target, flush=True)
descriptors("self")
descriptors("1")
print("env", sorted(os.environ), flush=True)
print("cwd", os.getcwd(), os.readlink("/proc/1/cwd"), flush=True)
print("sid", os.getsid(0) == os.getpid() or os.getsid(0) == os.getppid(), flush=True)
"#;

/// Guards: `close_on_exec_from` at the start of init and at a login, and the environment that both make anew.
#[test]
fn nothing_of_the_caller_is_there() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "");
    // A file, a folder, a socket and a secret of the caller's, open and inheritable in every program that he starts.
    let secret = lab.path().join("secret");
    std::fs::write(&secret, "of the host").expect("written");
    std::fs::write(lab.in_zone("zion", "/root/script.py"), format!("{}\n{LOOK}", super::PRELUDE))
        .expect("written");
    let with_secrets = |program: &str, args: &[&str]| {
        let path = lab.command(program).get_program().to_owned();
        let mut sh = std::process::Command::new("sh");
        sh.arg("-c").arg("exec 7<\"$0\" 8</ 9>>\"$0\"; exec \"$@\"").arg(&secret).arg(path);
        sh.args(args).env("ZONES_ROOT", lab.path()).env("SECRET", "of-the-host");
        let run = super::Run::from(sh.output().expect("it starts"));
        assert_eq!(run.status, 0, "{run:?}");
        run.out
    };
    with_secrets("zoneadm", &["-z", "zion", "boot"]);
    let out = with_secrets("zlogin", &["zion", "exec /usr/bin/python3 /root/script.py"]);
    let mut fds = 0;
    for line in out.lines().filter(|l| l.starts_with("fd ")) {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        fds += 1;
        assert!(words[1] == "1" || words[2].parse::<u32>().is_ok_and(|n| n <= 2), "{line}");
        assert!(!words[3].contains("secret") && words[3] != "/", "{line}");
    }
    assert!(fds >= 6, "{out}");
    assert!(out.contains("env [") && !out.contains("SECRET") && !out.contains("ZONES_ROOT"), "{out}");
    assert!(!lab.sh("zion", "tr '\\0' '\\n' </proc/1/environ").out.contains("of-the-host"));
    assert!(out.contains("sid True") && out.contains(" /\n"), "{out}");
    lab.halted("zion");
}

/// Guards: `fresh_keyring` at the boot and at a login, and that keys of one user namespace are not shown to another.
#[test]
fn no_key_of_the_caller_is_reachable() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.installed("zion", "add attr; set name=allow-syscalls; set type=string; set value=keys; end");
    // The caller has a key in his session keyring, readable to whoever possesses it and to everybody else.
    let name = format!("zones-test-{}", std::process::id());
    let find = format!(
        "KEYCTL_SEARCH, SESSION = 10, -3\n\
         say('search', call((250, 219), KEYCTL_SEARCH, SESSION, b'user', b'{name}', 0))\n\
         say('request', call((249, 218), b'user', b'{name}', 0, 0))\n\
         say('listed', int(b'{name}' in open('/proc/keys', 'rb').read()))\n\
         mine = libc.syscall(ctypes.c_long(248 if X86 else 217), b'user', b'own', b'x', ctypes.c_long(1), ctypes.c_long(-3))\n\
         say('own', int(mine < 0))\n\
         say('own is found', call((250, 219), KEYCTL_SEARCH, SESSION, b'user', b'own', 0))\n"
    );
    std::fs::write(lab.in_zone("zion", "/root/script.py"), format!("{}\n{find}", super::PRELUDE))
        .expect("written");
    let caller = format!(
        "{}\n\
         call((250, 219), 1, 0)\n\
         key = libc.syscall(ctypes.c_long(248 if X86 else 217), b'user', b'{name}', b'secret', ctypes.c_long(6), ctypes.c_long(-3))\n\
         say('key', int(key < 0))\n\
         call((250, 219), 5, key, 0x3f3f3f3f)\n\
         say('caller finds it', call((250, 219), 10, -3, b'user', b'{name}', 0))\n\
         import subprocess\n\
         subprocess.run([sys.argv[1], '-z', 'zion', 'boot'], check=True)\n\
         print(subprocess.run([sys.argv[2], 'zion', 'exec /usr/bin/python3 /root/script.py'], check=True, stdout=-1).stdout.decode(), end='')\n",
        super::PRELUDE
    );
    let mut python = std::process::Command::new("python3");
    python.arg("-c").arg(caller);
    python.arg(lab.command("zoneadm").get_program()).arg(lab.command("zlogin").get_program());
    let run = super::Run::from(python.env("ZONES_ROOT", lab.path()).output().expect("python3 starts"));
    assert_eq!(run.status, 0, "{run:?}");
    // ENOKEY.
    let wanted = [
        ("key", 0),
        ("caller finds it", 0),
        ("search", 126),
        ("request", 126),
        ("listed", 0),
        ("own", 0),
        ("own is found", 0),
    ];
    let wanted: Vec<_> = wanted.iter().map(|(n, e)| ((*n).to_owned(), *e)).collect();
    assert_eq!(super::answers(&run.out), wanted);
    lab.halted("zion");
}

/// Guards: the session that a login begins, and TIOCSTI behind it: with a terminal of the caller's as standard
/// input nothing can be typed into it.
#[test]
fn the_terminal_of_the_caller_is_not_typed_into() {
    let Some(lab) = Lab::on_disk() else { return };
    lab.booted("zion", "");
    std::fs::write(lab.in_zone("zion", "/root/type.py"), include_str!("attack/type.py")).expect("written");
    let mut python = std::process::Command::new("python3");
    python.args(["-c", include_str!("attack/caller.py")]).arg(lab.command("zlogin").get_program());
    let run = super::Run::from(python.env("ZONES_ROOT", lab.path()).output().expect("python3 starts"));
    assert_eq!(run.status, 0, "{run:?}");
    for fd in 0..3 {
        assert!(run.out.contains(&format!("refused control {fd} ")), "{run:?}");
        assert!(run.out.contains(&format!("refused type {fd} 1\n")), "{run:?}");
    }
    // ENXIO: no controlling terminal. EAGAIN: nothing has been typed.
    assert!(run.out.contains("refused terminal 0 6\n"), "{run:?}");
    assert!(run.out.ends_with("nothing waits 11\n"), "{run:?}");
    lab.halted("zion");
}
