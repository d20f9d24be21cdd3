//! The document that a run is held against.

use std::fmt::Write as _;

use castoff_tests::matrix::Outcome;

use crate::guests::Row;

const HEAD: &str = "# Kernels that castoff is tested on

Written by `CASTOFF_BLESS=1 tests/run kernel`, which boots Debian's cloud kernels in virtual machines, each as a node with an
engine and clients in a pod, in a unit and on the host.

| Linux | from | connects by | castoff was right about | result |
|---|---|---|---|---|
";

/// Returns the whole document.
pub(crate) fn write(rows: &[Row]) -> String {
    let mut table = HEAD.to_owned();
    for row in rows {
        let result = match &row.outcome {
            Outcome::Right => "ok",
            Outcome::Wrong(_) => "**wrong**",
            Outcome::NotRun(_) => "not run",
        };
        let right = row.judged.right.join(", ");
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} | {} | {} | {right} | {result} |",
            row.name, row.source, row.judged.method
        );
    }
    table
}
