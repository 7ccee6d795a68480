//! Compiles the built-in init (`src/init`) into a static program that the library embeds, and has the unwinder
//! linked into the programs.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/init");
    init();
    unwinder();
}

fn var(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"))
}

/// Compiles the built-in init. It cannot be a binary of the package: it is built without the standard library and
/// without libc, whatever the profile, and is never installed as a file.
fn init() {
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

/// Puts GCC's unwinder into the programs, where the linker has it as an archive. The standard library asks for the
/// shared one, `libgcc_s`, of which nothing but the trace of a panic is used; to load it takes 0.1 ms, a tenth of an
/// ordinary command. The linker looks here first, and finds a script that names the archive.
fn unwinder() {
    let linker = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let asked = Command::new(linker).arg("-print-file-name=libgcc_eh.a").output();
    let archive = asked.ok().and_then(|done| String::from_utf8(done.stdout).ok()).unwrap_or_default();
    // A linker that has none prints the bare name.
    if var("CARGO_CFG_TARGET_ENV") != "gnu" || !Path::new(archive.trim()).is_absolute() {
        return;
    }
    let folder = PathBuf::from(var("OUT_DIR")).join("unwinder");
    let script =
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("libgcc_s.so"), "INPUT(-lgcc_eh)\n"));
    script.unwrap_or_else(|e| panic!("cannot write to {}: {e}", folder.display()));
    println!("cargo::rustc-link-search=native={}", folder.display());
}
