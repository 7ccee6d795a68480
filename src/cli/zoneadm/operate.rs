//! The subcommands that change a zone, and their dry run.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::foreign;
use super::lifecycle::{self, Life};
use super::{End, Program, page, verb};
use crate::apply::boot::{self, BootArgs};
use crate::apply::store::Locked;
use crate::apply::verify::{self, Purpose};
use crate::apply::{NOTHING_SEEN, Notice, Op, dataset, install, running, verbs};
use crate::plan::step::Step;
use crate::plan::sysconfig::SysConfig;
use crate::spec::shown::Show;
use crate::spec::state::{Start, Verb, ZoneState, allowed};
use crate::spec::store::{StoreError, ZoneStore};
use crate::spec::verify::Severity;
use crate::spec::{ZoneName, ZoneSpec};

/// Longest boot arguments, in bytes (`BOOTARGS_MAX` less the terminator).
const BOOT_ARGS_MAX: usize = 255;

/// What the words after a subcommand say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// `-F`: do not ask.
    pub(super) force: bool,
    /// `-f` of boot: boots also an incomplete zone.
    override_state: bool,
    /// `-w` of boot and reboot: the root is writable, whatever its profile.
    pub(super) writable: bool,
    /// `-r` of shutdown.
    again: bool,
    /// `-t` of shutdown: how many seconds the zone has.
    seconds: Option<u64>,
    /// Arguments of a boot, one line.
    boot: String,
    /// State that `mark` sets.
    mark: Option<ZoneState>,
    /// What goes to install as it is.
    pub(super) install: Vec<String>,
    /// Arguments of `clone`, `move`, `detach` and `attach`.
    pub(super) life: Life,
    /// `-c` of `install` and `clone`.
    pub(super) profile: Option<PathBuf>,
    /// Warnings about options that have no meaning here.
    notes: Vec<String>,
}

impl Words {
    /// Returns the words of `clone`, `move`, `detach` or `attach`.
    pub(super) fn living(life: Life) -> Self {
        Self { life, ..Self::default() }
    }

    /// Returns what a boot is told.
    fn boot_args(&self) -> BootArgs {
        BootArgs { writable: self.writable, ..BootArgs::parse(&self.boot) }
    }
}

/// Why words are not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// Usage is printed.
    Usage,
    /// `-?`.
    Asked,
    /// Exit with 2 without a word, as Solaris does for `mark`.
    Silent,
    /// This text is printed.
    Text(&'static str),
}

fn words(verb: Verb, args: &[OsString]) -> Result<Words, Bad> {
    let (args, notes) = foreign::take_out(verb, args);
    let (args, profile) = foreign::profile(verb, args);
    Ok(Words { notes, profile, ..own_words(verb, &args)? })
}

