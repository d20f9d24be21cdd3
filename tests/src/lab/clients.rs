//! Clients that run on the host itself: the client program in one of its modes, in a given place.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::images;
use super::keeper::Keeper;
use super::places::Place;
use super::rooms::{Room, copy_program};

/// The behaviour of the process that connected, after it has passed its connection on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connector {
    /// It stays, without the descriptor.
    Stays,
    /// It exits.
    Leaves,
}

/// A connected client. Dropping it ends every process that it has created.
#[derive(Debug)]
pub struct Client {
    process: Child,
    output: BufReader<ChildStdout>,
    connector: u32,
    holder: u32,
    // After the process, which is in the place's cgroup and whose program is in the room that the keeper removes.
    _place: Place,
    _room: Keeper,
}

/// Connects to the socket and holds the connection.
pub fn hold(socket: &Path, place: Place) -> Result<Client> {
    start(place, &["hold", &socket.to_string_lossy()])
}

/// Connects and holds the connection. Connects again whenever the server has ended.
pub fn keep(socket: &Path, place: Place) -> Result<Client> {
    start(place, &["keep", &socket.to_string_lossy()])
}

/// Connects, sends one line, and holds the connection.
pub fn say(socket: &Path, line: &str, place: Place) -> Result<Client> {
    start(place, &["say", &socket.to_string_lossy(), line])
}

/// The way in which a client sends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// In one piece.
    Write,
    /// In one call, from two buffers.
    Parts,
    /// As a message from two buffers.
    Message,
    /// In two calls.
    Cut,
}

/// Connects, and sends these requests repeatedly over the one connection.
pub fn ask(socket: &Path, sending: Sending, requests: &[&str], place: Place) -> Result<Client> {
    let sending = match sending {
        Sending::Write => "write",
        Sending::Parts => "parts",
        Sending::Message => "message",
        Sending::Cut => "cut",
    };
    let socket = socket.to_string_lossy();
    start(place, &[&["ask", &socket, sending], requests].concat())
}

/// Starts a new process repeatedly that connects, holds the connection for `hold`, and exits; then pauses for `pause`.
pub fn blink(socket: &Path, hold: Duration, pause: Duration, place: Place) -> Result<Client> {
    let (hold, pause) = (hold.as_millis().to_string(), pause.as_millis().to_string());
    start(place, &["blink", &socket.to_string_lossy(), &hold, &pause])
}

/// Connects. A child inherits the descriptor and holds it alone.
pub fn hand_by_fork(socket: &Path, connector: Connector, place: Place) -> Result<Client> {
    start(place, &["fork", &socket.to_string_lossy(), connector.word()])
}

/// Connects. A process that is already running receives the descriptor by `SCM_RIGHTS` and holds it alone.
pub fn hand_by_message(socket: &Path, connector: Connector, place: Place) -> Result<Client> {
    start(place, &["pass", &socket.to_string_lossy(), connector.word()])
}

/// Connects and holds. After `after`, a process that is already running receives the descriptor too, by `SCM_RIGHTS`:
/// the holder.
pub fn share_later(socket: &Path, after: Duration, place: Place) -> Result<Client> {
    start(
        place,
        &["share", &socket.to_string_lossy(), &after.as_millis().to_string()],
    )
}

/// Connects in a thread with a descriptor table of its own, and holds the connection.
pub fn hold_in_a_thread(socket: &Path, place: Place) -> Result<Client> {
    start(place, &["thread", &socket.to_string_lossy()])
}

/// Connects to an abstract name and holds the connection.
pub fn hold_abstract(name: &str, place: Place) -> Result<Client> {
    start(place, &["abstract", name])
}

/// Binds the path and never accepts.
pub fn listen(socket: &Path, place: Place) -> Result<Client> {
    start(place, &["listen", &socket.to_string_lossy()])
}

/// Binds the path, accepts, and never answers.
pub fn mute(socket: &Path, place: Place) -> Result<Client> {
    start(place, &["mute", &socket.to_string_lossy()])
}

/// Connects and holds, as a program of this name. The name may have slashes, for a directory of its own.
pub fn hold_as(name: &str, socket: &Path, place: Place) -> Result<Client> {
    start_as(name, place, &["hold", &socket.to_string_lossy()])
}

/// Starts the client program with these arguments and waits until it prints `ready`.
pub fn start(place: Place, mode: &[&str]) -> Result<Client> {
    start_as("client", place, mode)
}

/// Starts the client program under this name and waits until it prints `ready`. An absolute path is for a mount namespace of
/// its own: the program stays there.
pub fn start_as(name: &str, place: Place, mode: &[&str]) -> Result<Client> {
    let room = Room::make("client")?;
    let keeper = Keeper::start(&room, None, Duration::ZERO)?;
    // The cache is private to the user; every user can run the program in the room.
    let program = room.join(name);
    if let Some((folder, _)) = name.rsplit_once('/') {
        room.folder(folder)?;
    }
    copy_program(&images::client()?, &program)?;
    let mut process = place
        .command(&program)
        .arg("--until-eof")
        .args(mode)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start a client {mode:?}"))?;
    let output = process.stdout.take().context("the client's output is a pipe")?;
    let mut client = Client {
        process,
        output: BufReader::new(output),
        connector: 0,
        holder: 0,
        _place: place,
        _room: keeper,
    };
    let mut answer = String::new();
    client
        .output
        .read_line(&mut answer)
        .context("read the client's answer")?;
    let words: Vec<&str> = answer.split_ascii_whitespace().collect();
    ensure!(
        words.first() == Some(&"ready") && words.len() == 3,
        "the client {mode:?} is not ready: {answer:?}"
    );
    client.connector = words[1].parse().context("read the connector's process id")?;
    client.holder = words[2].parse().context("read the holder's process id")?;
    Ok(client)
}

impl Client {
    /// Returns the process that called connect(2), or that listens.
    pub fn connector(&self) -> u32 {
        self.connector
    }

    /// Returns the process that has the descriptor now.
    pub fn holder(&self) -> u32 {
        self.holder
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // All its processes wait for the end of its input; the end of their output shows that they have ended.
        drop(self.process.stdin.take());
        let mut rest = Vec::new();
        let ended = self.output.read_to_end(&mut rest).and_then(|_| self.process.wait());
        if let Err(error) = ended {
            eprintln!("a client did not end: {error}");
        }
    }
}

impl Connector {
    fn word(self) -> &'static str {
        match self {
            Self::Stays => "stay",
            Self::Leaves => "leave",
        }
    }
}
