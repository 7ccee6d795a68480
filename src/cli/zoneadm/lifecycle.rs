//! `clone`, `move`, `detach` and `attach`: their arguments, and what is checked before.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};

use super::operate::{Bad, Words};
use super::{End, Program};
use crate::apply::install::{self, AttachArgs, CloneArgs};
use crate::apply::store::Locked;
use crate::apply::verify::Purpose;
use crate::apply::{NOTHING_SEEN, Op, list};
use crate::spec::shown::Show;
use crate::spec::state::{Verb, ZoneState};
use crate::spec::store::{StoreError, ZoneStore};
use crate::spec::{ZoneName, ZoneSpec};

/// Longest manifest that is read from standard input.
const MANIFEST_MAX: u64 = 16 << 20;

/// What the words after one of these subcommands say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    /// The zone that is cloned.
    pub source: String,
    /// Arguments of `clone`.
    pub clone: CloneArgs,
    /// Where a zone moves.
    pub path: String,
    /// `-n` of `detach`.
    pub show: bool,
    /// `-n` of `attach`.
    pub manifest: Option<PathBuf>,
    /// Arguments of `attach`.
    pub attach: AttachArgs,
}

/// Reads the words; none when the verb is another one.
pub(super) fn words(verb: Verb, args: &[OsString]) -> Result<Option<Words>, Bad> {
    if !matches!(verb, Verb::Clone | Verb::Move | Verb::Detach | Verb::Attach) {
        return Ok(None);
    }
    let mut life = Life::default();
    life.attach.host = "/".into();
    let mut operands = Vec::new();
    let mut parser = Parser::from_args(args.iter().cloned());
    while let Some(arg) = parser.next().map_err(|_| Bad::Usage)? {
        let value = |parser: &mut Parser| parser.value().map_err(|_| Bad::Usage);
        let text = |w: OsString| w.to_string_lossy().into_owned();
        match (verb, arg) {
            (_, Arg::Short('?') | Arg::Long("help")) => return Err(Bad::Asked),
            (Verb::Clone, Arg::Short('m')) => {
                if value(&mut parser)? != "copy" {
                    return Err(Bad::Text("the only method of clone -m is copy"));
                }
                life.clone.copy = true;
            }
            (Verb::Clone, Arg::Short('s')) => life.clone.snapshot = Some(text(value(&mut parser)?)),
            (Verb::Clone, Arg::Long("with-datasets")) => life.clone.datasets = true,
            (Verb::Detach, Arg::Short('n')) => life.show = true,
            (Verb::Attach, Arg::Short('F')) => life.attach.force = true,
            (Verb::Attach, Arg::Short('u' | 'U')) => life.attach.update = true,
            (Verb::Attach, Arg::Short('n')) => life.manifest = Some(value(&mut parser)?.into()),
            (Verb::Clone | Verb::Move, Arg::Value(word)) => operands.push(text(word)),
            _ => return Err(Bad::Usage),
        }
    }
    if life.attach.force && life.manifest.is_some() {
        return Err(Bad::Text("-F and -n flags are mutually exclusive"));
    }
    match (verb, &mut operands[..]) {
        (Verb::Clone, [source]) => life.source = std::mem::take(source),
        (Verb::Move, [path]) => life.path = std::mem::take(path),
        (Verb::Detach | Verb::Attach, []) => {}
        _ => return Err(Bad::Usage),
    }
    Ok(Some(Words::living(life)))
}

impl Program {
    /// Finds the zone that is cloned.
    pub(super) fn source(&mut self, text: &str, target: &ZoneName) -> Result<ZoneName, End> {
        let name = match ZoneName::new(text) {
            Ok(name) if name.is_global() => {
                return Err(self.fail("clone operation is invalid for the global zone."));
            }
            Ok(name) if name.is_reserved() => {
                return Err(self.fail(format!("{text}: templates cannot be cloned")));
            }
            Ok(name) => name,
            Err(e) => return Err(self.fail(e)),
        };
        if name == *target {
            return Err(self.fail("a zone cannot be cloned from itself"));
        }
        match list::find(&self.store, text) {
            Ok(Some(found)) if found == name => Ok(name),
            Ok(_) => Err(self.fail(format!("{text}: {}", StoreError::NoZone))),
            Err(e) => Err(self.fail(format!("{text}: {e}"))),
        }
    }

