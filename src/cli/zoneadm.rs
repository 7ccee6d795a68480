//! `zoneadm`: reads the command line, finds the zone, checks its state, and hands over to
//! [`crate::apply`].
//!
//! The order of a command: arguments, rights, zone, state, spec, verify, operation. The zone's
//! lock is taken before its state, its spec and the caller's rights are read: see
//! [`crate::apply::store::Locked`].

mod args;
mod foreign;
mod operate;
mod rights;
mod shift;
mod storage;
pub mod table;
pub mod usage;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::{Arg, Parser};

use self::args::{ArgsError, SubcommandArgs};
use self::table::{Run, Subcommand};
use super::report::Report;
use crate::apply::broker::Caller;
use crate::apply::dataset::reclaim::reclaim;
use crate::apply::doctor;
use crate::apply::list::{self, ListFormat, Row, Selection};
use crate::apply::login::current_zone;
use crate::apply::paths::Root;
use crate::apply::store::FileStore;
use crate::apply::{Notice, SeenDatasets};
use crate::plan::sysconfig::SysConfig;
use crate::spec::ZoneName;
use crate::spec::shown::Show;
use crate::spec::store::{StoreError, ZoneStore};
use crate::spec::verb::{BrokerPolicy, Verb};
use crate::sys::trace;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Good,
    /// Something failed, and it has been said.
    Failed,
    /// The command line was wrong, and it has been said.
    Usage,
    /// The status of the program that the broker has started.
    As(u8),
}

impl From<Exit> for ExitCode {
    fn from(end: Exit) -> Self {
        Self::from(match end {
            Exit::Good => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::As(status) => status,
        })
    }
}

/// The options before the subcommand.
#[derive(Debug, Default)]
struct Options {
    zone: Option<String>,
    uuid: Option<String>,
    root: Option<PathBuf>,
}

/// The running program.
struct Zoneadm {
    name: String,
    options: Options,
    store: FileStore,
    report: Report,
    /// The user for whom this is done with the rights of root.
    caller: Option<Caller>,
    /// The file systems that verify has looked at.
    seen: SeenDatasets,
    /// The profile of `-c` for the zone that is made.
    profile: Option<SysConfig>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    trace::begin("zoneadm");
    let mut args = std::env::args_os();
    let name = args.next().map(PathBuf::from);
    let name = name.as_deref().and_then(Path::file_name).map_or("zoneadm".into(), |n| n.to_string_lossy());
    start(&name, args.collect()).into()
}

fn start(name: &str, args: Vec<OsString>) -> Exit {
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
                return page(|out| usage::print(name, true, out), Exit::Usage);
            }
            Ok(Some(Arg::Long("version"))) => {
                let version = env!("CARGO_PKG_VERSION");
                return page(|out| writeln!(out, "zoneadm (zones) {version}"), Exit::Good);
            }
            Ok(Some(Arg::Value(command))) => {
                let rest = parser.raw_args().map(Iterator::collect).unwrap_or_default();
                return run(name, options, &command.to_string_lossy(), rest);
            }
            Ok(Some(_) | None) | Err(_) => return usage_error(name),
        };
        if read.is_err() {
            return usage_error(name);
        }
    }
}

fn usage_error(name: &str) -> Exit {
    let _ = usage::print(name, false, &mut io::stderr());
    Exit::Usage
}

/// Prints a page to standard output; a reader that has gone is no failure.
fn page(print: impl FnOnce(&mut dyn Write) -> io::Result<()>, end: Exit) -> Exit {
    let mut out = BufWriter::new(io::stdout().lock());
    match print(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("zoneadm: cannot write: {e}");
            Exit::Failed
        }
        _ => end,
    }
}

