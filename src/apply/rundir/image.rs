//! The image of a running zone, as its boot has decided it.
//!
//! The file is JSON, readable by root alone: the number of its format, process 1 and when that started, and the image.
//! It is believed for that process only: what another boot has left says nothing of this one.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{IMAGE, IMAGE_DRAFT, SPEC, copy};
use crate::apply::paths::Root;
use crate::apply::trust;
use crate::plan::image::{ZoneImage, ZoneRules};
use crate::spec::{ZoneName, toml};
use crate::sys::path::reason;
use crate::sys::process::start_time;

/// The format that is written. A change after which a reader of the old one would get something wrong takes another.
const FORMAT: u32 = 1;

/// A file that is longer is none of ours.
const LONGEST: u64 = 1 << 24;

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept<I> {
    format: u32,
    init: i32,
    init_start: u64,
    image: I,
}

/// The first field of every format.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Why nothing is known of what holds for a running zone.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The file cannot be read, or others than root can write to it.
    #[error("the image of the zone cannot be read; boot the zone again")]
    Unreadable,
    /// It is of a later release.
    #[error(
        "the image of the zone has format {0}, and this release reads {FORMAT}; use the programs that booted it"
    )]
    Format(u32),
    /// It is not understood.
    #[error("the image of the zone is not understood: {0}; boot the zone again")]
    Parse(serde_json::Error),
    /// There is no image, and the spec as booted cannot be read.
    #[error("the spec that the zone was booted with cannot be read: {}", reason(.0))]
    NoSpec(io::Error),
    /// The same, and it is not understood.
    #[error("{0}")]
    BadSpec(toml::TextError),
}

/// Keeps the image of a zone whose process 1 has begun.
///
/// # Errors
/// The system's error.
pub fn keep(dir: &Path, init: i32, image: &ZoneImage) -> io::Result<()> {
    write(&dir.join(IMAGE), init, image)
}

/// Puts another image in the place of that of a zone that runs, for whoever reads it next, whole or not at all.
///
/// # Errors
/// The system's error; the former image may be replaced already, but not its copy.
pub fn change(root: &Root, zone: &ZoneName, init: i32, image: &ZoneImage) -> io::Result<()> {
    let dir = root.zone_run(zone);
    let draft = dir.join(IMAGE_DRAFT);
    let done = write(&draft, init, image).and_then(|()| fs::rename(&draft, dir.join(IMAGE)));
    done.inspect_err(|_| drop(fs::remove_file(&draft)))?;
    copy::renew(root, zone)
}

fn write(path: &Path, init: i32, image: &ZoneImage) -> io::Result<()> {
    let init_start = start_time(init).ok_or_else(|| io::Error::other("process 1 has ended"))?;
    let bytes = serde_json::to_vec(&Kept { format: FORMAT, init, init_start, image })?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(path)?.write_all(&bytes)
}

/// The mark of a file of an image, another one for each that [`change`] has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageStamp {
    inode: u64,
    /// Length in bytes: it tells a file that is still being written from the whole one, as the time may not.
    length: u64,
    /// Seconds and nanoseconds of its last change.
    changed: (i64, i64),
}

/// Returns the mark of the image of a zone that runs; none when it has none.
pub fn stamp(root: &Root, zone: &ZoneName) -> Option<ImageStamp> {
    let meta = fs::symlink_metadata(root.zone_run(zone).join(IMAGE)).ok()?;
    Some(ImageStamp { inode: meta.ino(), length: meta.len(), changed: (meta.ctime(), meta.ctime_nsec()) })
}

/// Returns what holds for a running zone whose process 1 is `init`: by its image, or, where a release without images
/// has booted it, by the spec that it was booted with.
///
/// # Errors
/// [`ImageError`]: the caller must then use the strictest confinement.
pub fn of_running(root: &Root, zone: &ZoneName, init: i32) -> Result<ZoneRules, ImageError> {
    let dir = root.zone_run(zone);
    match kept(root, zone, init)? {
        Some(image) => Ok(image.into()),
        None => {
            let bytes = fs::read(dir.join(SPEC)).map_err(ImageError::NoSpec)?;
            let spec = toml::parse(zone, &bytes).map_err(ImageError::BadSpec)?;
            Ok(ZoneRules::of_spec(&spec))
        }
    }
}

