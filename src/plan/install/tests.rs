//! Plans of install and uninstall, from facts alone.

use super::*;
use crate::spec::{Props, Value};

fn spec(inherit: &[&str]) -> ZoneSpec {
    let mut spec = ZoneSpec::new(ZoneName::new("zion").expect("name"));
    for dir in inherit {
        let mut props = Props::default();
        props.set(ResourceKind::InheritPkgDir.def().prop("dir").expect("row"), Value::simple(*dir));
        spec.stored_mut(ResourceKind::InheritPkgDir).push(props);
    }
    spec
}

fn facts(found: ZonepathState) -> InstallFacts {
    let link = |name: &str, target: &str| HostSymlink { name: name.into(), target: target.into() };
    InstallFacts {
        zonepath: "/zones/zion".into(),
        found,
        dataset: None,
        host_links: vec![link("bin", "usr/bin"), link("sbin", "/usr/sbin"), link("vmlinuz", "boot/vmlinuz")],
        private: vec!["/zones/other".into()],
        system_mounts: vec!["/usr".into()],
    }
}

fn absent() -> ZonepathState {
    ZonepathState::Absent { missing: vec!["/zones".into()] }
}

fn directory(entries: &[&str], mode: u32) -> ZonepathState {
    let entries = entries.iter().map(|e| (*e).to_owned()).collect();
    ZonepathState::Directory { entries, mode, uid: 0, mounted: false }
}

#[test]
fn a_profile_comes_before_all_is_brought_to_disk() {
    let plan = plan_install(&facts(absent()), &spec(&["/usr"]), &InstallRequest::Default).expect("plan");
    assert_eq!(plan.clone().with_profile(None), plan);
    let profile = SysConfig { hostname: Some("www".into()), ..SysConfig::default() };
    let with = plan.clone().with_profile(Some(&profile));
    let at = with.steps.iter().position(|s| matches!(s, InstallStep::Configure { .. })).expect("a step");
    assert_eq!(with.steps[at].describe(), "apply the profile: host name www");
    assert!(with.is_past_return(at) && matches!(with.steps[at + 1], InstallStep::Sync { .. }));
    assert_eq!(with.steps.len(), plan.steps.len() + 1);
    // A journal has the step, and no content of the profile.
    let text = serde_json::to_string(&with).expect("JSON");
    assert!(text.contains("configure") && !text.contains("www"), "{text}");
    let read: InstallPlan = serde_json::from_str(&text).expect("a plan");
    assert_eq!(read.steps.len(), with.steps.len());
}

#[test]
fn a_sparse_zone() {
    let plan = plan_install(&facts(absent()), &spec(&["/usr", "/bin", "/opt/x"]), &InstallRequest::Default);
    assert_eq!(
        plan.expect("plan").to_string(),
        "  1  mark the zone incomplete\n\
         \x20 2  make directory /zones (mode 0755)\n\
         \x20 3  make directory /zones/zion (mode 0700)\n\
         \x20 4  make the zone's root /zones/zion/root as a directory\n\
         \x20 5  fill /zones/zion/root with a minimal private tree (sparse root)\n\
         \x20 6  make mount points below /zones/zion/root: /dev /proc /sys /run /tmp /usr /opt/x bin -> usr/bin sbin -> /usr/sbin\n\
         \x20 7  give the zone its own identity: host name zion, new machine id, no password valid\n\
         \x20 8  wait until /zones/zion/root is on disk\n\
         \x20 9  mark the zone installed\n"
    );
}

#[test]
fn a_whole_root_leaves_out_every_zone() {
    let plan = plan_install(&facts(absent()), &spec(&[]), &InstallRequest::Default).expect("plan");
    let Some(InstallStep::Populate { source: InstallSource::Host { enter, leave_out, .. }, .. }) =
        plan.steps.get(4)
    else {
        panic!("{plan}")
    };
    assert_eq!(*enter, [PathBuf::from("/usr")]);
    for path in ["/zones/other", "/zones/zion", "/etc/shadow*", "/var/lib/zones"] {
        assert!(leave_out.iter().any(|l| l.path == Path::new(path) && l.keep == Keep::Nothing), "{path}");
    }
}

