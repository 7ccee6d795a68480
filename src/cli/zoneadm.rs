//! `zoneadm`: reads the command line, finds the zone, checks its state, and hands over to
//! [`crate::apply`].
//!
//! The order of a command: arguments, rights, zone, state, spec, verify, operation. The zone's
//! lock is taken before its state, its spec and the caller's rights are read: see
//! [`crate::apply::store::Locked`].

mod foreign;
mod lifecycle;
mod operate;
mod rights;
mod shift;
pub mod usage;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::{Arg, Parser};

use super::report::Report;
use crate::apply::broker::Caller;
use crate::apply::dataset::reclaim::reclaim;
use crate::apply::doctor;
use crate::apply::list::{self, Format, Row, Selection};
use crate::apply::login::current_zone;
use crate::apply::paths::Root;
use crate::apply::store::FileStore;
use crate::apply::{Notice, Seen};
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::spec::state::Verb;
use crate::spec::store::{StoreError, ZoneStore};
use crate::sys::trace;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Good,
    /// Something failed, and it has been said.
    Failed,
    /// The command line was wrong, and it has been said.
    Usage,
    /// As the program ended that the broker has started.
    As(u8),
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(match end {
            End::Good => 0,
            End::Failed => 1,
            End::Usage => 2,
            End::As(status) => status,
        })
    }
}

/// What stands before the subcommand.
#[derive(Debug, Default)]
struct Options {
    zone: Option<String>,
    uuid: Option<String>,
    root: Option<PathBuf>,
}

/// The running program.
struct Program {
    name: String,
    options: Options,
    store: FileStore,
    report: Report,
    /// The user for whom this is done with the rights of root.
    caller: Option<Caller>,
    /// What verify has found out.
    seen: Seen,
}

/// Runs the program.
pub fn main() -> ExitCode {
    trace::begin("zoneadm");
    let mut args = std::env::args_os();
    let name = args.next().map(PathBuf::from);
    let name = name.as_deref().and_then(Path::file_name).map_or("zoneadm".into(), |n| n.to_string_lossy());
    start(&name, args.collect()).into()
}

fn start(name: &str, args: Vec<OsString>) -> End {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o022));
    let mut parser = Parser::from_args(args);
    let mut options = Options::default();
    loop {
        let text = |v: Result<OsString, lexopt::Error>| v.map(|v| v.to_string_lossy().into_owned());
        let read = match parser.next() {
            Ok(Some(Arg::Short('z'))) => text(parser.value()).map(|v| options.zone = Some(v)),
            Ok(Some(Arg::Short('u'))) => text(parser.value()).map(|v| options.uuid = Some(v)),
            Ok(Some(Arg::Short('R'))) => parser.value().map(|v| options.root = Some(v.into())),
            Ok(Some(Arg::Short('?') | Arg::Long("help"))) => {
                return page(|out| usage::print(name, true, out), End::Usage);
            }
            Ok(Some(Arg::Long("version"))) => {
                let version = env!("CARGO_PKG_VERSION");
                return page(|out| writeln!(out, "zoneadm (zones) {version}"), End::Good);
            }
            Ok(Some(Arg::Value(command))) => {
                let rest = parser.raw_args().map(Iterator::collect).unwrap_or_default();
                return run(name, options, &command.to_string_lossy(), rest);
            }
            Ok(Some(_) | None) | Err(_) => return wrong(name),
        };
        if read.is_err() {
            return wrong(name);
        }
    }
}

fn wrong(name: &str) -> End {
    let _ = usage::print(name, false, &mut io::stderr());
    End::Usage
}

/// Prints a page to standard output; a reader that has gone is no failure.
fn page(print: impl FnOnce(&mut dyn Write) -> io::Result<()>, end: End) -> End {
    let mut out = BufWriter::new(io::stdout().lock());
    match print(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("zoneadm: cannot write: {e}");
            End::Failed
        }
        _ => end,
    }
}