/// Returns the image of a running zone whose process 1 is `init`; none when a release without images has booted it.
///
/// # Errors
/// [`ImageError`]
pub fn kept(root: &Root, zone: &ZoneName, init: i32) -> Result<Option<ZoneImage>, ImageError> {
    let path = &root.zone_run(zone).join(IMAGE);
    if fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let bytes = trust::read_bytes(path, LONGEST).ok_or(ImageError::Unreadable)?;
    let kept = parse(&bytes)?;
    let is_its = kept.init == init && Some(kept.init_start) == start_time(init);
    Ok(is_its.then_some(kept.image))
}

fn parse(bytes: &[u8]) -> Result<Kept<ZoneImage>, ImageError> {
    match serde_json::from_slice::<Kept<ZoneImage>>(bytes) {
        Ok(kept) if kept.format == FORMAT => Ok(kept),
        Ok(kept) => Err(ImageError::Format(kept.format)),
        // A later format may have any other field.
        Err(e) => match serde_json::from_slice::<Format>(bytes) {
            Ok(Format { format }) if format != FORMAT => Err(ImageError::Format(format)),
            _ => Err(ImageError::Parse(e)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::boot::{BootFacts, plan};
    use crate::plan::bootargs::BootArgs;
    use crate::plan::confine::Confinement;

    /// The spec as a release without images has left it in the folder.
    const SPEC_OF_FORMER: &str = "format = 1\n[[attr]]\nname = \"allow-syscalls\"\ntype = \"string\"\n\
        value = \"keys\"\n[[dataset]]\nname = \"tank/a\"\nlock = \"compression\"\n\
        [[fs]]\ndir = \"/d\"\nspecial = \"/srv/d\"\ntype = \"lofs\"\n";

    /// The run-time folder of a zone whose process 1 is this process.
    struct World {
        temp: tempfile::TempDir,
        root: Root,
        zone: ZoneName,
        own: i32,
    }

    impl World {
        fn new() -> Self {
            let temp = tempfile::tempdir().expect("a folder");
            let (root, zone) = (Root::new(Some(temp.path())), ZoneName::new("zion").expect("a name"));
            fs::create_dir_all(root.zone_run(&zone)).expect("the run-time folder");
            Self { temp, root, zone, own: std::process::id().try_into().expect("process ids fit") }
        }

        fn file(&self, name: &str) -> std::path::PathBuf {
            self.root.zone_run(&self.zone).join(name)
        }

        fn keep(&self, spec: &str) -> ZoneImage {
            let spec = toml::parse(&self.zone, spec.as_bytes()).expect("a spec");
            let image = plan(&spec, &BootArgs::default(), &BootFacts::default()).expect("it can boot").image;
            keep(&self.root.zone_run(&self.zone), self.own, &image).expect("kept");
            image
        }

        fn found(&self) -> Result<ZoneRules, ImageError> {
            of_running(&self.root, &self.zone, self.own)
        }

        fn change(&self, from: &str, to: &str) {
            let text = fs::read_to_string(self.file(IMAGE)).expect("an image");
            assert!(text.contains(from), "{text}");
            fs::write(self.file(IMAGE), text.replace(from, to)).expect("written");
        }
    }

    const OPEN: &str =
        "format = 1\n[[attr]]\nname = \"allow-syscalls\"\ntype = \"string\"\nvalue = \"bpf\"\n";

    #[test]
    fn the_image_holds_and_not_the_spec() {
        let world = World::new();
        let image = world.keep(OPEN);
        fs::write(world.file(SPEC), SPEC_OF_FORMER).expect("written");
        let found = world.found().expect("an image");
        assert_eq!(found, image.into());
        assert_eq!((found.confinement.open, found.datasets, found.shared), (vec!["bpf"], vec![], vec![]));
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(world.file(IMAGE)).expect("an image").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // The spec can be anything, and nothing.
        fs::write(world.file(SPEC), "no spec").expect("written");
        assert!(world.found().is_ok());
        drop(world.temp);
    }

    #[test]
    fn a_running_zone_gets_another_image() {
        let world = World::new();
        let (root, zone, own) = (&world.root, &world.zone, world.own);
        let mut image = world.keep(OPEN);
        let first = stamp(root, zone).expect("an image");
        assert_eq!(stamp(root, zone), Some(first));
        let record = "id=1 state=running init=1 start=1 supervisor=1 sstart=1";
        copy::keep(root, zone, &crate::apply::rundir::Running::parse(record).expect("a record"))
            .expect("a copy");
        image.confinement = Confinement::strictest();
        change(root, zone, own, &image).expect("changed");
        assert_ne!(stamp(root, zone), Some(first));
        assert_eq!(copy::file(root, zone, IMAGE), fs::read(world.file(IMAGE)).ok(), "its copy follows");
        assert_eq!(kept(root, zone, own).expect("understood"), Some(image.clone()));
        // The former image stays when the new one cannot be written, so that the zone is held to something.
        fs::create_dir(world.file(IMAGE_DRAFT)).expect("a folder");
        image.confinement.open = vec!["keys"];
        change(root, zone, own, &image).expect_err("in the way");
        assert_eq!(world.found().expect("an image").confinement, Confinement::strictest());
        fs::remove_dir(world.file(IMAGE_DRAFT)).expect("removed");
        change(root, zone, i32::MAX, &image).expect_err("no such process");
        assert_eq!(world.found().expect("an image").confinement, Confinement::strictest());
        assert_eq!(fs::read_dir(root.zone_run(zone)).expect("read").count(), 1, "no draft is left");
    }

    #[test]
    fn a_zone_of_a_former_release_is_held_to_its_spec() {
        let world = World::new();
        assert!(matches!(world.found(), Err(ImageError::NoSpec(_))));
        fs::write(world.file(SPEC), SPEC_OF_FORMER).expect("written");
        let found = world.found().expect("a spec");
        assert_eq!((found.confinement.open, found.shared), (vec!["keys"], vec!["/srv/d".to_owned()]));
        assert_eq!(found.datasets.len(), 1);
        assert!(found.datasets[0].locks.iter().chain(&found.datasets[0].below).any(|p| p == "compression"));
        fs::write(world.file(SPEC), "no spec").expect("written");
        assert!(matches!(world.found(), Err(ImageError::BadSpec(_))));
        // An unknown system call group makes the image unusable, so the strictest confinement applies.
        fs::write(world.file(SPEC), OPEN.replace("bpf", "everything")).expect("written");
        assert_eq!(world.found().expect("a spec").confinement, Confinement::strictest());
        // An image of another boot says nothing of this one.
        world.keep(OPEN);
        let start = start_time(world.own).expect("this process lives");
        world.change(&format!("\"init_start\":{start}"), &format!("\"init_start\":{}", start + 1));
        fs::write(world.file(SPEC), SPEC_OF_FORMER).expect("written");
        assert_eq!(world.found().expect("a spec").confinement.open, ["keys"]);
    }

    #[test]
    fn an_image_that_is_not_understood_opens_nothing() {
        let world = World::new();
        fs::write(world.file(SPEC), SPEC_OF_FORMER).expect("written");
        let fails = |what: &str| world.found().expect_err(what).to_string();
        world.keep(OPEN);
        world.change("\"format\":1", "\"format\":2");
        assert!(fails("a later format").contains("has format 2, and this release reads 1"));
        world.change("\"image\":", "\"zone\":");
        assert!(fails("a later format with other fields").contains("has format 2"));
        world.keep(OPEN);
        world.change("\"bpf\"", "\"new-calls\"");
        assert!(fails("a group of a later release").contains("'new-calls' is not known"));
        let text = fs::read_to_string(world.file(IMAGE)).expect("an image");
        for bad in ["", "{", &text[..text.len() / 2], "{\"format\":1}"] {
            fs::write(world.file(IMAGE), bad).expect("written");
            assert!(fails(bad).contains("not understood"), "{bad}");
        }
        fs::remove_file(world.file(IMAGE)).expect("removed");
        fs::create_dir(world.file(IMAGE)).expect("a folder");
        assert!(fails("a folder").contains("cannot be read"));
    }
}