#[test]
fn every_plan_survives_the_journal() {
    let sources = [
        InstallSource::Sparse { host: "/".into() },
        InstallSource::Host { host: "/".into(), enter: vec!["/usr".into()], leave_out: Vec::new() },
        InstallSource::Tree { dir: "/tree".into() },
        InstallSource::Archive { file: "/a.tar".into(), packing: Packing::Xz },
        InstallSource::Image {
            layout: "/l".into(),
            layers: vec![Layer { sha256: "00".into(), size: 1, packing: Packing::Gzip }],
        },
        InstallSource::Suite(suite(&["openssh-server"])),
    ];
    for source in sources {
        let plan = plan_install(&facts(absent()), &spec(&[]), &InstallRequest::Given(source)).expect("plan");
        let text = serde_json::to_string(&plan).expect("write");
        assert_eq!(serde_json::from_str::<InstallPlan>(&text).expect("read"), plan);
        // Only copies of the host bring passwords that must not be valid.
        let locked =
            plan.steps.iter().any(|s| matches!(s, InstallStep::Identity { lock_passwords: true, .. }));
        assert_eq!(locked, text.contains("\"sparse\"") || text.contains("\"leave_out\""), "{text}");
    }
}

#[test]
fn inverses_take_back_what_was_made_and_nothing_else() {
    let found = directory(&[], 0o755);
    let plan = plan_install(&facts(found), &spec(&["/usr"]), &InstallRequest::Default).expect("plan");
    assert_eq!(plan.steps[1], InstallStep::OwnDir { path: "/zones/zion".into(), mode: 0o700 });
    assert_eq!(plan.steps[1].inverse(), None, "the directory was there before");
    let plan = plan_install(&facts(absent()), &spec(&["/usr"]), &InstallRequest::Default).expect("plan");
    let before: Vec<_> = plan.steps.iter().take_while(|s| !s.is_past_return()).collect();
    let inverses: Vec<_> = before.iter().filter_map(|s| s.inverse()).map(|s| s.describe()).collect();
    assert_eq!(
        inverses,
        [
            "mark the zone configured",
            "remove directory /zones if it is empty",
            "remove directory /zones/zion if it is empty",
            "remove /zones/zion/root and all below it, but no mount",
        ]
    );
}

#[test]
fn refusals() {
    let plan =
        |found| plan_install(&facts(found), &spec(&["/usr"]), &InstallRequest::Default).expect_err("refused");
    assert_eq!(
        plan(directory(&["a", "lost+found"], 0o700)).to_string(),
        "zonepath /zones/zion is not empty: it holds 'a'; empty it or choose another zonepath"
    );
    assert_eq!(
        plan(directory(&[DETACHED, "root"], 0o700)).to_string(),
        "Cannot install detached zone.\nUse attach or remove /zones/zion directory."
    );
    assert!(matches!(plan(ZonepathState::Link("/zones".into())), InstallPlanError::Link { .. }));
    assert!(matches!(
        plan(ZonepathState::NotADirectory("/zones".into())),
        InstallPlanError::NotADirectory { .. }
    ));
    let tree = |dir: &str| {
        let request = InstallRequest::Given(InstallSource::Tree { dir: dir.into() });
        plan_install(&facts(absent()), &spec(&[]), &request)
    };
    assert!(matches!(tree("/zones"), Err(InstallPlanError::SourceHoldsZonepath { .. })));
    assert!(matches!(tree("/zones/zion/x"), Err(InstallPlanError::SourceInZonepath { .. })));
    assert!(tree("/zones/zion2").is_ok());
}

fn removal(found: ZonepathState, mounts: &[&str]) -> Result<InstallPlan, InstallPlanError> {
    let mounts = mounts.iter().map(PathBuf::from).collect();
    let facts = UninstallFacts {
        zonepath: "/zones/zion".into(),
        found,
        mounts,
        dataset: None,
        state: ZoneState::Installed,
        elsewhere: None,
        left: vec![],
    };
    plan_uninstall(&facts, &ZoneName::new("zion").expect("name"))
}

