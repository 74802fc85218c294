//! Looking up the user that a server runs as.
#![allow(unsafe_code)]

use rustix::thread::CapabilitySet;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use std::{io, thread};

/// The identity of a user: its number and the number of its primary group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: libc::uid_t,
    pub(crate) gid: libc::gid_t,
}

/// How long a name service may take. One of the host's own answers within milliseconds, one of a directory
/// within seconds.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Questions that may be open at a time. As many threads wait at most for a name service that answers nobody.
const OPEN: usize = 16;

/// Asks the name service for a user; `None` where it does not exist. Waits a few seconds at most: whoever
/// else asks is not held up by a question that nobody answers.
pub(crate) fn look_up(name: &str) -> io::Result<Option<Ids>> {
    static QUESTIONS: Questions = Questions { open: AtomicUsize::new(0) };
    let name = CString::new(name).map_err(io::Error::other)?;
    QUESTIONS.ask(LOOKUP_TIMEOUT, move || ask(&name))
}

/// Questions that are asked on threads of their own, since nothing ends one that was begun.
struct Questions {
    open: AtomicUsize,
}

impl Questions {
    fn ask<T: Send + 'static>(
        &'static self,
        limit: Duration,
        question: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if self.open.fetch_add(1, Ordering::AcqRel) >= OPEN {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "the name service has left {OPEN} questions without an answer; see /etc/nsswitch.conf"
                ),
            ));
        }
        let (answer, answered) = mpsc::sync_channel(1);
        let asking = thread::Builder::new().name("airlock-names".to_owned()).spawn(move || {
            // Whoever asked may have gone.
            let _ = answer.send(question());
            self.open.fetch_sub(1, Ordering::AcqRel);
        });
        if let Err(error) = asking {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return Err(error);
        }
        answered.recv_timeout(limit).unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "the name service has not answered within {} s; see /etc/nsswitch.conf",
                    limit.as_secs()
                ),
            ))
        })
    }
}

fn ask(name: &CStr) -> io::Result<Option<Ids>> {
    // Entries are small; a larger buffer is tried once more before giving up.
    for size in [4 * 1024, 256 * 1024] {
        let mut buffer = vec![0; size];
        let mut found = std::ptr::null_mut();
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
        // SAFETY: all pointers are valid for the call, and the buffer's length is its own.
        let error = unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        match error {
            0 if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: the call succeeded and found an entry, so it filled this one; only plain numbers
                // are read.
                let entry = unsafe { entry.assume_init_ref() };
                return Ok(Some(Ids { uid: entry.pw_uid, gid: entry.pw_gid }));
            }
            libc::ERANGE => {}
            // The error for "no such user" of some name services.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}

/// The user of servers whose configuration names none, where it exists and this process may become it;
/// `sysusers.d` makes it.
pub(crate) const DEFAULT_USER: &str = "airlock-mcp";

/// Why mode `required` starts no server as root that nobody asked for, and what to do.
pub const ROOT_BY_OMISSION: &str = "it would run as root, which nobody asked for: `user` names nobody, and there is no user airlock-mcp; \
     create it (systemd-sysusers, or useradd --system airlock-mcp), or set `user`, be it `user: root`";

/// True where servers whose configuration names no user run as one of their own, and not as Airlock's. Asks
/// the name service.
pub fn has_default_user() -> bool {
    default_user().is_ok_and(|ids| ids.is_some())
}

/// True where a server whose configuration names this user would run as root by omission. Asks the name
/// service where it names none.
pub fn is_root_by_omission(user: Option<&str>) -> bool {
    user.is_none() && is_root(default_user().ok().flatten())
}

/// True where whoever becomes this user, or stays who we are, is root.
pub(crate) fn is_root(ids: Option<Ids>) -> bool {
    ids.map_or_else(|| rustix::process::geteuid().is_root(), |ids| ids.uid == 0)
}

/// The numbers of [`DEFAULT_USER`], where it exists and this process may become it.
pub(crate) fn default_user() -> io::Result<Option<Ids>> {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    let may = rustix::thread::capabilities(None).is_ok_and(|own| own.effective.contains(needed));
    if may { look_up(DEFAULT_USER) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_and_nonsense_is_not() {
        assert_eq!(look_up("root").expect("a name service"), Some(Ids { uid: 0, gid: 0 }));
        assert_eq!(look_up("no-such-user-here").expect("a name service"), None);
        assert!(look_up("a\0b").is_err());
    }

    #[test]
    fn a_question_that_nobody_answers_holds_up_nobody() {
        static QUESTIONS: Questions = Questions { open: AtomicUsize::new(0) };
        let (release, hold) = mpsc::channel::<()>();
        let hold = std::sync::Arc::new(std::sync::Mutex::new(hold));
        let stuck = |limit| {
            let hold = std::sync::Arc::clone(&hold);
            QUESTIONS.ask(limit, move || {
                let _ = hold.lock().map(|hold| hold.recv());
                Ok(())
            })
        };
        for _ in 0..OPEN - 1 {
            let error = stuck(Duration::from_millis(1)).expect_err("nobody answers");
            assert!(error.to_string().contains("has not answered within"), "{error}");
        }
        assert_eq!(QUESTIONS.ask(LOOKUP_TIMEOUT, || Ok(7)).expect("another is answered"), 7);
        assert!(stuck(Duration::from_millis(1)).is_err());
        // There are no threads without end.
        let error = QUESTIONS.ask(LOOKUP_TIMEOUT, || Ok(7)).expect_err("too many are open");
        assert!(error.to_string().contains("16 questions"), "{error}");
        drop(release);
        while QUESTIONS.open.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
        assert_eq!(QUESTIONS.ask(LOOKUP_TIMEOUT, || Ok(8)).expect("it answers again"), 8);
    }
}
