//! An engine that is only a listener: a program called `dockerd` that accepts, reads, and never answers.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::clients::{self, Client};
use super::places::Place;
use super::process;

/// A running engine. Dropping it ends it; the file of its socket stays.
#[derive(Debug)]
pub struct Engine {
    process: Client,
    socket: PathBuf,
}

impl Engine {
    /// Starts it at this socket. The file of an earlier socket is removed, as a dockerd does.
    pub fn start(socket: &Path) -> Result<Self> {
        match fs::remove_file(socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let path = socket.to_str().context("a socket's path is UTF-8")?;
        let process = clients::start_as("dockerd", Place::host(), &["mute", path])?;
        Ok(Self {
            process,
            socket: socket.to_owned(),
        })
    }

    /// Starts a client on the host that holds a connection to it.
    pub fn connect(&self) -> Result<Client> {
        clients::hold(&self.socket, Place::host())
    }

    /// Allows every user of the machine to connect, for clients of another user.
    pub fn open_to_all(&self) -> Result<()> {
        fs::set_permissions(&self.socket, fs::Permissions::from_mode(0o666)).context("open the socket to all")
    }

    /// Sends it a signal.
    pub fn signal(&self, sent: Signal) -> Result<()> {
        process::signal(self.process.holder(), sent)
    }
}