#[test]
fn a_zonepath_that_is_a_file_system_of_zfs() {
    let plan = |exists, found| {
        let dataset = Some(NewDataset { name: "tank/zones/zion".into(), exists });
        plan_install(&InstallFacts { dataset, ..facts(found) }, &spec(&["/usr"]), &InstallRequest::Default)
    };
    let here = || ZonepathState::Absent { missing: Vec::new() };
    let made = plan(false, here()).expect("plan");
    assert_eq!(
        made.steps[1].describe(),
        "make ZFS file system tank/zones/zion, mounted on /zones/zion (mode 0700)"
    );
    assert_eq!(
        made.steps[1].inverse().expect("one").describe(),
        "destroy ZFS file system tank/zones/zion, mounted on /zones/zion"
    );
    let text = serde_json::to_string(&made).expect("write");
    assert_eq!(serde_json::from_str::<InstallPlan>(&text).expect("read"), made);
    assert!(
        matches!(plan(true, here()), Err(InstallPlanError::DatasetExists { .. })),
        "it would be mounted over"
    );
    // A directory that is there is used as it is.
    assert!(!plan(false, directory(&[], 0o700)).expect("plan").to_string().contains("ZFS"));

    let remove = |mounted, found, state| {
        let dataset = Some(OwnDataset { name: "tank/zones/zion".into(), mounted, fresh: false });
        let facts = UninstallFacts {
            zonepath: "/zones/zion".into(),
            found,
            mounts: Vec::new(),
            dataset,
            state,
            elsewhere: (!mounted && state == ZoneState::Installed)
                .then(|| Elsewhere { has_owner_mark: true, text: "use zfs mount tank/zones/zion".into() }),
            left: vec![],
        };
        plan_uninstall(&facts, &ZoneName::new("zion").expect("name"))
    };
    let own = |entries: &[&str]| match directory(entries, 0o700) {
        ZonepathState::Directory { entries, mode, uid, .. } => {
            ZonepathState::Directory { entries, mode, uid, mounted: true }
        }
        other => other,
    };
    let steps = |plan: Result<InstallPlan, InstallPlanError>| plan.expect("plan").to_string();
    assert_eq!(
        steps(remove(true, own(&[".zfs", "root"]), ZoneState::Installed)),
        "  1  mark the zone incomplete\n\
         \x20 2  destroy ZFS file system tank/zones/zion, mounted on /zones/zion\n\
         \x20 3  mark the zone configured\n"
    );
    let kept = steps(remove(true, own(&["mine", "root"]), ZoneState::Installed));
    assert!(!kept.contains("destroy") && kept.contains("additional user data"), "{kept}");
    let unmounted = remove(false, directory(&[], 0o700), ZoneState::Installed);
    assert!(matches!(unmounted, Err(InstallPlanError::Forgets { .. })));
    assert!(unmounted.expect_err("refused").to_string().contains("use zoneadm -z zion mark incomplete"));
    assert!(steps(remove(false, here(), ZoneState::Incomplete)).contains("destroy"));
}

#[test]
fn what_cannot_be_seen_is_not_forgotten() {
    let plan = |state, has_owner_mark| {
        let elsewhere = Some(Elsewhere { has_owner_mark, text: "use zpool import".into() });
        let facts = UninstallFacts {
            zonepath: "/zones/zion".into(),
            found: absent(),
            mounts: Vec::new(),
            dataset: None,
            state,
            elsewhere,
            left: vec![],
        };
        plan_uninstall(&facts, &ZoneName::new("zion").expect("name"))
    };
    assert!(matches!(plan(ZoneState::Installed, false), Err(InstallPlanError::Forgets { .. })));
    assert!(matches!(plan(ZoneState::Incomplete, true), Err(InstallPlanError::Marked { .. })));
    // A missing file does not say whether it was removed already; an interrupted removal must end all the same.
    assert_eq!(plan(ZoneState::Incomplete, false).expect("plan").steps.len(), 2);
}

#[test]
fn removals() {
    let text = |plan: Result<InstallPlan, InstallPlanError>| plan.expect("plan").to_string();
    assert_eq!(
        text(removal(directory(&["dev", "root"], 0o700), &[])),
        "  1  mark the zone incomplete\n\
         \x20 2  remove /zones/zion/dev and all below it, but no mount\n\
         \x20 3  remove /zones/zion/root and all below it, but no mount\n\
         \x20 4  remove directory /zones/zion if it is empty\n\
         \x20 5  mark the zone configured\n"
    );
    assert!(text(removal(directory(&["mine", "root"], 0o700), &[])).contains("additional user data"));
    assert_eq!(removal(absent(), &[]).expect("plan").steps.len(), 2, "nothing is there any more");
    // A file system of its own stays mounted.
    let own = ZonepathState::Directory {
        entries: vec!["lost+found".into(), "root".into()],
        mode: 0o700,
        uid: 0,
        mounted: true,
    };
    assert_eq!(removal(own, &[]).expect("plan").steps.len(), 3);
    let refused = removal(directory(&["root"], 0o700), &["/zones/zion/root/a", "/zones/zion/root/b c"]);
    assert_eq!(
        refused.expect_err("mounted").to_string(),
        "These file systems are mounted on subdirectories of /zones/zion/root.\n  /zones/zion/root/a\n  /zones/zion/root/b c"
    );
}

fn source_zone(dataset: Option<&str>) -> SourceZone {
    SourceZone {
        name: ZoneName::new("source").expect("name"),
        zonepath: "/zones/source".into(),
        dataset: dataset.map(str::to_owned),
        mounts: Vec::new(),
    }
}

