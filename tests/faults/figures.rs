//! The resources that an agent holds, as the kernel counts them, and the bounds within which they stay flat.

use std::fmt;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// The number of samples of one measurement, and the pause between two of them: a look opens files for milliseconds.
const SAMPLES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(150);
/// The growth that is no leak. A leak of one descriptor or thread in each repetition exceeds it.
const MORE_DESCRIPTORS: usize = 3;
const MORE_THREADS: usize = 3;
/// The growth of the memory that is no leak, in KiB: the allocator keeps what a look needed once.
const MORE_MEMORY: usize = 8 << 10;

/// The resources of a process. Each is the least of several samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// The open descriptors.
    descriptors: usize,
    /// Those of them that are programs, maps and links of the kernel's BPF.
    bpf: usize,
    threads: usize,
    /// The resident memory in KiB.
    memory: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} descriptors ({} of BPF), {} threads, {} KiB",
            self.descriptors, self.bpf, self.threads, self.memory
        )
    }
}

impl Figures {
    /// Measures the process for about a second.
    ///
    /// # Errors
    /// The process has ended, or its figures cannot be read.
    pub(crate) fn measure(pid: u32) -> Result<Self> {
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

    fn sample(pid: u32) -> Result<Self> {
        let folder = format!("/proc/{pid}");
        let (mut descriptors, mut bpf) = (0, 0);
        for entry in fs::read_dir(format!("{folder}/fd")).with_context(|| format!("read {folder}/fd"))? {
            descriptors += 1;
            // A descriptor may be closed meanwhile.
            let link = fs::read_link(entry?.path()).unwrap_or_default();
            bpf += usize::from(link.to_string_lossy().contains("bpf"));
        }
        let status = fs::read_to_string(format!("{folder}/status")).with_context(|| format!("read {folder}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
            number.with_context(|| format!("{name} in {folder}/status"))
        };
        Ok(Self {
            descriptors,
            bpf,
            threads: field("Threads:")?,
            memory: field("VmRSS:")?,
        })
    }

    /// Compares them with those of `before`.
    ///
    /// # Errors
    /// A resource has grown by more than its bound.
    pub(crate) fn are_flat_since(&self, before: &Self) -> Result<()> {
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

/// Checks the bounds themselves: a comparison that cannot fail would prove nothing.
pub(crate) fn check_bounds() -> Result<()> {
    let before = Figures {
        descriptors: 30,
        bpf: 4,
        threads: 9,
        memory: 40_000,
    };
    before.are_flat_since(&before)?;
    let leaks = [
        Figures {
            descriptors: 34,
            ..before
        },
        Figures { bpf: 5, ..before },
        Figures { threads: 13, ..before },
        Figures {
            memory: 50_000,
            ..before
        },
    ];
    for leak in leaks {
        ensure!(leak.are_flat_since(&before).is_err(), "{leak} counts as flat");
    }
    Ok(())
}
