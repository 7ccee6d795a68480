//! Whole roots: from a tree, from the host, and by an installer.

use super::*;
use zones::plan::host::LEAVE_OUT;
use zones::plan::install::{LeaveOut, Suite};

#[test]
fn a_tree_is_copied_as_it_is() {
    let mut zone = Zone::new(&[]);
    let tree = zone.beside("tree");
    put(&tree.join("usr/bin/tool"), "tool", 0o4755);
    fs::hard_link(tree.join("usr/bin/tool"), tree.join("usr/bin/tool2")).expect("link");
    symlink("usr/bin", tree.join("bin")).expect("link");
    std::os::unix::fs::chown(tree.join("usr"), Some(12), Some(34)).expect("chown");
    fs::File::create(tree.join("sparse")).expect("file").set_len(1 << 30).expect("size");
    put(&tree.join("etc/shadow"), "the tree's own", 0o640);
    let note =
        rustix::fs::setxattr(tree.join("usr/bin/tool"), "user.note", b"x", rustix::fs::XattrFlags::empty());
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o700)).expect("chmod");
    let dir = tree.display().to_string();
    zone.install(&["-d", &dir]).expect("install");
    let tool = fs::metadata(zone.inside("usr/bin/tool")).expect("stat");
    assert_eq!((tool.mode() & 0o7777, tool.nlink()), (0o4755, 2));
    assert_eq!(fs::metadata(zone.inside("usr")).expect("stat").uid(), 12);
    assert_eq!(fs::metadata(zone.inside("sparse")).expect("stat").blocks(), 0);
    assert_eq!(read(zone.inside("etc/shadow")), "the tree's own", "a given tree keeps its passwords");
    let mut value = [0; 8];
    let size = rustix::fs::getxattr(zone.inside("usr/bin/tool"), "user.note", &mut value[..]);
    assert_eq!(size.ok(), note.ok().map(|()| 1));
    assert_eq!(mode(zone.inside("")), 0o755, "the root must be readable in the zone");
    assert_eq!(zone.heard.progress.last().map(|(done, total)| done == total), Some(true));
    zone.uninstall().expect("uninstall");
    assert!(tree.join("usr/bin/tool").exists() && !zone.path("zones/zion").exists());
}

#[test]
fn a_tree_around_or_in_the_zonepath_is_refused() {
    let mut zone = Zone::new(&[]);
    let around = zone.path("").display().to_string();
    let error = zone.install(&["-d", &around]).expect_err("around").to_string();
    assert!(error.ends_with("lies in it"), "{error}");
    fs::create_dir_all(zone.path("zones/zion/lost+found")).expect("dir");
    let inside = zone.path("zones/zion/lost+found").display().to_string();
    let error = zone.install(&["-d", &inside]).expect_err("inside").to_string();
    assert!(error.contains("it lies in the zonepath"), "{error}");
    // Also by another name.
    symlink(zone.path(""), zone.beside("alias")).expect("link");
    let alias = zone.beside("alias").display().to_string();
    assert!(zone.install(&["-d", &alias]).is_err());
    assert!(zone.install(&["-d", "/"]).expect_err("host").to_string().contains("no source at all"));
    assert!(zone.install(&["-d", "/no/such"]).expect_err("none").to_string().contains("No such file"));
    assert!(zone.install(&["-d", "/etc/passwd"]).expect_err("file").to_string().contains("not a directory"));
    assert_eq!(zone.state(), ZoneState::Configured);
}