fn own_words(verb: Verb, args: &[OsString]) -> Result<Words, Bad> {
    if let Some(words) = lifecycle::words(verb, args)? {
        return Ok(words);
    }
    let text = |w: &OsString| w.to_string_lossy().into_owned();
    let mut out = Words::default();
    if verb == Verb::Install {
        if matches!(args.first().map(text).as_deref(), Some("-?" | "--help")) {
            return Err(Bad::Asked);
        }
        out.install = args.iter().map(text).collect();
        return Ok(out);
    }
    let (own, after) = match args.iter().position(|a| a == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[][..]),
    };
    let mut boot: Vec<String> = Vec::new();
    let mut state = None;
    let mut parser = Parser::from_args(own.iter().cloned());
    while let Some(arg) = parser.next().map_err(|_| Bad::Usage)? {
        match (verb, arg) {
            (_, Arg::Short('?') | Arg::Long("help")) => return Err(Bad::Asked),
            (Verb::Uninstall | Verb::Mark, Arg::Short('F')) => out.force = true,
            (Verb::Boot, Arg::Short('f')) => out.override_state = true,
            (Verb::Boot | Verb::Reboot, Arg::Short('w')) => out.writable = true,
            // The old form, from before there was "--".
            (Verb::Boot, Arg::Short('s')) => boot.push("-s".to_owned()),
            (Verb::Boot | Verb::Reboot, Arg::Value(word)) => boot.push(text(&word)),
            (Verb::Shutdown, Arg::Short('r')) => out.again = true,
            (Verb::Shutdown, Arg::Short('t')) => {
                let value = parser.value().map_err(|_| Bad::Usage)?;
                let seconds = value.to_str().and_then(|text| text.parse().ok());
                out.seconds = Some(seconds.ok_or(Bad::Text("-t: a number of seconds is needed"))?);
            }
            (Verb::Shutdown, Arg::Value(word)) if out.again => boot.push(text(&word)),
            (Verb::Mark, Arg::Value(word)) if state.is_none() => state = Some(text(&word)),
            (Verb::Mark, _) => return Err(Bad::Silent),
            _ => return Err(Bad::Usage),
        }
    }
    let may_boot = matches!(verb, Verb::Boot | Verb::Reboot) || out.again;
    if !may_boot && !after.is_empty() {
        return Err(if verb == Verb::Mark { Bad::Silent } else { Bad::Usage });
    }
    boot.extend(after.iter().map(text));
    out.boot = boot.join(" ");
    if out.boot.len() > BOOT_ARGS_MAX {
        return Err(Bad::Text("Boot argument list too long"));
    }
    if verb == Verb::Mark {
        out.mark = Some(match (state.as_deref(), out.force) {
            (Some("incomplete"), _) => ZoneState::Incomplete,
            (Some("configured"), true) => ZoneState::Configured,
            (Some("installed"), true) => ZoneState::Installed,
            _ => return Err(Bad::Silent),
        });
    }
    Ok(out)
}

impl Program {
    fn bad(&mut self, command: &str, bad: &Bad) -> End {
        match bad {
            Bad::Usage => self.sub_usage(command, false),
            Bad::Asked => self.sub_usage(command, true),
            Bad::Silent => End::Usage,
            Bad::Text(text) => self.fail_early(text),
        }
    }

    /// Runs a subcommand that may change a zone.
    pub(super) fn change(&mut self, command: &str, args: &[OsString]) -> End {
        let Some(verb) = verb(command) else { return super::wrong(&self.name) };
        let done = match words(verb, args) {
            Err(bad) => Err(self.bad(command, &bad)),
            // It opens the file that the words name.
            Ok(Words { life: Life { manifest: Some(_), .. }, .. }) if self.caller.is_some() => {
                Err(self.refuse(command, "-n is nothing for the broker: it needs no rights"))
            }
            Ok(Words { life: Life { manifest: Some(file), .. }, .. }) => self.check_manifest(&file),
            Ok(words) => self.try_change(verb, &words),
        };
        self.report.finish();
        done.map_or_else(|end| end, |()| End::Good)
    }

    fn try_change(&mut self, verb: Verb, words: &Words) -> Result<(), End> {
        self.refuse_caller(verb.as_str())?;
        let name = self.subject(verb.as_str())?;
        self.permit(verb, words, &name, false)?;
        for note in &words.notes {
            self.report.warn(&format!("WARNING: {note}"));
        }
        let profile = self.read_profile(words.profile.as_deref());
        if verb == Verb::Uninstall && !self.may_uninstall(&name, words.force)? {
            return Ok(());
        }
        let source = match verb {
            Verb::Clone => Some(self.source(&words.life.source, &name)?),
            _ => None,
        };
        let (lock, source, killed) = match source {
            Some(source) => {
                let (lock, source) = self.lock_both(verb, &name, &source)?;
                (lock, Some(source), false)
            }
            None if verb == Verb::Halt => {
                let (lock, killed) = self.lock_to_halt(&name)?;
                (lock, None, killed)
            }
            None => (self.lock(verb, &name)?, None, false),
        };
        let state = match lock.state() {
            // Deleted while this program waited for the lock: its lock file is not to be left behind.
            Ok(None) => {
                lock.forget();
                return Err(self.fail(StoreError::NoZone));
            }
            state => state,
        };
        let done = self.under(&lock, state, verb, words, source.as_ref(), killed);
        if let (Ok(()), Some(profile)) = (&done, profile) {
            self.configure(&lock, &profile);
        }
        drop(source);
        done
    }

