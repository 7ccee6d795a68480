//! The subcommands of zoneadm, one row each: their data and the functions that carry them out.
//!
//! Usage, help, completions and the manual's synopsis are made from these rows (`UPDATE=1 cargo test --test
//! completions --test manual` writes the files anew), and the rights that the broker lends are in them. A new
//! subcommand is a row here and the functions that it names.

use std::ffi::OsString;

use super::args::{ArgsError, SubcommandArgs};
use super::operate::{Planned, VerbContext, VerbResult};
use super::{Exit, Zoneadm, operate, storage};
use crate::spec::ZoneName;
use crate::spec::ZoneSpec;
use crate::spec::rights::Auth;
use crate::spec::state::ZoneState as S;
use crate::spec::state::{StateError, VerbDecision};
use crate::spec::verb::{BrokerPolicy, Lock, Must, Offer, Operands, Opt, Role, SpecUse, Subject, Verb};

/// A subcommand.
pub struct Subcommand {
    /// Its name, and where and for whom it starts.
    pub verb: Verb,
    /// The function that carries it out.
    pub(super) run: Run,
    /// The function whose lines `zoneadm plan` prints.
    pub(super) plan: Option<PlanLines>,
    /// The check of arguments that are right one by one.
    pub(super) check: Option<ArgsCheck>,
    /// A check or action of an option that needs no zone; none when that option was not given.
    pub(super) alone: Option<fn(&mut Zoneadm, &SubcommandArgs) -> Option<VerbResult>>,
    /// Asks the user before anything is locked; false: it is not done.
    pub(super) confirm: Option<Confirm>,
    /// Why a user may not have it done by the broker to the zone with this spec.
    pub(super) closed: Option<fn(&SubcommandArgs, &ZoneSpec) -> Option<&'static str>>,
}

impl Subcommand {
    /// Says whether `zoneadm plan` knows it.
    pub fn has_plan(&self) -> bool {
        self.plan.is_some()
    }
}

/// Returns the error in the arguments of a subcommand.
pub(super) type ArgsCheck = fn(&SubcommandArgs) -> Result<(), ArgsError>;

/// Asks the user about a zone; false: the answer was no.
pub(super) type Confirm = fn(&mut Zoneadm, &ZoneName, &SubcommandArgs) -> Result<bool, Exit>;

