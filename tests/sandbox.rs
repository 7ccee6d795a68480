//! Sandboxes and containers that root and the users of a zone make without any right on the host.

#![allow(clippy::disallowed_methods)]

mod lab;

use lab::Lab;

/// Whether the host, whose software a sparse zone has, has the programs. Tells aloud what is missing.
fn has(programs: &[&str]) -> bool {
    let missing = |p: &&&str| {
        let found = std::process::Command::new("sh").args(["-c", &format!("command -v {p}")]).output();
        !found.is_ok_and(|o| o.status.success())
    };
    match programs.iter().find(missing) {
        None => true,
        Some(program) => {
            eprintln!("SKIPPED: {program} is not installed");
            false
        }
    }
}

/// A running sparse zone with the user ann, who has the ids from 10,000 on for containers of her own.
fn zone(lab: &Lab) {
    lab.installed("zion", "");
    for (file, line) in [
        ("/etc/passwd", "ann:x:1000:1000::/tmp:/bin/sh\n"),
        ("/etc/group", "ann:x:1000:\n"),
        ("/etc/subuid", "ann:10000:20000\n"),
        ("/etc/subgid", "ann:10000:20000\n"),
    ] {
        let path = lab.in_zone("zion", file);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, text + line).expect("written");
    }
    lab.ok("zoneadm", &["-z", "zion", "boot"]);
}

/// Where parts of the zone's /proc are covered the kernel lets nobody in it make a new one
/// (`mount_too_revealing` of fs/namespace.c).
fn is_covered(lab: &Lab) -> bool {
    lab.ok("zlogin", &["zion", "grep -c ' /proc/' /proc/self/mountinfo || true"]).trim() != "0"
}

fn as_user(lab: &Lab, user: &str, script: &str) -> lab::Run {
    lab.run("zlogin", &["-l", user, "zion", script])
}

