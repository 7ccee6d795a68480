//! Privileges: what `limitpriv` may name, and which capabilities of Linux each of them is.
//!
//! The table serves verify, boot, completion and the manual. A zone lives in a user namespace of its own:
//! a capability there acts on what belongs to the zone, and those that act on the whole machine the kernel
//! grants to no user namespace at all. So the rules are:
//!
//! - No `limitpriv`, or `default`: every capability that the kernel honours there and that gives the zone
//!   no say about its own limits.
//! - Names are read from left to right. A name gives its capabilities, `!name` or `-name` takes them away.
//! - Linux has fewer capabilities than Solaris has privileges. A name gives all that its capability gives,
//!   and taking one name away takes all that share the capability.

use thiserror::Error;

use super::words::PRIVILEGE_SETS;

/// A capability of Linux (capabilities(7)).
#[derive(Debug)]
pub struct Capability {
    /// Name without the prefix `cap_`.
    pub name: &'static str,
    /// Number; also its place in the table.
    pub number: u32,
    /// Whether a zone can have it.
    pub grant: Grant,
}

/// Whether a zone can have a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// It has it unless it is taken away.
    Default,
    /// A zone has it when its spec asks for it; the text says why not by default.
    Asked(&'static str),
    /// It cannot have it; why not.
    Never(&'static str),
}

/// The meaning of a Solaris privilege on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Capabilities, by name.
    Capabilities {
        /// The capabilities that it gives.
        gives: &'static [&'static str],
        /// Further capabilities that must be dropped for the privilege to be gone.
        with: &'static [&'static str],
    },
    /// Every process on Linux has it. With `true`, it is one of the set `basic`, which every process of
    /// Solaris has as well.
    Everyone(bool),
    /// A zone cannot have it; why not.
    Never(&'static str),
    /// There is nothing like it; why not.
    Nothing(&'static str),
}

/// A privilege of Solaris or illumos.
#[derive(Debug)]
pub struct Privilege {
    /// Name without the prefix `priv_`.
    pub name: &'static str,
    /// The meaning here.
    pub means: Means,
}

/// An error in a list of privileges.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PrivilegeError {
    /// No system knows the name.
    #[error("unknown privilege \"{0}\" specified in the zone's privilege set")]
    Unknown(String),
    /// It cannot be given.
    #[error("privilege \"{name}\" is not permitted within the zone's privilege set: {why}")]
    NotPermitted {
        /// As written.
        name: String,
        /// The reason.
        why: &'static str,
    },
    /// Nothing could be started without it.
    #[error("required privilege \"{0}\" is missing from the zone's privilege set")]
    Required(&'static str),
    /// It cannot be taken away.
    #[error(
        "privilege \"{0}\" cannot be taken from the zone's privilege set: every process on Linux has it; \
         add it, or 'basic'"
    )]
    Everyone(&'static str),
}

/// The result of reading a list of privileges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// The capabilities that the zone keeps: bit N is capability N.
    pub keep: u64,
    /// Names that do nothing here, each with the reason.
    pub idle: Vec<(String, &'static str)>,
}

const fn cap(name: &'static str, number: u32, grant: Grant) -> Capability {
    Capability { name, number, grant }
}

const HOST: Grant = Grant::Never("the kernel asks for it on the host, never in a user namespace");
const MACHINE: Grant = Grant::Never("it acts on the whole machine");
const AUDIT: Grant = Grant::Never("audit records are the host's");
const TRACING: Grant = Grant::Never("tracing with perf or BPF shows the whole machine");
const LABELS: Grant = Grant::Never("security labels are the host's");

