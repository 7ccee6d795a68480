//! How the kernel is called; the only module with unsafe code. It knows nothing of zones but names.

pub mod assume;
pub mod bpf;
pub mod cgroup;
pub mod channel;
pub mod enter;
pub mod loopdev;
pub mod made;
pub mod mount;
pub mod mountinfo;
pub mod naive;
pub mod netlink;
pub mod ns;
pub mod path;
pub mod peer;
pub mod process;
pub mod pty;
pub mod rlimit;
pub mod seccomp;
pub mod stable_hash;
pub mod stream;
pub mod task;
pub mod trace;
pub mod tree;
pub mod tty;
pub mod zfs;