/// Returns the lines that `zoneadm plan` prints.
pub(super) type PlanLines = fn(&mut Zoneadm, &Planned<'_>) -> Result<Vec<String>, Exit>;

/// The function that carries a subcommand out.
pub(super) enum Run {
    /// A function that does all itself.
    Whole(fn(&mut Zoneadm, &'static Subcommand, &[OsString]) -> Exit),
    /// A function for the zone that has been found, locked, and whose state allows it.
    OnZone(fn(&mut Zoneadm, &VerbContext<'_>) -> VerbResult),
}

/// Subcommands of Solaris that come later.
pub(super) const RESERVED: [&str; 2] = ["apply", "rename"];

/// Finds a subcommand by its whole name.
pub fn find(name: &str) -> Option<&'static Subcommand> {
    SUBCOMMANDS.iter().find(|s| s.verb.name == name)
}

// The cells of the state table.
const Y: VerbDecision = VerbDecision::Go;
const N: VerbDecision = VerbDecision::Invalid;
const I: VerbDecision = VerbDecision::Refuse(StateError::AlreadyInstalled);
const C: VerbDecision = VerbDecision::Refuse(StateError::AlreadyConfigured);
const U: VerbDecision = VerbDecision::Refuse(StateError::Incomplete);
const B: VerbDecision = VerbDecision::Refuse(StateError::NotInstalled);
const R: VerbDecision = VerbDecision::Refuse(StateError::NotRunning);
const READY: VerbDecision = VerbDecision::Already("zone is already ready");
const BOOTED: VerbDecision = VerbDecision::Already("zone is already booted");
const HALTED: VerbDecision = VerbDecision::Already("zone is already halted");

const ACTIVE: &[S] = &[S::Ready, S::Running, S::ShuttingDown, S::Down, S::Mounted];
const MANAGE: BrokerPolicy = BrokerPolicy::Needs { zone: Auth::Manage, source: None };
const PROFILE: Opt = Opt::value('c', "profile", Offer::Files, "profile")
    .role(Role::Profile)
    .root_only("-c names a file of the host");
const WRITABLE: Opt = Opt::flag('w', "with a writable root")
    .root_only("-w opens what file-mac-profile of the configuration closes");
const TAKES_UPDATES: &str = "-F and -u take or change what another host has written";
const JSON: Opt = Opt::long("json", "as JSON");

/// The values that most subcommands have in common: a subcommand about one zone without options.
const fn zone(
    name: &'static str,
    brief: &'static str,
    states: [VerbDecision; 9],
    help: &'static str,
) -> Verb {
    Verb {
        name,
        brief,
        help,
        options: &[],
        operands: Operands::None,
        subject: Subject::Zone,
        states: Some(states),
        lock: Lock::Zone,
        spec: SpecUse::Needed,
        broker: MANAGE,
    }
}

/// A subcommand that does all itself.
const fn own(name: &'static str, subject: Subject, brief: &'static str, help: &'static str) -> Verb {
    let verb = zone(name, brief, [Y; 9], help);
    Verb { subject, states: None, lock: Lock::Own, broker: BrokerPolicy::Closed, ..verb }
}

const fn row(verb: Verb, run: Run) -> Subcommand {
    Subcommand { verb, run, plan: None, check: None, alone: None, confirm: None, closed: None }
}

/// The subcommands, in the order in which usage prints them.
pub static SUBCOMMANDS: &[Subcommand] = &[
    row(
        Verb {
            operands: Operands::Name {
                name: "subcommand",
                manual: "subcommand",
                is_optional: true,
                offer: Offer::Verbs,
            },
            ..own(
                "help",
                Subject::Program,
                "show how a subcommand is called",
                "Print this message, or that of one subcommand.",
            )
        },
        Run::Whole(Zoneadm::help),
    ),
    Subcommand {
        plan: Some(operate::plan_boot),
        ..row(
            Verb {
                options: &[
                    WRITABLE,
                    Opt::flag('f', "also an incomplete zone").role(Role::Hidden).also_in(&[S::Incomplete]),
                    Opt::flag('s', "single user").role(Role::BootWord),
                ],
                operands: Operands::BootArgs { after: None },
                ..zone(
                    "boot",
                    "start the zone",
                    //conf inco inst read  runn    shut    down    moun unav
                    [B, U, Y, Y, BOOTED, BOOTED, BOOTED, N, N],
                    "Boot an installed zone; it is made ready first if need be. With -w all of its root is\n\
                     writable until its next boot, whatever its file-mac-profile.\n\
                     Without arguments, those of the bootargs property are used:\n\
                     -i PATH  another init   -s  single user   -m OPTIONS  for the zone's init",
                )
            },
            Run::OnZone(operate::boot_zone),
        )
    },
    Subcommand {
        plan: Some(operate::plan_stop),
        ..row(
            Verb {
                lock: Lock::Interrupting,
                spec: SpecUse::OrEmpty,
                ..zone(
                    "halt",
                    "stop the zone at once",
                    [N, N, HALTED, Y, Y, Y, Y, N, N],
                    "Stop a zone at once: kill its processes and take down what it holds on the host.",
                )
            },
            Run::OnZone(operate::halt),
        )
    },
    Subcommand {
        plan: Some(operate::plan_ready),
        ..row(
            zone(
                "ready",
                "set up everything but the processes",
                [B, U, Y, READY, Y, Y, Y, N, N],
                "Set up everything of a zone but its processes.",
            ),
            Run::OnZone(operate::ready),
        )
    },
    Subcommand {
        plan: Some(operate::plan_shutdown),
        ..row(
            Verb {
                options: &[
                    Opt::value('t', "seconds", Offer::Nothing, "seconds to wait").must(Must::Number {
                        most: u64::MAX,
                        text: Some("-t: a number of seconds is needed"),
                    }),
                    Opt::flag('r', "boot again"),
                ],
                operands: Operands::BootArgs { after: Some('r') },
                ..zone(
                    "shutdown",
                    "ask the zone to stop",
                    [R, R, R, N, Y, Y, Y, N, R],
                    "Ask the zone's init to stop the zone, and wait for it, 120 seconds or -t; -r boots it again.",
                )
            },
            Run::OnZone(operate::shutdown),
        )
    },
    Subcommand {
        plan: Some(operate::plan_reboot),
        ..row(
            Verb {
                options: &[WRITABLE],
                operands: Operands::BootArgs { after: None },
                ..zone(
                    "reboot",
                    "halt and boot",
                    [R, R, R, N, Y, Y, Y, N, R],
                    "Halt a zone and boot it, with its configuration as saved now; -w as in boot.",
                )
            },
            Run::OnZone(operate::reboot),
        )
    },
    row(
        Verb {
            options: &[
                Opt::flag('c', "all"),
                Opt::flag('i', "also installed"),
                Opt::flag('n', "without the host"),
                Opt::flag('p', "for scripts"),
                Opt::flag('v', "table"),
                JSON,
            ],
            ..own(
                "list",
                Subject::Zones,
                "list zones",
                "List zones that are ready or running.\n\
                 -i  also installed ones      -c  all           -n  not the global zone\n\
                 -v  as a table               -p  for programs  --json  for programs",
            )
        },
        Run::Whole(Zoneadm::list),
    ),
    row(
        zone(
            "verify",
            "check the configuration against this host",
            [Y, U, Y, Y, Y, Y, Y, Y, Y],
            "Check that this host can run the zone. Prints nothing when it can.",
        ),
        Run::OnZone(operate::verify_zone),
    ),
    Subcommand {
        plan: Some(operate::plan_install),
        closed: Some(operate::install_is_closed),
        ..row(
            Verb {
                options: &[
                    Opt::value('a', "archive", Offer::Files, "archive"),
                    Opt::value('d', "directory", Offer::Folders, "tree").or(),
                    Opt::value('o', "layout", Offer::Folders, "image layout").or(),
                    Opt::value(
                        's',
                        "suite[+package...]",
                        Offer::Words("bookworm bullseye trixie sid stable testing"),
                        "suite",
                    )
                    .or(),
                    Opt::value(
                        'x',
                        "option",
                        Offer::Words("nodataset mirror= components= keyring="),
                        "option",
                    )
                    .repeated(),
                    PROFILE,
                    Opt::flag('u', "").role(Role::Foreign(
                        "the system in an archive is not unconfigured: set its host name, users and keys inside the zone",
                    )),
                    Opt::flag('p', "")
                        .role(Role::Foreign("the system in an archive keeps its identity in any case")),
                ],
                operands: Operands::Words { usage: "", manual: "", offer: Offer::Nothing },
                ..zone(
                    "install",
                    "make the root of the zone",
                    [Y, U, I, N, N, N, N, N, N],
                    "Make the root of a configured zone. Without arguments, a zone with inherit-pkg-dir\n\
                     resources gets a sparse root, any other a copy of the host's system.",
                )
            },
            Run::OnZone(operate::install_zone),
        )
    },
    Subcommand {
        plan: Some(operate::plan_uninstall),
        confirm: Some(operate::confirm_uninstall),
        ..row(
            Verb {
                options: &[Opt::flag('F', "do not ask")],
                ..zone(
                    "uninstall",
                    "remove the root of the zone",
                    [C, Y, Y, N, N, N, N, N, Y],
                    "Remove the root of a zone; -F does not ask first.",
                )
            },
            Run::OnZone(operate::uninstall),
        )
    },
    Subcommand {
        plan: Some(storage::plan_clone),
        ..row(
            Verb {
                options: &[
                    Opt::value('m', "copy", Offer::Words("copy"), "method")
                        .must(Must::Be("copy", "the only method of clone -m is copy")),
                    Opt::value('s', "snapshot", Offer::Snapshots, "snapshot")
                        .root_only("-s and --with-datasets name datasets of the host"),
                    Opt::long("with-datasets", "also the delegated datasets")
                        .root_only("-s and --with-datasets name datasets of the host"),
                    PROFILE,
                ],
                operands: Operands::Name {
                    name: "zonename",
                    manual: "source",
                    is_optional: false,
                    offer: Offer::Zones,
                },
                lock: Lock::ZoneAndSource,
                broker: BrokerPolicy::Needs { zone: Auth::Manage, source: Some(Auth::CloneFrom) },
                ..zone(
                    "clone",
                    "make this zone from an installed one",
                    [Y, U, I, N, N, N, N, N, N],
                    "Make a configured zone from an installed one: as a ZFS clone where both are in one pool,\n\
                     else as a copy. -m copy copies in any case, -s takes a snapshot that is there already.\n\
                     --with-datasets clones the delegated datasets too, into those that this zone names.",
                )
            },
            Run::OnZone(storage::clone),
        )
    },
    Subcommand {
        plan: Some(storage::plan_move),
        ..row(
            Verb {
                operands: Operands::Name {
                    name: "zonepath",
                    manual: "zonepath",
                    is_optional: false,
                    offer: Offer::Folders,
                },
                broker: BrokerPolicy::Closed,
                ..zone(
                    "move",
                    "give the zone another zonepath",
                    [N, U, Y, N, N, N, N, N, N],
                    "Give an installed zone another zonepath, and bring its files there.",
                )
            },
            Run::OnZone(storage::move_zone),
        )
    },
    Subcommand {
        plan: Some(storage::plan_detach),
        ..row(
            Verb {
                // With -n it prints only, so the zone may run.
                options: &[Opt::flag('n', "print the manifest").also_in(ACTIVE)],
                ..zone(
                    "detach",
                    "take the zone out of the care of this host",
                    [N, U, Y, N, N, N, N, N, N],
                    "Take an installed zone out of the care of this host; its root and a manifest stay in the\n\
                     zonepath. -n prints the manifest and does nothing.",
                )
            },
            Run::OnZone(storage::detach),
        )
    },
    Subcommand {
        plan: Some(storage::plan_attach),
        check: Some(storage::check_attach),
        alone: Some(storage::check_manifest),
        ..row(
            Verb {
                options: &[
                    Opt::flag('F', "without any check").root_only(TAKES_UPDATES),
                    Opt::value('n', "path", Offer::Files, "check a manifest"),
                    Opt::flag('u', "take what goes with the host").root_only(TAKES_UPDATES),
                    Opt::flag('U', "take what goes with the host").or().root_only(TAKES_UPDATES),
                    Opt::value('c', "profile", Offer::Nothing, "").role(Role::Foreign(
                        "the zone has a system that is configured: set host name, users and keys inside the zone",
                    )),
                    Opt::value('x', "option", Offer::Nothing, "")
                        .role(Role::Foreign("zones have no boot environments here")),
                ],
                ..zone(
                    "attach",
                    "take a detached zone into the care of this host",
                    [Y, U, I, N, N, N, N, N, Y],
                    "Take a detached zone into the care of this host.\n\
                     -F  without any check     -u, -U  take what goes with the host's software from this host\n\
                     -n  check a manifest only, - is standard input",
                )
            },
            Run::OnZone(storage::attach),
        )
    },
    Subcommand {
        check: Some(operate::check_mark),
        ..row(
            Verb {
                options: &[Opt::flag('F', "another state")
                    .role(Role::Hidden)
                    .root_only("-F says what is on disk without looking")],
                operands: Operands::Keyword("incomplete"),
                spec: SpecUse::ForRights,
                ..zone(
                    "mark",
                    "declare the zone incomplete",
                    [Y, Y, Y, N, N, N, N, N, Y],
                    "Declare a zone unusable; it can only be uninstalled then.",
                )
            },
            Run::OnZone(operate::mark),
        )
    },
    row(
        Verb {
            options: &[Opt::flag('F', "make what is found harmless and go on")],
            operands: Operands::Name {
                name: "dataset",
                manual: "dataset",
                is_optional: false,
                offer: Offer::Datasets,
            },
            ..own(
                "reclaim",
                Subject::Host,
                "give a dataset back to the host",
                "Give a ZFS dataset that a zone has had back to the host: turn zoned off, when no zone is to\n\
                 have it, its mountpoints are harmless and it holds no setuid or setgid files, no file\n\
                 capabilities and no devices. Tells what it finds. -F makes that harmless and goes on.",
            )
        },
        Run::Whole(Zoneadm::reclaim),
    ),
    row(
        Verb {
            options: &[Opt::value('f', "first", Offer::Nothing, "first of the ids that are replaced")
                .must(Must::Number { most: u32::MAX as u64, text: None })],
            operands: Operands::Name {
                name: "dataset",
                manual: "dataset",
                is_optional: true,
                offer: Offer::Datasets,
            },
            ..own(
                "shift-ids",
                Subject::Zone,
                "give files of datasets the ids of the zone",
                "Give files of the zone's datasets, which belong to ids of another zone, the same ids of this\n\
                 zone, as after attach; of one dataset with all below it, or of all. With -f those that belong\n\
                 to the 65,536 ids of the host from first; 0 for the host's own users.",
            )
        },
        Run::Whole(Zoneadm::shift_ids),
    ),
    row(
        Verb {
            options: &[JSON],
            ..own(
                "doctor",
                Subject::Host,
                "say what this host offers and lacks for zones",
                "Say what this host offers and lacks for zones, what each lack means and what to do about it.\n\
                 Fails when no zone could run. Changes nothing; as root it tries more.",
            )
        },
        Run::Whole(Zoneadm::doctor),
    ),
    row(
        Verb {
            operands: Operands::Words {
                usage: "subcommand [arguments]",
                manual: "Ar subcommand Op Ar arguments",
                offer: Offer::Planned,
            },
            broker: BrokerPolicy::Open,
            ..own(
                "plan",
                Subject::Zone,
                "print what a subcommand would do",
                "Print the steps that install, uninstall, clone, move, detach, attach, ready, boot, reboot,\n\
                 shutdown or halt would take, and touch nothing.",
            )
        },
        Run::Whole(Zoneadm::plan),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::state::Start;

    #[test]
    fn the_whole_table_of_states() {
        // y: starts, m: done already, n: the general refusal, letters: the special ones.
        let cell = |verb: &Verb, state| match verb.start(state) {
            Ok(Start::Go) => 'y',
            Ok(Start::Already(_)) => 'm',
            Err(StateError::Invalid(v, s)) => {
                assert_eq!((v, s), (verb.name, state));
                'n'
            }
            Err(StateError::AlreadyInstalled) => 'I',
            Err(StateError::AlreadyConfigured) => 'C',
            Err(StateError::Incomplete) => 'U',
            Err(StateError::NotInstalled) => 'B',
            Err(StateError::NotRunning) => 'R',
        };
        let mut table = String::from("          conf inco inst read runn shut down moun unav\n");
        for verb in SUBCOMMANDS.iter().map(|s| &s.verb).filter(|v| v.states.is_some()) {
            table += &format!("{:9}", verb.name);
            for state in S::ALL {
                table += &format!("    {}", cell(verb, state));
            }
            table += "\n";
        }
        let wanted = "\x20         conf inco inst read runn shut down moun unav
boot         B    U    y    y    m    m    m    n    n
halt         n    n    m    y    y    y    y    n    n
ready        B    U    y    m    y    y    y    n    n
shutdown     R    R    R    n    y    y    y    n    R
reboot       R    R    R    n    y    y    y    n    R
verify       y    U    y    y    y    y    y    y    y
install      y    U    I    n    n    n    n    n    n
uninstall    C    y    y    n    n    n    n    n    y
clone        y    U    I    n    n    n    n    n    n
move         n    U    y    n    n    n    n    n    n
detach       n    U    y    n    n    n    n    n    n
attach       y    U    I    n    n    n    n    n    y
mark         y    y    y    n    n    n    n    n    y
";
        assert_eq!(table, wanted);
        let text = |name, state| match find(name).expect("a subcommand").verb.start(state) {
            Ok(Start::Go) => String::new(),
            Ok(Start::Already(text)) => text.to_owned(),
            Err(e) => e.to_string(),
        };
        assert_eq!(text("install", S::Running), "install operation is invalid for running zones.");
        assert_eq!(text("halt", S::Installed), "zone is already halted");
        assert_eq!(text("boot", S::Configured), "must be installed before boot.");
    }

    /// The broker lends the rights of root for these alone: a new row has to be opened on purpose.
    #[test]
    fn what_the_broker_is_for() {
        let open = SUBCOMMANDS.iter().filter(|s| s.verb.broker != BrokerPolicy::Closed).map(|s| s.verb.name);
        let open: Vec<_> = open.collect();
        assert_eq!(
            open,
            [
                "boot",
                "halt",
                "ready",
                "shutdown",
                "reboot",
                "verify",
                "install",
                "uninstall",
                "clone",
                "detach",
                "attach",
                "mark",
                "plan"
            ]
        );
    }
}
