//! Runs attempts twice, in the cage and outside of it, and judges.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use airlock::config::schema::{Kernel, KernelMode, Pin, Rung};
use airlock::kernel::{KernelHalf, ServerCommand};

use crate::attempt::{Attempt, Help, Rule};
use crate::inside::{ATTEMPT, PLACE};
use crate::outside::World;
use crate::skipping::skip;

/// Who attempts: their names, the user of a server, and its number.
const USERS: [(&str, Option<&str>, u32); 2] = [("root", None, 0), ("nobody", Some("nobody"), 65534)];

/// A file to which the rows of the table are appended, where it is set.
const TABLE: &str = "AIRLOCK_ESCAPE_TABLE";

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

/// What the table says.
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
    /// It is refused to this user everywhere, with or without a cage.
    Anyway,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => f.write_str(errno_name(*errno)),
            Self::Killed(signal) => write!(f, "killed ({signal})"),
            Self::Open => f.write_str("open"),
            Self::Absent => f.write_str("absent"),
            Self::Anyway => f.write_str("never allowed"),
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

/// Runs a group of attempts; all that is wrong, if anything is.
pub(crate) fn run(group: &str, attempts: &[Attempt]) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        skip("only root can build a cage and try to get out of it as root");
        return Ok(());
    }
    let half = KernelHalf::start(&Kernel { mode: KernelMode::Preferred, ..Kernel::default() })
        .map_err(|error| error.to_string())?;
    let Some(rung) = half.report().rung else {
        skip(&format!("servers cannot be pinned here: {}", half.report()));
        return Ok(());
    };
    let world = World::build(group).map_err(|error| format!("the world outside: {error}"))?;
    let program = program(&world.place.dir).map_err(|error| format!("the attempts' program: {error}"))?;
    let place = serde_json::to_string(&world.place).map_err(|error| error.to_string())?;
    let mut faults = Vec::new();
    let mut rows = String::new();
    let release = half.report().kernel.clone();
    for attempt in attempts {
        for (index, (user, account, number)) in USERS.into_iter().enumerate() {
            let env = BTreeMap::from([
                (ATTEMPT.to_owned(), attempt.name.to_owned()),
                (PLACE.to_owned(), place.clone()),
            ]);
            let command = ServerCommand {
                program: program.clone(),
                args: Vec::new(),
                env: env.clone(),
                working_dir: PathBuf::from("/"),
                user: account.map(str::to_owned),
            };
            let judged = caged(&half, &world, attempt, &command).and_then(|caged| {
                let visitors = world.visitors();
                let free = free(&world, attempt, &program, &env, number)?;
                let seen = if attempt.knocks && free == Outcome::Done {
                    world.expect_visitor()
                } else {
                    world.visitors()
                };
                judge(attempt, attempt.rules[index], rung, (caged, &visitors), (free, &seen))
            });
            match judged {
                Ok(cell) => {
                    println!("  {:<28} {user:<7} {cell}", attempt.name);
                    rows.push_str(&row(attempt.name, user, rung, &release, cell));
                }
                Err(reason) => {
                    println!("  {:<28} {user:<7} FAILED", attempt.name);
                    faults.push(format!("{} as {user}: {reason}", attempt.name));
                }
            }
        }
    }
    keep(&rows).map_err(|error| format!("{TABLE}: {error}"))?;
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// What becomes of an attempt in the cage and outside, against its rule.
fn judge(
    attempt: &Attempt,
    rule: Rule,
    rung: Rung,
    (caged, visitors): (Outcome, &[&str]),
    (free, seen): (Outcome, &[&str]),
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
            return Ok(Cell::Anyway);
        }
        _ => return Err(format!("{caged:?} in the cage, and {free:?} outside of it")),
    }
    if attempt.knocks && seen.is_empty() {
        return Err(
            "nobody heard it outside of the cage, so nobody would have heard it from inside".to_owned()
        );
    }
    let shut = match rule {
        Rule::From(from) => rung >= from,
        Rule::Never => false,
    };
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

