//! Connecting through io_uring, and by the system calls of 32-bit programs, which do not use connect(2) of the C
//! library.

use std::ffi::{c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr::{self, null_mut};

use super::tricks::{Address, address, check, syscall};

const SYS_SETUP: c_long = 425;
const SYS_ENTER: c_long = 426;
const SYS_REGISTER: c_long = 427;
const REGISTER_FILES: c_long = 2;
const GET_EVENTS: c_long = 1;
const OP_CONNECT: u8 = 16;
const OFFSET_COMPLETED: i64 = 0x800_0000;
const OFFSET_ENTRIES: i64 = 0x1000_0000;
/// More than the rings of one entry and their heads need.
const MAPPED: usize = 4096;
const PROT_READ_WRITE: c_int = 3;
const MAP_SHARED: c_int = 1;
const MAP_PRIVATE: c_int = 2;
#[cfg(target_arch = "x86_64")]
const MAP_32BIT: c_int = 0x40;
const MAP_ANONYMOUS: c_int = 0x20;

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Default)]
struct Parameters {
    head: [u32; 10],
    submitted: Offsets,
    completed: Offsets,
}

/// `struct io_sqring_offsets` and `struct io_cqring_offsets`, as far as they are the same.
#[repr(C)]
#[derive(Default)]
struct Offsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    flags_or_overflow: u32,
    dropped_or_entries: u32,
    array: u32,
    reserved: u32,
    user_address: u64,
}

/// `struct io_uring_sqe`.
#[repr(C)]
struct Entry {
    operation: u8,
    flags: u8,
    priority: u16,
    descriptor: i32,
    offset: u64,
    address: u64,
    rest: [u64; 5],
}

unsafe extern "C" {
    fn mmap(at: *mut c_void, len: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
    fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
}

/// A connection, and the ring that it was made with or is kept in.
pub struct Ringed {
    ring: OwnedFd,
    _connection: Option<OwnedFd>,
}

impl AsRawFd for Ringed {
    fn as_raw_fd(&self) -> c_int {
        self.ring.as_raw_fd()
    }
}

/// Connects through a ring; with `registered` connects as usual and keeps the connection in the ring's table of files
/// alone.
pub fn connect(path: &str, registered: bool) -> io::Result<Ringed> {
    let mut parameters = Parameters::default();
    // SAFETY: the kernel writes the structure, whose size is that of the kernel's own.
    let ring = unsafe { check(syscall(SYS_SETUP, 1_i64, &raw mut parameters) as c_int)? };
    // SAFETY: the kernel has just made it.
    let ring = unsafe { OwnedFd::from_raw_fd(ring) };
    if registered {
        let connection = UnixStream::connect(path)?;
        let files = [connection.as_raw_fd()];
        // SAFETY: the list has one descriptor and outlives the call.
        unsafe { check(syscall(SYS_REGISTER, ring.as_raw_fd(), REGISTER_FILES, files.as_ptr(), 1_i64) as c_int)? };
        return Ok(Ringed {
            ring,
            _connection: None,
        });
    }
    // SAFETY: neither call takes a pointer, and the descriptor is new.
    let connection = unsafe { OwnedFd::from_raw_fd(check(socket(1, 1, 0))?) };
    let address = address(path)?;
    submit(&ring, &parameters, connection.as_raw_fd(), &address)?;
    Ok(Ringed {
        ring,
        _connection: Some(connection),
    })
}

fn submit(ring: &OwnedFd, parameters: &Parameters, connection: c_int, address: &Address) -> io::Result<()> {
    let submitted = map(ring, 0)?;
    let completed = map(ring, OFFSET_COMPLETED)?;
    let entry = Entry {
        operation: OP_CONNECT,
        flags: 0,
        priority: 0,
        descriptor: connection,
        offset: size_of::<Address>() as u64,
        address: ptr::from_ref(address) as u64,
        rest: [0; 5],
    };
    // SAFETY: the ring has one entry, and its parts lie within the mapped pages at the offsets that the kernel gave. The
    // kernel reads them only during the call, which waits for the completion.
    let answer = unsafe {
        map(ring, OFFSET_ENTRIES)?.cast::<Entry>().write_volatile(entry);
        at(submitted, parameters.submitted.array).write_volatile(0);
        at(submitted, parameters.submitted.tail).write_volatile(1);
        check(syscall(SYS_ENTER, ring.as_raw_fd(), 1_i64, 1_i64, GET_EVENTS, 0_i64, 0_i64) as c_int)?;
        // The offset of the first completion; its result comes after 8 bytes of the user's own.
        at(completed, parameters.completed.dropped_or_entries + 8).read_volatile() as c_int
    };
    match answer {
        0.. => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

fn map(ring: &OwnedFd, offset: i64) -> io::Result<*mut c_void> {
    // SAFETY: the kernel chooses the address.
    mapped(unsafe {
        mmap(
            null_mut(),
            MAPPED,
            PROT_READ_WRITE,
            MAP_SHARED,
            ring.as_raw_fd(),
            offset,
        )
    })
}

fn mapped(pages: *mut c_void) -> io::Result<*mut c_void> {
    if pages.addr() == usize::MAX {
        return Err(io::Error::last_os_error());
    }
    Ok(pages)
}

unsafe fn at(pages: *mut c_void, offset: u32) -> *mut u32 {
    // SAFETY: the caller's.
    unsafe { pages.byte_add(offset as usize).cast() }
}

/// Connects by `int 0x80`, like a 32-bit program.
#[cfg(target_arch = "x86_64")]
pub fn connect_as_32_bit(path: &str) -> io::Result<OwnedFd> {
    const SOCKET: u64 = 359;
    const CONNECT: u64 = 362;
    let address = address(path)?;
    // SAFETY: the address is copied to pages below 4 GB, where a 32-bit pointer reaches it.
    unsafe {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT;
        let low = mapped(mmap(null_mut(), MAPPED, PROT_READ_WRITE, flags, -1, 0))?;
        low.cast::<Address>().write(address);
        let made = answer(interrupt(SOCKET, 1, 1, 0))?;
        let made = OwnedFd::from_raw_fd(made);
        let descriptor = made.as_raw_fd() as u64;
        answer(interrupt(CONNECT, descriptor, low as u64, size_of::<Address>() as u64))?;
        Ok(made)
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub fn connect_as_32_bit(_path: &str) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_arch = "x86_64")]
fn answer(answer: c_int) -> io::Result<c_int> {
    match answer {
        0.. => Ok(answer),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Makes a system call by its number for 32-bit programs.
#[cfg(target_arch = "x86_64")]
unsafe fn interrupt(number: u64, first: u64, second: u64, third: u64) -> c_int {
    let answer: u64;
    // SAFETY: the caller's, for what the call does; rbx, which the compiler keeps for itself, is put back.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov rbx, {first}",
            "int 0x80",
            "pop rbx",
            first = in(reg) first,
            inlateout("rax") number => answer,
            in("rcx") second,
            in("rdx") third,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    answer as c_int
}
