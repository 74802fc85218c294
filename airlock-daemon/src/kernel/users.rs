//! Looking up the user that a server runs as.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;

/// The identity of a user: its number and the number of its primary group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) uid: libc::uid_t,
    pub(super) gid: libc::gid_t,
}

/// Asks the name service for a user; `None` where it does not exist.
pub(super) fn look_up(name: &str) -> io::Result<Option<Ids>> {
    let name = CString::new(name).map_err(io::Error::other)?;
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
                // SAFETY: the call succeeded and found an entry, so it filled this one; only plain numbers are read.
                let entry = unsafe { entry.assume_init_ref() };
                return Ok(Some(Ids { uid: entry.pw_uid, gid: entry.pw_gid }));
            }
            libc::ERANGE => {}
            // What "no such user" looks like with some name services.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
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
}