/// The capabilities, by number.
#[rustfmt::skip] // rows, not lines
pub const CAPABILITIES: &[Capability] = &[
    cap("chown", 0, Grant::Default),
    cap("dac_override", 1, Grant::Default),
    cap("dac_read_search", 2, Grant::Default),
    cap("fowner", 3, Grant::Default),
    cap("fsetid", 4, Grant::Default),
    cap("kill", 5, Grant::Default),
    cap("setgid", 6, Grant::Default),
    cap("setuid", 7, Grant::Default),
    cap("setpcap", 8, Grant::Default),
    cap("linux_immutable", 9, HOST),
    cap("net_bind_service", 10, Grant::Default),
    cap("net_broadcast", 11, Grant::Default),
    cap("net_admin", 12, Grant::Default),
    cap("net_raw", 13, Grant::Default),
    cap("ipc_lock", 14, Grant::Default),
    cap("ipc_owner", 15, Grant::Default),
    cap("sys_module", 16, MACHINE),
    cap("sys_rawio", 17, MACHINE),
    cap("sys_chroot", 18, Grant::Default),
    cap("sys_ptrace", 19, Grant::Default),
    cap("sys_pacct", 20, MACHINE),
    cap("sys_admin", 21, Grant::Default),
    cap("sys_boot", 22, Grant::Default),
    cap("sys_nice", 23, Grant::Default),
    cap("sys_resource", 24, Grant::Asked("with it the zone sets its own limits of namespaces")),
    cap("sys_time", 25, Grant::Never("the clock is the whole machine's")),
    cap("sys_tty_config", 26, HOST),
    cap("mknod", 27, Grant::Never("the kernel lets no user namespace make device nodes; add a device resource")),
    cap("lease", 28, HOST),
    cap("audit_write", 29, AUDIT),
    cap("audit_control", 30, AUDIT),
    cap("setfcap", 31, Grant::Default),
    cap("mac_override", 32, LABELS),
    cap("mac_admin", 33, LABELS),
    cap("syslog", 34, Grant::Never("the kernel's log is the whole machine's")),
    cap("wake_alarm", 35, MACHINE),
    cap("block_suspend", 36, MACHINE),
    cap("audit_read", 37, AUDIT),
    cap("perfmon", 38, TRACING),
    cap("bpf", 39, TRACING),
    cap("checkpoint_restore", 40, Grant::Asked("few programs need it, and it reaches into others")),
];

const fn gives(name: &'static str, gives: &'static [&'static str]) -> Privilege {
    Privilege { name, means: Means::Capabilities { gives, with: &[] } }
}

const fn gives_with(
    name: &'static str,
    gives: &'static [&'static str],
    with: &'static [&'static str],
) -> Privilege {
    Privilege { name, means: Means::Capabilities { gives, with } }
}

const fn everyone(name: &'static str, basic: bool) -> Privilege {
    Privilege { name, means: Means::Everyone(basic) }
}

const fn never(name: &'static str, why: &'static str) -> Privilege {
    Privilege { name, means: Means::Never(why) }
}

const fn nothing(name: &'static str, why: &'static str) -> Privilege {
    Privilege { name, means: Means::Nothing(why) }
}

const NO_CONTRACTS: &str = "Linux has no process contracts";
const NO_LABELS: &str = "Linux has no labelled zones";
const NO_TRACING: &str = "tracing with perf or BPF shows the whole machine";
const NO_AUDIT: &str = "audit records are the host's";
const NO_SHARES: &str = "shares are the host's";
const NO_MACHINE: &str = "it acts on the whole machine";
const BY_DEVICE: &str = "a device resource gives devices";

