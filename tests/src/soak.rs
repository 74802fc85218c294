//! The remains of legacy clients that open sessions and go away, and the cost of a session that nobody uses.

pub mod kept;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::airlock::{docs_upstream, until};
use crate::mcp::Session;
use crate::proc::{descendants, open_file_targets, open_files, resident_kib};
use crate::{Airlock, Setup};

/// The most that one idle session may cost.
pub const BYTES_EACH: u64 = 64 * 1024;
/// Sessions of one subject: the daemon allows as many.
const EACH: usize = 32;
/// Sessions with a process of their own at one time: the daemon allows one tenant that is alone 192 of the
/// 256 processes of an upstream.
const AT_ONCE: usize = 160;
/// Growth for each session that is put down to the allocator, in KiB: a page each would be a loss.
const LOST_EACH_KIB: u64 = 2;
/// Rounds until growth counts as a loss.
const ROUNDS: usize = 20;

/// The resources of a process.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Its descendants.
    pub processes: usize,
    /// Its open file descriptors.
    pub files: usize,
    /// The cgroups that it made.
    pub cgroups: usize,
    /// Its resident memory, in KiB.
    pub resident: u64,
}

impl Held {
    fn of(pid: u32) -> Result<Self, String> {
        let gone = |error: std::io::Error| format!("airlock is gone: {error}");
        Ok(Self {
            processes: descendants(pid).len(),
            files: open_files(pid).map_err(gone)?,
            cgroups: cgroups(pid),
            resident: resident_kib(pid).map_err(gone)?,
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, files, cgroups, resident } = self;
        write!(f, "{processes} processes, {files} descriptors, {cgroups} cgroups, {resident} KiB resident")
    }
}

/// The cgroups that carry the daemon's process id in their name.
fn cgroups(pid: u32) -> usize {
    fn below(dir: &Path, prefix: &str) -> usize {
        let mut count = 0;
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let own = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
                count += usize::from(own) + below(&entry.path(), prefix);
            }
        }
        count
    }
    below(Path::new("/sys/fs/cgroup"), &format!("airlock-{pid}-"))
}

/// Opens `count` sessions on a few threads, each with `then` done in it.
fn open(
    airlock: &Airlock,
    count: usize,
    then: impl Fn(&mut Session) -> Result<(), String> + Sync,
) -> Result<Vec<Session>, String> {
    // New subjects each time: a session without a process is still a session of its subject until it expires.
    static SUBJECT: AtomicUsize = AtomicUsize::new(0);
    let mint = |_| airlock.mint(&format!("subject-{}", SUBJECT.fetch_add(1, Ordering::Relaxed)));
    let tokens: Result<Vec<String>, String> = (0..count.div_ceil(EACH)).map(mint).collect();
    let (tokens, next) = (tokens?, AtomicUsize::new(0));
    let work = || {
        let mut sessions = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(token) = tokens.get(number / EACH).filter(|_| number < count) else { break };
            let mut session = Session::open(airlock.address(), "/mcp/docs", token)?;
            then(&mut session)?;
            sessions.push(session);
        }
        Ok::<_, String>(sessions)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a thread broke".to_owned())??);
        }
        Ok(all)
    })
}