    /// Takes the locks of two zones, in the order of their names: whoever else wants both does the same.
    pub(super) fn lock_both(
        &mut self,
        verb: Verb,
        one: &ZoneName,
        other: &ZoneName,
    ) -> Result<(Locked, Locked), End> {
        if one < other {
            return Ok((self.lock(verb, one)?, self.lock(verb, other)?));
        }
        let other = self.lock(verb, other)?;
        Ok((self.lock(verb, one)?, other))
    }

    /// Returns the spec of the zone that is cloned, if it is exactly installed.
    pub(super) fn source_spec(&mut self, source: &ZoneName) -> Result<ZoneSpec, End> {
        match self.store.state(source) {
            Ok(Some(ZoneState::Installed)) => {}
            Ok(Some(state)) => {
                let text = format!("{}: zone {source} is {state}; installed is required.", self.name);
                self.report.plain(&text);
                return Err(End::Failed);
            }
            Ok(None) => return Err(self.fail(format!("{source}: {}", StoreError::NoZone))),
            Err(e) => return Err(self.fail(format!("{source}: {e}"))),
        }
        match self.store.load(source) {
            Ok(Some(stored)) => Ok(stored.spec),
            Ok(None) => Err(self.fail(format!("{source}: {}", StoreError::NoZone))),
            Err(e) => Err(self.fail(format!("{source}: {e}"))),
        }
    }

    /// Takes back or finishes what an interrupted move, detach or attach of a zone has left, and says whether there
    /// was such a thing. The caller has its lock.
    pub(super) fn recover(&mut self, lock: &Locked) -> Result<bool, End> {
        let name = lock.name();
        if !install::is_needed(self.store.root(), name) {
            return Ok(false);
        }
        // Without a spec there is no zone to bring in order.
        let Ok(Some(spec)) = lock.spec() else { return Ok(false) };
        let mut op = Op::under(lock, &self.store, &spec, &NOTHING_SEEN, &mut self.report);
        install::recover(&mut op).map(|()| true).map_err(|e| self.fail(e))
    }

    /// Carries one of these subcommands out. The zone is locked, its state good and its spec verified.
    pub(super) fn live(
        &mut self,
        verb: Verb,
        life: &Life,
        lock: &Locked,
        spec: &ZoneSpec,
        source: Option<&ZoneSpec>,
    ) -> Result<(), End> {
        let name = lock.name();
        let moved = match verb {
            Verb::Move => Some(self.moved(name, spec, &life.path)?),
            _ => None,
        };
        let mut op = Op::under(lock, &self.store, spec, &NOTHING_SEEN, &mut self.report);
        let done = match (verb, moved, source) {
            (Verb::Clone, _, Some(source)) => install::clone(&mut op, source, &life.clone),
            (Verb::Move, Some(moved), _) => install::move_zone(&mut op, &moved),
            (Verb::Detach, ..) if life.show => {
                return match install::manifest(&op) {
                    Ok(text) => {
                        op.out.say(text.trim_end());
                        Ok(())
                    }
                    Err(e) => Err(self.fail(e)),
                };
            }
            (Verb::Detach, ..) => install::detach(&mut op),
            _ => install::attach(&mut op, &life.attach),
        };
        done.map_err(|e| self.fail_install(verb.as_str(), &e))
    }

    /// Returns the spec with another zonepath, verified.
    fn moved(&mut self, name: &ZoneName, spec: &ZoneSpec, path: &str) -> Result<ZoneSpec, End> {
        let moved = install::moved_spec(spec, path).map_err(|e| self.fail(e))?;
        self.verify(name, &moved, Purpose::Move)?;
        Ok(moved)
    }