    /// Puts what a profile says into the root of a zone that has just been installed.
    fn configure(&mut self, lock: &Locked, profile: &SysConfig) {
        let Ok(spec) = self.spec(Verb::Install, lock.name()) else { return };
        let mut op = Op::under(lock, &self.store, &spec, &NOTHING_SEEN, &mut self.report);
        if let Err(e) = install::sysconfig::configure(&mut op, profile) {
            self.report.warn(&format!("WARNING: the zone is installed, without all of its profile: {e}"));
        }
    }

    /// Does what the words say with a zone that is locked. All that decides about it is read now; its state has
    /// been.
    fn under(
        &mut self,
        lock: &Locked,
        mut state: Result<Option<ZoneState>, StoreError>,
        verb: Verb,
        words: &Words,
        source: Option<&Locked>,
        killed: bool,
    ) -> Result<(), End> {
        let name = lock.name().clone();
        if let Some(source) = source {
            self.recover(source)?;
        }
        if self.recover(lock)? {
            state = lock.state();
        }
        // `detach -n` prints only, so the zone may run.
        let shown = words.life.show && matches!(state, Ok(Some(state)) if state.is_active());
        if !shown {
            self.refuse_state(verb, state, words.override_state)?;
        }
        if verb == Verb::Mark {
            // Root marks a zone also when its spec cannot be read.
            if self.caller.is_some() {
                let spec = self.spec(verb, &name)?;
                self.permit_still(verb, &name, &spec, None)?;
            }
            let state = words.mark.unwrap_or(ZoneState::Incomplete);
            return self.store.set_installed_state(&name, state).map_err(|e| self.fail(e));
        }
        let source = match source {
            Some(source) => Some(self.source_spec(source.name())?),
            None => None,
        };
        let spec = self.spec(verb, &name)?;
        self.permit_still(verb, &name, &spec, source.as_ref())?;
        let purpose = match verb {
            Verb::Verify => Some(Purpose::Verify),
            Verb::Clone if words.life.clone.datasets => Some(Purpose::CloneAll),
            Verb::Install | Verb::Clone | Verb::Attach => Some(Purpose::Install),
            Verb::Ready | Verb::Boot | Verb::Reboot | Verb::Move => Some(Purpose::Boot),
            Verb::Detach if !words.life.show => Some(Purpose::Boot),
            _ => None,
        };
        if let Some(purpose) = purpose {
            self.verify(&name, &spec, purpose)?;
        }
        if matches!(verb, Verb::Clone | Verb::Move | Verb::Detach | Verb::Attach) {
            return self.live(verb, &words.life, lock, &spec, source.as_ref());
        }
        self.operate(verb, words, lock, &spec, killed)
    }

    fn operate(
        &mut self,
        verb: Verb,
        words: &Words,
        lock: &Locked,
        spec: &ZoneSpec,
        killed: bool,
    ) -> Result<(), End> {
        let args = words.boot_args();
        // What the zone has now changes before it is booted again.
        let seen = if verb == Verb::Reboot { &NOTHING_SEEN } else { &self.seen };
        let mut op = Op::under(lock, &self.store, spec, seen, &mut self.report);
        let done = match verb {
            Verb::Install => return self.install(lock, spec, &words.install),
            Verb::Uninstall => {
                return install::uninstall(&mut op, &[]).map_err(|e| self.fail_install("uninstall", &e));
            }
            Verb::Ready => verbs::ready(&mut op),
            Verb::Boot => verbs::boot(&mut op, &args),
            Verb::Reboot => verbs::reboot(&mut op, &args),
            Verb::Shutdown => {
                let seconds = words.seconds.unwrap_or(verbs::SHUTDOWN_SECONDS);
                verbs::shutdown(&mut op, words.again.then_some(&args), seconds)
            }
            Verb::Halt => verbs::halt(&mut op, killed),
            Verb::Verify | Verb::Mark | Verb::Clone | Verb::Attach | Verb::Detach | Verb::Move => Ok(()),
        };
        done.map_err(|e| self.fail(e))
    }