/// One attempt in the cage.
fn caged(
    half: &KernelHalf,
    world: &World,
    attempt: &Attempt,
    command: &ServerCommand,
) -> Result<Outcome, String> {
    let cell = half.cell("escape", &Pin::default()).map_err(|error| error.to_string())?;
    if !cell.is_pinned() {
        return Err("its cell is not pinned".to_owned());
    }
    let mut server = cell.spawn(command).map_err(|error| error.to_string())?;
    let stdio = server.take_stdio().ok_or("no output")?;
    let said = listen(world, attempt.help, stdio).map_err(|error| error.to_string())?;
    let status = loop {
        if let Some(status) = server.exited() {
            break status;
        }
        std::thread::yield_now();
    };
    Ok(outcome(said, status))
}

/// The same attempt without any cage, as the same user.
fn free(
    world: &World,
    attempt: &Attempt,
    program: &Path,
    env: &BTreeMap<String, String>,
    user: u32,
) -> Result<Outcome, String> {
    let run = || {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let mut command = Command::new(program);
        command.env_clear().envs(env).current_dir("/").uid(user).gid(user);
        command.stdin(Stdio::from(theirs.try_clone()?)).stdout(Stdio::from(theirs)).stderr(Stdio::null());
        let mut child = command.spawn()?;
        // It still holds their end of the pair.
        drop(command);
        let said = listen(world, attempt.help, ours)?;
        Ok::<_, io::Error>(outcome(said, child.wait()?))
    };
    run().map_err(|error| format!("outside of the cage: {error}"))
}

/// Helps an attempt and hears its result.
fn listen(world: &World, help: Help, stdio: UnixStream) -> io::Result<Option<i32>> {
    world.help(help, &stdio)?;
    let mut result = None;
    let mut stdio = BufReader::new(stdio);
    let mut line = String::new();
    // A process that was killed may have reset the connection.
    while stdio.read_line(&mut line).is_ok_and(|length| length > 0) {
        if let Some(number) = line.trim().strip_prefix("RESULT ") {
            result = number.parse().ok();
        } else if let Some(address) = line.trim().strip_prefix("LISTENING ") {
            let reached = World::dial(address);
            writeln!(stdio.get_mut(), "{reached}")?;
        }
        line.clear();
    }
    Ok(result)
}

fn outcome(said: Option<i32>, status: ExitStatus) -> Outcome {
    match (said, status.signal()) {
        (Some(0), _) => Outcome::Done,
        (Some(errno), _) => Outcome::Refused(errno),
        (None, Some(signal)) => Outcome::Killed(signal),
        (None, None) => Outcome::Silent,
    }
}

/// A copy of this program that everybody may execute, wherever this one is.
fn program(dir: &Path) -> io::Result<PathBuf> {
    let copy = dir.join("attempt");
    fs::copy(std::env::current_exe()?, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    // The same with root's identity, and with a capability, for those who may still gain some.
    let setuid = dir.join("setuid");
    fs::hard_link(&copy, dir.join("plain"))?;
    fs::copy(&copy, &setuid)?;
    fs::set_permissions(&setuid, fs::Permissions::from_mode(0o4755))?;
    let capable = dir.join("capable");
    fs::copy(&copy, &capable)?;
    fs::set_permissions(&capable, fs::Permissions::from_mode(0o755))?;
    crate::attempts::processes::give_capability(&capable)?;
    Ok(copy)
}

/// A row for the collected table.
fn row(name: &str, user: &str, rung: Rung, release: &str, cell: Cell) -> String {
    let rung = match rung {
        Rung::NoIp => "no-ip",
        Rung::NoNetwork => "no-network",
        Rung::Sealed => "sealed",
    };
    format!("{name}\t{user}\t{release}\t{rung}\t{cell}\n")
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
