//! How zoneadm and its subcommands are called: one table for usage, help and completions.

use std::io::{self, Write};

/// A subcommand.
pub struct Subcommand {
    /// Name.
    pub name: &'static str,
    /// What may follow the name.
    pub operands: &'static str,
    /// What it does, a few sentences.
    pub help: &'static str,
}

const fn sub(name: &'static str, operands: &'static str, help: &'static str) -> Subcommand {
    Subcommand { name, operands, help }
}

/// The subcommands, in the order in which usage prints them.
pub const SUBCOMMANDS: &[Subcommand] = &[
    sub("help", "[subcommand]", "Print this message, or that of one subcommand."),
    sub(
        "boot",
        "[-w] [-- boot_arguments]",
        "Boot an installed zone; it is made ready first if need be. With -w all of its root is\n\
         writable until its next boot, whatever its file-mac-profile.\n\
         Without arguments, those of the bootargs property are used:\n\
         -i PATH  another init   -s  single user   -m OPTIONS  for the zone's init",
    ),
    sub("halt", "", "Stop a zone at once: kill its processes and take down what it holds on the host."),
    sub("ready", "", "Set up everything of a zone but its processes."),
    sub(
        "shutdown",
        "[-t seconds] [-r [-- boot_arguments]]",
        "Ask the zone's init to stop the zone, and wait for it, 120 seconds or -t; -r boots it again.",
    ),
    sub(
        "reboot",
        "[-w] [-- boot_arguments]",
        "Halt a zone and boot it, with its configuration as saved now; -w as in boot.",
    ),
    sub(
        "list",
        "[-cinpv] [--json]",
        "List zones that are ready or running.\n\
         -i  also installed ones      -c  all           -n  not the global zone\n\
         -v  as a table               -p  for programs  --json  for programs",
    ),
    sub("verify", "", "Check that this host can run the zone. Prints nothing when it can."),
    sub(
        "install",
        "[-a archive | -d directory | -o layout | -s suite[+package...]] [-x option...] [-c profile]",
        "Make the root of a configured zone. Without arguments, a zone with inherit-pkg-dir\n\
         resources gets a sparse root, any other a copy of the host's system.",
    ),
    sub("uninstall", "[-F]", "Remove the root of a zone; -F does not ask first."),
    sub(
        "clone",
        "[-m copy] [-s snapshot] [--with-datasets] [-c profile] zonename",
        "Make a configured zone from an installed one: as a ZFS clone where both are in one pool,\n\
         else as a copy. -m copy copies in any case, -s takes a snapshot that is there already.\n\
         --with-datasets clones the delegated datasets too, into those that this zone names.",
    ),
    sub("move", "zonepath", "Give an installed zone another zonepath, and bring its files there."),
    sub(
        "detach",
        "[-n]",
        "Take an installed zone out of the care of this host; its root and a manifest stay in the\n\
         zonepath. -n prints the manifest and does nothing.",
    ),
    sub(
        "attach",
        "[-F] [-n path] [-u | -U]",
        "Take a detached zone into the care of this host.\n\
         -F  without any check     -u, -U  take what goes with the host's software from this host\n\
         -n  check a manifest only, - is standard input",
    ),
    sub("mark", "incomplete", "Declare a zone unusable; it can only be uninstalled then."),
    sub(
        "reclaim",
        "[-F] dataset",
        "Give a ZFS dataset that a zone has had back to the host: turn zoned off, when no zone is to\n\
         have it, its mountpoints are harmless and it holds no setuid or setgid files, no file\n\
         capabilities and no devices. Tells what it finds. -F makes that harmless and goes on.",
    ),
    sub(
        "shift-ids",
        "[-f first] [dataset]",
        "Give files of the zone's datasets, which belong to ids of another zone, the same ids of this\n\
         zone, as after attach; of one dataset with all below it, or of all. With -f those that belong\n\
         to the 65,536 ids of the host from first; 0 for the host's own users.",
    ),
    sub(
        "doctor",
        "[--json]",
        "Say what this host offers and lacks for zones, what each lack means and what to do about it.\n\
         Fails when no zone could run. Changes nothing; as root it tries more.",
    ),
    sub(
        "plan",
        "subcommand [arguments]",
        "Print the steps that install, uninstall, clone, move, detach, attach, ready, boot, reboot,\n\
         shutdown or halt would take, and touch nothing.",
    ),
];

/// Finds a subcommand by its whole name.
pub fn find(name: &str) -> Option<&'static Subcommand> {
    SUBCOMMANDS.iter().find(|s| s.name == name)
}

impl Subcommand {
    fn synopsis(&self) -> String {
        format!("{} {}", self.name, self.operands).trim_end().to_owned()
    }

    /// Prints the subcommand's usage, with what it does when asked for.
    pub fn print(&self, program: &str, asked: bool, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "usage:\t{program} {}", self.synopsis())?;
        if asked {
            writeln!(out, "\n\t{}", self.help.replace('\n', "\n\t"))?;
        }
        Ok(())
    }
}

/// Prints the usage of the program, with what the subcommands do when asked for.
pub fn print(program: &str, asked: bool, out: &mut dyn Write) -> io::Result<()> {
    let names: Vec<_> = SUBCOMMANDS
        .iter()
        .map(|s| s.name)
        .filter(|n| !matches!(*n, "help" | "list" | "doctor" | "reclaim"))
        .collect();
    writeln!(out, "usage:\t{program} help")?;
    writeln!(out, "\t{program} [-R root] [-z zone] [-u uuid-match] list")?;
    writeln!(out, "\t{program} [-R root] doctor")?;
    writeln!(out, "\t{program} [-R root] reclaim [-F] dataset")?;
    writeln!(out, "\t{program} [-R root] {{-z zone|-u uuid-match}} <{}>", names.join("|"))?;
    writeln!(out, "\nSubcommands:\n")?;
    for sub in SUBCOMMANDS {
        writeln!(out, "{}", sub.synopsis())?;
        if asked {
            writeln!(out, "\t{}\n", sub.help.replace('\n', "\n\t"))?;
        }
    }
    if asked { Ok(()) } else { writeln!(out) }
}