    /// Returns what one of these subcommands would do.
    pub(super) fn plan_life(
        &mut self,
        verb: Verb,
        life: &Life,
        name: &ZoneName,
        spec: &ZoneSpec,
    ) -> Result<Vec<String>, End> {
        let source = match verb {
            Verb::Clone => {
                let source = self.source(&life.source, name)?;
                Some(self.source_spec(&source)?)
            }
            _ => None,
        };
        let op = Op::shown(&self.store, name, spec, &NOTHING_SEEN, &mut self.report);
        let plan = match (verb, source) {
            (Verb::Clone, Some(source)) => install::clone_plan(&op, &source, &life.clone),
            (Verb::Move, _) => {
                install::moved_spec(spec, &life.path).and_then(|moved| install::move_plan(&op, &moved))
            }
            (Verb::Detach, _) => install::detach_plan(&op),
            _ => install::attach_plan(&op, &life.attach).map(|(plan, _)| plan),
        };
        let plan = plan.map_err(|e| self.fail_install(verb.as_str(), &e))?;
        Ok(plan.steps.iter().map(crate::plan::install::InstallStep::describe).collect())
    }

    /// `attach -n`: looks at a manifest. No zone is needed.
    pub(super) fn check_manifest(&mut self, file: &Path) -> Result<(), End> {
        let read = |from: &mut dyn Read| {
            let mut bytes = Vec::new();
            from.take(MANIFEST_MAX).read_to_end(&mut bytes).map(|_| bytes)
        };
        let (bytes, shown) = if file == Path::new("-") {
            (read(&mut std::io::stdin().lock()), Path::new("standard input"))
        } else {
            (std::fs::File::open(file).and_then(|mut f| read(&mut f)), file)
        };
        let checked = match bytes {
            Ok(bytes) => install::check_manifest(&bytes, shown).map_err(|e| e.to_string()),
            Err(e) => {
                let reason = crate::apply::files::reason(&e);
                Err(format!("could not open {}: {reason}", shown.shown()))
            }
        };
        checked.map_err(|text| self.fail_early(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(verb: Verb, line: &str) -> Result<Life, Bad> {
        let args: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        words(verb, &args).map(|w| w.expect("one of these verbs").life)
    }

    #[test]
    fn arguments() {
        let clone = read(Verb::Clone, "-m copy -s @one --with-datasets zion").expect("clone");
        assert!(clone.clone.copy && clone.clone.datasets && clone.source == "zion");
        assert_eq!(clone.clone.snapshot.as_deref(), Some("@one"));
        assert_eq!(read(Verb::Clone, "-m move zion"), Err(Bad::Text("the only method of clone -m is copy")));
        for (verb, bad) in [
            (Verb::Clone, ""),
            (Verb::Clone, "a b"),
            (Verb::Clone, "-x a"),
            (Verb::Clone, "-s"),
            (Verb::Move, ""),
            (Verb::Move, "/a /b"),
            (Verb::Detach, "x"),
            (Verb::Detach, "-F"),
            (Verb::Attach, "x"),
            (Verb::Attach, "-n"),
        ] {
            assert_eq!(read(verb, bad), Err(Bad::Usage), "{verb} {bad}");
        }
        assert_eq!(read(Verb::Move, "/a").map(|l| l.path).as_deref(), Ok("/a"));
        assert!(read(Verb::Detach, "-n").is_ok_and(|l| l.show));
        let attach = read(Verb::Attach, "-F -u").expect("attach");
        assert!(attach.attach.force && attach.attach.update);
        assert_eq!(read(Verb::Attach, "-n -").map(|l| l.manifest), Ok(Some("-".into())));
        assert_eq!(read(Verb::Attach, "-F -n x"), Err(Bad::Text("-F and -n flags are mutually exclusive")));
        assert_eq!(read(Verb::Move, "-?"), Err(Bad::Asked));
    }
}