fn run(name: &str, options: Options, command: &str, args: Vec<OsString>) -> End {
    if command == "help" {
        return help(name, &args);
    }
    let own = usage::find(command).map(|sub| sub.name);
    let Some(command) = own.or_else(|| foreign::MOUNTS.into_iter().find(|name| *name == command)) else {
        let later = ["apply", "rename"];
        if later.contains(&command) {
            let mut report = Report::new(name);
            report.warn(&format!("{command} is not available yet in this version"));
            return End::Failed;
        }
        return wrong(name);
    };
    let mut report = Report::new(name);
    let caller = Caller::from_env();
    // For a user nothing is looked at below a path that he names: he is refused further down.
    if let Some(root) = options.root.as_ref().filter(|_| caller.is_none()) {
        let bad = match (root.is_absolute(), root.is_dir()) {
            (false, _) => Some("absolute"),
            (true, false) => Some("a directory"),
            (true, true) => None,
        };
        if let Some(what) = bad {
            report.plain(&format!("root path must be {what}: {}", root.shown()));
            return End::Usage;
        }
    }
    let store = FileStore::open(Root::new(options.root.as_deref()));
    let mut program = Program { name: name.to_owned(), options, store, report, caller, seen: Seen::new() };
    if let Err(end) = program.refuse_for_caller(command) {
        return end;
    }
    match command {
        "mount" | "unmount" => program.mount(command, &args),
        "list" => program.list(args),
        "doctor" => program.doctor(args),
        "plan" => program.plan(&args),
        "reclaim" => program.reclaim(args),
        "shift-ids" => program.shift_ids(args),
        _ => program.change(command, &args),
    }
}

fn help(name: &str, args: &[OsString]) -> End {
    let word = args.first().map(|w| w.to_string_lossy());
    let Some(word) = word else {
        return page(|out| usage::print(name, true, out), End::Good);
    };
    match usage::find(&word) {
        Some(sub) => page(|out| sub.print(name, true, out), End::Good),
        None => wrong(name),
    }
}

impl Program {
    fn sub_usage(&self, command: &str, asked: bool) -> End {
        let Some(sub) = usage::find(command) else { return wrong(&self.name) };
        if asked {
            return page(|out| sub.print(&self.name, true, out), End::Usage);
        }
        let _ = sub.print(&self.name, false, &mut io::stderr());
        End::Usage
    }

    /// Fails before the zone has been looked up: it is named as it was typed.
    fn fail_early(&mut self, text: impl std::fmt::Display) -> End {
        if let Some(zone) = self.options.zone.clone() {
            self.report.about(&zone);
        }
        self.fail(text)
    }

    fn fail(&mut self, text: impl std::fmt::Display) -> End {
        self.report.finish();
        self.report.warn(&text.to_string());
        End::Failed
    }

    /// Finds the zone of `-u` and `-z`; none when neither was given. The error has been said.
    fn zone(&mut self) -> Result<Option<ZoneName>, End> {
        let (zone, uuid) = (self.options.zone.clone(), self.options.uuid.clone());
        if let Some(uuid) = &uuid {
            let Ok(uuid) = uuid::Uuid::parse_str(uuid) else {
                return Err(self.fail("illegal UUID value specified"));
            };
            match self.store.by_uuid(&uuid.to_string()) {
                Ok(Some(name)) => return Ok(Some(name)),
                Ok(None) => {}
                Err(e) => return Err(self.fail(e)),
            }
        }
        let Some(text) = zone.as_ref().or(uuid.as_ref()) else { return Ok(None) };
        // Not looked up: the answer is the same whether or not there is one.
        if let Ok(name) = ZoneName::new(text)
            && (name.is_reserved() || name.is_global())
        {
            return Ok(Some(name));
        }
        match list::find(&self.store, text) {
            Ok(Some(name)) => Ok(Some(name)),
            Ok(None) => Err(self.fail(format!("{text}: {}", StoreError::NoZone))),
            Err(e) => Err(self.fail(format!("{text}: {e}"))),
        }
    }

