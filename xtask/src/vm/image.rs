//! The initramfs of a guest: busybox, the test programs with the libraries they name, `ip`, kernel modules
//! and an init.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::kernel::Kernel;
use crate::shell::{cargo, command, on_path, output, root, target};

/// The first process of the guest.
const INIT: &str = include_str!("init.sh");
/// The first process of a machine, which has a Debian root and systemd.
const MACHINE_INIT: &str = include_str!("machine.sh");
/// Modules that a Debian host would load when they are asked for: nothing does so here.
const ON_DEMAND: [&str; 1] = ["unix_diag"];

/// The modules that the tests need where the kernel does not have them built in. First interfaces and their
/// queues, for the early drop; then families of sockets, so that an attempt to open one meets the cage and
/// not only a kernel that lacks it. Those that a kernel does not come with are left out.
const MODULES: [&str; 20] = [
    "veth",
    "dummy",
    "8021q",
    "sch_ingress",
    "cls_bpf",
    "af_alg",
    "algif_hash",
    "algif_skcipher",
    "vsock",
    "vsock_loopback",
    "tipc",
    "kcm",
    "rds",
    "smc",
    "sctp",
    "can",
    "can-raw",
    "bluetooth",
    "qrtr",
    "l2tp_ip",
];

/// The target with the unit tests of the kernel half.
const UNIT_TESTS: &str = "airlock_kernel";

/// A test program.
#[derive(Debug)]
pub(super) struct Suite {
    /// The name of the target.
    name: String,
    program: PathBuf,
}

impl Suite {
    /// True where that is its name.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name
    }
}

/// Builds the test programs of the kernel half and finds them in what cargo says.
pub(super) fn suites() -> Result<Vec<Suite>, String> {
    let tests = root().join("airlock-daemon/tests");
    let entries = fs::read_dir(&tests).map_err(|error| format!("{}: {error}", tests.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.path().file_stem()?.to_str().map(str::to_owned))
        .filter(|name| name.starts_with("kernel") || name.starts_with("escapes"))
        .collect();
    names.sort();
    let mut build = cargo(&["test", "-p", "airlock-daemon", "-p", "airlock-kernel", "--lib", "--no-run"]);
    build.arg("--message-format=json");
    for name in &names {
        build.args(["--test", name]);
    }
    let messages = output(&mut build)?;
    let mut suites = Vec::new();
    for name in std::iter::once(UNIT_TESTS).chain(names.iter().map(String::as_str)) {
        let program = executable(&messages, name)
            .ok_or_else(|| format!("cargo did not say where it built the test program `{name}`"))?;
        suites.push(Suite { name: name.to_owned(), program });
    }
    Ok(suites)
}

/// The program of one target in cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let target = format!("\"name\":\"{name}\",");
    messages.lines().filter(|line| line.contains(&target)).find_map(|line| {
        // The target says whether it has tests; the profile, whether this is the program with them.
        let profile = line.split_once("\"profile\":{")?.1;
        let is_test = profile.split_once('}')?.0.contains("\"test\":true");
        let program = profile.split_once("\"executable\":\"")?.1.split_once('"')?.0;
        is_test.then(|| program.into())
    })
}

/// Writes the initramfs of one guest of a kernel; gives its path.
pub(super) fn build(
    kernel: &Kernel,
    part: &str,
    suites: &[&Suite],
    only: Option<&str>,
) -> Result<PathBuf, String> {
    let dir = target().join("vm").join(&kernel.release).join(format!("guest-{part}"));
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut image = Image::default();
    for dir in ["dev", "mnt", "proc", "root", "run", "sys", "suites", "modules"] {
        image.directory(Path::new(dir));
    }
    image.archive.directory("tmp", 0o1777);
    // Before it has a /dev the first process writes here.
    image.archive.device("dev/console", 5, 1);
    image.archive.file("init", 0o755, INIT.as_bytes());
    image.file(Path::new("/bin/busybox"), &busybox()?, 0o755)?;
    image.link("bin/sh", "busybox");
    let ip = on_path("ip").ok_or("there is no `ip` on this host; install iproute2")?;
    // Below one directory that is in every path, whatever the host's layout.
    image.program(Path::new("/usr/sbin/ip"), &ip, &ip)?;
    image.accounts()?;
    let mut list = String::new();
    // Only the tests whose names start so.
    let filter = only.and_then(|only| only.split_once('=')).map_or("", |(_, filter)| filter);
    for suite in suites {
        let stripped = dir.join(&suite.name);
        strip(&suite.program, &stripped)?;
        image.program(&Path::new("/suites").join(&suite.name), &stripped, &suite.program)?;
        list.extend([&suite.name, " ", filter, "\n"]);
    }
    image.text("suites/list", &list);
    image.modules(kernel, &[&MODULES[..], &ON_DEMAND].concat())?;
    image.write(&dir.join("initramfs.cpio"))
}

