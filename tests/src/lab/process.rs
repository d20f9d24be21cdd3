//! A process by its ID: its resources and its CPU time, as the kernel counts them, and the bounds within which resources
//! stay flat.

use std::fmt;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// The number of samples of one measurement, and the pause between two of them: a look opens files for milliseconds.
const SAMPLES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(150);
/// The growth that does not count as a leak. A leak of one descriptor or thread in each repetition exceeds it.
pub const MORE_DESCRIPTORS: usize = 3;
/// The same for threads.
pub const MORE_THREADS: usize = 3;
/// The growth of the memory that does not count as a leak, in KiB: the allocator keeps memory that a look has used.
const MORE_MEMORY: usize = 8 << 10;

/// The length of a clock tick in proc(5), in milliseconds: `USER_HZ` is 100 on every architecture that castoff runs on.
const TICK: u64 = 10;

/// The resources of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// The open descriptors.
    pub descriptors: usize,
    /// Those of them that are programs, maps and links of the kernel's BPF.
    pub bpf: usize,
    /// The threads.
    pub threads: usize,
    /// The resident memory in KiB.
    pub memory: usize,
    /// The most resident memory so far, in KiB.
    pub peak: usize,
}

impl fmt::Display for Resources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} descriptors ({} of BPF), {} threads, {} KiB",
            self.descriptors, self.bpf, self.threads, self.memory
        )
    }
}

impl Resources {
    /// Measures the process for about a second, and returns the least of several samples.
    ///
    /// # Errors
    /// The process has ended, or its figures cannot be read.
    pub fn measure(pid: u32) -> Result<Self> {
        let mut least = Self::sample(pid)?;
        for _ in 1..SAMPLES {
            thread::sleep(PAUSE);
            let now = Self::sample(pid)?;
            least.descriptors = least.descriptors.min(now.descriptors);
            least.bpf = least.bpf.min(now.bpf);
            least.threads = least.threads.min(now.threads);
            least.memory = least.memory.min(now.memory);
        }
        Ok(least)
    }

    /// Measures the process once.
    ///
    /// # Errors
    /// The process has ended, or its figures cannot be read.
    pub fn sample(pid: u32) -> Result<Self> {
        let folder = format!("/proc/{pid}");
        let (mut descriptors, mut bpf) = (0, 0);
        for entry in fs::read_dir(format!("{folder}/fd")).with_context(|| format!("read {folder}/fd"))? {
            descriptors += 1;
            // A descriptor may be closed meanwhile.
            let link = fs::read_link(entry?.path()).unwrap_or_default();
            bpf += usize::from(link.to_string_lossy().contains("bpf"));
        }
        Ok(Self {
            descriptors,
            bpf,
            threads: field(pid, "Threads:")?,
            memory: field(pid, "VmRSS:")?,
            peak: field(pid, "VmHWM:")?,
        })
    }

    /// Compares them with those of `before`.
    ///
    /// # Errors
    /// A resource has grown by more than its bound.
    pub fn are_flat_since(&self, before: &Self) -> Result<()> {
        ensure!(
            self.descriptors <= before.descriptors + MORE_DESCRIPTORS
                && self.bpf <= before.bpf
                && self.threads <= before.threads + MORE_THREADS
                && self.memory <= before.memory + MORE_MEMORY,
            "the agent held {before}, and holds {self} after the repetitions"
        );
        Ok(())
    }
}

/// Returns the number in a line of `/proc/PID/status`.
fn field(pid: u32, name: &str) -> Result<usize> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
    number.with_context(|| format!("{name} in {path}"))
}

/// Returns the most resident memory of a process so far, in KiB.
///
/// # Errors
/// The process has ended.
pub fn peak_memory(pid: u32) -> Result<usize> {
    field(pid, "VmHWM:")
}

/// Returns the CPU time of a process since its start.
///
/// # Errors
/// The process has ended.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').context("a line of stat")?.1;
    // utime and stime: fields 14 and 15 of proc(5), of which the first two are before the parenthesis.
    let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(ticks.sum::<Result<u64, _>>()? * TICK))
}

/// Returns the number of processes that the machine has started since boot.
///
/// # Errors
/// `/proc/stat` cannot be read.
pub fn started_since_boot() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().find_map(|line| line.strip_prefix("processes "));
    Ok(line.context("processes in /proc/stat")?.trim().parse()?)
}

/// Sends a signal to a process.
///
/// # Errors
/// The process has ended, or the kernel refuses.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a pid")?;
    Ok(kill_process(pid, signal)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_of_any_resource_exceeds_its_bound() {
        let before = Resources {
            descriptors: 30,
            bpf: 4,
            threads: 9,
            memory: 40_000,
            peak: 40_000,
        };
        before.are_flat_since(&before).expect("nothing has grown");
        let leaks = [
            Resources {
                descriptors: 34,
                ..before
            },
            Resources { bpf: 5, ..before },
            Resources { threads: 13, ..before },
            Resources {
                memory: 50_000,
                ..before
            },
        ];
        for leak in leaks {
            assert!(leak.are_flat_since(&before).is_err(), "{leak} counts as flat");
        }
    }

    #[test]
    fn a_process_has_resources_and_has_used_the_processor() {
        let own = Resources::sample(std::process::id()).expect("this process runs");
        assert!(own.descriptors >= 3 && own.threads >= 1, "{own}");
        assert!(own.memory > 0 && own.peak >= own.memory, "{own:?}");
        let before = cpu_time(std::process::id()).expect("this process runs");
        let mut sum = 0_u64;
        while cpu_time(std::process::id()).expect("this process runs") == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
