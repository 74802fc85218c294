//! System calls as they are, for attempts that no library would help with.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, RawFd};

use io_uring::{IoUring, opcode, squeue, types};

/// One argument of a system call.
#[derive(Debug)]
pub(crate) enum Arg<'a> {
    /// A number, a flag or a descriptor.
    Number(i64),
    /// A structure, a path that ends in a zero, or data that the kernel reads.
    Bytes(&'a [u8]),
    /// Where the kernel writes.
    Buffer(&'a mut [u8]),
}

impl From<i32> for Arg<'_> {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Arg<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a mut [u8]> for Arg<'a> {
    fn from(buffer: &'a mut [u8]) -> Self {
        Self::Buffer(buffer)
    }
}

/// A system call of up to six arguments; what it gave, or the error.
pub(crate) fn call<const N: usize>(number: libc::c_long, args: [Arg; N]) -> io::Result<i64> {
    let mut values = [0_i64; 6];
    for (value, arg) in values.iter_mut().zip(args) {
        *value = match arg {
            Arg::Number(number) => number,
            Arg::Bytes(bytes) => bytes.as_ptr() as i64,
            Arg::Buffer(buffer) => buffer.as_mut_ptr() as i64,
        };
    }
    // SAFETY: what the kernel reads and writes are slices that live for the call; the attempts pass them with
    // their true sizes, and no call of theirs keeps a pointer.
    let result =
        unsafe { libc::syscall(number, values[0], values[1], values[2], values[3], values[4], values[5]) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Runs something in a child of its own and gives its result. This process has one thread, so the child may
/// do anything.
pub(crate) fn in_child(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: there are no other threads whose locks could be held in the child.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        exit_with(work());
    }
    result_of(pid)
}

/// Runs something in a child of its own; the signal that killed it, if one did.
pub(crate) fn child(work: impl FnOnce()) -> io::Result<Option<i32>> {
    // SAFETY: there are no other threads whose locks could be held in the child.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        work();
        exit_with(Ok(()));
    }
    let status = wait(pid)?;
    Ok(libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)))
}

/// `clone3` with these flags and, if there is one, into the cgroup behind a descriptor; what the child's work
/// gave.
pub(crate) fn clone3(
    flags: i32,
    cgroup: Option<RawFd>,
    work: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    let mut arguments = [0_u64; 11];
    let into_cgroup = if cgroup.is_some() { 0x2_0000_0000 } else { 0 };
    arguments[0] = u64::from(flags.cast_unsigned()) | into_cgroup;
    arguments[4] = u64::from(libc::SIGCHLD.cast_unsigned());
    arguments[10] = cgroup.map_or(0, |fd| u64::from(fd.cast_unsigned()));
    // SAFETY: as with fork: no shared memory, and no other thread; the structure lives for the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments)) };
    match pid {
        0 => exit_with(work()),
        pid if pid < 0 => Err(io::Error::last_os_error()),
        pid => result_of(libc::pid_t::try_from(pid).map_err(io::Error::other)?),
    }
}

fn exit_with(result: io::Result<()>) -> ! {
    let code = result.err().map_or(0, |error| error.raw_os_error().unwrap_or(255));
    // SAFETY: the child ends here, without destructors or handlers that belong to its parent.
    unsafe { libc::_exit(code) }
}

/// Waits for the end of a child that fork gave, or tells why there is none.
fn wait(pid: libc::pid_t) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: the status lives for the call.
    if pid < 0 || unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(status)
}

