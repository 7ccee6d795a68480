//! `zonesd`: see zonesd(8).

fn main() -> std::process::ExitCode {
    zones::cli::zonesd::main()
}