fn clone_facts(dataset: Option<&str>, new: Option<(&str, bool)>) -> CloneFacts {
    let mut target = facts(ZonepathState::Absent { missing: Vec::new() });
    target.dataset = new.map(|(name, exists)| NewDataset { name: name.into(), exists });
    CloneFacts {
        target,
        source: source_zone(dataset),
        copy: false,
        snapshot: None,
        trees: Vec::new(),
        number: 3,
    }
}

#[test]
fn a_clone_in_one_pool_and_a_copy_elsewhere() {
    let plan = |facts: &CloneFacts| plan_clone(facts, &spec(&[])).map(|p| p.to_string());
    let mut one = clone_facts(Some("tank/source"), Some(("tank/zion", false)));
    let text = plan(&one).expect("plan");
    assert!(text.contains("  2  take snapshot tank/source@SUNWzone3\n"), "{text}");
    assert!(
        text.contains("clone snapshot tank/source@SUNWzone3 as tank/zion, mounted on /zones/zion"),
        "{text}"
    );
    one.snapshot = Some("tank/source@mine".into());
    let text = plan(&one).expect("plan");
    assert!(!text.contains("take snapshot") && text.contains("clone snapshot tank/source@mine as"), "{text}");
    one.copy = true;
    let text = plan(&one).expect("plan");
    assert!(text.contains("make ZFS file system tank/zion,"), "{text}");
    assert!(text.contains("copy snapshot tank/source@mine to /zones/zion\n"), "{text}");

    for (dataset, new) in [
        (Some("tank/source"), Some(("other/zion", false))),
        (Some("tankful/source"), Some(("tank/zion", false))),
        (None, Some(("tank/zion", false))),
        (Some("tank/source"), None),
    ] {
        let mut facts = clone_facts(dataset, new);
        let text = plan(&facts).expect("plan");
        assert!(text.contains("copy /zones/source to /zones/zion\n") && !text.contains("snapshot"), "{text}");
        facts.snapshot = Some("tank/source@mine".into());
        assert!(matches!(plan(&facts), Err(InstallPlanError::CannotClone { .. })), "{dataset:?} {new:?}");
    }
    let hidden = clone_facts(Some("tank/source"), Some(("tank/zion", true)));
    assert!(matches!(plan(&hidden), Err(InstallPlanError::DatasetExists { .. })));
    let mut busy = clone_facts(None, None);
    busy.source.mounts.push("/zones/source/root/mnt".into());
    assert!(matches!(plan(&busy), Err(InstallPlanError::Mounted { .. })));
}

#[test]
fn all_of_a_clone_is_taken_in_one_moment_and_can_be_taken_back() {
    let mut facts = clone_facts(Some("tank/source"), Some(("tank/zion", false)));
    let tree = |from: &str, to: &str| CloneTarget {
        from: from.into(),
        to: to.into(),
        members: vec![from.into(), format!("{from}/sub")],
    };
    facts.trees = vec![tree("tank/d/source", "tank/d/zion"), tree("big/source", "big/zion")];
    let plan = plan_clone(&facts, &spec(&[])).expect("plan");
    let text = plan.to_string();
    assert!(
        text.contains(
            "take snapshot tank/d/source@SUNWzone3, tank/d/source/sub@SUNWzone3, tank/source@SUNWzone3\n"
        ),
        "{text}"
    );
    assert!(text.contains("take snapshot big/source@SUNWzone3, big/source/sub@SUNWzone3\n"), "{text}");
    // Every step before the first one that cannot be undone has an inverse, or its result goes with that of an
    // earlier step.
    let made: Vec<_> = plan.steps.iter().filter_map(InstallStep::inverse).map(|s| s.describe()).collect();
    assert_eq!(made.len(), 7, "{made:?}");
    assert!(
        made.contains(&"destroy tank/d/zion as far as it is a clone of tank/d/source@SUNWzone3".to_owned())
    );
    let json = serde_json::to_string(&plan).expect("write");
    assert_eq!(serde_json::from_str::<InstallPlan>(&json).expect("read"), plan);
}

fn move_facts(source: MoveSource, new: Option<(&str, bool)>) -> MoveFacts {
    let mut target = facts(ZonepathState::Absent { missing: Vec::new() });
    target.dataset = new.map(|(name, exists)| NewDataset { name: name.into(), exists });
    MoveFacts {
        zonepath: "/old/zion".into(),
        written: "/old/%{zonename}".into(),
        wanted: "/zones/zion".into(),
        source,
        target,
        same_mount: true,
        mounts: Vec::new(),
    }
}

