//! Disks for the audit log that can be made to fail, and a writer that can be made to stand still.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use airlock_tests::Running;
use tempfile::TempDir;

/// A file system at `audit` of a directory; it is unmounted with its value.
pub(super) struct Disk {
    at: PathBuf,
    /// The image that a real file system is in.
    image: Option<PathBuf>,
}

fn done(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{program} {arguments:?}: {}", text(&output.stderr)))
    }
}

impl Disk {
    fn place(dir: &TempDir) -> Result<(PathBuf, String), String> {
        let at = dir.path().join("audit");
        fs::create_dir(&at).map_err(|error| error.to_string())?;
        let shown = at.display().to_string();
        Ok((at, shown))
    }

    /// 24 MiB of memory, which can be filled.
    pub(super) fn in_memory(dir: &TempDir) -> Result<Self, String> {
        let (at, shown) = Self::place(dir)?;
        done("mount", &["-t", "tmpfs", "-o", "size=24m,mode=0750", "tmpfs", &shown])?;
        Ok(Self { at, image: None })
    }

    /// A file system of ext4, which becomes read-only where it finds an error.
    pub(super) fn in_image(dir: &TempDir) -> Result<Self, String> {
        let (at, shown) = Self::place(dir)?;
        let image = dir.path().join("image");
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(64 << 20).map_err(|error| error.to_string())?;
        let path = image.display().to_string();
        done("mkfs.ext4", &["-q", "-F", &path])?;
        done("mount", &["-o", "loop,errors=remount-ro", &path, &shown])?;
        Ok(Self { at, image: Some(image) })
    }

    /// Lets the kernel find an error: nothing is written any more.
    pub(super) fn find_error(&self) -> Result<(), String> {
        let device = done("findmnt", &["-n", "-o", "SOURCE", &self.at.display().to_string()])?;
        let name = device.trim_start_matches("/dev/");
        let trigger = format!("/sys/fs/ext4/{name}/trigger_fs_error");
        fs::write(&trigger, "1").map_err(|error| format!("{trigger}: {error}"))
    }

    /// Repairs it and mounts it again, as an operator does then.
    pub(super) fn repair(&self) {
        let (at, image) = (self.at.display().to_string(), self.image.as_ref().expect("an image"));
        let image = image.display().to_string();
        done("umount", &[&at]).expect("nobody uses it");
        // Its exit code says that there was something to repair.
        let _ = done("e2fsck", &["-p", "-f", &image]);
        done("mount", &["-o", "loop", &image, &at]).expect("it is whole");
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Fills it until so many bytes are left.
    pub(super) fn leave(&self, bytes: u64) {
        let stat = rustix::fs::statvfs(&self.at).expect("a file system");
        let more = (stat.f_bavail * stat.f_frsize).saturating_sub(bytes);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.filler()).expect("ours");
        file.write_all(&vec![0; usize::try_from(more).expect("24 MiB")]).expect("as much as is there");
    }

    /// Gives that room back.
    pub(super) fn make_room(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = done("umount", &["--lazy", &self.at.display().to_string()]);
    }
}

/// Holds a thread where it is until its standard input ends.
const HOLD: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
thread = int(sys.argv[1])
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, thread, None, None):
        sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(thread, WALL)
print("held", flush=True)
sys.stdin.read()
libc.ptrace(DETACH, thread, None, None)
"#;

/// The thread that writes the audit log, standing still as it does in a disk that does not answer; it goes on
/// when this is dropped.
pub(super) struct HeldWriter(Running);

impl HeldWriter {
    /// Holds the one of that process; says why it cannot be.
    pub(super) fn of(process: u32) -> Result<Self, String> {
        let tasks = fs::read_dir(Path::new("/proc").join(process.to_string()).join("task"));
        let is_it = |task: &fs::DirEntry| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "airlock-audit")
        };
        let mut tasks = tasks.map_err(|error| error.to_string())?.flatten();
        let thread = tasks.find(is_it).ok_or("no thread is called airlock-audit")?;
        let mut command = Command::new("python3");
        command.args(["-c", HOLD]).arg(thread.file_name());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Running::start(&mut command);
        let mut line = String::new();
        let told = holder.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        if line.trim() == "held" { Ok(Self(holder)) } else { Err(format!("it cannot be held: {told:?}")) }
    }
}

impl Drop for HeldWriter {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
