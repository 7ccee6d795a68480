//! `zonename`: see zonename(1).

fn main() -> std::process::ExitCode {
    zones::cli::zonename::main()
}
