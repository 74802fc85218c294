//! Runs attempts twice, in the cage and outside of it, and judges.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use airlock::config::schema::{Kernel, KernelMode, Pin, Rung, Seal};
use airlock::kernel::{KernelHalf, ServerCommand, ServerProcess};

use crate::attempt::Attempt;
use crate::inside::{ATTEMPT, DRIVER, PLACE};
use crate::outside::World;
use crate::skipping::skip;

/// The user who attempts.
struct User {
    name: &'static str,
    /// The user that a server is given; none to keep the daemon's own.
    account: Option<&'static str>,
    uid: u32,
}

const USERS: [User; 2] = [
    User { name: "root", account: None, uid: 0 },
    User { name: "nobody", account: Some("nobody"), uid: 65534 },
];

/// A file to which the rows of the table are appended, where it is set.
const TABLE: &str = "AIRLOCK_ESCAPE_TABLE";

/// Set in a guest of `cargo xtask vm`.
const GUEST: &str = "AIRLOCK_GUEST";

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It succeeded.
    Done,
    /// It was refused by this error.
    Refused(i32),
    /// It was killed by this signal.
    Killed(i32),
    /// It said nothing: it could not even be tried.
    Silent,
}

/// The table's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// The cage refused it by this error; it works outside.
    Refused(i32),
    /// The cage killed it.
    Killed(i32),
    /// It works in the cage, as the table of attempts says it does on this rung.
    Open,
    /// This kernel does not have what it needs.
    Absent,
    /// It is refused to this user everywhere, with or without a cage; whether that is root.
    Anyway(bool),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => f.write_str(errno_name(*errno)),
            Self::Killed(signal) => write!(f, "killed ({signal})"),
            Self::Open => f.write_str("open"),
            Self::Absent => f.write_str("absent"),
            Self::Anyway(true) => f.write_str("never allowed"),
            Self::Anyway(false) => f.write_str("needs root"),
        }
    }
}

/// Errors of a kernel that does not have something, when they come outside of a cage.
const ABSENT: [i32; 7] = [
    libc::ENOSYS,
    libc::EAFNOSUPPORT,
    libc::EPROTONOSUPPORT,
    libc::ESOCKTNOSUPPORT,
    libc::EPFNOSUPPORT,
    libc::EOPNOTSUPP,
    libc::ENODEV,
];

/// Errors that mean refused everywhere.
const REFUSED: [i32; 2] = [libc::EPERM, libc::EACCES];

/// The kernel half in each of its variants, started once for all groups: that takes longer than many
/// attempts.
#[derive(Default)]
pub(crate) struct Halves(Mutex<Vec<(Seal, Arc<KernelHalf>)>>);

impl Halves {
    fn get(&self, seal: Seal) -> Result<Arc<KernelHalf>, String> {
        let mut started = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, half)) = started.iter().find(|(known, _)| *known == seal) {
            return Ok(Arc::clone(half));
        }
        let config = Kernel { mode: KernelMode::Preferred, seal, ..Kernel::default() };
        let half = KernelHalf::start(&config).map_err(|error| error.to_string())?;
        started.push((seal, Arc::clone(&half)));
        Ok(half)
    }
}

