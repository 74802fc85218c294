//! One run of qemu.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::kernel::Kernel;
use super::transcript::Transcript;
use crate::shell::command;

/// How much of the kernel's log is shown when a guest did not end well.
const TAIL: usize = 30;

/// Boots the kernel and reads what the guest prints until it is off, or until its time is up.
///
/// # Errors
/// When it cannot be booted, or is not off in time.
pub(super) fn run(
    kernel: &Kernel,
    initramfs: &Path,
    limit: Duration,
    parameters: &str,
) -> Result<Transcript, String> {
    let log = initramfs.with_file_name("kernel.log");
    // A log of an earlier run must not explain this one.
    File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    // Programs, links and cgroups go after a grace period of RCU, which is long where nothing else is to do.
    let line = format!("console=ttyS0 quiet panic=-1 oops=panic rcupdate.rcu_expedited=1 {parameters}");
    let mut qemu = command(
        "qemu-system-x86_64",
        &["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "1024"],
    );
    qemu.args(["-display", "none", "-monitor", "none", "-no-reboot", "-nic", "none"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", &line, "-serial"])
        .arg(format!("file:{}", log.display()))
        .args(["-serial", "stdio"])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let begin = Instant::now();
    let child = qemu.spawn().map_err(|error| format!("qemu-system-x86_64 cannot be run: {error}"))?;
    let mut child = Guard(child);
    let output = child.0.stdout.take().ok_or("qemu has no output")?;
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
            if sender.send(String::from_utf8_lossy(&bytes).trim_end().to_owned()).is_err() {
                return;
            }
            bytes.clear();
        }
    });
    let mut transcript = Transcript::default();
    loop {
        match lines.recv_timeout(limit.saturating_sub(begin.elapsed())) {
            Ok(line) => {
                if let Some(shown) = transcript.read(&line) {
                    println!("{:>6.1} s  {shown}", begin.elapsed().as_secs_f64());
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                transcript.cut_short(&format!("it was not off after {} s, and was killed", limit.as_secs()));
                break;
            }
        }
    }
    // Nothing is running any more, or is killed by its own number.
    child.end();
    // It ends with qemu, whose output it reads.
    if reader.join().is_err() {
        transcript.cut_short("its output could not be read");
    }
    transcript.finish();
    if !transcript.ended_well() {
        let said = std::fs::read(&log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
        println!("-- the end of {}:", log.display());
        for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
            println!("   {line}");
        }
        if lines.iter().any(|line| line.contains("Kernel panic")) {
            transcript.cut_short("its kernel panicked");
        }
    }
    Ok(transcript)
}

/// A process that does not outlive this value.
struct Guard(Child);

impl Guard {
    fn end(&mut self) {
        // Both fail only where it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end();
    }
}
