//! The kernel's types (BTF) as far as a program of castoff's names them.
//!
//! A kernel describes some 130,000 types in 5 MB, of which aya makes 30 MB. A program names a dozen. Each type keeps its
//! number, by which the kernel is told what to attach to; the parts of the others are left out.
//!
//! Relies on the format of `/sys/kernel/btf/vmlinux` (linux/btf.h, the same on every kernel with BTF).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use aya::{Btf, BtfError, Endianness};

/// `struct btf_header`.
const HEADER: usize = 24;
const MAGIC: u16 = 0xeb9f;
/// More than any kernel's types take: a file that claims more is refused unread.
const MOST: u32 = 64 << 20;
/// aya looks a function up by the name of what stands for it.
const STAND_INS: [&str; 3] = ["bpf_lsm_", "bpf_iter_", "btf_trace_"];
/// The part of a structure that has this name is none that a program asks for.
const OTHER: &[u8] = b"?";

/// A reason why the kernel's types cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TypesError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("{0}")]
    Parse(#[from] BtfError),
}

/// Reads the types in `file` that `object` or `hooks` name. Takes some 8 MB while it reads and for the result.
///
/// # Errors
/// Where the file cannot be read, or is no description of types.
pub(crate) fn read(file: &Path, object: &[u8], hooks: &[&str]) -> Result<Btf, TypesError> {
    let mut file = File::open(file)?;
    let reduced = reduce(&mut file, &names(object, hooks))?;
    Ok(Btf::parse(&reduced, Endianness::default())?)
}

/// The names that stand in an object file, each between zero bytes: those of its types and their parts are among them. Of
/// `sock___old` the kernel's name is `sock`.
fn names<'a>(object: &'a [u8], hooks: &[&'a str]) -> BTreeSet<&'a [u8]> {
    let words = object.split(|byte| *byte == 0);
    let words = words.filter(|word| !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic()));
    let kernels = words.map(|word| {
        let flavour = word.windows(3).position(|three| three == b"___");
        flavour.map_or(word, |at| &word[..at])
    });
    kernels.chain(hooks.iter().map(|hook| hook.as_bytes())).collect()
}

/// Where the strings of `file` stand that are wanted, and where they stand in the strings that are made of them.
struct Strings {
    kept: Vec<u8>,
    moved: BTreeMap<u32, u32>,
    /// Where [`OTHER`] stands.
    other: u32,
}

impl Strings {
    fn of(all: &[u8], wanted: &BTreeSet<&[u8]>) -> Self {
        let mut kept = vec![0];
        let mut keep = |word: &[u8]| {
            let at = kept.len();
            kept.extend_from_slice(word);
            kept.push(0);
            u32::try_from(at).unwrap_or_default()
        };
        let other = keep(OTHER);
        let (mut moved, mut at) = (BTreeMap::new(), 0_usize);
        for word in all.split(|byte| *byte == 0) {
            let stripped = STAND_INS.iter().find_map(|prefix| word.strip_prefix(prefix.as_bytes()));
            if !word.is_empty() && (wanted.contains(word) || stripped.is_some_and(|name| wanted.contains(name))) {
                moved.insert(u32::try_from(at).unwrap_or_default(), keep(word));
            }
            at += word.len() + 1;
        }
        Self { kept, moved, other }
    }

    /// The place of a type's name; of the empty one where nobody names it.
    fn of_type(&self, name: u32) -> u32 {
        self.moved.get(&name).copied().unwrap_or(0)
    }

    /// The place of a part's name. One without a name is looked into, so one that nobody names needs another.
    fn of_part(&self, name: u32) -> u32 {
        if name == 0 {
            0
        } else {
            self.moved.get(&name).copied().unwrap_or(self.other)
        }
    }
}

/// The bytes behind the 12 of every type, by its kind: one block, or one for each part.
enum Behind {
    Block(usize),
    /// Each begins with its name.
    Parts(usize),
}