    fn install(&mut self, lock: &Locked, spec: &ZoneSpec, args: &[String]) -> Result<(), End> {
        let mut op = Op::under(lock, &self.store, spec, &NOTHING_SEEN, &mut self.report);
        install::install(&mut op, args).map_err(|e| self.fail_install("install", &e))
    }

    pub(super) fn fail_install(&mut self, command: &str, e: &install::InstallError) -> End {
        self.fail(e);
        if e.is_usage() {
            return self.sub_usage(command, false);
        }
        if let Some(hint) = e.hint() {
            self.report.hint(hint);
        }
        End::Failed
    }

    /// Locks a zone; tells a person whom this program waits for.
    pub(super) fn lock(&mut self, verb: Verb, name: &ZoneName) -> Result<Locked, End> {
        let what = format!("zoneadm {verb}");
        match self.store.try_lock(name, &what) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {
                let holder = self.store.holder(name);
                self.report.hint(&format!(
                    "another zoneadm may have an operation in progress; waiting for it: {holder}"
                ));
            }
            Err(e) => return Err(self.fail(e)),
        }
        self.store.lock(name, &what).map_err(|e| self.fail(e))
    }

    /// Locks a zone that is to be halted. A zone for whose orderly shutdown another zoneadm waits is killed
    /// first; says whether it was.
    fn lock_to_halt(&mut self, name: &ZoneName) -> Result<(Locked, bool), End> {
        match self.store.try_lock(name, "zoneadm halt") {
            Ok(Some(lock)) => return Ok((lock, false)),
            Ok(None) => {}
            Err(e) => return Err(self.fail(e)),
        }
        let killed = verbs::interrupt_shutdown(self.store.root(), name).map_err(|e| self.fail(e))?;
        Ok((self.lock(Verb::Halt, name)?, killed))
    }

    fn refuse_state(
        &mut self,
        verb: Verb,
        state: Result<Option<ZoneState>, StoreError>,
        override_state: bool,
    ) -> Result<(), End> {
        let state = match state {
            Ok(Some(state)) => state,
            Ok(None) => return Err(self.fail(StoreError::NoZone)),
            Err(e) => return Err(self.fail(e)),
        };
        if override_state && state == ZoneState::Incomplete {
            return Ok(());
        }
        match allowed(verb, state) {
            // What there is nothing to do for is for the operation to say: it looks again under the
            // lock, and puts right a supervisor that has died.
            Ok(Start::Go | Start::Already(_)) => Ok(()),
            Err(e) => Err(self.fail(e)),
        }
    }

    /// Reads the spec. A running zone can be halted also without one.
    fn spec(&mut self, verb: Verb, name: &ZoneName) -> Result<ZoneSpec, End> {
        match self.store.load(name) {
            Ok(Some(stored)) => Ok(stored.spec),
            Ok(None) | Err(StoreError::Invalid(_)) if verb == Verb::Halt => Ok(ZoneSpec::new(name.clone())),
            Ok(None) => Err(self.fail(StoreError::NoZone)),
            Err(e) => Err(self.fail(e)),
        }
    }

    pub(super) fn verify(&mut self, name: &ZoneName, spec: &ZoneSpec, purpose: Purpose) -> Result<(), End> {
        let found = verify::check(&self.store, name, spec, purpose).map_err(|e| self.fail(e))?;
        let is_sound = found.is_ok();
        let mut good = is_sound;
        self.seen = found.seen;
        for line in &found.lines {
            self.report.plain(&line.text);
        }
        // What boot would refuse verify has to refuse as well.
        let installed = || self.store.state(name).ok().flatten() == Some(ZoneState::Installed);
        if purpose == Purpose::Verify && good && installed() {
            let op = Op::shown(&self.store, name, spec, &NOTHING_SEEN, &mut self.report);
            if let Err(e) = boot::plan_boot(&op, &BootArgs::default()) {
                self.report.plain(&e.to_string());
                good = false;
            }
        }
        if good {
            return Ok(());
        }
        debug_assert!(found.lines.iter().any(|l| l.severity == Severity::Error) || is_sound);
        self.report.plain(&format!("{}: zone {name} failed to verify", self.name));
        Err(End::Failed)
    }

    fn may_uninstall(&mut self, name: &ZoneName, force: bool) -> Result<bool, End> {
        // A zone that cannot be uninstalled at all is not asked about.
        self.refuse_state(Verb::Uninstall, self.store.state(name), false)?;
        if force {
            return Ok(true);
        }
        if !io::stdin().is_terminal() {
            return Err(self.fail("Input not from terminal and -F not specified: uninstall not done."));
        }
        loop {
            let mut out = io::stdout();
            let _ = write!(out, "Are you sure you want to uninstall zone {name} (y/[n])? ");
            let _ = out.flush();
            let mut line = String::new();
            match io::stdin().lock().read_line(&mut line) {
                Ok(0) | Err(_) => return Ok(false),
                Ok(_) => {}
            }
            match line.trim().chars().next().map(|c| c.to_ascii_lowercase()) {
                Some('y') => return Ok(true),
                Some('n') | None => return Ok(false),
                Some(_) => {}
            }
        }
    }

    /// Prints what a subcommand would do.
    pub(super) fn plan(&mut self, args: &[OsString]) -> End {
        let Some((command, rest)) = args.split_first() else { return self.sub_usage("plan", false) };
        let command = command.to_string_lossy().into_owned();
        if matches!(command.as_str(), "-?" | "--help") {
            return self.sub_usage("plan", true);
        }
        let Some(verb) = verb(&command).filter(|v| !matches!(v, Verb::Verify | Verb::Mark)) else {
            return self.sub_usage("plan", false);
        };
        let lines = match words(verb, rest) {
            Err(bad) => return self.bad(&command, &bad),
            Ok(words) => self.plan_lines(verb, &words),
        };
        match lines {
            Ok(lines) => page(
                |out| {
                    let mut numbered = lines.iter().zip(1..);
                    numbered.try_for_each(|(line, i)| writeln!(out, "{i:>3}  {line}"))
                },
                End::Good,
            ),
            Err(end) => end,
        }
    }

    fn plan_lines(&mut self, verb: Verb, words: &Words) -> Result<Vec<String>, End> {
        self.refuse_caller(verb.as_str())?;
        let name = self.subject(verb.as_str())?;
        self.permit(verb, words, &name, true)?;
        self.refuse_state(verb, self.store.state(&name), words.override_state)?;
        let spec = self.spec(verb, &name)?;
        self.permit_still(verb, &name, &spec, None)?;
        let mut lines = Vec::new();
        if matches!(verb, Verb::Halt | Verb::Reboot | Verb::Shutdown) {
            lines.extend(self.stop_lines(&name, verb));
        }
        let op = Op::shown(&self.store, &name, &spec, &NOTHING_SEEN, &mut self.report);
        match verb {
            Verb::Install => match install::install_plan(&op, &words.install) {
                Ok(plan) => lines.extend(plan.steps.iter().map(crate::plan::install::InstallStep::describe)),
                Err(e) => return Err(self.fail_install("install", &e)),
            },
            Verb::Clone | Verb::Move | Verb::Detach | Verb::Attach => {
                lines.extend(self.plan_life(verb, &words.life, &name, &spec)?);
            }
            Verb::Uninstall => match install::uninstall_plan(&op, &[]) {
                Ok(plan) => lines.extend(plan.steps.iter().map(crate::plan::install::InstallStep::describe)),
                Err(e) => return Err(self.fail_install("uninstall", &e)),
            },
            Verb::Ready | Verb::Boot | Verb::Reboot | Verb::Shutdown
                if verb != Verb::Shutdown || words.again =>
            {
                match boot::plan_boot(&op, &words.boot_args()) {
                    Ok(plan) => {
                        for text in &plan.warnings {
                            self.report.warn(&format!("WARNING: {text}"));
                        }
                        let wanted = plan
                            .steps
                            .iter()
                            .filter(|s| verb != Verb::Ready || !matches!(s, Step::Init { .. }));
                        lines.extend(wanted.map(Step::describe));
                    }
                    Err(e) => return Err(self.fail(e)),
                }
            }
            _ => {}
        }
        Ok(lines)
    }

    /// Says how a running zone is stopped.
    fn stop_lines(&self, name: &ZoneName, verb: Verb) -> Vec<String> {
        let Some(zone) = running::find(self.store.root(), name) else { return Vec::new() };
        let first = match verb {
            Verb::Shutdown => format!("ask init (process {}) to end the zone, and wait for it", zone.init),
            _ => format!("kill process 1 (process {}), and with it all others of the zone", zone.init),
        };
        let mut lines = vec![first];
        let given = dataset::registry::noted(&self.store.root().zone_run(name));
        lines.extend(given.iter().map(|d| format!("dataset {d}: take it from the zone; zoned stays on")));
        lines.extend(zone.cgroup.iter().map(|path| format!("remove cgroup {path}")));
        lines.push(format!("remove {}", self.store.root().zone_run(name).shown()));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(verb: Verb, line: &str) -> Result<Words, Bad> {
        words(verb, &line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn boot_arguments() {
        let boot = |line| read(Verb::Boot, line).map(|w| w.boot);
        assert_eq!(boot("-- -m verbose -s").as_deref(), Ok("-m verbose -s"));
        assert_eq!(boot("-s").as_deref(), Ok("-s"));
        assert_eq!(boot("-s -- -v").as_deref(), Ok("-s -v"), "Linux: with the blank that illumos forgets");
        assert_eq!(boot("-- --").as_deref(), Ok("--"));
        assert_eq!(boot("-x"), Err(Bad::Usage));
        assert_eq!(boot(&format!("-- {}", "x".repeat(256))), Err(Bad::Text("Boot argument list too long")));
        assert!(read(Verb::Boot, "-w -- -s").is_ok_and(|w| w.writable && w.boot == "-s"));
        assert!(read(Verb::Reboot, "-w").is_ok_and(|w| w.writable));
        assert_eq!(read(Verb::Ready, "-w"), Err(Bad::Usage));
        assert!(read(Verb::Boot, "-f").is_ok_and(|w| w.override_state));
        assert!(read(Verb::Shutdown, "-r -- -s").is_ok_and(|w| w.again && w.boot == "-s"));
        assert_eq!(read(Verb::Shutdown, "-- -s"), Err(Bad::Usage));
        assert!(read(Verb::Shutdown, "-t 300 -r").is_ok_and(|w| w.again && w.seconds == Some(300)));
        assert!(matches!(read(Verb::Shutdown, "-t soon"), Err(Bad::Text(_))));
        assert_eq!(read(Verb::Halt, "now"), Err(Bad::Usage));
    }

    #[test]
    fn marks() {
        let mark = |line| read(Verb::Mark, line).map(|w| w.mark);
        assert_eq!(mark("incomplete"), Ok(Some(ZoneState::Incomplete)));
        assert_eq!(mark("-F installed"), Ok(Some(ZoneState::Installed)));
        for bad in ["", "installed", "ready", "incomplete x", "-x", "-- incomplete"] {
            assert_eq!(mark(bad), Err(Bad::Silent), "{bad}");
        }
    }
}