/// Writes a directory with a kernel, and the part of its first file system that puts a Debian root in its own
/// place.
pub(super) fn machine(kernel: &Kernel) -> Result<PathBuf, String> {
    let dir = target().join("vm").join(&kernel.release).join("machine");
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut image = Image::default();
    for dir in ["dev", "modules"] {
        image.directory(Path::new(dir));
    }
    image.archive.device("dev/console", 5, 1);
    image.archive.file("init", 0o755, MACHINE_INIT.as_bytes());
    image.file(Path::new("/bin/busybox"), &busybox()?, 0o755)?;
    image.modules(kernel, &ON_DEMAND)?;
    image.write(&dir.join("first.cpio"))?;
    let to = dir.join("kernel");
    fs::copy(&kernel.image, &to).map_err(|error| format!("{}: {error}", to.display()))?;
    Ok(dir)
}

/// An archive that knows what it already has.
#[derive(Debug, Default)]
struct Image {
    archive: Archive,
    there: BTreeSet<PathBuf>,
}

impl Image {
    /// A directory with all that is above it.
    fn directory(&mut self, path: &Path) {
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for dir in above {
            let Ok(relative) = dir.strip_prefix("/").or(Ok::<_, ()>(dir)) else { continue };
            if relative.as_os_str().is_empty() || !self.there.insert(relative.to_owned()) {
                continue;
            }
            self.archive.directory(&relative.to_string_lossy(), 0o755);
        }
    }

    /// A copy of a file of this host.
    fn file(&mut self, path: &Path, from: &Path, permissions: u32) -> Result<(), String> {
        if let Some(dir) = path.parent() {
            self.directory(dir);
        }
        if self.there.insert(path.strip_prefix("/").unwrap_or(path).to_owned()) {
            let content = fs::read(from).map_err(|error| format!("{}: {error}", from.display()))?;
            self.archive.file(&path.to_string_lossy(), permissions, &content);
        }
        Ok(())
    }

    /// A program with the libraries that the dynamic linker would load for `original`.
    fn program(&mut self, path: &Path, from: &Path, original: &Path) -> Result<(), String> {
        self.file(path, from, 0o755)?;
        let listed = output(command("ldd", &[]).arg(original))?;
        for library in libraries(&listed) {
            self.file(&library, &library, 0o755)?;
        }
        Ok(())
    }

    fn link(&mut self, path: &str, target: &str) {
        self.archive.link(path, target);
    }

    fn text(&mut self, path: &str, content: &str) {
        self.archive.file(path, 0o644, content.as_bytes());
    }

    /// The modules of these names that the kernel has as files, and the order in which they can be loaded.
    fn modules(&mut self, kernel: &Kernel, names: &[&str]) -> Result<(), String> {
        let mut order = String::new();
        for module in modules(kernel, names)? {
            let name = format!("modules/{}.ko", module.name);
            order.extend(["/", &name, "\n"]);
            self.archive.file(&name, 0o644, &module.content);
        }
        self.text("modules/list", &order);
        Ok(())
    }

