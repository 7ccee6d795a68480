//! `zoneadm`: see zoneadm(8).

fn main() -> std::process::ExitCode {
    zones::cli::zoneadm::main()
}