/// The privileges of illumos and Solaris.
#[rustfmt::skip] // rows, not lines
pub const PRIVILEGES: &[Privilege] = &[
    nothing("contract_event", NO_CONTRACTS),
    nothing("contract_identity", NO_CONTRACTS),
    nothing("contract_observer", NO_CONTRACTS),
    never("cpc_cpu", "counters of the cpus show the whole machine"),
    nothing("dax_access", "Linux has no such unit of the cpu"),
    never("dtrace_kernel", NO_TRACING),
    never("dtrace_proc", NO_TRACING),
    never("dtrace_user", NO_TRACING),
    nothing("file_audit", "Linux has no audit policy of files"),
    gives("file_chown", &["chown"]),
    gives("file_chown_self", &["chown"]),
    gives("file_dac_execute", &["dac_override"]),
    gives_with("file_dac_read", &["dac_read_search"], &["dac_override"]),
    gives_with("file_dac_search", &["dac_read_search"], &["dac_override"]),
    gives("file_dac_write", &["dac_override"]),
    nothing("file_downgrade_sl", NO_LABELS),
    never("file_flag_set", "the kernel asks for it on the host, never in a user namespace"),
    everyone("file_link_any", true),
    gives("file_owner", &["fowner"]),
    everyone("file_read", true),
    gives("file_setid", &["fsetid", "setfcap"]),
    nothing("file_upgrade_sl", NO_LABELS),
    everyone("file_write", true),
    nothing("graphics_access", BY_DEVICE),
    nothing("graphics_map", BY_DEVICE),
    nothing("hyprlofs_control", "Linux has no such file system"),
    gives("ipc_dac_read", &["ipc_owner"]),
    gives("ipc_dac_write", &["ipc_owner"]),
    gives("ipc_owner", &["ipc_owner"]),
    everyone("kstat_user", false),
    everyone("net_access", true),
    nothing("net_bindmlp", NO_LABELS),
    gives("net_icmpaccess", &["net_raw"]),
    nothing("net_mac_aware", NO_LABELS),
    nothing("net_mac_implicit", NO_LABELS),
    gives("net_observability", &["net_raw"]),
    gives("net_privaddr", &["net_bind_service"]),
    gives("net_rawaccess", &["net_raw"]),
    never("proc_audit", NO_AUDIT),
    gives("proc_chroot", &["sys_chroot"]),
    everyone("proc_clock_highres", false),
    everyone("proc_clock_uniqueid", false),
    everyone("proc_exec", true),
    everyone("proc_fork", true),
    everyone("proc_info", true),
    gives("proc_lock_memory", &["ipc_lock"]),
    gives("proc_mlock_user", &["ipc_lock"]),
    gives("proc_owner", &["kill", "sys_ptrace"]),
    gives("proc_prioctl", &["sys_nice"]),
    gives("proc_prioup", &["sys_nice"]),
    gives("proc_priocntl", &["sys_nice"]),
    everyone("proc_secflags", true),
    everyone("proc_self", false),
    everyone("proc_session", true),
    gives("proc_setid", &["setuid", "setgid"]),
    nothing("proc_taskid", "Linux has no tasks and projects"),
    never("proc_zone", "it acts on other zones"),
    never("sys_acct", NO_MACHINE),
    gives("sys_admin", &["sys_admin"]),
    never("sys_audit", NO_AUDIT),
    never("sys_config", NO_MACHINE),
    never("sys_devices", "the kernel lets no user namespace make device nodes; add a device resource"),
    gives("sys_dl_config", &["net_admin"]),
    gives("sys_flow_config", &["net_admin"]),
    nothing("sys_fs_import", "a zone of Linux imports no pools"),
    gives("sys_iptun_config", &["net_admin"]),
    gives("sys_ip_config", &["net_admin"]),
    never("sys_ipc_config", "limits of ipc are the host's"),
    never("sys_linkdir", "Linux links no directories"),
    gives("sys_mount", &["sys_admin"]),
    gives("sys_net_config", &["net_admin"]),
    never("sys_nfs", NO_SHARES),
    gives("sys_ppp_config", &["net_admin"]),
    gives("sys_res_bind", &["sys_nice"]),
    never("sys_res_config", "sets of cpus are the host's"),
    gives("sys_resource", &["sys_resource"]),
    never("sys_share", NO_SHARES),
    never("sys_smb", NO_SHARES),
    nothing("sys_suser_compat", "Linux loads no such modules"),
    never("sys_time", "the clock is the whole machine's"),
    nothing("sys_trans_label", NO_LABELS),
    nothing("virt_manage", "a zone of Linux has no kernel zones"),
    nothing("win_colormap", NO_LABELS),
    nothing("win_config", NO_LABELS),
    nothing("win_dac_read", NO_LABELS),
    nothing("win_dac_write", NO_LABELS),
    nothing("win_devices", NO_LABELS),
    nothing("win_dga", NO_LABELS),
    nothing("win_downgrade_sl", NO_LABELS),
    nothing("win_fontpath", NO_LABELS),
    nothing("win_mac_read", NO_LABELS),
    nothing("win_mac_write", NO_LABELS),
    nothing("win_selection", NO_LABELS),
    nothing("win_upgrade_sl", NO_LABELS),
    nothing("xvm_control", "Linux has another virtual machine monitor"),
];

/// Without these nothing could be started. Solaris' brands want `sys_mount`, too; here the host makes the
/// zone's mounts, and a zone does without.
const REQUIRED: &[&str] = &["proc_exec", "proc_fork"];

/// Finds a capability by its name, with or without `cap_`.
pub fn capability(name: &str) -> Option<&'static Capability> {
    let name = name.strip_prefix("cap_").unwrap_or(name);
    CAPABILITIES.iter().find(|c| c.name == name)
}

/// Finds a privilege by its name, with or without `priv_`.
pub fn privilege(name: &str) -> Option<&'static Privilege> {
    let name = name.strip_prefix("priv_").unwrap_or(name);
    PRIVILEGES.iter().find(|p| p.name == name)
}

fn bits(names: &[&str]) -> u64 {
    names.iter().filter_map(|n| capability(n)).fold(0, |all, c| all | 1 << c.number)
}

fn all_with(wanted: impl Fn(Grant) -> bool) -> u64 {
    CAPABILITIES.iter().filter(|c| wanted(c.grant)).fold(0, |all, c| all | 1 << c.number)
}

/// Returns the capabilities of a zone that asks for nothing: bit N is capability N.
pub fn default_capabilities() -> u64 {
    all_with(|g| g == Grant::Default)
}