#[test]
fn bubblewrap_works_for_root_and_for_users() {
    if !has(&["bwrap"]) {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    zone(&lab);
    let covered = is_covered(&lab);
    let proc = if covered { "--ro-bind /proc /proc" } else { "--proc /proc" };
    for user in ["root", "ann"] {
        let sandbox = format!("bwrap --unshare-all --ro-bind / / {proc} --dev /dev --tmpfs /tmp");
        for (script, wanted) in [
            (format!("{sandbox} --uid 0 id -u"), "0\n"),
            (format!("{sandbox} --hostname inner hostname"), "inner\n"),
            (format!("{sandbox} sh -c 'echo x > /etc/x; echo $?' 2>/dev/null"), "2\n"),
            (format!("{sandbox} sh -c 'echo x > /tmp/x && cat /tmp/x'"), "x\n"),
            (format!("{sandbox} sh -c 'echo x > /dev/null && head -c 1 /dev/zero | wc -c'"), "1\n"),
        ] {
            let run = as_user(&lab, user, &script);
            let same = run.out == wanted || (wanted == "2\n" && run.out == "1\n");
            assert!(run.status == 0 && same, "{user}: {script}: {run:?}");
        }
        if !covered {
            let run = as_user(&lab, user, &format!("{sandbox} sh -c 'ls /proc | grep -c ^[0-9]'"));
            assert!(run.out.trim().parse::<u32>().is_ok_and(|n| n <= 5), "{user} sees its own: {run:?}");
        }
    }
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn a_user_has_the_ids_of_subuid_and_no_others() {
    if !has(&["newuidmap", "unshare"]) {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    zone(&lab);
    // newuidmap is a set-user-id program of the host's /usr, and gives the rights of the zone's root.
    let container = "unshare --user --map-root-user --map-auto";
    let run = as_user(&lab, "ann", &format!("{container} sh -c 'cd /tmp && touch f && chown 7:7 f'"));
    assert_eq!(run.status, 0, "{run:?}");
    assert_eq!(lab.ok("zlogin", &["zion", "stat -c %u:%g /tmp/f"]), "10006:10006\n");
    // Ids that distributions give by default lie beyond those of the zone.
    lab.ok("zlogin", &["zion", "echo ann:100000:65536 | tee /etc/subuid > /etc/subgid"]);
    let run = as_user(&lab, "ann", &format!("{container} true"));
    assert_ne!(run.status, 0, "{run:?}");
    // Whatever the zone's root writes there, only ids of the zone can be had.
    lab.ok("zlogin", &["zion", "echo ann:4000000000:10 | tee /etc/subuid > /etc/subgid"]);
    let run = as_user(&lab, "ann", &format!("{container} true"));
    assert_ne!(run.status, 0, "{run:?}");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn podman_without_rights_builds_an_image_and_runs_it() {
    if !has(&["podman", "crun", "newuidmap"]) {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    zone(&lab);
    if is_covered(&lab) {
        eprintln!("SKIPPED: parts of the zone's /proc are covered, and podman wants a new one");
        return;
    }
    let home =
        "export HOME=/dev/shm/ann XDG_RUNTIME_DIR=/dev/shm/ann/run; mkdir -p $XDG_RUNTIME_DIR && cd && ";
    let run = as_user(
        &lab,
        "ann",
        &format!(
            "{home} mkdir -p root/usr root/proc root/sys root/dev root/run root/etc && \
             for d in bin sbin lib lib64; do ln -s usr/$d root/$d; done && \
             mkdir -p .config/containers && \
             echo '{{\"default\":[{{\"type\":\"insecureAcceptAnything\"}}]}}' > .config/containers/policy.json && \
             printf 'FROM scratch\\nCOPY root /\\n' > Dockerfile && \
             podman build --isolation=chroot -q -t mine . && \
             podman run --rm --cgroups=disabled --network=none -v /usr:/usr:ro mine \
                sh -c 'id -u; echo x > /etc/x && stat -c %u /etc/x; cat /proc/1/comm; cat /proc/self/uid_map'"
        ),
    );
    let words: Vec<&str> = run.out.split_whitespace().skip(1).collect();
    // The map as the container's parent, the zone, counts.
    assert_eq!(words, ["0", "0", "sh", "0", "1000", "1", "1", "10000", "20000"], "{run:?}");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn images_of_containers_can_be_put_together_as_overlays() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab);
    let script = "cd $(mktemp -d /run/o.XXXXXX) && mkdir up work all && \
        mount -t overlay -o lowerdir=/etc,upperdir=up,workdir=work none all && test -s all/passwd && echo x > all/new && cat up/new";
    for (user, wrap) in [("root", ""), ("root", "unshare -Urm "), ("ann", "unshare -Urm ")] {
        let dir = if user == "ann" { script.replace("/run/", "/dev/shm/") } else { script.to_owned() };
        let run = as_user(&lab, user, &format!("{wrap}sh -c '{dir}'"));
        assert!(run.status == 0 && run.out == "x\n", "{user}: {wrap}: {run:?}");
    }
    assert!(!lab.in_zone("zion", "/etc/new").exists(), "the lower one is untouched");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}

#[test]
fn set_user_id_programs_work_and_give_the_zones_rights_only() {
    let Some(lab) = Lab::new() else { return };
    zone(&lab);
    // On the zone's own root.
    lab.ok("zlogin", &["zion", "cp /usr/bin/id /var/tmp/id && chmod 4755 /var/tmp/id"]);
    assert_eq!(as_user(&lab, "ann", "/var/tmp/id -u").out, "0\n");
    let run = as_user(&lab, "ann", "grep -h ^ /proc/self/uid_map");
    assert!(run.out.split_whitespace().nth(1).is_some_and(|id| id != "0"), "{run:?}");
    lab.ok("zoneadm", &["-z", "zion", "halt"]);
    lab.assert_clean();
}