#[test]
fn a_copy_of_the_host_has_its_system_and_not_its_secrets() {
    let mut zone = Zone::new(&[]);
    let host = zone.beside("host");
    fake_host(&host);
    put(&host.join("usr/bin/tool"), "tool", 0o755);
    put(&host.join("var/lib/dpkg/status"), "packages", 0o644);
    put(&host.join("zones/other/root/etc/passwd"), "SECRET", 0o644);
    let mut leave_out: Vec<_> =
        LEAVE_OUT.iter().map(|(path, keep)| LeaveOut { path: path.into(), keep: *keep }).collect();
    // As the plan adds them: paths of the machine.
    leave_out.push(LeaveOut { path: host.join("zones/other"), keep: zones::plan::install::Keep::Nothing });
    let source = InstallSource::Host { host: host.clone(), enter: Vec::new(), leave_out };
    zone.install_from(source).expect("install");
    // What every user of the host may read is no secret here: only configuration of its own.
    let leaks: Vec<_> = leaks(&zone.inside(""))
        .iter()
        .map(|p| p.strip_prefix(zone.inside("")).expect("below").display().to_string())
        .collect();
    assert_eq!(leaks, ["etc/default/secret", "etc/ssl/certs/site.key"]);
    assert_eq!(read(zone.inside("usr/bin/tool")), "tool");
    assert_eq!(read(zone.inside("var/lib/dpkg/status")), "packages");
    assert!(read(zone.inside("etc/passwd")).contains("alice"), "accounts stay");
    assert_eq!(read(zone.inside("etc/shadow")), "root:*:::::::\nmail:*:::::::\nalice:*:::::::\n");
    assert_eq!(read(zone.inside("etc/hostname")), "zion\n");
    assert!(zone.inside("zones").is_dir() && !zone.inside("zones/other").exists());
    assert!(zone.inside("root").is_dir() && zone.inside("var/spool/cron/crontabs").is_dir());
}

#[test]
fn without_a_source_the_plan_copies_the_host_but_no_zone() {
    let mut zone = Zone::new(&[]);
    let mut other = spec("/zones/other", &[]);
    other.name = ZoneName::new("other").expect("name");
    let commit = Commit { spec: &other, base: None, renamed_from: None, overwrite: true, mends: false };
    zone.store.commit(&commit).expect("commit");
    let plan = install::install_plan(&zone.op(), &[], None).expect("plan");
    let leave_out = plan.steps.iter().find_map(|s| match s {
        zones::plan::install::InstallStep::Populate {
            source: InstallSource::Host { leave_out, .. }, ..
        } => Some(leave_out),
        _ => None,
    });
    let left: Vec<_> = leave_out.expect("a copy of the host").iter().map(|l| l.path.clone()).collect();
    for path in ["zones/zion", "zones/other", "etc/zones.d", "var/lib/zones", "run/zones"] {
        assert!(left.contains(&zone.path(path)), "{path}");
    }
    assert!(plan.to_string().contains("with a copy of /"), "{plan}");
    // A spec that cannot be read has a zonepath that nobody knows.
    put(&zone.path("etc/zones.d/broken.toml"), "zonepath = ", 0o644);
    let error = install::install_plan(&zone.op(), &[], None).expect_err("broken").to_string();
    assert!(error.contains("broken.toml:"), "{error}");
}

#[test]
fn an_installer_fills_the_root() {
    let tool = |script: &str| {
        let zone = Zone::new(&[]);
        let tool = zone.beside("bin/debootstrap");
        put(&tool, script, 0o755);
        (zone, tool)
    };
    let (mut zone, path) = tool(
        "#!/bin/sh\necho \"$@\" >&2\nfor last; do test -d \"$last\" && root=$last; done\nmkdir -p \"$root/usr/bin\" \"$root/etc\"\n",
    );
    zone.install_from(suite("sid", &path)).expect("install");
    assert!(zone.inside("usr/bin").is_dir());
    assert_eq!(read(zone.inside("etc/hostname")), "zion\n");
    let log = read(zone.path("var/lib/zones/zion/install.log"));
    let root = zone.path("zones/zion/root");
    let tools = "systemd-sysv,dbus,libpam-systemd,procps,iproute2,iputils-ping,netbase,less";
    assert_eq!(
        log,
        format!(
            "--variant=minbase --include={tools},openssh-server --components=main,universe sid {} http://m.example\n",
            root.display()
        )
    );

    for (suite, expect) in
        [("-x", "a suite has a name"), ("../x", "a suite has a name"), ("sid+a b", "package")]
    {
        let error = zone.install(&["-s", suite]).expect_err(suite).to_string();
        assert!(error.contains(expect) || error.contains("-s"), "{error}");
    }
    let error = zone.install(&["-x", "mirror=http://m.example"]).expect_err("no suite").to_string();
    assert!(error.contains("needs -s"), "{error}");
}