fn run(name: &str, options: Options, command: &str, args: Vec<OsString>) -> Exit {
    let own = table::find(command);
    // `help` looks at nothing of the host, and so needs no rights.
    if command == "help" {
        return help(name, &args);
    }
    let mount = foreign::MOUNTS.into_iter().find(|name| *name == command);
    if own.is_none() && mount.is_none() {
        if table::RESERVED.contains(&command) {
            let mut report = Report::new(name);
            report.warn(&format!("{command} is not available yet in this version"));
            return Exit::Failed;
        }
        return usage_error(name);
    }
    let mut report = Report::new(name);
    let caller = Caller::from_env();
    // A path that a user names is not looked at: the request is refused further down.
    if let Some(root) = options.root.as_ref().filter(|_| caller.is_none()) {
        let bad = match (root.is_absolute(), root.is_dir()) {
            (false, _) => Some("absolute"),
            (true, false) => Some("a directory"),
            (true, true) => None,
        };
        if let Some(what) = bad {
            report.plain(&format!("root path must be {what}: {}", root.shown()));
            return Exit::Usage;
        }
    }
    let store = FileStore::open(Root::new(options.root.as_deref()));
    let mut program = Zoneadm {
        name: name.to_owned(),
        options,
        store,
        report,
        caller,
        seen: SeenDatasets::new(),
        profile: None,
    };
    let broker = own.map_or(BrokerPolicy::Closed, |sub| sub.verb.broker);
    if let Err(end) = program.authorize_verb(command, broker) {
        return end;
    }
    match (own, mount) {
        (Some(sub), _) => match sub.run {
            Run::Whole(run) => run(&mut program, sub, &args),
            Run::OnZone(_) => program.change(sub, &args),
        },
        (None, Some(mount)) => program.mount(mount, &args),
        (None, None) => usage_error(name),
    }
}

fn help(name: &str, args: &[OsString]) -> Exit {
    let word = args.first().map(|w| w.to_string_lossy());
    let Some(word) = word else {
        return page(|out| usage::print(name, true, out), Exit::Good);
    };
    match table::find(&word) {
        Some(sub) => page(|out| usage::print_verb(&sub.verb, name, true, out), Exit::Good),
        None => usage_error(name),
    }
}

impl Zoneadm {
    fn help(&mut self, _: &'static Subcommand, args: &[OsString]) -> Exit {
        help(&self.name, args)
    }

    fn sub_usage(&self, verb: &Verb, asked: bool) -> Exit {
        if asked {
            return page(|out| usage::print_verb(verb, &self.name, true, out), Exit::Usage);
        }
        let _ = usage::print_verb(verb, &self.name, false, &mut io::stderr());
        Exit::Usage
    }

    /// Reads the words after a subcommand. The error has been said.
    fn read_args(&mut self, sub: &'static Subcommand, args: &[OsString]) -> Result<SubcommandArgs, Exit> {
        let read = args::read(&sub.verb, args);
        let read = read.and_then(|args| sub.check.map_or(Ok(()), |check| check(&args)).map(|()| args));
        read.map_err(|e| match e {
            ArgsError::Usage => self.sub_usage(&sub.verb, false),
            ArgsError::HelpAsked => self.sub_usage(&sub.verb, true),
            ArgsError::Silent => Exit::Usage,
            ArgsError::Text(text) => self.fail_unnamed(text),
        })
    }

    /// Fails before the zone has been looked up: it is named as it was typed.
    fn fail_unnamed(&mut self, text: impl std::fmt::Display) -> Exit {
        if let Some(zone) = self.options.zone.clone() {
            self.report.about(&zone);
        }
        self.fail(text)
    }

    fn fail(&mut self, text: impl std::fmt::Display) -> Exit {
        self.report.finish();
        self.report.warn(&text.to_string());
        Exit::Failed
    }

