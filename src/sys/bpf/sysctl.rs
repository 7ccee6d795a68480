//! A program on a cgroup that refuses to write settings of the kernel, files below `/proc/sys`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::OnceLock;

use super::asm::{Asm, FP, If, R0, R1, R2, R3, R4, Size};
use super::{BpfProgram, ProgramType};

/// `bpf_sysctl_get_name`.
const GET_NAME: i32 = 101;
/// Room for a name on the stack; a longer name is none of ours.
const ROOM: i16 = 64;

/// Builds the program: 0, which is `EPERM`, for a write to one of these files, else 1.
fn program(names: &[&str]) -> Vec<u64> {
    let mut a = Asm::new();
    let allow = a.label();
    // struct bpf_sysctl: write, file_pos.
    a.load(Size::Word, R2, R1, 0);
    a.jump_if(R2, If::Equal, 0, allow);
    // Linux before 6.13 wants the room to hold something.
    for at in (-ROOM..0).step_by(8) {
        a.store_number(Size::Double, FP, at, 0);
    }
    a.stack(R2, -ROOM);
    a.set(R3, i32::from(ROOM));
    a.set(R4, 0);
    a.call(GET_NAME);
    for name in names {
        let next = a.label();
        a.jump_if(R0, If::Differ, i32::try_from(name.len()).unwrap_or(i32::MAX), next);
        a.jump_unless_bytes(-ROOM, name.as_bytes(), R3, next);
        a.exit_with(0);
        a.here(next);
    }
    a.here(allow);
    a.exit_with(1);
    a.finish()
}

/// Keeps the processes of a cgroup and of all below it from writing these files, which are named from
/// `/proc/sys` on (at most 63 bytes). Whatever is attached below changes nothing about that, and it ends with the
/// cgroup. Where it is so already, nothing is done: to load a program takes the kernel longer than all the rest.
///
/// # Errors
/// The system's error: the kernel is built without `CONFIG_CGROUP_BPF`, or bpf(2) is forbidden.
pub fn forbid_writes(cgroup: BorrowedFd<'_>, names: &[&str]) -> io::Result<()> {
    let code = program(names);
    let name = name(&code);
    if programs_named(cgroup, &name).next().is_some() {
        return Ok(());
    }
    BpfProgram::load_as(ProgramType::Sysctl, &name, &code)?.attach(cgroup)
}

/// Takes the programs of [`forbid_writes`] for these files off a cgroup.
///
/// # Errors
/// The system's error.
pub fn stop_forbidding(cgroup: BorrowedFd<'_>, names: &[&str]) -> io::Result<()> {
    programs_named(cgroup, &name(&program(names))).try_for_each(|program| program.detach(cgroup))
}

/// The name of a program identifies its text: another release may forbid writes to other files.
fn name(code: &[u64]) -> String {
    // FNV-1a, which is the same in every release of the language.
    let bytes = code.iter().flat_map(|word| word.to_ne_bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("zone_{hash:08x}")
}

/// Returns the programs of that name on a cgroup.
fn programs_named(cgroup: BorrowedFd<'_>, name: &str) -> impl Iterator<Item = BpfProgram> {
    let attached = BpfProgram::attached(cgroup).unwrap_or_default();
    attached
        .into_iter()
        .filter_map(|id| BpfProgram::by_id(id).ok())
        .filter(move |program| program.is_named(name).unwrap_or(false))
}

/// Says whether this kernel takes such a program on the cgroups of a hierarchy. Without root's rights that cannot be
/// asked, and is taken to be so.
///
/// A kernel answers the same as long as it runs, so it is asked once: a boot needs the answer when it verifies and
/// when it plans. The query is for the attached programs, since loading a program to see whether it is accepted
/// takes as long as twenty such queries.
pub fn is_possible(hierarchy: &Path) -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    let ask = || File::open(hierarchy).and_then(|top| BpfProgram::attached(top.as_fd())).is_ok();
    *ANSWER.get_or_init(|| !rustix::process::geteuid().is_root() || ask())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_the_program() {
        let load = |names| BpfProgram::load_as(ProgramType::Sysctl, "test", &program(names));
        match load(&["net/netfilter/nf_hooks_lwtunnel", "a/b"]) {
            Ok(_) => {}
            // The test may run without rights, or on a kernel that has no bpf(2).
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {}
            // A kernel without CONFIG_CGROUP_BPF finds fault with any program of this type.
            Err(e) => assert!(BpfProgram::load_as(ProgramType::Sysctl, "test", &bare()).is_err(), "{e}"),
        }
    }

    fn bare() -> Vec<u64> {
        let mut a = Asm::new();
        a.exit_with(1);
        a.finish()
    }
}
