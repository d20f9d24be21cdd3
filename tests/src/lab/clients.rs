//! Clients that run on the host itself: the client program in one of its modes, at some place.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::images;
use super::keeper::Keeper;
use super::places::Place;
use super::rooms::{Room, copy_program};

/// Whether the process that connected stays after it has handed its connection on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connector {
    /// It stays, without the descriptor.
    Stays,
    /// It exits.
    Leaves,
}

/// A client that has connected. Dropping it ends every process that it has made.
#[derive(Debug)]
pub struct Client {
    process: Child,
    output: BufReader<ChildStdout>,
    connector: u32,
    holder: u32,
    // After the process: it is in the place's cgroup, and its program lies in the room that the keeper removes.
    _place: Place,
    _room: Keeper,
}

/// Connects to the socket and holds the connection.
pub fn hold(socket: &Path, place: Place) -> Result<Client> {
    start(place, &["hold", &socket.to_string_lossy()])
}

/// Connects, sends one line, holds.
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

/// Connects, and again and again sends these requests over the one connection.
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

/// Again and again a new process that connects, holds for so long, and exits; then nothing for so long.
pub fn blink(socket: &Path, hold: Duration, pause: Duration, place: Place) -> Result<Client> {
    let (hold, pause) = (hold.as_millis().to_string(), pause.as_millis().to_string());
    start(place, &["blink", &socket.to_string_lossy(), &hold, &pause])
}

/// Connects; a child inherits the descriptor and holds it alone.
pub fn hand_by_fork(socket: &Path, connector: Connector, place: Place) -> Result<Client> {
    start(place, &["fork", &socket.to_string_lossy(), connector.word()])
}

/// Connects; a process that runs already gets the descriptor by `SCM_RIGHTS` and holds it alone.
pub fn hand_by_message(socket: &Path, connector: Connector, place: Place) -> Result<Client> {
    start(place, &["pass", &socket.to_string_lossy(), connector.word()])
}

/// Connects and holds. So much later a process that runs already gets the descriptor too, by `SCM_RIGHTS`: the holder.
pub fn share_later(socket: &Path, after: Duration, place: Place) -> Result<Client> {
    start(
        place,
        &["share", &socket.to_string_lossy(), &after.as_millis().to_string()],
    )
}

/// Connects in a thread that has a table of descriptors of its own, and holds.
pub fn hold_in_a_thread(socket: &Path, place: Place) -> Result<Client> {
    start(place, &["thread", &socket.to_string_lossy()])
}

/// Connects to an abstract name and holds.
pub fn hold_abstract(name: &str, place: Place) -> Result<Client> {
    start(place, &["abstract", name])
}

/// Serves nothing: binds the path and never accepts.
pub fn listen(socket: &Path, place: Place) -> Result<Client> {
    start(place, &["listen", &socket.to_string_lossy()])
}

/// Serves nothing: binds the path, accepts, and never answers.
pub fn mute(socket: &Path, place: Place) -> Result<Client> {
    start(place, &["mute", &socket.to_string_lossy()])
}

/// Connects and holds, as a program of this name, which may have slashes: it is below a folder of its own then.
pub fn hold_as(name: &str, socket: &Path, place: Place) -> Result<Client> {
    start_as(name, place, &["hold", &socket.to_string_lossy()])
}

/// Starts the client program with these arguments and waits until it says `ready`.
pub fn start(place: Place, mode: &[&str]) -> Result<Client> {
    start_as("client", place, mode)
}

fn start_as(name: &str, place: Place, mode: &[&str]) -> Result<Client> {
    let room = Room::make("client")?;
    let keeper = Keeper::start(&room, None, Duration::ZERO)?;
    // The cache is the user's own; from the room everybody can run it.
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
    /// The process that called connect(2), or that listens.
    pub fn connector(&self) -> u32 {
        self.connector
    }

    /// The process that has the descriptor now.
    pub fn holder(&self) -> u32 {
        self.holder
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The end of its input is what all its processes wait for; the end of their output says that they are gone.
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