    /// Finds the zone of `-u` and `-z`; none when neither was given. The error has been said.
    fn zone(&mut self) -> Result<Option<ZoneName>, Exit> {
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

    fn list(&mut self, sub: &'static Subcommand, args: &[OsString]) -> Exit {
        let args = match self.read_args(sub, args) {
            Ok(args) => args,
            Err(end) => return end,
        };
        let mut wanted = Selection {
            configured: args.has("-c"),
            installed: args.has("-i"),
            no_global: args.has("-n"),
            ..Selection::default()
        };
        let (colons, table, json) = (args.has("-p"), args.has("-v"), args.has("--json"));
        let format = match (colons, table, json) {
            (true, true, _) => return self.fail("list -p and -v are mutually exclusive."),
            (true, _, true) => return self.fail("list -p and --json are mutually exclusive."),
            (_, true, true) => return self.fail("list -v and --json are mutually exclusive."),
            (true, false, false) => ListFormat::Colons,
            (false, true, false) => ListFormat::Table,
            (false, false, true) => ListFormat::Json,
            (false, false, false) => ListFormat::Names,
        };
        if let Some(own) = current_zone() {
            return page(|out| list::print(&[Row::inside(&own)], format, out), Exit::Good);
        }
        wanted.only = match self.zone() {
            Ok(zone) => zone,
            Err(end) => return end,
        };
        if wanted.only.is_some() && (wanted.configured || wanted.installed || wanted.no_global) {
            return self.sub_usage(&sub.verb, false);
        }
        let listing = match list::list(&self.store, &wanted) {
            Ok(listing) => listing,
            Err(e) => {
                let zone = wanted.only.map_or_else(String::new, |z| format!("{z}: "));
                return self.fail(format!("{zone}{e}"));
            }
        };
        let mut end = page(|out| list::print(&listing.rows, format, out), Exit::Good);
        if format == ListFormat::Table {
            for told in listing.links(self.store.root()) {
                self.report.warn(&told);
            }
        }
        for problem in listing.problems() {
            self.report.warn(problem);
            // A watcher of the other zones must not lose sight of them for this one.
            if wanted.only.is_some() {
                end = Exit::Failed;
            }
        }
        end
    }

    /// Gives a dataset that a zone has had back to the host.
    fn reclaim(&mut self, sub: &'static Subcommand, args: &[OsString]) -> Exit {
        let args = match self.read_args(sub, args) {
            Ok(args) => args,
            Err(end) => return end,
        };
        let Some(dataset) = args.operand() else { return self.sub_usage(&sub.verb, false) };
        if current_zone().is_some() {
            return self.fail("must be in the global zone to reclaim a dataset.");
        }
        if !rustix::process::geteuid().is_root() {
            return self.fail("only a privileged user may reclaim a dataset.");
        }
        match reclaim(&self.store, &mut self.report, &dataset, args.has("-F")) {
            Ok(()) => {
                self.report.finish();
                Exit::Good
            }
            Err(e) => self.fail(e),
        }
    }

    /// Reports which of the things that zones need this host has and lacks.
    fn doctor(&mut self, sub: &'static Subcommand, args: &[OsString]) -> Exit {
        let json = match self.read_args(sub, args) {
            Ok(args) => args.has("--json"),
            Err(end) => return end,
        };
        // It is about the host, not about one zone.
        if self.options.zone.is_some() || self.options.uuid.is_some() {
            return self.sub_usage(&sub.verb, false);
        }
        if current_zone().is_some() {
            return self.fail("doctor looks at the host: it must be run in the global zone.");
        }
        let diagnosis = doctor::examine(&self.store);
        match page(|out| doctor::print(&diagnosis, json, out), Exit::Good) {
            Exit::Good if !diagnosis.is_good() => Exit::Failed,
            end => end,
        }
    }

    /// Goes on for root alone; for anybody else the broker does it, where there is one.
    fn require_root(&mut self, sub: &Subcommand) -> Result<(), Exit> {
        let command = sub.verb.name;
        if current_zone().is_some() {
            return Err(self.fail_unnamed(format!("must be in the global zone to {command} a zone.")));
        }
        if !rustix::process::geteuid().is_root() {
            self.hand_over(sub)?;
            return Err(self.fail_unnamed(format!("only a privileged user may {command} a zone.")));
        }
        Ok(())
    }

    /// Finds the zone that a command is about, and refuses those that are no zones.
    fn subject(&mut self, command: &str) -> Result<ZoneName, Exit> {
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