    fn write(self, path: &Path) -> Result<PathBuf, String> {
        fs::write(path, self.archive.finish()).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path.to_owned())
    }

    /// The users that tests know, and the part of the C library that reads them where it is a file of its
    /// own.
    fn accounts(&mut self) -> Result<(), String> {
        self.directory(Path::new("etc"));
        self.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
        self.text("etc/group", "root:x:0:\nnogroup:x:65534:\n");
        self.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n");
        self.text("etc/hosts", "127.0.0.1 localhost\n");
        for dir in ["/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"] {
            let library = Path::new(dir).join("libnss_files.so.2");
            if library.is_file() {
                self.file(&library, &library, 0o755)?;
            }
        }
        Ok(())
    }
}

/// The files that `ldd` names.
fn libraries(listed: &str) -> Vec<PathBuf> {
    // libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f…), or /lib64/ld-linux-x86-64.so.2 (0x00007f…)
    let file = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    listed.lines().filter_map(file).collect()
}

/// A busybox that needs no libraries.
fn busybox() -> Result<PathBuf, String> {
    on_path("busybox").ok_or_else(|| "there is no busybox on this host; install busybox-static".to_owned())
}

fn strip(from: &Path, to: &Path) -> Result<(), String> {
    output(command("strip", &["-o"]).arg(to).arg(from)).map(drop)
}

/// A kernel module, ready to be loaded.
#[derive(Debug)]
struct Module {
    name: String,
    content: Vec<u8>,
}

/// The modules in the order in which they can be loaded.
fn modules(kernel: &Kernel, names: &[&str]) -> Result<Vec<Module>, String> {
    let mut files = Vec::new();
    walk(&kernel.modules, &mut files)?;
    let mut ordered: Vec<Module> = Vec::new();
    for name in names {
        // A kernel without it has it built in, or not at all.
        add_module(name, &files, &mut ordered)?;
    }
    Ok(ordered)
}

fn add_module(name: &str, files: &[PathBuf], ordered: &mut Vec<Module>) -> Result<(), String> {
    // A module's name has underscores where its file may have dashes.
    let name = name.replace('-', "_");
    if ordered.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let stem = |path: &Path| Some(path.file_name()?.to_str()?.split_once(".ko")?.0.replace('-', "_"));
    let Some(file) = files.iter().find(|path| stem(path).is_some_and(|stem| stem == name)) else {
        return Ok(());
    };
    let content = if file.extension().is_some_and(|extension| extension == "xz") {
        let unpacked = command("xz", &["-dc"]).arg(file).output();
        let unpacked = unpacked.map_err(|error| format!("xz: {error}; install xz-utils"))?;
        if !unpacked.status.success() {
            return Err(format!("{}: xz cannot unpack it", file.display()));
        }
        unpacked.stdout
    } else {
        fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?
    };
    for needed in dependencies(&content) {
        add_module(&needed, files, ordered)?;
    }
    ordered.push(Module { name, content });
    Ok(())
}

/// The modules that a module says it needs.
fn dependencies(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(place) = module.windows(key.len()).position(|window| window == key) else { return Vec::new() };
    let rest = module.get(place + key.len()..).unwrap_or_default();
    let value = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        // Links lead to the headers of the kernel, which are not there.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, files)?,
            Ok(kind) if kind.is_file() => files.push(path),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_modules_are_found_in_what_tools_print() {
        let listed = "\tlinux-vdso.so.1 (0x0)\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n\t/lib64/ld.so (0x2)\n";
        assert_eq!(libraries(listed), [PathBuf::from("/lib/libc.so.6"), PathBuf::from("/lib64/ld.so")]);
        assert!(libraries("\tstatically linked\n").is_empty());
        assert_eq!(dependencies(b"x\0license=GPL\0depends=vsock,af_alg\0name=y\0"), ["vsock", "af_alg"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
    }

    #[test]
    fn a_test_program_is_not_mistaken_for_the_program_under_test() {
        let artifact = |test: bool, path: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"target\":{{\"name\":\"airlock\",\"doc\":true,\"test\":true}},\
                 \"profile\":{{\"debug_assertions\":true,\"test\":{test}}},\"executable\":\"{path}\"}}\n"
            )
        };
        let messages = artifact(false, "/t/airlock") + &artifact(true, "/t/deps/airlock-1");
        assert_eq!(executable(&messages, "airlock"), Some("/t/deps/airlock-1".into()));
        assert_eq!(executable(&messages, "kernel"), None);
    }
}