/// Runs a group of attempts; all that is wrong, if anything is.
pub(crate) fn run(group: &str, attempts: &[Attempt], halves: &Halves) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        skip("only root can build a cage and try to get out of it as root");
        return Ok(());
    }
    let world = World::build(group).map_err(|error| format!("the world outside: {error}"))?;
    let program = program(&world.place.dir).map_err(|error| format!("the attempts' program: {error}"))?;
    let place = serde_json::to_string(&world.place).map_err(|error| error.to_string())?;
    let env = BTreeMap::from([(ATTEMPT.to_owned(), DRIVER.to_owned()), (PLACE.to_owned(), place)]);
    let places: Vec<&str> = crate::attempts::all().iter().map(|attempt| attempt.name).collect();
    let outside = without_a_cage(&world, &program, &env, attempts)
        .map_err(|error| format!("without a cage: {error}"))?;
    let mut faults = Vec::new();
    let mut rows = String::new();
    let mut rungs = Vec::new();
    for seal in [Seal::Auto, Seal::Host, Seal::Off] {
        let half = halves.get(seal)?;
        // As `serve` does with the files of its configuration.
        half.cage().hide([world.place.daemon.clone()]);
        let Some(rung) = half.report().rung else {
            skip(&format!("servers cannot be pinned here: {}", half.report()));
            return Ok(());
        };
        // Where a kernel takes no program that seals, all three are one.
        let shown = if seal == Seal::Host { "sealed host-wide" } else { rung.name() };
        if rungs.contains(&rung) && (seal != Seal::Host || rung != Rung::Sealed) {
            continue;
        }
        rungs.push(rung);
        let namespaces = half.report().is_active("namespaces");
        let signals = half.report().is_active("signals");
        let own_processes = half.report().layers.iter().any(|layer| {
            layer.name == "namespaces" && layer.active && layer.detail.contains("processes of its own")
        });
        for (user, free) in USERS.iter().zip(&outside) {
            let mut driver = Driver::caged(&half, &program, &env, user)?;
            for (attempt, (free, seen)) in attempts.iter().zip(free) {
                let result = driver
                    .attempt(&world, attempt)
                    .map_err(|error| format!("in the cage: {error}"))
                    .and_then(|caged| {
                        judge(
                            attempt,
                            user.uid == 0,
                            (rung, namespaces, own_processes, signals),
                            (caged, &world.visitors()),
                            (*free, seen),
                        )
                    });
                let cell = match &result {
                    Ok(cell) => cell.to_string(),
                    Err(_) => "**not as it should be**".to_owned(),
                };
                println!("  {:<24} {:<17} {:<7} {cell}", attempt.name, shown, user.name);
                let place = places.iter().position(|name| *name == attempt.name).unwrap_or_default();
                let kernel = &half.report().kernel;
                rows.push_str(&row(place, attempt, user.name, (kernel, shown), &cell));
                if let Err(reason) = result {
                    faults.push(format!("{} as {} ({shown}): {reason}", attempt.name, user.name));
                }
            }
        }
    }
    keep(&rows).map_err(|error| format!("{TABLE}: {error}"))?;
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// How an attempt ended without a cage, and who heard it.
type Free = (Outcome, Vec<&'static str>);

/// Makes every attempt without a cage, as each user: only what works there can be refused in one.
fn without_a_cage(
    world: &World,
    program: &Path,
    env: &BTreeMap<String, String>,
    attempts: &[Attempt],
) -> io::Result<Vec<Vec<Free>>> {
    let as_user = |user: &User| {
        let mut driver = Driver::free(program, env, user)?;
        let made = attempts.iter().map(|attempt| {
            let outcome = driver.attempt(world, attempt)?;
            let knocked = attempt.knocks && outcome == Outcome::Done;
            Ok((outcome, if knocked { world.expect_visitor() } else { world.visitors() }))
        });
        made.collect()
    };
    USERS.iter().map(as_user).collect()
}

/// On each of Debian's kernels the strongest rung is a demand that is met: all its programs load, and its
/// proof holds.
pub(crate) fn sealed() -> Result<(), String> {
    if std::env::var_os(GUEST).is_none() {
        skip("it is a promise for Debian's kernels: cargo xtask vm --all");
        return Ok(());
    }
    let config = Kernel { mode: KernelMode::Required, minimum_rung: Some(Rung::Sealed), ..Kernel::default() };
    let half = KernelHalf::start(&config).map_err(|error| error.to_string())?;
    if half.report().rung != Some(Rung::Sealed) {
        return Err(half.report().to_string());
    }
    Ok(())
}

/// The fate of an attempt in the cage and outside, against its rule.
fn judge(
    attempt: &Attempt,
    root: bool,
    (rung, namespaces, own_processes, signals): (Rung, bool, bool, bool),
    (caged, visitors): (Outcome, &[&str]),
    (free, seen): (Outcome, &[&'static str]),
) -> Result<Cell, String> {
    if caged != Outcome::Done && !visitors.is_empty() {
        return Err(format!("{caged:?} in the cage, and yet {visitors:?} heard it"));
    }
    match free {
        Outcome::Done => {}
        Outcome::Refused(errno)
            if caged != Outcome::Done && (ABSENT.contains(&errno) || attempt.lacks.contains(&errno)) =>
        {
            return Ok(Cell::Absent);
        }
        Outcome::Refused(errno) if caged != Outcome::Done && REFUSED.contains(&errno) => {
            return Ok(Cell::Anyway(root));
        }
        _ => return Err(format!("{caged:?} in the cage, and {free:?} outside of it")),
    }
    if attempt.knocks && seen.is_empty() {
        return Err(
            "nobody heard it outside of the cage, so nobody would have heard it from inside".to_owned()
        );
    }
    let open_to_root = attempt.root_may || attempt.landlock > crate::raw::landlock_version();
    let shut = attempt.namespaces && namespaces
        || attempt.own_processes && own_processes
        || attempt.signal && signals
        || rung >= attempt.from && !(root && open_to_root);
    match (caged, shut) {
        (Outcome::Refused(errno), true) if REFUSED.contains(&errno) || attempt.also.contains(&errno) => {
            Ok(Cell::Refused(errno))
        }
        // The signal of a system call that a filter forbids.
        (Outcome::Killed(signal), true) if signal == libc::SIGSYS => Ok(Cell::Killed(signal)),
        (Outcome::Done, false) => Ok(Cell::Open),
        (Outcome::Done, true) => Err(format!("it is open on this rung ({rung:?}), and should be refused")),
        (_, true) => Err(format!("{caged:?} is not the refusal that was expected")),
        (_, false) => Err(format!("{caged:?}, but the table says that it is open on this rung ({rung:?})")),
    }
}

/// The process that makes attempts, one after the other.
struct Driver {
    stdio: BufReader<UnixStream>,
    _process: Process,
}

/// It ends with this value.
enum Process {
    Caged(ServerProcess),
    Free(Child),
}

impl Drop for Process {
    fn drop(&mut self) {
        match self {
            Self::Caged(server) => drop(server.kill()),
            Self::Free(child) => {
                // Both fail only where it has ended already.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl Driver {
    /// In a cell of its own, as a server would be.
    fn caged(
        half: &KernelHalf,
        program: &Path,
        env: &BTreeMap<String, String>,
        user: &User,
    ) -> Result<Self, String> {
        let cell = half.cage().cell("escape", &Pin::default()).map_err(|error| error.to_string())?;
        if !cell.is_pinned() {
            return Err("its cell is not pinned".to_owned());
        }
        let command = ServerCommand {
            program: program.to_owned(),
            args: Vec::new(),
            env: env.clone(),
            working_dir: PathBuf::from("/"),
            user: user.account.map(str::to_owned),
            files: None,
        };
        let mut server = cell.spawn(&command).map_err(|error| error.to_string())?;
        let stdio = server.take_stdio().ok_or("no output")?;
        Ok(Self { stdio: BufReader::new(stdio), _process: Process::Caged(server) })
    }

    /// The same without any cage, as the same user.
    fn free(program: &Path, env: &BTreeMap<String, String>, user: &User) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let mut command = Command::new(program);
        command.env_clear().envs(env).current_dir("/").uid(user.uid).gid(user.uid);
        command.stdin(Stdio::from(theirs.try_clone()?)).stdout(Stdio::from(theirs)).stderr(Stdio::null());
        Ok(Self { stdio: BufReader::new(ours), _process: Process::Free(command.spawn()?) })
    }

    /// Has it make one attempt, helps as promised, and hears how it ended.
    fn attempt(&mut self, world: &World, attempt: &Attempt) -> io::Result<Outcome> {
        writeln!(self.stdio.get_mut(), "{}", attempt.name)?;
        let _other_end = world.help(attempt.help, self.stdio.get_ref())?;
        let mut result = None;
        loop {
            let mut line = String::new();
            if self.stdio.read_line(&mut line)? == 0 {
                return Err(io::Error::other("the attempts' process ended"));
            }
            let (kind, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            match kind {
                "RESULT" => result = rest.parse().ok(),
                "LISTENING" => {
                    let reached = World::dial(rest);
                    writeln!(self.stdio.get_mut(), "{reached}")?;
                }
                "ENDED" => {
                    return Ok(match result {
                        Some(0) => Outcome::Done,
                        Some(errno) => Outcome::Refused(errno),
                        None => Outcome::Silent,
                    });
                }
                "KILLED" => return Ok(rest.parse().map_or(Outcome::Silent, Outcome::Killed)),
                _ => return Err(io::Error::other(line)),
            }
        }
    }
}

/// Copies a file in a process of its own: while this one has a program open for writing, another thread may
/// fork, and the program cannot be executed (`ETXTBSY`) until that child has gone its way.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    match Command::new("cp").arg(from).arg(to).status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("cp {} {}: {status}", from.display(), to.display()))),
    }
}

/// A copy of this program that everybody may execute, wherever this one is.
fn program(dir: &Path) -> io::Result<PathBuf> {
    let copy = dir.join("attempt");
    copy_file(&std::env::current_exe()?, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    // The same with root's identity, and with a capability, for those who may still gain some.
    let setuid = dir.join("setuid");
    fs::hard_link(&copy, dir.join("plain"))?;
    copy_file(&copy, &setuid)?;
    fs::set_permissions(&setuid, fs::Permissions::from_mode(0o4755))?;
    let capable = dir.join("capable");
    copy_file(&copy, &capable)?;
    fs::set_permissions(&capable, fs::Permissions::from_mode(0o755))?;
    crate::attempts::processes::give_capability(&capable)?;
    Ok(copy)
}

/// A row for the collected table.
fn row(place: usize, attempt: &Attempt, user: &str, (kernel, rung): (&str, &str), result: &str) -> String {
    format!("{place}\t{}\t{}\t{user}\t{kernel}\t{rung}\t{result}\n", attempt.name, attempt.tries)
}

fn keep(rows: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os(TABLE) else { return Ok(()) };
    fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(rows.as_bytes())
}

/// The name of an error that means refused.
fn errno_name(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => "EPERM",
        libc::EACCES => "EACCES",
        libc::ENOSYS => "ENOSYS",
        libc::ENOENT => "ENOENT",
        libc::EROFS => "EROFS",
        libc::EBADF => "EBADF",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EXDEV => "EXDEV",
        libc::ENODEV => "ENODEV",
        libc::ESRCH => "ESRCH",
        libc::ENOTDIR => "ENOTDIR",
        libc::EINVAL => "EINVAL",
        libc::EBUSY => "EBUSY",
        _ => "refused",
    }
}