/// Opens `count` sessions, each with a server process of its own, and never comes back to them.
///
/// # Errors
/// The remains.
pub fn abandon(count: usize) -> Result<String, String> {
    let setup = Setup {
        // A server of the modern era would be shared by all.
        upstreams: docs_upstream() + "    era: legacy\n",
        ..Setup::default()
    }
    .server("timeouts", json!({"idle": "1s"}));
    let airlock = setup.start();
    let pid = airlock.pid();
    let round = |count: usize| {
        let sessions = open(&airlock, count, |session| session.result("tools/list", &().into()).map(drop))?;
        let now = descendants(pid).len();
        drop(sessions);
        Ok::<_, String>(now)
    };
    // As its log tells it: the first ones of a round may be gone before the last ones are there.
    let started = || airlock.log().matches("a server process has started").count();
    let settled = || (Held::of(pid).ok()?.processes == 0).then_some(());
    // Pools, buffers and key caches come to be in the first round, and stay.
    round(AT_ONCE.min(count))?;
    until(settled).ok_or("the processes of the first round stay")?;
    let mut before = Held::of(pid)?;
    until(|| {
        let now = Held::of(pid).ok()?;
        let same = (now.files, now.cgroups) == (before.files, before.cgroups);
        before = now;
        same.then_some(())
    })
    .ok_or("its descriptors do not settle")?;

    let begin = started();
    let (mut opened, mut most) = (0, 0);
    // An allocator's reserve grows at first and then no more; what is lost with each session grows for ever.
    // So there are more rounds as long as a round adds memory, but not without end.
    let mut resident = vec![before.resident];
    while opened < count || (grows(&resident, AT_ONCE.min(count)) && resident.len() < ROUNDS) {
        let now = AT_ONCE.min(count);
        most = most.max(round(now)?);
        opened += now;
        // The next round would be refused while the processes of this one are there.
        until(settled).ok_or_else(|| format!("processes stay: {:?}", Held::of(pid)))?;
        resident.push(Held::of(pid)?.resident);
    }
    let processes = started() - begin;
    if processes < opened {
        return Err(format!("only {processes} processes for {opened} sessions: then nothing was shown"));
    }
    let clean = || {
        let now = Held::of(pid).ok()?;
        let same = now.processes == 0 && now.files <= before.files && now.cgroups <= before.cgroups;
        same.then_some(now)
    };
    let after = until(clean);
    let last = match after {
        Some(last) => last,
        None => Held::of(pid)?,
    };
    let told = format!(
        "{opened} sessions opened and abandoned, {processes} processes started, {most} of them seen at a time\n  before  \
         {before}\n  after   {last}\n  KiB after each round: {resident:?}"
    );
    if after.is_none() {
        return Err(format!("something stays: {told}\n{}", open_file_targets(pid).join("\n")));
    }
    if grows(&resident, AT_ONCE.min(count)) { Err(format!("memory grows: {told}")) } else { Ok(told) }
}

/// True where the last two rounds of so many sessions each added more memory than [`LOST_EACH_KIB`] for each
/// session.
fn grows(resident: &[u64], sessions: usize) -> bool {
    let &[.., first, _, last] = resident else { return true };
    let sessions = u64::try_from(sessions).unwrap_or(u64::MAX);
    last.saturating_sub(first) > 2 * sessions * LOST_EACH_KIB
}

/// Opens `count` sessions that nobody uses and looks at what each costs.
///
/// # Errors
/// A session is not there, or costs more than [`BYTES_EACH`].
pub fn idle(count: usize) -> Result<String, String> {
    let setup =
        Setup { log: "warn".to_owned(), ..Setup::default() }.server("timeouts", json!({"idle": "1h"}));
    let airlock = setup.start();
    let pid = airlock.pid();
    let before = Held::of(pid)?;
    let mut sessions = open(&airlock, count, |_| Ok(()))?;
    let after = Held::of(pid)?;
    // All of them are there, not only the last ones.
    for session in &mut sessions {
        session.result("ping", &().into()).map_err(|error| format!("a session is lost: {error}"))?;
    }
    if after.processes > before.processes {
        return Err(format!("idle sessions have processes\n  before  {before}\n  after   {after}"));
    }
    let each =
        after.resident.saturating_sub(before.resident) * 1_024 / u64::try_from(count.max(1)).unwrap_or(1);
    let share = each * 100 / BYTES_EACH;
    let told = format!(
        "{count} idle sessions: {each} bytes each, {share} % of the {BYTES_EACH} allowed\n  before  {before}\n  after   {after}"
    );
    if each <= BYTES_EACH { Ok(told) } else { Err(told) }
}