/// What an installer is asked for that stands in for a real one.
fn suite(name: &str, tool: &Path) -> InstallSource {
    InstallSource::Suite(Suite {
        suite: name.into(),
        packages: vec!["openssh-server".into()],
        mirror: Some("http://m.example".into()),
        components: Some("main,universe".into()),
        keyring: None,
        tool: tool.into(),
    })
}

#[test]
fn an_installer_that_unpacks_nothing_leaves_the_zone_configured() {
    let tool = |script: &str| {
        let zone = Zone::new(&[]);
        let tool = zone.beside("bin/debootstrap");
        put(&tool, script, 0o755);
        (zone, tool)
    };
    // As mmdebstrap does before its first download.
    let (mut zone, path) = tool(
        "#!/bin/sh\nfor last; do root=$last; test -d \"$last\" && break; done\nmkdir -p $root/etc/apt $root/usr/bin $root/var/lib/dpkg\n: >$root/etc/apt/sources.list\necho no such suite\nexit 3\n",
    );
    let error = zone.install_from(suite("x", &path)).expect_err("fails").to_string();
    assert!(error.contains("exit status: 3") && error.ends_with("\n  no such suite"), "{error}");
    assert_eq!(zone.state(), ZoneState::Configured);
    assert!(!zone.path("zones/zion").exists(), "the zonepath is left");

    let (mut zone, path) = tool(
        "#!/bin/sh\nfor last; do root=$last; test -d \"$last\" && break; done\nmkdir -p $root/usr/bin\n: >$root/usr/bin/dpkg\nexit 3\n",
    );
    let error = zone.install_from(suite("x", &path)).expect_err("fails");
    assert!(matches!(error, InstallError::Unfinished(_)), "{error}");
    assert_eq!(zone.state(), ZoneState::Incomplete);
}

#[test]
fn while_an_installer_works_its_last_line_is_shown() {
    let mut zone = Zone::new(&[]);
    let path = zone.beside("bin/debootstrap");
    put(&path, "#!/bin/sh\nprintf 'I: first\\nI: unpacking\\033[2J things...\\n'\nsleep 1\n", 0o755);
    zone.install_from(suite("sid", &path)).expect("install");
    let shown =
        zone.heard.doing.iter().any(|text| text == "installing sid: I: unpacking\\u{1b}[2J things...");
    assert!(shown, "{:?}", zone.heard.doing);
}

#[test]
fn an_install_says_which_init_will_run() {
    let says = |init: Option<&str>| {
        let mut zone = Zone::new(&[]);
        let tree = zone.beside("tree");
        put(&tree.join("lib/systemd/systemd"), "#!/bin/sh\n", 0o755);
        put(&tree.join("sbin/runit"), "#!/bin/sh\n", 0o755);
        if let Some(init) = init {
            std::os::unix::fs::symlink(init, tree.join("sbin/init")).expect("a link");
        }
        zone.install(&["-d", &tree.display().to_string()]).expect("install");
        zone.heard.said.iter().chain(&zone.heard.warned).last().cloned().unwrap_or_default()
    };
    let unified = std::fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
    let systemd = if unified {
        "init of its root, systemd"
    } else {
        "boots with the built-in init, without the services"
    };
    for (init, text) in [
        (None, "no init; the zone boots with the built-in one"),
        (Some("runit"), "boots with the init of its root, runit"),
        (Some("../lib/systemd/systemd"), systemd),
    ] {
        let said = says(init);
        assert!(said.contains(text), "{init:?}: {said}");
    }
}
