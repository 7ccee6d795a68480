//! `zonestat`: what zones use of the machine, once or again and again.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table};
use lexopt::{Arg, Parser, ValueExt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::apply::paths::Root;
use crate::apply::usage::{Sample, Usage};
use crate::sys::trace;
use crate::sys::tty::Raw;

const USAGE: &str = "usage: zonestat [-p | --json] [-R root] [-z zone]... [interval [count]]";

const HELP: &str = "\
Shows what the host and each running zone use: cpu, memory, swap, processes, network, block devices, each
beside its limit. Without an interval one second is measured, once.

  interval     seconds between two reports, such as 1, 0.5 or 2s; without a count, until interrupted
               (q or ^C at a terminal, where each report takes the place of the one before)
  count        number of reports
  -z zone      this zone only; may be repeated
  -p           one line for each zone, fields separated by colons, numbers without units
  --json       one array of objects for each report
  -R root      zones below this folder
  --version    print the version";

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Table,
    Colons,
    Json,
}

#[derive(Debug, Default)]
struct Options {
    form: Form,
    root: Option<OsString>,
    zones: Vec<String>,
    interval: Option<Duration>,
    count: Option<u64>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    trace::begin("zonestat");
    match options(Parser::from_env()) {
        Ok(Some(options)) => match run(&options) {
            Ok(status) => status,
            // The reader of our output has gone, which is no error.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("zonestat: {e}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("zonestat: {text}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Reads the command line; none when it has been answered.
fn options(mut parser: Parser) -> Result<Option<Options>, String> {
    let mut found = Options::default();
    let mut words = Vec::new();
    let text = |e: lexopt::Error| e.to_string();
    while let Some(arg) = parser.next().map_err(text)? {
        match arg {
            Arg::Short('p') => found.form = Form::Colons,
            Arg::Long("json") => found.form = Form::Json,
            Arg::Short('R') => found.root = Some(parser.value().map_err(text)?),
            Arg::Short('z') => {
                let names = parser.value().and_then(ValueExt::string).map_err(text)?;
                found.zones.extend(names.split(',').map(str::to_owned));
            }
            Arg::Long("help") | Arg::Short('?' | 'h') => {
                println!("{USAGE}\n{HELP}");
                return Ok(None);
            }
            Arg::Long("version") => {
                println!("zonestat (zones) {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            Arg::Value(word) if words.len() < 2 => words.push(word.string().map_err(text)?),
            other => return Err(other.unexpected().to_string()),
        }
    }
    if let Some(word) = words.first() {
        found.interval = Some(interval(word).ok_or(format!("'{word}' is not a number of seconds"))?);
    }
    if let Some(word) = words.get(1) {
        let count = word.parse().ok().filter(|n| *n > 0);
        found.count = Some(count.ok_or(format!("'{word}' is not a number of reports"))?);
    }
    Ok(Some(found))
}

/// Reads seconds, with Solaris' optional unit.
fn interval(word: &str) -> Option<Duration> {
    let (number, unit) = match word.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &word[word.len() - 1..]),
        None => (word, "s"),
    };
    let seconds: f64 = number.parse().ok()?;
    let unit = match unit {
        "m" => 60.0,
        "h" => 3600.0,
        _ => 1.0,
    };
    let seconds = seconds * unit;
    (seconds.is_finite() && (0.01..=86_400.0).contains(&seconds)).then(|| Duration::from_secs_f64(seconds))
}

fn run(options: &Options) -> io::Result<ExitCode> {
    let root = Root::new(options.root.as_deref().map(Path::new));
    let count = options.count.or(options.interval.is_none().then_some(1));
    let interval = options.interval.unwrap_or(Duration::from_secs(1));
    let redraws = options.form == Form::Table && count.is_none() && io::stdout().is_terminal();
    // Keys are read one by one, so that q ends at once.
    let stdin = io::stdin();
    let _raw = if redraws { Raw::enter(stdin.as_fd()) } else { None };
    let mut before = Sample::take(&root);
    let mut missing = false;
    let mut reports = 0;
    let mut next = Instant::now();
    while count.is_none_or(|n| reports < n) {
        next += interval;
        if wait(next.saturating_duration_since(Instant::now()), redraws) {
            break;
        }
        let now = Sample::take(&root);
        let mut usage = now.since(&before);
        before = now;
        for zone in &options.zones {
            if !usage.iter().any(|u| u.zone == *zone) {
                missing = true;
                eprintln!("zonestat: zone '{zone}' is not running");
            }
        }
        if !options.zones.is_empty() {
            usage.retain(|u| options.zones.contains(&u.zone));
        }
        let text = match options.form {
            Form::Table => table(&usage),
            Form::Colons => colons(&usage),
            Form::Json => json(&usage),
        };
        let mut out = io::stdout().lock();
        if redraws {
            // Home, and each line and the rest of the screen cleared: no flicker.
            let text = text.replace('\n', "\x1b[K\r\n");
            write!(out, "\x1b[H{text}\x1b[J")?;
        } else {
            if options.form == Form::Table && reports > 0 {
                writeln!(out)?;
            }
            write!(out, "{text}")?;
        }
        out.flush()?;
        reports += 1;
    }
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Waits; says whether the person wants to end.
fn wait(time: Duration, keys: bool) -> bool {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if !keys {
            std::thread::sleep(left);
            return false;
        }
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => {
                let mut key = [0_u8; 16];
                let got = rustix::io::read(&stdin, &mut key).unwrap_or(0);
                if got == 0 || key[..got].iter().any(|k| matches!(k, b'q' | b'Q' | 3 | 4)) {
                    return true;
                }
            }
            Err(_) => {}
        }
    }
}

/// Bytes with a unit, in at most five characters.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "K", "M", "G", "T", "P"];
    let mut value = bytes;
    let mut tenths = 0;
    let mut unit = 0;
    while value >= 1000 && unit + 1 < UNITS.len() {
        tenths = value % 1024 * 10 / 1024;
        value /= 1024;
        unit += 1;
    }
    if unit > 0 && value < 10 {
        format!("{value}.{tenths}{}", UNITS[unit])
    } else {
        format!("{value}{}", UNITS[unit])
    }
}

/// Hundredths as a decimal number.
fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

fn shown(value: Option<u64>, form: impl Fn(u64) -> String) -> String {
    value.map_or("-".to_owned(), form)
}

fn table(usage: &[Usage]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "ZONE", "CPUS", "CAP", "MEMORY", "CAP", "SWAP", "CAP", "TASKS", "CAP", "IN/S", "OUT/S", "READ/S",
        "WRITE/S",
    ]);
    for u in usage {
        table.add_row([
            u.zone.clone(),
            shown(u.cpu, hundredths),
            shown(u.now.cpu_cap, hundredths),
            shown(u.now.memory, size),
            shown(u.now.memory_cap, size),
            shown(u.now.swap, size),
            shown(u.now.swap_cap, size),
            shown(u.now.tasks, |n| n.to_string()),
            shown(u.now.tasks_cap, |n| n.to_string()),
            shown(u.received, size),
            shown(u.sent, size),
            shown(u.read, size),
            shown(u.written, size),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<String> = table.lines().map(|l| l.trim_end().to_owned()).collect();
    format!("{}\n", lines.join("\n"))
}

/// The fields in the order of the manual; an empty one is not counted here, or has no limit.
fn fields(u: &Usage) -> [(&'static str, Option<u64>); 12] {
    [
        ("cpu", u.cpu),
        ("cpu-cap", u.now.cpu_cap),
        ("memory", u.now.memory),
        ("memory-cap", u.now.memory_cap),
        ("swap", u.now.swap),
        ("swap-cap", u.now.swap_cap),
        ("tasks", u.now.tasks),
        ("tasks-cap", u.now.tasks_cap),
        ("received", u.received),
        ("sent", u.sent),
        ("read", u.read),
        ("written", u.written),
    ]
}

fn colons(usage: &[Usage]) -> String {
    let line = |u: &Usage| {
        let values: Vec<String> =
            fields(u).iter().map(|(_, v)| v.map_or(String::new(), |n| n.to_string())).collect();
        format!("{}:{}\n", u.zone, values.join(":"))
    };
    usage.iter().map(line).collect()
}

fn json(usage: &[Usage]) -> String {
    let object = |u: &Usage| {
        let mut map = serde_json::Map::new();
        map.insert("zone".into(), u.zone.clone().into());
        for (name, value) in fields(u) {
            map.insert(name.into(), value.into());
        }
        serde_json::Value::Object(map)
    };
    format!("{}\n", serde_json::Value::Array(usage.iter().map(object).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let table =
            [(0, "0B"), (999, "999B"), (1024, "1.0K"), (1536, "1.5K"), (10 << 20, "10M"), (1 << 40, "1.0T")];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(hundredths(150), "1.50");
    }

    #[test]
    fn intervals() {
        assert_eq!(interval("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(interval("2s"), Some(Duration::from_secs(2)));
        assert_eq!(interval("1m"), Some(Duration::from_secs(60)));
        for bad in ["", "0", "-1", "x", "inf", "1d"] {
            assert_eq!(interval(bad), None, "{bad}");
        }
    }
}
