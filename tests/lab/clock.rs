//! A library that shifts the wall clock of the program that is started with it in `LD_PRELOAD`, by the seconds in the
//! file that `CASTOFF_TEST_CLOCK` names. The file is read at each reading of the clock. Other clocks stay as they are.
//! The tier `faults` compiles this file by itself (std only).

#![crate_type = "cdylib"]

use std::ffi::{c_int, c_long};

const CLOCK_REALTIME: c_int = 0;
#[cfg(target_arch = "x86_64")]
const SYS_CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const SYS_CLOCK_GETTIME: c_long = 113;

/// `struct timespec` of 64-bit Linux.
#[repr(C)]
pub struct Time {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Replaces the C library's function of this name.
///
/// # Safety
/// `time` is valid for writes, as clock_gettime(2) demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Time) -> c_int {
    // SAFETY: the arguments are those of the system call.
    let result = unsafe { syscall(SYS_CLOCK_GETTIME, clock, time) };
    if result == 0 && clock == CLOCK_REALTIME {
        // SAFETY: the kernel has just written to it.
        unsafe { (*time).seconds += shift() };
    }
    c_int::try_from(result).unwrap_or(-1)
}

/// The shift in seconds; none if there is no such file, or no number in it.
fn shift() -> i64 {
    let text = std::env::var_os("CASTOFF_TEST_CLOCK").and_then(|file| std::fs::read_to_string(file).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
