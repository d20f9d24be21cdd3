//! A pseudo-terminal, which a program treats as a person's terminal.

use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The text on the terminal so far.
#[derive(Clone, Debug)]
pub(crate) struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panicked with it")).into_owned()
    }
}

/// Makes a terminal of `columns` and `rows`: the stream for a program, and the text that it writes.
pub(crate) fn terminal(columns: u16, rows: u16) -> (Stdio, Seen) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&master).expect("it is ours");
    unlockpt(&master).expect("it is ours");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let slave = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other end");
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&slave, size).expect("it has a size");
    let seen = Seen(Arc::default());
    let kept = seen.clone();
    thread::spawn(move || {
        let (mut master, mut bytes) = (File::from(master), [0; 4096]);
        // Reading fails once no process has the other end.
        while let Ok(length @ 1..) = master.read(&mut bytes) {
            let mut seen = kept.0.lock().expect("nobody panicked with it");
            seen.extend_from_slice(&bytes[..length]);
        }
    });
    (Stdio::from(slave), seen)
}
