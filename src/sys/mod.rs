//! How the kernel is called; with the built-in init the only unsafe code. It knows nothing of zones but names.
//!
//! | module | what it wraps | manual page |
//! |---|---|---|
//! | [`assume`] | ids, groups, capabilities and user namespace of another process, taken by this one | credentials(7), capabilities(7), setns(2) |
//! | [`bpf`] | programs and maps of the kernel's virtual machine, on links and control groups | bpf(2) |
//! | [`cgroup`] | control groups of version 2 | cgroups(7) |
//! | [`channel`] | socket pairs that carry messages and descriptors | socketpair(2), cmsg(3) |
//! | [`enter`] | the way of a process into a running zone | setns(2), pidfd_open(2) |
//! | [`loopdev`] | block devices over regular files | loop(4) |
//! | [`made`] | files that the kernel writes as they are read | proc(5), sysfs(5) |
//! | [`mount`] | mounts as descriptors | fsopen(2), open_tree(2), mount_setattr(2), move_mount(2) |
//! | [`mountinfo`] | the mount tables of processes | proc_pid_mountinfo(5) |
//! | [`naive`] | nothing: leaves a defence out, for tests | |
//! | [`netlink`] | links, addresses, routes, neighbours and filters of packets | netlink(7), rtnetlink(7) |
//! | [`ns`] | namespaces and their id maps; clone and fork | namespaces(7), clone(2), user_namespaces(7) |
//! | [`path`] | names below a directory that is not trusted | openat2(2) |
//! | [`peer`] | the process at the other end of a socket | unix(7) |
//! | [`poll`] | waiting for descriptors that have names | poll(2) |
//! | [`process`] | handles of processes; what a process sheds before it becomes a zone's | pidfd_open(2), waitpid(2), close_range(2) |
//! | [`pty`] | terminals of a given devpts | pts(4) |
//! | [`rlimit`] | resource limits, priority and scheduling | getrlimit(2), setpriority(2), sched(7) |
//! | [`seccomp`] | filters of system calls, and the listener that is asked | seccomp(2), seccomp_unotify(2) |
//! | [`stable_hash`] | nothing: a hash that is the same in every release | |
//! | [`stream`] | standard streams that are read and written without waiting | poll(2), stdin(3) |
//! | [`task`] | processes of a zone, seen from the host | proc_pid_stat(5), proc_pid_status(5) |
//! | [`trace`] | the log of a program's steps | syslog(3) |
//! | [`tree`] | whole trees of files: copied, removed, searched, given other ids | openat2(2), ioctl_ficlone(2), xattr(7) |
//! | [`tty`] | the terminal of the caller, and signals as input | termios(3), signalfd(2) |
//! | [`zfs`] | OpenZFS: its C library and its control device | |

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
pub mod poll;
mod pow;
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
