//! Compares generated text with a checked-in file, so that a review sees every change of castoff's output. `CASTOFF_BLESS=1 cargo
//! test` rewrites the files.

use std::fs;
use std::path::Path;

/// Panics where `actual` differs from the file at `path`, relative to the crate where it is not absolute.
pub fn hold(path: &str, actual: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("CASTOFF_BLESS").is_some_and(|v| v == "1") {
        fs::create_dir_all(file.parent().expect("a file in the crate has a parent")).expect("the crate can be written");
        fs::write(&file, actual).expect("the crate can be written");
        return;
    }
    let expected = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{path}: {e}; CASTOFF_BLESS=1 writes it"));
    if expected == actual {
        return;
    }
    let at = expected.lines().zip(actual.lines()).take_while(|(e, a)| e == a).count();
    panic!(
        "{path} is out of date at line {}:\n- {}\n+ {}\nCASTOFF_BLESS=1 rewrites it",
        at + 1,
        expected.lines().nth(at).unwrap_or("(end of file)"),
        actual.lines().nth(at).unwrap_or("(end of text)"),
    );
}
