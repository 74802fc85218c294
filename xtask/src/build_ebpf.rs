//! `cargo xtask build-ebpf`: compiles the kernel half into `<target>/bpf/airlock.o`, which the daemon embeds.
//!
//! The eBPF target has no prebuilt `core`, so this needs a compiler with the source of its library: rustup's
//! with the `rust-src` component, or Debian's `rustc-web` with `rust-web-src`. Unstable switches are needed
//! for nothing but `-Z build-std`, hence a stable compiler will do under `RUSTC_BOOTSTRAP=1`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of bpf-linker that is known to work; `install` commands name it.
const LINKER_VERSION: &str = "0.13.0";
/// The LLVM that Debian's bpf-linker is built with. A compiler with a newer one writes bitcode that the
/// linker cannot read.
const NEWEST_LLVM: u32 = 22;
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A compiler that can build the programs.
struct Compiler {
    rustc: PathBuf,
    /// The words of `rustc --version`, and where it came from.
    description: String,
}

/// Builds the object. Takes no arguments.
///
/// # Errors
/// Says what is missing and the command that installs it, or what the compiler said.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    if let Some(argument) = args.first() {
        return Err(format!("`build-ebpf` takes no argument, so not `{argument}` either"));
    }
    let workspace = workspace()?;
    let target = target_dir(&workspace);
    let compiler = find_compiler()?;
    println!("eBPF compiler: {}", compiler.description);
    let linker = find_linker()?;
    println!("eBPF linker:   {}", linker.display());
    let built = compile(&workspace, &target, &compiler, &linker)?;
    let object = target.join("bpf").join("airlock.o");
    let size = install(&built, &object)?;
    println!("eBPF object:   {} ({size} bytes)", object.display());
    Ok(())
}

/// The directory of the workspace: the parent of this package.
fn workspace() -> Result<PathBuf, String> {
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package
        .parent()
        .map(Path::to_path_buf)
        .ok_or_else(|| format!("{} has no parent directory; run this from the workspace", package.display()))
}

/// Cargo's target directory. The daemon's build script looks in the same place.
fn target_dir(workspace: &Path) -> PathBuf {
    if let Some(dir) = env::var_os("CARGO_TARGET_DIR").or_else(|| env::var_os("CARGO_BUILD_TARGET_DIR")) {
        return env::current_dir().unwrap_or_default().join(dir);
    }
    // This very program lies in the target directory, which cargo marks; that also honours
    // `build.target-dir`. With `build.target` the directory of the triple is marked as well.
    let is_triple = |dir: &&Path| {
        dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(env::consts::ARCH))
    };
    let is_marked = |dir: &&Path| dir.join("CACHEDIR.TAG").is_file();
    env::current_exe()
        .ok()
        .and_then(|exe| exe.ancestors().filter(|dir| !is_triple(dir)).find(is_marked).map(Path::to_path_buf))
        .unwrap_or_else(|| workspace.join("target"))
}

/// The text that a program prints, or `None` where it is missing or fails.
fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}

/// Looks at rustup's toolchains, nightly ones first, then at Debian's compiler.
fn find_compiler() -> Result<Compiler, String> {
    let mut refused = Vec::new();
    let listed = output_of(Command::new("rustup").args(["toolchain", "list", "--quiet"]))
        .or_else(|| output_of(Command::new("rustup").args(["toolchain", "list"])))
        .unwrap_or_default();
    let mut toolchains: Vec<&str> =
        listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    toolchains.sort_by_key(|name| !name.starts_with("nightly"));
    for toolchain in toolchains {
        let path = output_of(Command::new("rustup").args(["which", "rustc", "--toolchain", toolchain]));
        let Some(path) = path else { continue };
        match examine(Path::new(&path), &format!("rustup's {toolchain}")) {
            Ok(compiler) => return Ok(compiler),
            Err(reason) => refused.push(format!("  rustup's {toolchain}: {reason}")),
        }
    }
    match examine(Path::new(DEBIAN_RUSTC), "Debian's rustc-web") {
        Ok(compiler) => return Ok(compiler),
        Err(reason) => refused.push(format!("  {DEBIAN_RUSTC}: {reason}")),
    }
    Err(format!(
        "no compiler can build the eBPF programs:\n{}\n\
         remedy, one of:\n  apt-get install --yes rustc-web rust-web-src      (Debian, as root)\n  \
         rustup toolchain install nightly --profile minimal --component rust-src",
        refused.join("\n")
    ))
}

