//! A program that is executed by a confined child: all that execve(2) takes, prepared while memory may still
//! be taken.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::{io, ptr};

use super::Confinement;
use super::namespaces::Namespaces;
use crate::process::clone::{Birth, Child, exit};
use crate::process::init::Init;
use crate::process::step::{StartError, StartStep};
use crate::process::wire::tell;

/// Strings as the kernel takes them: pointers with a null one at the end.
struct Strings {
    pointers: Vec<*const libc::c_char>,
    // The strings that they point to.
    _strings: Vec<CString>,
}

impl Strings {
    fn new(strings: Vec<CString>) -> Self {
        // A CString's characters stay where they are when it is moved.
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _strings: strings }
    }
}

/// A program, its arguments and environment, where it starts, and its standard streams.
pub(crate) struct Program {
    path: CString,
    arguments: Strings,
    environment: Strings,
    working_dir: CString,
    streams: [OwnedFd; 3],
}

impl Program {
    /// Prepares a program. Its first argument is its own path.
    ///
    /// # Errors
    /// When a string has a zero byte, or there is no descriptor left.
    pub(crate) fn prepare<'a>(
        path: &Path,
        arguments: &[String],
        environment: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
        working_dir: &Path,
        streams: [OwnedFd; 3],
    ) -> io::Result<Self> {
        let c_string = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
        let path = c_string(path.as_os_str().as_bytes())?;
        let arguments = arguments.iter().map(|argument| c_string(argument.as_bytes()));
        let arguments: io::Result<Vec<_>> = std::iter::once(Ok(path.clone())).chain(arguments).collect();
        let environment: io::Result<Vec<_>> = environment
            .into_iter()
            .map(|(name, value)| c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect();
        // Past the standard ones, so that putting one in its place overwrites none of the others.
        let [input, output, errors] =
            streams.map(|stream| rustix::io::fcntl_dupfd_cloexec(stream, 3).map_err(io::Error::from));
        Ok(Self {
            path,
            arguments: Strings::new(arguments?),
            environment: Strings::new(environment?),
            working_dir: c_string(working_dir.as_os_str().as_bytes())?,
            streams: [input?, output?, errors?],
        })
    }

    /// Starts it in a child that confines itself first, and returns when the program runs or will not. Our
    /// copies of its streams are closed by then.
    pub(crate) fn start(self, confinement: &Confinement) -> Result<Child, StartError> {
        let (mut reader, writer) = UnixStream::pair().map_err(StartError::Clone)?;
        let faults = writer.as_raw_fd();
        let has_init = confinement.namespaces.as_ref().is_some_and(Namespaces::have_processes);
        let init = has_init.then(Init::prepare).transpose().map_err(StartError::Clone)?;
        let (init, told) = init.unzip();
        // SAFETY: both functions make system calls only, on values that were made before.
        let started = unsafe {
            confinement.start(|birth| {
                let (step, error) = self.become_it(confinement, init.as_ref(), faults, birth);
                fail(faults, step, &error)
            })
        };
        let (mut child, _) = started?;
        drop((writer, self));
        // A child that executes its program closes the channel, without a word.
        let mut fault = [0; FAULT];
        match reader.read_exact(&mut fault) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                if let Some(told) = told {
                    child.tells(told);
                }
                Ok(child)
            }
            // It ends by itself; whoever cannot be understood ends with its value.
            said => {
                said.map_err(StartError::Clone)?;
                let [step, errno @ ..] = fault;
                let error = io::Error::from_raw_os_error(i32::from_ne_bytes(errno));
                Err(match StartStep::from_byte(step) {
                    Some(step) => StartError::Step(step, error),
                    None => StartError::Execute(error),
                })
            }
        }
    }

    /// In the child: confines it and executes the program; why it is still here. No step means the last one,
    /// which is none of the cage. A fault is told on `faults`, which stays open until then.
    fn become_it(
        &self,
        confinement: &Confinement,
        init: Option<&Init>,
        faults: RawFd,
        birth: Birth,
    ) -> (Option<StartStep>, io::Error) {
        for (stream, place) in self.streams.iter().zip(0..) {
            // SAFETY: plain numbers. The copy stays open when a program is executed.
            if unsafe { libc::dup2(stream.as_raw_fd(), place) } < 0 {
                return (Some(StartStep::Descriptors), io::Error::last_os_error());
            }
        }
        if let Err((step, error)) = confinement.enter(birth, Some(&self.working_dir)) {
            return (Some(step), error);
        }
        if let Some(Err(error)) = init.map(|init| init.divide(faults)) {
            return (Some(StartStep::Init), error);
        }
        let (arguments, environment) = (&self.arguments.pointers, &self.environment.pointers);
        // SAFETY: strings with their ends, in lists with theirs, all of which live for the call.
        unsafe { libc::execve(self.path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        (None, io::Error::last_os_error())
    }
}

/// A step, 0 for the program itself, and the number of an error.
const FAULT: usize = 1 + size_of::<i32>();

/// In the child: says what went wrong, and ends.
fn fail(faults: RawFd, step: Option<StartStep>, error: &io::Error) -> ! {
    let [a, b, c, d] = error.raw_os_error().unwrap_or_default().to_ne_bytes();
    tell(faults, &[step.map_or(0, |step| step as u8), a, b, c, d]);
    exit(127)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::clone::Entrance;
    use std::fs::{File, OpenOptions};

    fn program(path: &str) -> Program {
        let null = || OwnedFd::from(File::open("/dev/null").expect("a device"));
        Program::prepare(Path::new(path), &[], [], Path::new("/"), [null(), null(), null()])
            .expect("prepared")
    }

    #[test]
    fn a_step_that_fails_is_named_and_the_program_does_not_run() {
        // Nobody is born in what is no cgroup, and every write to this device fails, as one to a removed
        // cgroup does.
        let entrance = Entrance {
            dir: File::open("/").expect("a directory"),
            procs: OpenOptions::new().write(true).open("/dev/full").expect("/dev/full"),
        };
        let confinement = Confinement { entrance: Some(entrance), ..Confinement::default() };
        match program("/bin/true").start(&confinement) {
            Err(StartError::Step(StartStep::Cgroup, error)) => {
                assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_program_that_is_missing_is_no_failed_step() {
        match program("/no/such/program").start(&Confinement::default()) {
            Err(StartError::Execute(error)) => assert_eq!(error.raw_os_error(), Some(libc::ENOENT)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_program_that_runs_is_waited_for() {
        let mut child = program("/bin/true").start(&Confinement::default()).expect("a child");
        assert!(child.wait().expect("an end").success());
    }
}
