//! The state of a zone's datasets: noted at boot and at the zone's end, in `datasets.toml` below
//! `/var/lib/zones/NAME`.
//!
//! The locked properties can be changed by the host only, and not even the host changes `mountpoint` of a delegated
//! dataset through ZFS' own library. So a difference between the note and the dataset is reported to the
//! administrator.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::registry;
use crate::apply::files;
use crate::apply::paths::Root;
use crate::plan::dataset::{DatasetLookup, FilesystemMember, FilesystemTree};
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::spec::store::StoreError;
use crate::zfs::{Mountpoint, Zfs};

/// Version of the file's form.
const FORMAT: u32 = 1;

/// More is not read: a filesystem takes about 100 bytes.
const LARGEST: usize = 64 << 20;

const HEADER: &str = "# What the zone's datasets were like at its last boot; compared at the next one and by zoneadm verify.\n";

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetRecord {
    format: u32,
    /// The host's number of the zone's root, to which the root directories were given.
    root: u32,
    /// The filesystems by their names.
    filesystem: BTreeMap<String, FilesystemRecord>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesystemRecord {
    /// In hexadecimal: numbers of TOML have a sign.
    guid: String,
    /// Its root directory is the zone's.
    given: bool,
    /// Where it was to be mounted when the zone ended; not known of a zone that runs or has crashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    mountpoint: Option<String>,
    locked: BTreeMap<String, String>,
}

fn path(root: &Root, zone: &ZoneName) -> PathBuf {
    root.zone_lib(zone).join("datasets.toml")
}

/// Reads the record of a zone; an empty one when there is none, or it cannot be parsed: it is written anew at the
/// next boot.
pub fn read(root: &Root, zone: &ZoneName) -> DatasetRecord {
    let bytes = files::read(&path(root, zone), LARGEST).ok().flatten().unwrap_or_default();
    let record = std::str::from_utf8(&bytes).ok().and_then(|text| toml::from_str::<DatasetRecord>(text).ok());
    record.filter(|r| r.format == FORMAT).unwrap_or_default()
}

impl DatasetRecord {
    /// Makes the record of a boot. `root` is the host's number of the zone's root; `not_given` are the
    /// filesystems whose root directories are not the zone's.
    pub fn of<'t>(root: u32, trees: impl Iterator<Item = &'t FilesystemTree>, not_given: &[String]) -> Self {
        let one = |m: &FilesystemMember| {
            let filesystem = FilesystemRecord {
                guid: format!("{:x}", m.guid),
                given: !m.locked && !not_given.contains(&m.name),
                mountpoint: None,
                locked: m.locked_values.clone(),
            };
            (m.name.clone(), filesystem)
        };
        Self { format: FORMAT, root, filesystem: trees.flat_map(|t| &t.members).map(one).collect() }
    }

    fn known(&self, member: &FilesystemMember) -> Option<&FilesystemRecord> {
        self.filesystem.get(&member.name).filter(|f| f.guid == format!("{:x}", member.guid))
    }

    /// Marks those filesystems whose root directories an earlier boot has given to the zone.
    pub fn mark(&self, root: u32, tree: &mut FilesystemTree) {
        for member in &mut tree.members {
            member.given = self.root == root && self.known(member).is_some_and(|f| f.given);
        }
    }

    /// Returns the differences from the record.
    pub fn differences(&self, found: &DatasetLookup) -> Vec<String> {
        let DatasetLookup::Filesystem(tree) = found else { return Vec::new() };
        let mut differences = Vec::new();
        for (at, member) in tree.members.iter().enumerate() {
            let name = &member.name;
            let Some(old) = self.known(member) else { continue };
            for (property, before) in &old.locked {
                // For the dataset itself, the place where a value is set counts, too; see below.
                let now = member.locked_values.get(property).filter(|_| at > 0 || property != "zoned");
                if let Some(now) = now.filter(|now| *now != before) {
                    differences.push(format!(
                        "dataset {name}: {property} was {} at the zone's last boot and is {} now",
                        before.shown(),
                        now.shown()
                    ));
                }
            }
            if let Some(before) = old.mountpoint.as_ref().filter(|before| **before != member.mountpoint) {
                differences.push(format!(
                    "dataset {name}: mountpoint was {} when the zone ended and is {} now; it was changed past ZFS' own check",
                    before.shown(),
                    member.mountpoint.shown()
                ));
            }
            if at == 0 && !tree.zoned {
                differences.push(format!(
                    "dataset {name}: zoned is not on, or not set on the dataset itself; the next boot sets it"
                ));
            }
        }
        differences
    }

    fn save(&self, root: &Root, zone: &ZoneName) -> Result<(), StoreError> {
        let text = toml::to_string(self).map_err(|e| StoreError::Io(e.to_string()))?;
        files::replace(&path(root, zone), format!("{HEADER}\n{text}").as_bytes())
    }
}

