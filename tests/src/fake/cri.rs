//! A container runtime that is controlled by a test: a gRPC server of CRI v1 and v1alpha2 on a real Unix socket.
//!
//! The script can be changed while it runs and is read on each call, so that one server is a runtime over several
//! cycles. Faults are per method; faults below gRPC are in [`Broken`]. Stops when it is dropped.

mod broken;
mod script;
mod service;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;

use self::broken::Cut;
pub use self::broken::{Broken, Manner};
pub use self::script::{Api, Fault, Method, Script};
use self::service::Dispatch;

/// The state that the server and the test share.
#[derive(Debug, Default)]
struct Shared {
    script: Script,
    calls: BTreeMap<(Api, Method), usize>,
}

/// A running fake runtime.
#[derive(Debug)]
pub struct FakeCri {
    path: PathBuf,
    shared: Arc<Mutex<Shared>>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl FakeCri {
    /// Serves `script` at `path`, whose directory exists. It accepts connections when this returns.
    pub fn start(path: impl Into<PathBuf>, script: Script) -> io::Result<Self> {
        let shared = Arc::new(Mutex::new(Shared {
            script,
            calls: BTreeMap::new(),
        }));
        let mut fake = Self {
            path: path.into(),
            shared,
            running: None,
        };
        fake.run()?;
        Ok(fake)
    }

    /// Returns its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes its answers from the next call on.
    pub fn edit(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.shared).script);
    }

    /// Returns the number of calls of a method in one version of the interface since the start or the last
    /// [`Self::forget_calls`], including those of a version that is not served.
    pub fn calls(&self, api: Api, method: Method) -> usize {
        lock(&self.shared)
            .calls
            .get(&(api, method))
            .copied()
            .unwrap_or_default()
    }

    /// Returns the number of all calls in one version of the interface.
    pub fn calls_in(&self, api: Api) -> usize {
        lock(&self.shared)
            .calls
            .iter()
            .filter(|((a, _), _)| *a == api)
            .map(|(_, n)| n)
            .sum()
    }

    /// Resets the counts.
    pub fn forget_calls(&self) {
        lock(&self.shared).calls.clear();
    }

    /// Ends the server and every connection to it. The socket's file stays, like after a crash.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // A panic of the server's thread has been printed; a test notices it by the missing answers.
            drop(thread.join());
        }
    }

    /// Starts it again on the same path, as a new socket, with the same script and counts.
    pub fn restart(&mut self) -> io::Result<()> {
        self.stop();
        self.run()
    }

    fn run(&mut self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&self.path)?;
        listener.set_nonblocking(true)?;
        // A separate runtime: the server continues while a test blocks, and ends with all its tasks.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("fake-cri".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        })?;
        self.running = Some((stop, thread));
        Ok(())
    }
}

impl Drop for FakeCri {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(listener: UnixListener, shared: Arc<Mutex<Shared>>) {
    let listener = tokio::net::UnixListener::from_std(listener).expect("a bound listener, not blocking");
    let cut = Arc::clone(&shared);
    let connections = UnixListenerStream::new(listener)
        .map(move |stream| stream.map(|stream| Cut::new(stream, lock(&cut).script.close_after)));
    let server = tonic::transport::Server::builder().serve_with_incoming(Dispatch::new(shared), connections);
    if let Err(error) = server.await {
        eprintln!("the fake runtime ended: {error}");
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