/// Returns the names of capabilities given as bits, in the order of their numbers.
pub fn names(keep: u64) -> Vec<&'static str> {
    CAPABILITIES.iter().filter(|c| keep & 1 << c.number != 0).map(|c| c.name).collect()
}

/// A list on its way to be read.
struct Reading {
    granted: Granted,
    /// The privileges of [`Means::Everyone`] in the list: in the end all of them are named, or it is an error.
    everyone: Vec<&'static str>,
    /// The privileges that the list removes by name.
    refused: Vec<&'static str>,
    errors: Vec<PrivilegeError>,
}

impl Reading {
    fn set(&mut self, set: &str, add: bool) {
        let keep = match set {
            "default" => default_capabilities(),
            "all" => all_with(|g| !matches!(g, Grant::Never(_))),
            _ => 0,
        };
        if add {
            self.granted.keep |= keep;
        } else {
            self.granted.keep &= !keep;
        }
        if set == "none" {
            return;
        }
        let basic = || PRIVILEGES.iter().filter(|p| p.means == Means::Everyone(true)).map(|p| p.name);
        self.everyone.retain(|name| add || basic().all(|b| b != *name));
        if add {
            self.everyone.extend(basic());
            self.refused.clear();
        }
    }

    /// Takes one word; `shown` is it as written.
    fn word(&mut self, shown: &str, add: bool) {
        let name = shown.to_ascii_lowercase();
        if PRIVILEGE_SETS.contains(&name.as_str()) {
            return self.set(&name, add);
        }
        // A name that both systems know means the same capability in both.
        match (privilege(&name), capability(&name)) {
            (Some(p), _) => match p.means {
                Means::Capabilities { gives, .. } if add => self.give(shown, gives),
                Means::Capabilities { gives, with } => self.granted.keep &= !(bits(gives) | bits(with)),
                Means::Everyone(_) if add => {
                    self.everyone.push(p.name);
                    self.refused.retain(|r| *r != p.name);
                }
                Means::Everyone(_) => {
                    self.everyone.retain(|e| *e != p.name);
                    self.refused.push(p.name);
                }
                Means::Never(why) if add => self.not_permitted(shown, why),
                Means::Nothing(why) if add => self.granted.idle.push((shown.to_owned(), why)),
                Means::Never(_) | Means::Nothing(_) => {}
            },
            (None, Some(c)) if add => self.give(shown, &[c.name]),
            (None, Some(c)) => self.granted.keep &= !(1 << c.number),
            (None, None) => self.errors.push(PrivilegeError::Unknown(shown.to_owned())),
        }
    }

    fn give(&mut self, shown: &str, names: &[&str]) {
        for c in names.iter().filter_map(|n| capability(n)) {
            match c.grant {
                Grant::Never(why) => self.not_permitted(shown, why),
                Grant::Default | Grant::Asked(_) => self.granted.keep |= 1 << c.number,
            }
        }
    }

    fn not_permitted(&mut self, shown: &str, why: &'static str) {
        self.errors.push(PrivilegeError::NotPermitted { name: shown.to_owned(), why });
    }
}

