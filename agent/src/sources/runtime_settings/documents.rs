//! TOML files below a root: bounded in size and number, and with errors that quote nothing of the file, because it may
//! have passwords.

use std::io;

use toml::{Table, Value};

use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::kernel::rooted::Rooted;

/// The limit of one file, in bytes. A full configuration of containerd has 15 KiB.
const FILE_LIMIT: u64 = 1 << 20;

/// The most files of one look. A runtime has a few drop-ins, and one file for each registry.
const FILES_LIMIT: usize = 128;

/// The most names of one directory that are looked at.
const NAMES_LIMIT: usize = 1024;

/// The place that files are read from.
enum Place<'a> {
    /// The directories below a root.
    Root(&'a Rooted),
    /// Every path is a file with this content, for the fuzzer.
    #[cfg(any(test, feature = "fuzz"))]
    Everywhere(&'a [u8]),
}

impl Place<'_> {
    fn read_file(&self, path: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::Root(root) => root.read_file(path, FILE_LIMIT),
            #[cfg(any(test, feature = "fuzz"))]
            Self::Everywhere(content) => Ok(content.to_vec()),
        }
    }

    fn read_names(&self, directory: &str, each: &mut dyn FnMut(&str) -> bool) -> io::Result<()> {
        match self {
            Self::Root(root) => root.read_names(directory, each),
            #[cfg(any(test, feature = "fuzz"))]
            Self::Everywhere(_) => {
                each("one.conf");
                Ok(())
            }
        }
    }

    /// Fails if there is neither a file nor a directory at `path`.
    fn find(&self, path: &str) -> io::Result<()> {
        match self {
            Self::Root(root) => root.read_identity(path).map(drop),
            #[cfg(any(test, feature = "fuzz"))]
            Self::Everywhere(_) => Ok(()),
        }
    }
}

/// The files that were read so far.
pub(super) struct Documents<'a> {
    place: Place<'a>,
    files: Vec<String>,
}

impl<'a> Documents<'a> {
    pub(super) const fn new(root: &'a Rooted) -> Self {
        Self {
            place: Place::Root(root),
            files: Vec::new(),
        }
    }

    /// Returns documents in which every path is a file with this content.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) const fn everywhere(content: &'a [u8]) -> Self {
        Self {
            place: Place::Everywhere(content),
            files: Vec::new(),
        }
    }

    /// Returns the paths of the files that were read.
    pub(super) fn into_files(self) -> Vec<String> {
        self.files
    }

    /// Reads a file. Returns none if there is no such file.
    pub(super) fn read_bytes(&mut self, path: &str) -> Result<Option<Vec<u8>>, Gap> {
        if self.files.len() >= FILES_LIMIT {
            let answer = format!("castoff reads at most {FILES_LIMIT} files of a runtime's configuration");
            return Err(Gap::new(Reason::LimitReached, Hides::Detail, path, answer));
        }
        match self.place.read_file(path) {
            Ok(bytes) => {
                self.files.push(path.to_owned());
                Ok(Some(bytes))
            }
            Err(error) if refusal::is_missing(&error) => Ok(None),
            Err(error) => Err(gap_of(&error, path)),
        }
    }

    /// Reads a file and parses it. Returns none if there is no such file.
    pub(super) fn read(&mut self, path: &str) -> Result<Option<Table>, Gap> {
        let bytes = self.read_bytes(path)?;
        bytes.map(|bytes| parse(&bytes, path)).transpose()
    }

    /// Reads a file that must be there, because a directory or another file names it.
    pub(super) fn read_named(&mut self, path: &str) -> Result<Table, Gap> {
        let answer = if path.contains('\u{fffd}') {
            "its name is not valid UTF-8: castoff cannot open it"
        } else {
            "there is no such file, and a file or a directory of the configuration names it"
        };
        self.read(path)?
            .ok_or_else(|| Gap::new(Reason::NotFound, Hides::Detail, path, answer))
    }

    /// Returns the paths in a directory whose names `fits`, sorted; none if there is no such directory.
    pub(super) fn list(&self, directory: &str, fits: impl Fn(&str) -> bool) -> Result<Vec<String>, Gap> {
        let (mut found, mut count) = (Vec::new(), 0);
        let mut add = |name: &str| {
            count += 1;
            if fits(name) {
                found.push(format!("{}/{name}", directory.trim_end_matches('/')));
            }
            count <= NAMES_LIMIT
        };
        match self.place.read_names(directory, &mut add) {
            Err(error) if refusal::is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(gap_of(&error, directory)),
            Ok(()) if count > NAMES_LIMIT => {
                let answer = format!("it has more than {NAMES_LIMIT} names");
                return Err(Gap::new(Reason::LimitReached, Hides::Detail, directory, answer));
            }
            Ok(()) => {}
        }
        found.sort_unstable();
        Ok(found)
    }

    /// True if there is a file or directory at `path`.
    pub(super) fn is_there(&self, path: &str) -> Result<bool, Gap> {
        match self.place.find(path) {
            Ok(()) => Ok(true),
            Err(error) if refusal::is_missing(&error) => Ok(false),
            Err(error) => Err(gap_of(&error, path)),
        }
    }
}

