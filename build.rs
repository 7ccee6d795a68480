//! Compiles the built-in init (`src/init`) into a static program that the library embeds.
//!
//! It cannot be a binary of the package: it is built without the standard library and without libc,
//! whatever the profile, and is never installed as a file.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/init");
    let var = |name: &str| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let out = PathBuf::from(var("OUT_DIR")).join("zone-init");
    let mut rustc = Command::new(var("RUSTC"));
    rustc
        .args(["--edition", "2024", "--crate-name", "zone_init", "--crate-type", "bin"])
        .arg("--target")
        .arg(var("TARGET"))
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols", "-C", "codegen-units=1"])
        .args(["-C", "relocation-model=static", "-C", "target-feature=+crt-static"])
        .args(["-C", "link-arg=-nostartfiles", "-C", "link-arg=-nostdlib"])
        .args(["-C", "link-arg=-Wl,--build-id=none,-z,noseparate-code,-z,norelro"])
        .arg("-o")
        .arg(&out)
        .arg("src/init/main.rs");
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={}", linker.to_string_lossy()));
    }
    let status = rustc.status().unwrap_or_else(|e| panic!("cannot run the compiler {rustc:?}: {e}"));
    assert!(status.success(), "the built-in init does not compile: {rustc:?}");
}
