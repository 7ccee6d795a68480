//! `zlogin`: see zlogin(1).

fn main() -> std::process::ExitCode {
    zones::cli::zlogin::main()
}
