//! `zonestat`: see zonestat(1).

fn main() -> std::process::ExitCode {
    zones::cli::zonestat::main()
}
