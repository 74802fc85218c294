//! The built `airlock`, started with a configuration of its own and ended by its process id.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http::{Request, Response};
pub use crate::setup::{POLICY, Setup, docs_upstream, stdio_upstream};
use crate::tools;

/// How long starting and ending may take before a test gives up. Not a deadline of the product.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A running `airlock`.
#[derive(Debug)]
pub struct Airlock {
    child: Child,
    dir: TempDir,
    address: SocketAddr,
    ended: Option<ExitStatus>,
}

/// A start that failed.
#[derive(Debug)]
pub struct Failed {
    /// How it ended; none when it neither ended nor became ready in time.
    pub status: Option<ExitStatus>,
    /// The text on its standard error and output.
    pub log: String,
}

/// Starts `airlock serve` with `airlock.yaml` of the directory.
pub fn start_in(dir: TempDir) -> Result<Airlock, Failed> {
    start(dir, None, false)
}

pub(crate) fn start(dir: TempDir, user: Option<u32>, only_listening: bool) -> Result<Airlock, Failed> {
    let (child, notify) = spawn(dir.path(), user).map_err(|error| broken(&error))?;
    let mut airlock = Airlock { child, dir, address: SocketAddr::from(([0, 0, 0, 0], 0)), ended: None };
    match airlock.wait_until_ready(&notify, only_listening) {
        Ok(()) => {
            // Its log of the start is there as well, unless it was to say only what goes wrong.
            let quiet =
                std::fs::read_to_string(airlock.config()).is_ok_and(|text| text.contains("{level: warn"));
            let told = quiet || airlock.logs("listening on ");
            if told { Ok(airlock) } else { Err(Failed { status: None, log: airlock.log() }) }
        }
        Err(status) => Err(Failed { status, log: airlock.log() }),
    }
}

fn broken(error: &io::Error) -> Failed {
    Failed { status: None, log: format!("the harness: {error}") }
}

