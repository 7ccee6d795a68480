//! `zoneadmd`: started by zoneadm and zlogin, never by hand.

fn main() -> std::process::ExitCode {
    zones::cli::zoneadmd::main()
}