/// Checks that this compiler has its library's source and an LLVM that the linker understands.
fn examine(rustc: &Path, origin: &str) -> Result<Compiler, String> {
    let facts = output_of(Command::new(rustc).arg("-vV")).ok_or("does not run")?;
    let fact = |name: &str| facts.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let sysroot = output_of(Command::new(rustc).args(["--print", "sysroot"])).ok_or("names no sysroot")?;
    if !Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file() {
        return Err("comes without the source of its library (rust-src)".to_owned());
    }
    let llvm = fact("LLVM version:").and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    match llvm {
        Some(major) if major <= NEWEST_LLVM => {}
        Some(major) => {
            return Err(format!("uses LLVM {major}, newer than the linker's LLVM {NEWEST_LLVM}"));
        }
        None => return Err("does not say which LLVM it uses".to_owned()),
    }
    let version = facts.lines().next().unwrap_or("rustc");
    Ok(Compiler { rustc: rustc.to_path_buf(), description: format!("{version}, {origin}") })
}

/// Finds bpf-linker in `PATH` or where `cargo install` puts it.
fn find_linker() -> Result<PathBuf, String> {
    let name = "bpf-linker";
    let mut places: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    places.extend(cargo_home.map(|home| home.join("bin")));
    places.into_iter().map(|place| place.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        format!(
            "{name} is not installed; remedy (on Debian as root, the first line only once):\n  \
             apt-get install --yes llvm-{NEWEST_LLVM}-dev libpolly-{NEWEST_LLVM}-dev libzstd-dev g++\n  \
             LLVM_PREFIX=/usr/lib/llvm-{NEWEST_LLVM} cargo install {name} --locked --version {LINKER_VERSION} \
             --no-default-features --features llvm-{NEWEST_LLVM}"
        )
    })
}

/// Runs cargo for the eBPF target; the path of what it linked.
fn compile(workspace: &Path, target: &Path, compiler: &Compiler, linker: &Path) -> Result<PathBuf, String> {
    let triple = if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };
    // A directory of its own: the flags differ from the host's, and cargo would wait for its own lock on the
    // shared one.
    let build_dir = target.join("bpf-build");
    let flags = [
        format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH),
        format!("-Clinker={}", linker.display()),
        "-Dwarnings".to_owned(),
    ]
    .join("\x1f");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    for name in
        ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTUP_TOOLCHAIN"]
    {
        cargo.env_remove(name);
    }
    let status = cargo
        .current_dir(workspace)
        .args(["build", "--quiet", "--package", "airlock-ebpf", "--bin", "airlock-ebpf", "--release"])
        .args(["--target", triple, "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(&build_dir)
        .env("RUSTC", &compiler.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CARGO_PROFILE_RELEASE_LTO", "false")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .status()
        .map_err(|error| format!("cannot run cargo: {error}; is it in PATH?"))?;
    if !status.success() {
        return Err(format!(
            "the eBPF programs did not build ({status}); what the compiler said stands above"
        ));
    }
    Ok(build_dir.join(triple).join("release").join("airlock-ebpf"))
}

/// Puts the object into its place, unless the very same one lies there, so that the daemon is not rebuilt for
/// nothing.
fn install(built: &Path, object: &Path) -> Result<usize, String> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    let bytes = fs::read(built).map_err(at(built))?;
    if fs::read(object).is_ok_and(|present| present == bytes) {
        return Ok(bytes.len());
    }
    let dir = object.parent().unwrap_or(object);
    fs::create_dir_all(dir).map_err(at(dir))?;
    let partial = object.with_extension("o.partial");
    fs::write(&partial, &bytes).map_err(at(&partial))?;
    fs::rename(&partial, object).map_err(at(object))?;
    Ok(bytes.len())
}