/// `BTF_KIND_*` of linux/btf.h.
fn behind(kind: u32) -> io::Result<Behind> {
    Ok(match kind {
        2 | 7..=12 | 16 | 18 => Behind::Block(0),
        1 | 14 | 17 => Behind::Block(4),
        3 => Behind::Block(12),
        4 | 5 | 15 | 19 => Behind::Parts(12),
        6 | 13 => Behind::Parts(8),
        kind => return Err(malformed(&format!("a type of the unknown kind {kind}"))),
    })
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed: {what}"))
}

fn reduce(file: &mut (impl Read + Seek), wanted: &BTreeSet<&[u8]>) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER];
    file.read_exact(&mut header)?;
    let number = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if u16::from_ne_bytes([header[0], header[1]]) != MAGIC {
        return Err(malformed("no BTF"));
    }
    let [behind_header, types_at, types, strings_at, strings] = [4, 8, 12, 16, 20].map(number);
    if types > MOST || strings > MOST {
        return Err(malformed("larger than any kernel's types"));
    }
    file.seek(SeekFrom::Start(u64::from(behind_header) + u64::from(strings_at)))?;
    let strings = {
        let mut all = Vec::new();
        file.take(u64::from(strings)).read_to_end(&mut all)?;
        Strings::of(&all, wanted)
    };
    file.seek(SeekFrom::Start(u64::from(behind_header) + u64::from(types_at)))?;
    let mut made = vec![0; HEADER];
    reduce_types(&mut BufReader::new(file.take(u64::from(types))), &strings, &mut made)?;
    let length = |bytes: usize| u32::try_from(bytes).map_err(|_| malformed("too long"));
    let (types, kept) = (length(made.len() - HEADER)?, length(strings.kept.len())?);
    made[..4].copy_from_slice(&header[..4]);
    for (at, value) in [(4, length(HEADER)?), (8, 0), (12, types), (16, types), (20, kept)] {
        made[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    made.extend_from_slice(&strings.kept);
    Ok(made)
}

/// Copies each type: those that are named whole, and the nameless ones that may be a part of them; of the others no parts.
fn reduce_types(types: &mut impl Read, strings: &Strings, made: &mut Vec<u8>) -> io::Result<()> {
    /// The bits of `info` that count the parts.
    const COUNT: u32 = 0xffff;
    /// Structures and unions: one without a name is a part of another.
    const HAVE_NAMELESS: [u32; 2] = [4, 5];
    let mut part = [0; 12];
    loop {
        let mut head = [0; 12];
        match types.read_exact(&mut head) {
            Ok(()) => {}
            Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let word =
            |bytes: &[u8; 12], at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (name, info) = (word(&head, 0), word(&head, 4));
        let (kind, count) = (info >> 24 & 0x1f, info & COUNT);
        let is_named = strings.of_type(name) != 0;
        let is_whole = is_named || (name == 0 && HAVE_NAMELESS.contains(&kind));
        made.extend_from_slice(&strings.of_type(name).to_ne_bytes());
        match behind(kind)? {
            Behind::Block(size) => {
                made.extend_from_slice(&head[4..]);
                types.read_exact(&mut part[..size])?;
                made.extend_from_slice(&part[..size]);
            }
            Behind::Parts(size) => {
                let info = if is_whole { info } else { info & !COUNT };
                made.extend_from_slice(&info.to_ne_bytes());
                made.extend_from_slice(&head[8..]);
                for _ in 0..count {
                    types.read_exact(&mut part[..size])?;
                    if is_whole {
                        made.extend_from_slice(&strings.of_part(word(&part, 0)).to_ne_bytes());
                        made.extend_from_slice(&part[4..size]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// `\0sock\0state\0page\0flags\0bpf_lsm_hook\0other\0`
    const STRINGS: &[u8] = b"\0sock\0state\0page\0flags\0bpf_lsm_hook\0other\0";
    const INT: u32 = 1 << 24;
    const STRUCT: u32 = 4 << 24;
    const FUNCTION: u32 = 12 << 24;
    const SIGNATURE: u32 = 13 << 24;

    fn place(name: &str) -> u32 {
        let all = std::str::from_utf8(STRINGS).unwrap();
        let at = all.find(&format!("\0{name}\0")).unwrap();
        u32::try_from(at + 1).unwrap()
    }

    fn description(types: &[u32]) -> Vec<u8> {
        let length = u32::try_from(types.len() * 4).unwrap();
        let strings = u32::try_from(STRINGS.len()).unwrap();
        let header = [u32::from(MAGIC) | 1 << 16, 24, 0, length, length, strings];
        let words = header.iter().chain(types).flat_map(|word| word.to_ne_bytes());
        words.chain(STRINGS.iter().copied()).collect()
    }

    /// A number, `struct sock` with a part of each kind, `struct page`, a signature and a function with it.
    fn types() -> Vec<u32> {
        let number = [0, INT, 4, 32];
        let nameless = [0, STRUCT | 1, 4, place("flags"), 1, 0];
        let sock = [
            place("sock"),
            STRUCT | 3,
            12,
            place("state"),
            1,
            0,
            0,
            2,
            32,
            place("other"),
            1,
            64,
        ];
        let page = [place("page"), STRUCT | 1, 4, place("flags"), 1, 0];
        let signature = [0, SIGNATURE | 1, 0, place("flags"), 1];
        let function = [place("bpf_lsm_hook"), FUNCTION, 5];
        [&number[..], &nameless, &sock, &page, &signature, &function].concat()
    }

    fn reduced(file: &[u8]) -> io::Result<Vec<u8>> {
        let object = b"\x7fELF\0sock___new\0state\0flags\0";
        reduce(&mut Cursor::new(file), &names(object, &["hook"]))
    }

    #[test]
    fn a_type_keeps_its_number_and_the_parts_that_are_named() {
        let made = reduced(&description(&types())).unwrap();
        Btf::parse(&made, Endianness::default()).unwrap();
        let (types, strings) = made[HEADER..].split_at(31 * 4);
        assert_eq!(strings, b"\0?\0sock\0state\0flags\0bpf_lsm_hook\0");
        let words = types
            .chunks_exact(4)
            .map(|four| u32::from_ne_bytes(four.try_into().unwrap()));
        let [other, sock, state, flags, hook] = [1, 3, 8, 14, 20];
        let number = [0, INT, 4, 32];
        let nameless = [0, STRUCT | 1, 4, flags, 1, 0];
        let sock = [sock, STRUCT | 3, 12, state, 1, 0, 0, 2, 32, other, 1, 64];
        let (page, signature, function) = ([0, STRUCT, 4], [0, SIGNATURE, 0], [hook, FUNCTION, 5]);
        let expected = [&number[..], &nameless, &sock, &page, &signature, &function].concat();
        assert_eq!(words.collect::<Vec<u32>>(), expected);
    }

    #[test]
    fn a_file_that_is_no_description_is_refused() {
        let whole = description(&types());
        for (file, reason) in [
            (&b"\x7fELF"[..], "failed to fill whole buffer"),
            (&[0; 64][..], "malformed: no BTF"),
            (
                &description(&[0, 30 << 24, 0])[..],
                "malformed: a type of the unknown kind 30",
            ),
            (&description(&[0, STRUCT | 9, 0, 1])[..], "failed to fill whole buffer"),
        ] {
            assert_eq!(reduced(file).unwrap_err().to_string(), reason);
        }
        for end in 0..whole.len() {
            let _ = reduced(&whole[..end]);
        }
        let mut huge = whole;
        huge[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(
            reduced(&huge).unwrap_err().to_string(),
            "malformed: larger than any kernel's types"
        );
    }
}