    fn list(&mut self, args: Vec<OsString>) -> End {
        let mut wanted = Selection::default();
        let (mut table, mut colons, mut json) = (false, false, false);
        let mut parser = Parser::from_args(args);
        loop {
            match parser.next() {
                Ok(Some(Arg::Short('c'))) => wanted.configured = true,
                Ok(Some(Arg::Short('i'))) => wanted.installed = true,
                Ok(Some(Arg::Short('n'))) => wanted.no_global = true,
                Ok(Some(Arg::Short('p'))) => colons = true,
                Ok(Some(Arg::Short('v'))) => table = true,
                Ok(Some(Arg::Long("json"))) => json = true,
                Ok(Some(Arg::Short('?') | Arg::Long("help"))) => return self.sub_usage("list", true),
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => return self.sub_usage("list", false),
            }
        }
        let format = match (colons, table, json) {
            (true, true, _) => return self.fail("list -p and -v are mutually exclusive."),
            (true, _, true) => return self.fail("list -p and --json are mutually exclusive."),
            (_, true, true) => return self.fail("list -v and --json are mutually exclusive."),
            (true, false, false) => Format::Colons,
            (false, true, false) => Format::Table,
            (false, false, true) => Format::Json,
            (false, false, false) => Format::Names,
        };
        if let Some(own) = current_zone() {
            return page(|out| list::print(&[Row::inside(&own)], format, out), End::Good);
        }
        wanted.only = match self.zone() {
            Ok(zone) => zone,
            Err(end) => return end,
        };
        if wanted.only.is_some() && (wanted.configured || wanted.installed || wanted.no_global) {
            return self.sub_usage("list", false);
        }
        let listing = match list::list(&self.store, &wanted) {
            Ok(listing) => listing,
            Err(e) => {
                let zone = wanted.only.map_or_else(String::new, |z| format!("{z}: "));
                return self.fail(format!("{zone}{e}"));
            }
        };
        let mut end = page(|out| list::print(&listing.rows, format, out), End::Good);
        if format == Format::Table {
            for told in listing.links(self.store.root()) {
                self.report.warn(&told);
            }
        }
        for problem in listing.problems() {
            self.report.warn(problem);
            // A watcher of the other zones must not lose sight of them for this one.
            if wanted.only.is_some() {
                end = End::Failed;
            }
        }
        end
    }

    /// Gives a dataset that a zone has had back to the host.
    fn reclaim(&mut self, args: Vec<OsString>) -> End {
        let (mut force, mut dataset) = (false, None);
        let mut parser = Parser::from_args(args);
        loop {
            match parser.next() {
                Ok(Some(Arg::Short('F'))) => force = true,
                Ok(Some(Arg::Value(name))) if dataset.is_none() => dataset = Some(name),
                Ok(Some(Arg::Short('?') | Arg::Long("help"))) => return self.sub_usage("reclaim", true),
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => return self.sub_usage("reclaim", false),
            }
        }
        let Some(dataset) = dataset.map(|d| d.to_string_lossy().into_owned()) else {
            return self.sub_usage("reclaim", false);
        };
        if current_zone().is_some() {
            return self.fail("must be in the global zone to reclaim a dataset.");
        }
        if !rustix::process::geteuid().is_root() {
            return self.fail("only a privileged user may reclaim a dataset.");
        }
        match reclaim(&self.store, &mut self.report, &dataset, force) {
            Ok(()) => {
                self.report.finish();
                End::Good
            }
            Err(e) => self.fail(e),
        }
    }

    /// Says what this host offers and lacks for zones.
    fn doctor(&mut self, args: Vec<OsString>) -> End {
        let mut json = false;
        let mut parser = Parser::from_args(args);
        loop {
            match parser.next() {
                Ok(Some(Arg::Long("json"))) => json = true,
                Ok(Some(Arg::Short('?') | Arg::Long("help"))) => return self.sub_usage("doctor", true),
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => return self.sub_usage("doctor", false),
            }
        }
        // It is about the host, not about one zone.
        if self.options.zone.is_some() || self.options.uuid.is_some() {
            return self.sub_usage("doctor", false);
        }
        if current_zone().is_some() {
            return self.fail("doctor looks at the host: it must be run in the global zone.");
        }
        let diagnosis = doctor::examine(&self.store);
        match page(|out| doctor::print(&diagnosis, json, out), End::Good) {
            End::Good if !diagnosis.is_good() => End::Failed,
            end => end,
        }
    }

    /// Refuses what only the administrator of the host may do.
    fn refuse_caller(&mut self, command: &str) -> Result<(), End> {
        if current_zone().is_some() {
            return Err(self.fail_early(format!("must be in the global zone to {command} a zone.")));
        }
        if !rustix::process::geteuid().is_root() {
            self.hand_over(command)?;
            return Err(self.fail_early(format!("only a privileged user may {command} a zone.")));
        }
        Ok(())
    }

    /// Finds the zone that a command is about, and refuses those that are no zones.
    fn subject(&mut self, command: &str) -> Result<ZoneName, End> {
        let Some(name) = self.zone()? else { return Err(self.fail("no zone specified")) };
        self.report.about(name.as_str());
        if name.is_global() {
            return Err(self.fail(format!("{command} operation is invalid for the global zone.")));
        }
        if name.is_reserved() {
            let prefix = if name.as_str().starts_with("SUNW") { "SUNW" } else { "SYS" };
            let text = format!("{command} operation is invalid for zones starting with {prefix}.");
            return Err(self.fail(text));
        }
        Ok(name)
    }
}

fn verb(command: &str) -> Option<Verb> {
    Verb::ALL.into_iter().find(|v| v.as_str() == command)
}