/// Notes the state of a zone's datasets at its boot. An unchanged record is not written again.
///
/// # Errors
/// The file cannot be written.
pub fn note_boot(root: &Root, zone: &ZoneName, now: &DatasetRecord) -> Result<(), StoreError> {
    if read(root, zone) == *now {
        return Ok(());
    }
    now.save(root, zone)
}

/// Notes where the datasets are mounted when a zone ends: until its next boot only the host can change that, and the
/// host's library refuses to. To be called before [`registry::release`].
pub fn note_end(root: &Root, zone: &ZoneName) {
    if registry::recorded(&root.zone_run(zone)).is_empty() {
        return;
    }
    let mut record = read(root, zone);
    let Ok(zfs) = Zfs::open() else { return };
    let before = record.clone();
    for (name, filesystem) in &mut record.filesystem {
        let Ok(d) = zfs.dataset(name) else { continue };
        filesystem.mountpoint = Some(match d.mountpoint() {
            Mountpoint::Path(path) => path,
            Mountpoint::Legacy => "legacy".to_owned(),
            Mountpoint::None => "none".to_owned(),
        });
    }
    if record != before {
        // Without it there is nothing to compare at the next boot, which is no harm.
        let _ = record.save(root, zone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> FilesystemTree {
        let member = |name: &str, locked: &[(&str, &str)]| FilesystemMember {
            name: name.into(),
            guid: u64::MAX,
            mountpoint: format!("/{name}"),
            locked_values: locked.iter().map(|(p, v)| ((*p).into(), (*v).into())).collect(),
            ..FilesystemMember::default()
        };
        FilesystemTree {
            zoned: true,
            members: vec![
                member("t/a", &[("quota", "1G"), ("zoned", "on")]),
                member("t/a/b", &[("zoned", "on")]),
            ],
            ..FilesystemTree::default()
        }
    }

    #[test]
    fn what_has_changed_is_told_with_both_values() {
        let mut tree = tree();
        let mut record = DatasetRecord::of(100_000, std::iter::once(&tree), &[]);
        let text = toml::to_string(&record).expect("it can be written");
        assert_eq!(toml::from_str::<DatasetRecord>(&text).expect("it reads back"), record);
        let differences = |record: &DatasetRecord, tree: &FilesystemTree| {
            record.differences(&DatasetLookup::Filesystem(Box::new(tree.clone())))
        };
        assert_eq!(differences(&record, &tree), [] as [&str; 0]);

        tree.members[0].locked_values.insert("quota".into(), "2G".into());
        tree.members[1].locked_values.insert("zoned".into(), "off".into());
        assert_eq!(
            differences(&record, &tree),
            [
                "dataset t/a: quota was 1G at the zone's last boot and is 2G now",
                "dataset t/a/b: zoned was on at the zone's last boot and is off now"
            ]
        );
        record.filesystem.get_mut("t/a").expect("it is there").mountpoint = Some("/elsewhere".into());
        assert!(differences(&record, &tree)[1].contains("mountpoint was /elsewhere when the zone ended"));
        // Another dataset of the same name has nothing to do with it.
        tree.members.iter_mut().for_each(|m| m.guid = 1);
        assert_eq!(differences(&record, &tree), [] as [&str; 0]);
    }

    #[test]
    fn root_directories_are_given_once_for_each_range() {
        let mut tree = tree();
        let record = DatasetRecord::of(100_000, std::iter::once(&tree), &[]);
        let given = |tree: &FilesystemTree| tree.members.iter().map(|m| m.given).collect::<Vec<_>>();
        tree.members[1].guid = 7;
        record.mark(100_000, &mut tree);
        assert_eq!(given(&tree), [true, false]);
        record.mark(200_000, &mut tree);
        assert_eq!(given(&tree), [false, false]);
        DatasetRecord::of(100_000, std::iter::once(&tree.clone()), &["t/a".into()]).mark(100_000, &mut tree);
        assert_eq!(given(&tree), [false, true]);
    }
}
