//! One line of `/proc/<pid>/stat`: the name, the parent and the start time.
//!
//! Relies on `proc_pid_stat(5)`. The name is in parentheses and may contain parentheses, blanks and newlines, so the
//! fields are counted from the *last* closing parenthesis.

use std::sync::Arc;

use crate::model::identity::Pid;

/// `PF_KTHREAD` of `include/linux/sched.h`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// The fields of the line that a process table needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Field 2, `comm`.
    pub name: Arc<str>,
    /// Field 4.
    pub parent: Pid,
    /// The bit `PF_KTHREAD` of field 9: a kernel thread, which executes no file.
    pub kernel_thread: bool,
    /// Field 22: clock ticks since boot.
    pub start: u64,
}

/// Reads the fields. Returns none if the line is not in the kernel's format, or is truncated before field 22.
pub(super) fn parse(line: &[u8]) -> Option<Stat> {
    let open = line.iter().position(|b| *b == b'(')?;
    let close = line.iter().rposition(|b| *b == b')')?;
    let name = line.get(open + 1..close)?;
    let mut fields = line[close + 1..].split(|b| *b == b' ').filter(|f| !f.is_empty());
    let parent = decimal(fields.nth(1)?)?; // field 4; field 3 is the state
    let flags = decimal(fields.nth(4)?)?; // field 9
    let start = decimal(fields.nth(12)?)?; // field 22
    fields.next()?; // a number at the end of the buffer may be truncated, so it must not be the last field
    Some(Stat {
        name: String::from_utf8_lossy(name).into(),
        parent: Pid(u32::try_from(parent).ok()?),
        kernel_thread: flags & PF_KTHREAD != 0,
        start,
    })
}

fn decimal(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "S 17 42 42 0 -1 4194560 10 0 0 0 0 0 0 0 20 0 1 0 8231 0 0 18446744073709551615";

    #[test]
    fn a_name_cannot_forge_the_later_fields() {
        for name in ["sh", "a) S 1 2 (b", "tmux: server", "((", "", "line\nend"] {
            let line = format!("9 ({name}) {TAIL}\n");
            let stat = parse(line.as_bytes()).expect("it is the kernel's form");
            assert_eq!(&*stat.name, name);
            assert_eq!((stat.parent, stat.start), (Pid(17), 8231), "{name}");
        }
    }

    #[test]
    fn kernel_threads_are_known_by_their_flag() {
        let kthreadd = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 7 0 0 20 0 1 0 18 0 0 18446744073709551615";
        let stat = parse(kthreadd).expect("it was read from a kernel");
        assert_eq!((stat.kernel_thread, stat.start), (true, 18));
        let shell = format!("9 (sh) {TAIL}");
        assert!(!parse(shell.as_bytes()).expect("it is the kernel's form").kernel_thread);
    }

    #[test]
    fn lines_in_another_format_are_refused() {
        let cut = format!("9 (sh) {TAIL}");
        let in_start = cut.find("8231").expect("it is there") + 2;
        for line in [
            &cut[..in_start],
            "",
            "9 (sh",
            "9 sh) S 1",
            ")(",
            "9 (sh) S -1",
            "9 (sh) S x y",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
