//! The same under a kernel that nobody here built: Debian's, in a virtual machine, with the Debian root as
//! its own.
//!
//! `cargo xtask vm --system` runs the tests of [`super::units_run_under_systemd`] so: it names a directory
//! with the kernel and what gets the root in its place. One thing is different there: LSM programs can be
//! loaded, so servers and units are sealed.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use airlock_tests::Running;

/// The variable that names the directory.
const MACHINE: &str = "AIRLOCK_MACHINE";
/// How long a machine may take to the end; qemu interprets it, and it takes about a minute.
const LIMIT: Duration = Duration::from_mins(8);
/// The parts of the root that nothing here reads, and that would only have to be unpacked.
const LEFT_OUT: [&str; 6] = [
    "./usr/share/doc",
    "./usr/share/locale",
    "./usr/share/man",
    "./usr/share/info",
    "./var/cache",
    "./var/lib/apt",
];

/// The directory, where a machine is to be booted instead of a container.
pub(crate) fn wanted() -> Option<PathBuf> {
    env::var_os(MACHINE).map(PathBuf::from)
}

/// Boots a root until its probe has ended, and puts what that wrote into `results`. The machine's output.
pub(crate) fn boot(machine: &Path, root: &Path, results: &Path) -> Result<String, String> {
    let dir = tempfile::tempdir_in(root.parent().unwrap_or(Path::new("/"))).expect("a directory");
    let (console, written) = (dir.path().join("console"), dir.path().join("written"));
    let initramfs = dir.path().join("initramfs");
    pack(machine, root, &initramfs).map_err(|error| format!("the root cannot be packed: {error}"))?;
    let line = "console=ttyS0 quiet panic=-1 rcupdate.rcu_expedited=1 systemd.firstboot=off systemd.wants=probe.service";
    let child = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "2048"])
        .args(["-display", "none", "-monitor", "none", "-no-reboot", "-nic", "none"])
        .arg("-kernel")
        .arg(machine.join("kernel"))
        .arg("-initrd")
        .arg(&initramfs)
        .args(["-append", line, "-serial"])
        .arg(format!("file:{}", console.display()))
        .arg("-serial")
        .arg(format!("file:{}", written.display()))
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("qemu-system-x86_64 cannot be run: {error}"))?;
    let ended = is_off(Running::from(child));
    let said = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
    assert!(ended, "the machine was not off after {} s, and was killed:\n{said}", LIMIT.as_secs());
    unpack(&written, results).unwrap_or_else(|error| panic!("no results: {error}:\n{said}"));
    Ok(said)
}

/// Writes what gets a root in its place, and the root: the kernel unpacks one archive after the other.
fn pack(machine: &Path, root: &Path, to: &Path) -> io::Result<()> {
    fs::copy(machine.join("first.cpio"), to)?;
    let mut find = Command::new("find");
    find.arg(".").args(["-path", "./proc/*", "-prune"]);
    for path in LEFT_OUT {
        find.args(["-o", "-path", path, "-prune"]);
    }
    let listed = find.args(["-o", "-print"]).current_dir(root).stderr(Stdio::null()).output()?.stdout;
    // The kernel unpacks below its own root, and the first process moves it from there.
    let listed: Vec<u8> = listed
        .split(|byte| *byte == b'\n')
        .filter(|path| !path.is_empty())
        .flat_map(|path| [b"system/", path.strip_prefix(b"./").unwrap_or(b""), b"\n"].concat())
        .collect();
    let view = tempfile::tempdir_in(root.parent().unwrap_or(Path::new("/")))?;
    std::os::unix::fs::symlink(root, view.path().join("system"))?;
    let mut cpio = Command::new("busybox")
        .args(["cpio", "-o", "-H", "newc"])
        .current_dir(view.path())
        .stdin(Stdio::piped())
        .stdout(fs::OpenOptions::new().append(true).open(to)?)
        .stderr(Stdio::null())
        .spawn()?;
    cpio.stdin.take().ok_or_else(|| io::Error::other("no input"))?.write_all(&listed)?;
    if cpio.wait()?.success() { Ok(()) } else { Err(io::Error::other("busybox cpio failed")) }
}

/// Reads the results as the probe's unit wrote them to the serial line: an archive of tar, in base64.
fn unpack(written: &Path, results: &Path) -> io::Result<()> {
    let mut text = String::new();
    File::open(written)?.read_to_string(&mut text)?;
    let mut tar = Command::new("sh")
        .args(["-c", "base64 -di | tar -x"])
        .current_dir(results)
        .stdin(Stdio::piped())
        .spawn()?;
    tar.stdin.take().ok_or_else(|| io::Error::other("no input"))?.write_all(text.as_bytes())?;
    if tar.wait()?.success() { Ok(()) } else { Err(io::Error::other("what came is no archive")) }
}

/// Waits until a machine is off; false where that took too long.
fn is_off(mut machine: Running) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        if machine.try_wait().expect("our child").is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}