/// Reads a `limitpriv`; none and the empty text mean `default`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn granted(limitpriv: Option<&str>) -> Result<Granted, Vec<PrivilegeError>> {
    let list = limitpriv.filter(|l| !l.is_empty()).unwrap_or("default");
    let mut reading = Reading {
        granted: Granted::default(),
        everyone: Vec::new(),
        refused: Vec::new(),
        errors: Vec::new(),
    };
    for word in list.split(',').map(str::trim) {
        match word.strip_prefix(['!', '-']) {
            Some(name) => reading.word(name, false),
            None => reading.word(word, true),
        }
    }
    for p in PRIVILEGES {
        let missing = match p.means {
            Means::Everyone(true) => !reading.everyone.contains(&p.name),
            // Solaris gives these to some processes only: no list has to name them.
            Means::Everyone(false) => reading.refused.contains(&p.name),
            _ => false,
        };
        if missing {
            let required = REQUIRED.contains(&p.name);
            reading.errors.push(match required {
                true => PrivilegeError::Required(p.name),
                false => PrivilegeError::Everyone(p.name),
            });
        }
    }
    if reading.errors.is_empty() { Ok(reading.granted) } else { Err(reading.errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(list: &str) -> Vec<&'static str> {
        names(granted(Some(list)).unwrap_or_else(|e| panic!("{list}: {e:?}")).keep)
    }

    fn errors(list: &str) -> Vec<String> {
        granted(Some(list)).expect_err(list).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table_is_whole() {
        for (i, c) in CAPABILITIES.iter().enumerate() {
            assert_eq!(c.number as usize, i, "{}", c.name);
        }
        for p in PRIVILEGES {
            if let Means::Capabilities { gives, with } = p.means {
                assert!(!gives.is_empty(), "{}", p.name);
                for name in gives.iter().chain(with) {
                    let c = capability(name).unwrap_or_else(|| panic!("{} names {name}", p.name));
                    assert!(!matches!(c.grant, Grant::Never(_)), "{} gives {name}", p.name);
                }
            }
            // A privilege and a capability of the same name mean the same.
            if let Some(c) = capability(p.name) {
                match p.means {
                    Means::Capabilities { gives, .. } => assert_eq!(gives, [c.name], "{}", p.name),
                    Means::Never(_) => assert!(matches!(c.grant, Grant::Never(_)), "{}", p.name),
                    _ => panic!("{} is no capability in Solaris", p.name),
                }
            }
        }
        for (i, p) in PRIVILEGES.iter().enumerate() {
            assert!(PRIVILEGES[..i].iter().all(|q| q.name != p.name), "{} twice", p.name);
        }
    }

    #[test]
    fn nothing_and_default_are_the_same() {
        let plain = granted(None).expect("good");
        assert_eq!(granted(Some("")), Ok(plain.clone()));
        assert_eq!(granted(Some("default")), Ok(plain.clone()));
        assert_eq!(plain.keep, default_capabilities());
        let has = names(plain.keep);
        assert!(has.contains(&"sys_admin") && has.contains(&"net_raw"), "{has:?}");
        for never in ["sys_module", "sys_time", "mknod", "syslog", "sys_resource", "bpf"] {
            assert!(!has.contains(&never), "{never}");
        }
    }

    #[test]
    fn names_of_both_systems_give_and_take() {
        let default = keeps("default");
        let without =
            |gone: &[&str]| -> Vec<&str> { default.iter().copied().filter(|n| !gone.contains(n)).collect() };
        assert_eq!(keeps("default,!net_rawaccess"), without(&["net_raw"]));
        assert_eq!(keeps("default,-CAP_NET_RAW"), without(&["net_raw"]));
        assert_eq!(keeps("default,!PRIV_SYS_MOUNT"), without(&["sys_admin"]));
        assert_eq!(keeps("default,!proc_setid"), without(&["setuid", "setgid"]));
        // A process that may write to every file can make it readable.
        assert_eq!(keeps("default,!file_dac_read"), without(&["dac_read_search", "dac_override"]));
        assert_eq!(keeps("basic,file_dac_read"), ["dac_read_search"]);
        assert_eq!(keeps("basic, net_privaddr ,cap_kill"), ["kill", "net_bind_service"]);
        assert!(keeps("default,sys_resource").contains(&"sys_resource"));
        assert!(keeps("all").contains(&"checkpoint_restore"));
        // A privilege that was not in the set can be removed.
        assert_eq!(keeps("default,!sys_time,!sys_nfs,!contract_event"), default);
        // The last word counts.
        assert_eq!(keeps("default,!sys_mount,sys_admin"), default);
        assert_eq!(keeps("default,!all,basic,kill"), ["kill"]);
    }

    #[test]
    fn what_cannot_be_given_is_refused_with_the_reason() {
        assert_eq!(
            errors("default,sys_time"),
            ["privilege \"sys_time\" is not permitted within the zone's privilege set: the clock is the \
              whole machine's"]
        );
        assert!(errors("default,cap_mknod")[0].ends_with("add a device resource"));
        assert_eq!(
            errors("default,net_rwaccess,CAP_FLY"),
            [
                "unknown privilege \"net_rwaccess\" specified in the zone's privilege set",
                "unknown privilege \"CAP_FLY\" specified in the zone's privilege set"
            ]
        );
        let idle = granted(Some("default,contract_event")).expect("good").idle;
        assert_eq!(idle, [("contract_event".to_owned(), NO_CONTRACTS)]);
    }

    #[test]
    fn what_everyone_has_cannot_be_taken_away() {
        assert_eq!(
            errors("default,!proc_fork"),
            ["required privilege \"proc_fork\" is missing from the zone's privilege set"]
        );
        assert!(errors("default,!net_access")[0].contains("every process on Linux has it"));
        assert!(errors("default,!proc_clock_highres")[0].contains("every process on Linux has it"));
        assert_eq!(
            errors("none").len(),
            PRIVILEGES.iter().filter(|p| p.means == Means::Everyone(true)).count()
        );
        assert_eq!(keeps("none,basic"), Vec::<&str>::new());
        assert_eq!(keeps("default,!net_access,basic"), keeps("default"));
        assert_eq!(errors("kill,proc_exec,proc_fork").len(), 7);
    }
}