fn result_of(pid: libc::pid_t) -> io::Result<()> {
    let status = wait(pid)?;
    if libc::WIFSIGNALED(status) {
        // As the attempt itself would have ended.
        // SAFETY: plain numbers.
        unsafe { libc::raise(libc::WTERMSIG(status)) };
    }
    match libc::WEXITSTATUS(status) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// A system call by the gate of 32-bit programs, with numbers only.
#[cfg(target_arch = "x86_64")]
pub(crate) fn call32(number: i32, [a, b, c]: [i32; 3]) -> io::Result<i32> {
    let result: i32;
    // SAFETY: the kernel changes no register but rax and, by this gate, r8 to r11; rbx is put back, since the
    // compiler keeps it for itself.
    unsafe {
        std::arch::asm!(
            "xchg {b:r}, rbx",
            "int 0x80",
            "xchg {b:r}, rbx",
            b = inout(reg) i64::from(a) => _,
            inout("eax") number => result,
            in("ecx") b,
            in("edx") c,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if (-4095..0).contains(&result) { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

/// `socketcall` of 32-bit programs: its arguments are in memory that such a program could have.
#[cfg(target_arch = "x86_64")]
pub(crate) fn socketcall32(call: i32, arguments: [i32; 3]) -> io::Result<i32> {
    const SYS_SOCKETCALL: i32 = 102;
    // SAFETY: a new mapping that nobody else uses.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
            -1,
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a page is larger than three numbers, and pages are aligned.
    unsafe { memory.cast::<[i32; 3]>().write(arguments) };
    let address = i32::try_from(memory as usize).map_err(io::Error::other)?;
    call32(SYS_SOCKETCALL, [call, address, 0])
}

/// One operation on a new `io_uring`; its result.
pub(crate) fn uring(entry: &squeue::Entry) -> io::Result<i32> {
    let mut ring = IoUring::new(2)?;
    // SAFETY: what the entry points at outlives this call, which waits for its completion.
    unsafe { ring.submission().push(entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let done = ring.completion().next().ok_or_else(|| io::Error::other("no completion"))?;
    match done.result() {
        result if result < 0 => Err(io::Error::from_raw_os_error(-result)),
        result => Ok(result),
    }
}

/// `connect` by `io_uring`.
pub(crate) fn uring_connect(fd: RawFd, address: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(address.len()).map_err(io::Error::other)?;
    uring(&opcode::Connect::new(types::Fd(fd), address.as_ptr().cast(), length).build()).map(drop)
}

/// `socket` by `io_uring`.
pub(crate) fn uring_socket(family: i32, kind: i32) -> io::Result<RawFd> {
    uring(&opcode::Socket::new(family, kind, 0).build())
}

/// Sends one descriptor along with one byte.
pub(crate) fn send_descriptor(socket: &impl std::os::fd::AsFd, descriptor: RawFd) -> io::Result<()> {
    // SAFETY: the descriptor is open for the call; the caller owns it.
    let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    let list = [descriptor];
    control.push(rustix::net::SendAncillaryMessage::ScmRights(&list));
    let data = [io::IoSlice::new(b"!")];
    rustix::net::sendmsg(socket, &data, &mut control, rustix::net::SendFlags::empty())?;
    Ok(())
}

/// Receives what [`send_descriptor`] sent; the descriptor may have been taken off on the way.
pub(crate) fn receive_descriptor() -> io::Result<std::os::fd::OwnedFd> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut data = [io::IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(io::stdin(), &mut data, &mut control, rustix::net::RecvFlags::empty())?;
    for message in control.drain() {
        if let rustix::net::RecvAncillaryMessage::ScmRights(mut descriptors) = message
            && let Some(descriptor) = descriptors.next()
        {
            return Ok(descriptor);
        }
    }
    // The message came, without what was sent with it: as if it had been refused.
    Err(io::Error::from_raw_os_error(libc::EPERM))
}

/// A descriptor by its number, as one that was inherited or stolen has to be used.
pub(crate) fn adopt(fd: RawFd) -> io::Result<std::os::fd::OwnedFd> {
    // SAFETY: the descriptor is only looked at; whether it is open is what is asked.
    let there = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
    debug_assert_ne!(there.as_raw_fd(), fd);
    Ok(there)
}

/// Ends this process after so many seconds, whatever it is waiting for.
pub(crate) fn alarm(seconds: u32) {
    // SAFETY: plain numbers.
    unsafe { libc::alarm(seconds) };
}

/// The version of Landlock that this kernel has; 0 for none.
pub(crate) fn landlock_version() -> i32 {
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with the flag 1 the call takes no structure, and answers with a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, 1) };
    i32::try_from(version).unwrap_or(0).max(0)
}