#[test]
fn how_a_zone_moves() {
    let plan = |facts: &MoveFacts| plan_move(facts, &ZoneName::new("zion").expect("name"));
    let second = |facts: &MoveFacts| plan(facts).expect("plan").steps[0].describe();
    let mut dir = move_facts(MoveSource::Directory, None);
    assert_eq!(second(&dir), "rename /old/zion to /zones/zion");
    dir.same_mount = false;
    let copied = plan(&dir).expect("plan");
    assert!(copied.to_string().contains("copy /old/zion to /zones/zion\n"));
    assert_eq!(
        copied.steps.last().map(InstallStep::describe).as_deref(),
        Some("remove /old/zion and all below it, but no mount")
    );
    let decisive = copied.decisive().expect("a step");
    assert!(copied.is_transfer() && !copied.is_past_return(decisive) && copied.is_past_return(decisive + 1));
    assert_eq!(
        copied.steps[decisive].inverse().expect("one"),
        InstallStep::SetZonepath { from: "/zones/zion".into(), to: "/old/%{zonename}".into() },
        "the token comes back"
    );

    let own = |mountpoint: Option<&str>, free| MoveSource::Dataset {
        place: DatasetPlace {
            name: "tank/zion".into(),
            path: "/old/zion".into(),
            mountpoint: mountpoint.map(str::to_owned),
        },
        free,
        altroot: None,
    };
    let renamed = "rename ZFS file system tank/zion to tank/z/zion, mounted on /zones/zion";
    let mounted = "mount ZFS file system tank/zion on /zones/zion instead of /old/zion";
    assert_eq!(second(&move_facts(own(None, true), Some(("tank/z/zion", false)))), renamed);
    for (source, new) in [
        (own(None, false), Some(("tank/z/zion", false))),
        (own(None, true), Some(("other/z/zion", false))),
        (own(None, true), Some(("tank/zion/zion", false))),
        (own(None, true), None),
    ] {
        let facts = move_facts(source, new);
        assert_eq!(second(&facts), mounted);
        let InstallStep::MoveDataset { from: _, to } = &plan(&facts).expect("plan").steps[0] else {
            panic!()
        };
        assert_eq!(to.mountpoint.as_deref(), Some("/zones/zion"));
    }
    // Back to where its name fits: it inherits again.
    let back = plan(&move_facts(own(Some("/old/zion"), true), Some(("tank/zion", true)))).expect("plan");
    let InstallStep::MoveDataset { from, to } = &back.steps[0] else { panic!("{back}") };
    assert_eq!((from.mountpoint.as_deref(), to.mountpoint.as_deref()), (Some("/old/zion"), None));
    let taken = plan(&move_facts(own(None, true), Some(("tank/z/zion", true))));
    assert!(matches!(taken, Err(InstallPlanError::DatasetExists { .. })));
    let mut inside = move_facts(MoveSource::Directory, None);
    inside.zonepath = "/zones".into();
    assert_eq!(
        plan(&inside).expect_err("inside").to_string(),
        "could not move zone to /zones/zion: it lies in the zone"
    );
}

fn suite(packages: &[&str]) -> Suite {
    Suite {
        suite: "bookworm".into(),
        packages: packages.iter().map(|p| (*p).to_owned()).collect(),
        mirror: Some("https://archive.example/debian".into()),
        components: Some("main,contrib".into()),
        keyring: Some("/keys.gpg".into()),
        tool: "/usr/bin/mmdebstrap".into(),
    }
}

#[test]
fn a_suite_is_a_system_with_an_init() {
    let arguments = |packages: &[&str]| suite(packages).arguments("/root").join(" ");
    let with_manager = arguments(&["openssh-server", "less"]);
    assert_eq!(
        with_manager,
        "--mode=root --format=directory --variant=minbase --include=systemd-sysv,dbus,libpam-systemd,procps,\
         iproute2,iputils-ping,netbase,less,openssh-server --components=main,contrib --keyring=/keys.gpg bookworm \
         /root https://archive.example/debian"
    );
    let with_another = arguments(&["sysvinit-core"]);
    assert!(!with_another.contains("systemd") && with_another.contains("sysvinit-core"), "{with_another}");
    let old = r#"{"suite":{"suite":"sid","tool":"/t"}}"#;
    let read = serde_json::from_str::<InstallSource>(old).expect("the journal of an older release");
    assert!(matches!(read, InstallSource::Suite(s) if s.suite == "sid" && s.packages.is_empty()));
}
