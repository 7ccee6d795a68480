//! Removal: complete, and never beyond the zone.

use super::*;

#[test]
fn user_data_is_kept() {
    let mut zone = Zone::new(SPARSE);
    zone.install(&[]).expect("install");
    put(&zone.path("zones/zion/notes.txt"), "mine", 0o644);
    fs::create_dir(zone.path("zones/zion/dev")).expect("dir");
    zone.uninstall().expect("uninstall");
    let zonepath = zone.path("zones/zion");
    assert_eq!(
        zone.heard.warned,
        [format!(
            "WARNING: Unable to completely remove {}\nbecause it contains additional user data.  Only the \
             standard directory\nentries have been removed.",
            zonepath.display()
        )]
    );
    assert_eq!(walk(&zonepath), [zonepath.join("notes.txt")]);
    assert_eq!(zone.state(), ZoneState::Configured);
}

#[test]
fn links_lead_nowhere() {
    let mut zone = Zone::new(SPARSE);
    zone.install(&[]).expect("install");
    put(&zone.beside("keep/file"), "keep", 0o644);
    symlink(zone.beside("keep"), zone.inside("var/out")).expect("link");
    symlink(zone.beside("keep"), zone.path("zones/zion/lu")).expect("link");
    zone.uninstall().expect("uninstall");
    assert!(!zone.path("zones/zion").exists());
    assert_eq!(read(zone.beside("keep/file")), "keep");
}

#[test]
fn mounts_are_listed_and_never_entered() {
    let mut zone = Zone::new(SPARSE);
    zone.install(&[]).expect("install");
    put(&zone.beside("keep/file"), "keep", 0o644);
    let point = zone.inside("mnt");
    rustix::mount::mount_bind(zone.beside("keep"), &point).expect("bind");
    let mounted = Mounted(point.clone());
    let refused = zone.uninstall();
    // Also when it appears only after the plan was made.
    let parent = zones::sys::path::Dir::open_host(&zone.path("zones/zion")).expect("open");
    let forced = zones::sys::tree::remove_tree(&parent, std::ffi::OsStr::new("root"), &mut |_| {});
    drop(mounted);
    assert_eq!(
        refused.expect_err("mounted").to_string(),
        format!(
            "These file systems are mounted on subdirectories of {}.\n  {}",
            zone.inside("").display().to_string().trim_end_matches('/'),
            point.display()
        )
    );
    assert!(forced.expect_err("mounted").to_string().contains("something is mounted on"));
    assert_eq!(read(zone.beside("keep/file")), "keep");
    assert_eq!(zone.state(), ZoneState::Installed, "a refusal changes nothing");
    zone.uninstall().expect("uninstall");
    assert!(!zone.path("zones/zion").exists());
}

#[test]
fn what_is_not_to_be_seen_is_forgotten_at_the_second_word_only() {
    let mut zone = Zone::new(SPARSE);
    zone.install(&[]).expect("install");
    fs::remove_dir_all(zone.path("zones/zion/root")).expect("gone");
    for _ in 0..2 {
        let refused = zone.uninstall().expect_err("refused").to_string();
        assert!(
            refused.contains("use zoneadm -z zion mark incomplete && zoneadm -z zion uninstall -F"),
            "{refused}"
        );
        assert_eq!(zone.state(), ZoneState::Installed);
        fs::remove_dir_all(zone.path("zones")).ok();
    }
    zone.store.set_installed_state(&zone.spec.name, ZoneState::Incomplete).expect("marked");
    zone.uninstall().expect("uninstall");
    assert_eq!(zone.state(), ZoneState::Configured);
}

#[test]
fn a_zonepath_that_became_a_link_is_not_followed() {
    let mut zone = Zone::new(SPARSE);
    zone.install(&[]).expect("install");
    fs::rename(zone.path("zones/zion"), zone.beside("moved")).expect("rename");
    symlink(zone.beside("moved"), zone.path("zones/zion")).expect("link");
    assert!(zone.uninstall().expect_err("link").to_string().contains("Resolved path mismatch"));
    assert!(zone.beside("moved/root/etc/passwd").exists());
    assert_eq!(zone.state(), ZoneState::Installed);
}
