//! The memory of the daemon, given back by a copy of it that stays: what keys, tokens and calls were in it
//! are nobody's there, and pages that the daemon changes are not kept twice.
#![allow(unsafe_code)]

use std::io;

/// As much of the stack below the caller stays.
const STACK: usize = 64 * 1024;
/// The size of the largest page of any architecture that this is built for.
const PAGE: usize = 64 * 1024;

/// Unmaps whatever the calling process, a copy of one thread, has that can hold data, but for the stack on
/// which it runs and the place of `errno`. It may do nothing but system calls afterwards, and is to end
/// without returning from where it was started.
///
/// # Errors
/// Where `/proc` does not tell what is mapped.
pub(super) fn shed() -> io::Result<()> {
    let mark = 0_u8;
    // SAFETY: it takes nothing, and points to a place of this thread's.
    let errno = unsafe { libc::__errno_location() }.addr();
    let stack = (&raw const mark).addr();
    // SAFETY: a string with its end.
    let maps = unsafe {
        libc::syscall(
            libc::SYS_openat,
            libc::AT_FDCWD,
            c"/proc/self/maps".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    if maps < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut map = Map::default();
    let mut buffer = [0_u8; 1_024];
    loop {
        // SAFETY: the buffer lives for the call, and its length is its own.
        let read = unsafe { libc::syscall(libc::SYS_read, maps, buffer.as_mut_ptr(), buffer.len()) };
        let Ok(read) = usize::try_from(read) else { return Err(io::Error::last_os_error()) };
        if read == 0 {
            // SAFETY: a number; nobody uses it any more.
            unsafe { libc::syscall(libc::SYS_close, maps) };
            return Ok(());
        }
        for byte in buffer.iter().take(read) {
            let Some((start, mut end)) = map.take(*byte) else { continue };
            let has = |place: usize| start <= place && place < end;
            if has(errno) || has(stack) {
                // Memory below both is of nobody who still runs.
                let lowest = if has(errno) && has(stack) {
                    errno.min(stack)
                } else if has(errno) {
                    errno
                } else {
                    stack
                };
                end = lowest.saturating_sub(STACK) & !(PAGE - 1);
            }
            if start < end {
                // SAFETY: neither this function nor the system calls after it use what is there: the code is
                // in files, and the stack and the place of errno are left out.
                unsafe { libc::syscall(libc::SYS_munmap, start, end.wrapping_sub(start)) };
            }
        }
    }
}

/// One line of `/proc/self/maps`, byte by byte: `start-end perms offset device inode path`.
#[derive(Default)]
struct Map {
    field: u8,
    start: usize,
    end: usize,
    writable: bool,
    shared: bool,
    of_file: bool,
}

impl Map {
    /// Takes a byte; at the end of a line, where that is of a range that holds data of the daemon's, the
    /// range.
    fn take(&mut self, byte: u8) -> Option<(usize, usize)> {
        match (self.field, byte) {
            (_, b'\n') => {
                let Self { start, end, writable, shared, of_file, .. } = std::mem::take(self);
                // Variables of libraries stay; the system calls go through them.
                return (shared || (writable && !of_file)).then_some((start, end));
            }
            (0, b'-') => self.field = 1,
            (0, digit) => self.start = with_digit(self.start, digit),
            (1..=5, b' ') => self.field = self.field.wrapping_add(1),
            (1, digit) => self.end = with_digit(self.end, digit),
            (2, b'w') => self.writable = true,
            (2, b's') => self.shared = true,
            (5, b'1'..=b'9') => self.of_file = true,
            _ => {}
        }
        None
    }
}

/// Adds a hexadecimal digit to a number.
fn with_digit(number: usize, digit: u8) -> usize {
    let value = match digit {
        b'0'..=b'9' => digit.wrapping_sub(b'0'),
        _ => digit.wrapping_sub(b'a').wrapping_add(10),
    };
    number.wrapping_shl(4) | usize::from(value & 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Vec<(usize, usize)> {
        let mut map = Map::default();
        text.bytes().filter_map(|byte| map.take(byte)).collect()
    }

    #[test]
    fn what_holds_data_is_found() {
        let maps = "\
5599a0000000-5599a0021000 r-xp 00000000 fd:00 4711                       /usr/bin/airlock
5599a0100000-5599a0104000 rw-p 00100000 fd:00 4711                       /usr/bin/airlock
5599a0104000-5599a0108000 rw-p 00000000 00:00 0
5599a1a2b000-5599a1c4c000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000001000 rw-s 00000000 fd:00 12                         /var/lib/airlock/spool
7f0000002000-7f0000003000 r--s 00000000 00:0e 1031                       anon_inode:[io_uring]
7f0000004000-7f0000005000 ---p 00000000 00:00 0
7ffd00000000-7ffd00002000 r--p 00000000 00:00 0                          [vvar]
";
        let expected = [
            (0x5599_a010_4000, 0x5599_a010_8000),
            (0x5599_a1a2_b000, 0x5599_a1c4_c000),
            (0x7f00_0000_0000, 0x7f00_0000_1000),
            (0x7f00_0000_2000, 0x7f00_0000_3000),
        ];
        assert_eq!(taken(maps), expected);
        assert_eq!(taken(maps.trim_end()), expected);
        assert_eq!(taken("nonsense\n\n- w s\n"), [(0, 0)], "a range of nothing");
    }
}
