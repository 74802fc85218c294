//! Embeds the eBPF object that `cargo xtask build-ebpf` wrote, where there is one.
//!
//! `AIRLOCK_EBPF_OBJECT` names another object. Without any the daemon builds as well and reports its kernel
//! half as absent.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rustc-check-cfg=cfg(airlock_ebpf_object)");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=AIRLOCK_EBPF_OBJECT");
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?);
    let object = if let Some(path) = env::var_os("AIRLOCK_EBPF_OBJECT") {
        let path = PathBuf::from(path);
        if !path.is_file() {
            return Err(format!("AIRLOCK_EBPF_OBJECT names {}, which is no file", path.display()).into());
        }
        println!("cargo:rerun-if-changed={}", path.display());
        path
    } else {
        let dir = target_dir(&out_dir).join("bpf");
        watch(&dir);
        dir.join("airlock.o")
    };
    if object.is_file() {
        fs::copy(&object, out_dir.join("airlock.o"))?;
        println!("cargo:rustc-cfg=airlock_ebpf_object");
    }
    Ok(())
}

/// Cargo's target directory: the ancestor of `OUT_DIR` that cargo marked; `xtask` writes to the same one.
fn target_dir(out_dir: &Path) -> PathBuf {
    // With `--target` the directory of the triple is marked as well.
    let triple = env::var_os("TARGET");
    out_dir
        .ancestors()
        .filter(|dir| dir.file_name() != triple.as_deref())
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .or_else(|| out_dir.ancestors().nth(4))
        .unwrap_or(out_dir)
        .to_path_buf()
}

/// Has cargo notice an object that appears later: it watches the directory, which has to exist, because cargo
/// takes a missing path for a change in every build. The time is set back so that creating it is no change
/// either.
fn watch(dir: &Path) {
    if !dir.is_dir() && fs::create_dir_all(dir).is_ok() {
        let aged = File::open(dir).and_then(|dir| dir.set_modified(SystemTime::UNIX_EPOCH));
        if let Err(error) = aged {
            println!("cargo:warning=cannot set the time of {}: {error}", dir.display());
        }
    }
    println!("cargo:rerun-if-changed={}", dir.display());
}