fn gap_of(error: &io::Error, path: &str) -> Gap {
    if error.kind() == io::ErrorKind::InvalidData {
        return Gap::new(Reason::Malformed, Hides::Detail, path, "it is not a regular file");
    }
    refusal::gap(error, Hides::Detail, path, Right::Root)
}

/// Parses a file. The error names the line, and quotes nothing.
pub(super) fn parse(bytes: &[u8], path: &str) -> Result<Table, Gap> {
    let malformed = |answer: String| Gap::new(Reason::Malformed, Hides::Detail, path, answer);
    let text = str::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
    let text = text.trim_start_matches('\u{feff}');
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error.span().map(|span| &text.as_bytes()[..span.start.min(text.len())]);
        let line = before.map_or(1, |before| before.split(|byte| *byte == b'\n').count());
        malformed(format!("line {line} is not TOML"))
    })
}

/// A table, and the file that is to be named if a value in it has another type.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    pub(super) table: &'t Table,
    pub(super) path: &'t str,
}

impl<'t> Section<'t> {
    /// Returns the table at `keys`, if there is one.
    pub(super) fn at(self, keys: &[&str]) -> Result<Option<Self>, Gap> {
        let (table, path) = (self.table, self.path);
        let mut at = Self { table, path };
        for key in keys {
            match at.table.get(*key) {
                Some(Value::Table(table)) => at.table = table,
                Some(_) => return Err(at.wrong(key, "a table")),
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// Returns each table in the table `key`.
    pub(super) fn tables(self, key: &str) -> Result<Vec<(&'t str, Self)>, Gap> {
        let Some(section) = self.at(&[key])? else {
            return Ok(Vec::new());
        };
        let names = section.table.keys();
        let each = names.map(|name| Ok((name.as_str(), section.at(&[name])?.unwrap_or(section))));
        each.collect()
    }

    /// Returns a text, if it is set and not empty: an empty one means the default.
    pub(super) fn text(self, key: &str) -> Result<Option<&'t str>, Gap> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    /// Returns a list of texts; empty if it is not set.
    pub(super) fn texts(self, key: &str) -> Result<Vec<&'t str>, Gap> {
        let items = match self.table.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(Value::as_str).collect::<Option<Vec<_>>>(),
            Some(_) => None,
        };
        items.ok_or_else(|| self.wrong(key, "a list of strings"))
    }

    /// Returns a switch, if it is set.
    pub(super) fn switch(self, key: &str) -> Result<Option<bool>, Gap> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::Boolean(on)) => Ok(Some(*on)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// Returns the tables of a list of tables: `[[key]]`.
    pub(super) fn rows(self, key: &str) -> Result<Vec<Self>, Gap> {
        let path = self.path;
        let items = match self.table.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_table().map(|table| Self { table, path }))
                .collect::<Option<Vec<_>>>(),
            Some(_) => None,
        };
        items.ok_or_else(|| self.wrong(key, "a list of tables"))
    }

    fn wrong(self, key: &str, wanted: &str) -> Gap {
        let answer = format!("{key} is not {wanted}");
        Gap::new(Reason::Malformed, Hides::Detail, self.path, answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_line_also_after_a_byte_order_mark() {
        for (text, line) in [
            ("v", 1),
            ("\u{feff}v", 1),
            ("a = 1\n\u{e9}", 2),
            ("\u{feff}a = 1\n\n\u{e9}", 3),
        ] {
            let gap = parse(text.as_bytes(), "/etc/x.toml").expect_err("it is no TOML");
            assert_eq!(gap.answer, format!("line {line} is not TOML"), "{text:?}");
        }
    }
}
