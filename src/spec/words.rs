//! Fixed vocabularies: privileges, security flags, authorizations, resource controls. They serve
//! validation and completion.

/// Privileges of illumos and Solaris. A zone's `limitpriv` may name them.
pub const PRIVILEGES: &[&str] = &[
    "contract_event",
    "contract_identity",
    "contract_observer",
    "cpc_cpu",
    "dax_access",
    "dtrace_kernel",
    "dtrace_proc",
    "dtrace_user",
    "file_audit",
    "file_chown",
    "file_chown_self",
    "file_dac_execute",
    "file_dac_read",
    "file_dac_search",
    "file_dac_write",
    "file_downgrade_sl",
    "file_flag_set",
    "file_link_any",
    "file_owner",
    "file_read",
    "file_setid",
    "file_upgrade_sl",
    "file_write",
    "graphics_access",
    "graphics_map",
    "hyprlofs_control",
    "ipc_dac_read",
    "ipc_dac_write",
    "ipc_owner",
    "kstat_user",
    "net_access",
    "net_bindmlp",
    "net_icmpaccess",
    "net_mac_aware",
    "net_mac_implicit",
    "net_observability",
    "net_privaddr",
    "net_rawaccess",
    "proc_audit",
    "proc_chroot",
    "proc_clock_highres",
    "proc_clock_uniqueid",
    "proc_exec",
    "proc_fork",
    "proc_info",
    "proc_lock_memory",
    "proc_mlock_user",
    "proc_owner",
    "proc_prioctl",
    "proc_prioup",
    "proc_priocntl",
    "proc_secflags",
    "proc_self",
    "proc_session",
    "proc_setid",
    "proc_taskid",
    "proc_zone",
    "sys_acct",
    "sys_admin",
    "sys_audit",
    "sys_config",
    "sys_devices",
    "sys_dl_config",
    "sys_flow_config",
    "sys_fs_import",
    "sys_iptun_config",
    "sys_ip_config",
    "sys_ipc_config",
    "sys_linkdir",
    "sys_mount",
    "sys_net_config",
    "sys_nfs",
    "sys_ppp_config",
    "sys_res_bind",
    "sys_res_config",
    "sys_resource",
    "sys_share",
    "sys_smb",
    "sys_suser_compat",
    "sys_time",
    "sys_trans_label",
    "virt_manage",
    "win_colormap",
    "win_config",
    "win_dac_read",
    "win_dac_write",
    "win_devices",
    "win_dga",
    "win_downgrade_sl",
    "win_fontpath",
    "win_mac_read",
    "win_mac_write",
    "win_selection",
    "win_upgrade_sl",
    "xvm_control",
];

/// Capabilities of Linux, without the prefix `cap_`.
pub const CAPABILITIES: &[&str] = &[
    "audit_control",
    "audit_read",
    "audit_write",
    "block_suspend",
    "bpf",
    "checkpoint_restore",
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "ipc_lock",
    "ipc_owner",
    "kill",
    "lease",
    "linux_immutable",
    "mac_admin",
    "mac_override",
    "mknod",
    "net_admin",
    "net_bind_service",
    "net_broadcast",
    "net_raw",
    "perfmon",
    "setfcap",
    "setgid",
    "setpcap",
    "setuid",
    "sys_admin",
    "sys_boot",
    "sys_chroot",
    "sys_module",
    "sys_nice",
    "sys_pacct",
    "sys_ptrace",
    "sys_rawio",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "syslog",
    "wake_alarm",
];

/// Names of sets that `limitpriv` accepts in place of a privilege.
pub const PRIVILEGE_SETS: &[&str] = &["default", "basic", "all", "none"];

/// Says whether the text names a privilege, a capability (with or without `cap_`) or a set.
pub fn is_privilege(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let name = lower.as_str();
    PRIVILEGE_SETS.contains(&name)
        || PRIVILEGES.contains(&name.strip_prefix("priv_").unwrap_or(name))
        || CAPABILITIES.contains(&name.strip_prefix("cap_").unwrap_or(name))
}

/// Process security flags.
pub const SECURITY_FLAGS: &[&str] = &["aslr", "forbidnullmap", "noexecstack"];

/// Reads a list of security flags into bits; none when a word is no flag or not absolute.
pub fn security_flags(list: &str) -> Option<u8> {
    let all = (1 << SECURITY_FLAGS.len()) - 1;
    list.split(',').map(str::trim).try_fold(0, |bits, word| match word.to_ascii_lowercase().as_str() {
        "none" => Some(bits),
        "all" => Some(all),
        // What "default" and "current" mean is known only to a running system; both keep the
        // flags that a Linux process has.
        "default" | "current" => Some(bits | 1),
        word => SECURITY_FLAGS.iter().position(|f| *f == word).map(|i| bits | 1 << i),
    })
}

/// Authorizations of an `admin` resource.
pub const AUTHS: &[&str] = &["login", "manage", "clonefrom", "copyfrom", "config", "liveconfig", "migrate"];

/// Resource controls of zones.
pub const RCTLS: &[&str] = &[
    "zone.cpu-baseline",
    "zone.cpu-burst-time",
    "zone.cpu-cap",
    "zone.cpu-shares",
    "zone.max-locked-memory",
    "zone.max-lofi",
    "zone.max-lwps",
    "zone.max-msg-ids",
    "zone.max-physical-memory",
    "zone.max-processes",
    "zone.max-sem-ids",
    "zone.max-shm-ids",
    "zone.max-shm-memory",
    "zone.max-swap",
    "zone.zfs-io-priority",
];

/// Scheduling classes of Solaris and the policies of Linux.
pub const SCHEDULING_CLASSES: &[&str] = &["FSS", "TS", "IA", "FX", "RT", "SDC", "BATCH", "IDLE"];

/// Brands that this program runs.
pub const BRANDS: &[&str] = &["linux"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        assert_eq!(security_flags("none"), Some(0));
        assert_eq!(security_flags("aslr,noexecstack"), Some(5));
        assert_eq!(security_flags("all"), Some(7));
        assert_eq!(security_flags("fail"), None);
        assert_eq!(security_flags("-aslr"), None);
    }

    #[test]
    fn privileges() {
        for good in ["default", "sys_time", "PRIV_SYS_TIME", "cap_net_raw", "net_raw", "proc_fork"] {
            assert!(is_privilege(good), "{good}");
        }
        assert!(!is_privilege("zone"));
    }
}