/// Starts the program with the configuration of a directory; the socket is told when it is ready.
fn spawn(dir: &Path, user: Option<u32>) -> io::Result<(Child, UnixDatagram)> {
    let _ = std::fs::remove_file(dir.join("notify"));
    let notify = UnixDatagram::bind(dir.join("notify"))?;
    notify.set_read_timeout(Some(Duration::from_millis(20)))?;
    let log = std::fs::File::create(dir.join("log"))?;
    let mut command = Command::new(tools::airlock());
    if let Some(user) = user {
        // The directory is its own, so that nothing but privileges is missing.
        for path in [dir.to_owned(), dir.join("notify"), dir.join("policies")] {
            chown(path, Some(user), Some(user))?;
        }
        command.uid(user).gid(user);
    }
    command
        .args(["serve", "--config"])
        .arg(dir.join("airlock.yaml"))
        .env("NOTIFY_SOCKET", dir.join("notify"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let named = |error| io::Error::other(format!("{}: {error}", tools::airlock().display()));
    Ok((command.spawn().map_err(named)?, notify))
}

impl Airlock {
    /// Reads notifications until both the readiness and the address have come, or the process has ended.
    fn wait_until_ready(
        &mut self,
        notify: &UnixDatagram,
        only_listening: bool,
    ) -> Result<(), Option<ExitStatus>> {
        let deadline = Instant::now() + START_TIMEOUT;
        let mut buffer = [0; 4_096];
        let mut ready = only_listening;
        let mut address = None;
        while Instant::now() < deadline {
            if let Ok(count) = notify.recv(&mut buffer) {
                for line in String::from_utf8_lossy(&buffer[..count]).lines() {
                    ready |= line == "READY=1";
                    let status = line.strip_prefix("STATUS=").and_then(|status| status.split_once("://"));
                    address = address.or(status.and_then(|(_, rest)| leading_address(rest)));
                }
            } else if let Ok(Some(status)) = self.child.try_wait() {
                self.ended = Some(status);
                return Err(Some(status));
            }
            if let (true, Some(address)) = (ready, address) {
                self.address = address;
                return Ok(());
            }
        }
        Err(None)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its directory: `airlock.yaml`, `policies/`, `audit/`, `log`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("airlock.yaml")
    }

    /// The text that it has written so far.
    pub fn log(&self) -> String {
        std::fs::read(self.dir.path().join("log")).map_or_else(
            |error| format!("(no log: {error})"),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// True where it logs these words, now or soon: the log is written behind what happens.
    pub fn logs(&self, words: &str) -> bool {
        until(|| self.log().contains(words).then_some(())).is_some()
    }

    /// A token of the development issuer.
    pub fn token(&self, subject: &str, tenant: &str, groups: &[&str]) -> String {
        let mut command = Command::new(tools::airlock());
        command.args(["token", "--config"]).arg(self.config());
        command.args(["--subject", subject, "--tenant", tenant]);
        for group in groups {
            command.args(["--group", group]);
        }
        let output =
            command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("airlock token: {error}"));
        let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(
            output.status.success() && token.split('.').count() == 3,
            "airlock token gave {:?} and {}\nlog:\n{}",
            token,
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        token
    }

    /// A token of an ordinary user of any name, from the development issuer's own endpoint: no process for
    /// each, so there can be many.
    pub fn mint(&self, subject: &str) -> Result<String, String> {
        let text = std::fs::read_to_string(self.config()).map_err(|error| error.to_string())?;
        let (_, rest) = text.split_once("development_issuer:").ok_or("no development issuer")?;
        let listen = rest.split('"').nth(1).and_then(leading_address).ok_or("the issuer has no address")?;
        let form = format!("subject={subject}&tenant=acme&groups=mcp.users");
        let request = Request { method: "POST".to_owned(), path: "/token".to_owned(), ..Request::default() };
        let request = Request { body: form.into_bytes(), ..request }
            .header("content-type", "application/x-www-form-urlencoded");
        let response = request.send(listen).map_err(|error| format!("the issuer: {error}"))?;
        let answer: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
        answer["access_token"].as_str().map(str::to_owned).ok_or_else(|| response.text())
    }

    /// A token of an ordinary user.
    pub fn user(&self) -> String {
        self.token("alice", "acme", &["mcp.users"])
    }

    /// Tokens of who is not that user: another subject, and the same subject of another tenant.
    pub fn strangers(&self) -> [String; 2] {
        [("mallory", "acme"), ("alice", "globex")]
            .map(|(subject, tenant)| self.token(subject, tenant, &["mcp.users"]))
    }

    /// Sends a request; a connection that breaks fails the test.
    pub fn send(&self, request: &Request) -> Response {
        match request.send(self.address) {
            Ok(response) => response,
            Err(error) => panic!("{} {}: {error}\nlog:\n{}", request.method, request.path, self.log()),
        }
    }

    /// The audit log's lines so far, in order.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        let mut segments: Vec<PathBuf> = std::fs::read_dir(self.dir().join("audit"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        segments.sort();
        let text: String = segments.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until a record is there for which `wanted` holds: records are written behind the answer.
    pub fn audited(&self, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let found = until(|| self.audit().into_iter().find(&wanted));
        found.unwrap_or_else(|| panic!("no such record among {:#?}\nlog:\n{}", self.audit(), self.log()))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it by SIGTERM and waits for its end; the directory stays until this value is dropped.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends it by SIGTERM and starts it anew in the same directory, where it may listen elsewhere and has
    /// another development issuer's key. Panics with its log when it does not start.
    pub fn restart(&mut self) {
        self.stop();
        let started = spawn(self.dir.path(), None).map_err(|error| broken(&error));
        let (child, notify) = started.unwrap_or_else(|failed| panic!("{}", failed.log));
        (self.child, self.ended) = (child, None);
        if let Err(status) = self.wait_until_ready(&notify, false) {
            panic!("airlock did not start again ({status:?}):\n{}", self.log());
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let ended = until(|| match self.child.try_wait() {
            Ok(Some(status)) => Some(status),
            _ => None,
        });
        let status = ended.unwrap_or_else(|| panic!("airlock does not end; log:\n{}", self.log()));
        self.ended = Some(status);
        status
    }
}

impl Drop for Airlock {
    fn drop(&mut self) {
        if self.ended.is_none() && !matches!(self.child.try_wait(), Ok(Some(_))) {
            // SIGTERM first, so that it takes its servers and cgroups away; a test that fails must not leave
            // them.
            self.signal(Signal::TERM);
            let ended = until_within(Duration::from_secs(10), || self.child.try_wait().ok().flatten());
            if ended.is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        if std::thread::panicking() {
            eprintln!("log of airlock:\n{}", self.log());
        }
    }
}

/// Runs `airlock` with arguments to its end: whether it succeeded, standard output, standard error.
pub fn run(args: &[&str]) -> (bool, String, String) {
    let output = Command::new(tools::airlock()).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", tools::airlock().display()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// Asks again and again until there is an answer; none after a time no healthy run needs.
pub fn until<T>(ask: impl FnMut() -> Option<T>) -> Option<T> {
    until_within(START_TIMEOUT, ask)
}

fn until_within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A loopback address whose port is free now and is not given to another test of this process: below the
/// range from which the kernel takes ports for connections, where it would soon be taken by somebody else.
pub fn free_address() -> io::Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..2_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Processes start at different places of 20000..32000.
        let offset = std::process::id().wrapping_mul(37).wrapping_add(step) % 12_000;
        let port = 20_000 + u16::try_from(offset).unwrap_or(0);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port between 20000 and 32000"))
}

/// The address at the start of a text.
fn leading_address(text: &str) -> Option<SocketAddr> {
    let end = text.find(|c: char| c.is_whitespace() || c == '/' || c == ',').unwrap_or(text.len());
    text[..end].parse().ok()
}
