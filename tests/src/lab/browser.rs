//! A headless Chromium: Debian's package, unpacked into the cache and run from there, controlled through its `DevTools`
//! pipe.
//!
//! It must never reach anything but the machine itself: every request of a page is recorded, and no name resolves. It
//! runs as root, and therefore without its own sandbox: only for pages of this project.

use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, Mode};
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::packages::{library_path, output, run, unpack_into};
use super::rooms::{self, Room};

const PACKAGES: [&str; 2] = ["chromium", "fonts-dejavu-core"];
/// One second is usual; a busy machine takes fifty times as long.
const PATIENCE: Duration = Duration::from_secs(90);

/// The accessibility rules that pages are checked with, from npm.
const AXE: &str = "axe-core@4.14.1";

/// Returns the source of axe-core, which the first call fetches into the cache (3 MB). Needs npm.
///
/// # Errors
/// npm is missing or reaches no registry, with the end of its output.
pub fn axe() -> Result<String> {
    let folder = rooms::cache()?.join("tools").join(AXE);
    let kept = folder.join("axe.min.js");
    if !kept.exists() {
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let work = tempfile::tempdir_in(&folder).context("make a folder for the download")?;
        let at = |name: &str| work.path().join(name);
        let mut npm = Command::new("npm");
        npm.args(["pack", "--silent", "--ignore-scripts", "--pack-destination"]);
        let packed = output(npm.arg(work.path()).arg(AXE))?;
        run(Command::new("tar")
            .arg("-xzf")
            .arg(at(&packed))
            .arg("-C")
            .arg(work.path())
            .arg("package/axe.min.js"))?;
        fs::rename(at("package/axe.min.js"), &kept).context("keep axe-core")?;
    }
    fs::read_to_string(&kept).with_context(|| format!("read {}", kept.display()))
}

/// Returns the programs, which the first call unpacks into the cache (125 MB to download).
fn unpacked() -> Result<PathBuf> {
    let cache = rooms::cache()?;
    let root = cache.join("chromium");
    let stamp = root.join("packages");
    let wanted = PACKAGES.join(" ");
    let lock = File::create(cache.join("chromium.lock")).context("make the lock of Chromium's cache")?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("lock Chromium's cache")?;
    if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == wanted) {
        return Ok(root);
    }
    if root.exists() {
        fs::remove_dir_all(&root).context("remove the outdated Chromium")?;
    }
    unpack_into(&PACKAGES, &root)?;
    // A machine may have no fonts, and then all text is shown as boxes.
    let alias = |generic: &str, font: &str| {
        format!("<alias><family>{generic}</family><prefer><family>{font}</family></prefer></alias>")
    };
    let fonts = format!(
        "<fontconfig><dir>{0}/usr/share/fonts</dir><cachedir>{0}/fonts</cachedir>{1}{2}{3}</fontconfig>\n",
        root.display(),
        alias("system-ui", "DejaVu Sans"),
        alias("sans-serif", "DejaVu Sans"),
        alias("monospace", "DejaVu Sans Mono"),
    );
    fs::write(root.join("fonts.conf"), fonts).context("write the fonts' configuration")?;
    fs::write(&stamp, wanted).context("stamp Chromium's cache")?;
    Ok(root)
}

/// A browser with one page. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    daemon: Daemon,
    commands: RefCell<File>,
    messages: Receiver<Value>,
    events: RefCell<Vec<Value>>,
    last: Cell<u64>,
    session: String,
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Errors
    /// Its packages are not available, or it does not answer; with the end of its log.
    pub fn start() -> Result<Self> {
        let packages = unpacked()?;
        let room = Room::make("browser")?;
        let (commands, answers) = (room.join("commands"), room.join("answers"));
        for pipe in [&commands, &answers] {
            rustix::fs::mkfifoat(rustix::fs::CWD, pipe, Mode::RUSR | Mode::WUSR).context("make a pipe")?;
        }
        // Opened for reading and writing, so that neither side waits for the other.
        let open = |pipe: &Path| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(pipe)
                .context("open a pipe")
        };
        let (commands_to, answers_from) = (open(&commands)?, open(&answers)?);
        let libraries = library_path(&packages);
        let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
        let mut command = Command::new("/bin/sh");
        command
            .args([
                "-c",
                r#"commands=$1 answers=$2; shift 2; exec "$@" 3<"$commands" 4>"$answers""#,
                "sh",
            ])
            .args([&commands, &answers])
            .arg(packages.join("usr/lib/chromium/chromium"))
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
                "--hide-scrollbars",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ])
            .arg(format!("--user-data-dir={}", room.join("profile").display()))
            .env(
                "LD_LIBRARY_PATH",
                format!("{libraries}:{}/usr/lib/{multiarch}/pulseaudio", packages.display()),
            )
            .env("FONTCONFIG_FILE", packages.join("fonts.conf"))
            .env("HOME", room.path());
        let daemon = Daemon::start("chromium", &room, &command, &[])?;
        let (send, messages) = channel();
        thread::spawn(move || {
            let mut pieces = BufReader::new(answers_from).split(0);
            // Ends with the test, when the messages are no longer received.
            while let Some(Ok(piece)) = pieces.next() {
                if serde_json::from_slice(&piece)
                    .map(|message| send.send(message))
                    .is_err()
                {
                    break;
                }
            }
        });
        let mut browser = Self {
            daemon,
            commands: RefCell::new(commands_to),
            messages,
            events: RefCell::default(),
            last: Cell::new(0),
            session: String::new(),
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach)?;
        session["sessionId"]
            .as_str()
            .context("a session")?
            .clone_into(&mut browser.session);
        for domain in ["Page", "Network", "Log", "Runtime"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    /// Sends one command of the `DevTools` protocol and returns its result.
    ///
    /// # Errors
    /// The browser refuses it, or does not answer before the timeout.
    #[expect(clippy::needless_pass_by_value, reason = "the caller makes them for this call")]
    pub fn call(&self, method: &str, params: Value) -> Result<Value> {
        let id = self.last.get() + 1;
        self.last.set(id);
        let mut command = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands
            .borrow_mut()
            .write_all(&bytes)
            .with_context(|| format!("send {method}"))?;
        let mut answer = self.await_message(method, |message| message["id"] == id)?;
        ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        Ok(answer["result"].take())
    }

    /// Loads an address and waits until it is loaded.
    pub fn load(&self, address: &str) -> Result<()> {
        let went = self.call("Page.navigate", json!({ "url": address }))?;
        ensure!(went["errorText"].is_null(), "{address}: {}", went["errorText"]);
        self.loaded()
    }

    /// Waits until a page is loaded.
    pub fn loaded(&self) -> Result<()> {
        self.await_message("a loaded page", |message| message["method"] == "Page.loadEventFired")?;
        Ok(())
    }

    /// Returns the value of an expression in the page. A promise is awaited.
    pub fn evaluate(&self, expression: &str) -> Result<Value> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", params)?;
        ensure!(
            answer["exceptionDetails"].is_null(),
            "{expression:.60}: {}",
            answer["exceptionDetails"]
        );
        Ok(answer["result"]["value"].take())
    }

    /// Sets the preferred colour scheme, and the size of the screen in pixels.
    pub fn show(&self, dark: bool, width: u32, height: u32) -> Result<()> {
        let theme = if dark { "dark" } else { "light" };
        self.emulate("screen", &[("prefers-color-scheme", theme)])?;
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", screen).map(drop)
    }

    /// Sets the medium, `screen` or `print`, and what the user prefers, as CSS names and values.
    pub fn emulate(&self, medium: &str, preferences: &[(&str, &str)]) -> Result<()> {
        let features = preferences
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }));
        let params = json!({ "media": medium, "features": features.collect::<Vec<_>>() });
        self.call("Emulation.setEmulatedMedia", params).map(drop)
    }

    /// Writes the page, including the part below the screen, to a PNG. It has the first 8,000 pixels, because the
    /// browser limits the size.
    pub fn photograph(&self, file: &Path) -> Result<()> {
        let size = self.call("Page.getLayoutMetrics", json!({}))?["cssContentSize"].take();
        self.photograph_part(&size["width"], &size["height"], file)
    }

    /// Writes the page from its top down to the end of an element, which a selector gives.
    pub fn photograph_down_to(&self, last: &str, file: &Path) -> Result<()> {
        let end = format!("Math.ceil(document.querySelector({last:?}).getBoundingClientRect().bottom + scrollY)");
        self.photograph_part(&self.evaluate("innerWidth")?, &self.evaluate(&end)?, file)
    }

    fn photograph_part(&self, width: &Value, height: &Value, file: &Path) -> Result<()> {
        let height = height.as_f64().unwrap_or(0.0).min(8_000.0);
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let params = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.call("Page.captureScreenshot", params)?;
        let encoded = file.with_extension("base64");
        fs::write(&encoded, picture["data"].as_str().context("a picture")?).context("write a picture")?;
        let decode = r#"base64 -d < "$1" > "$2""#;
        run(Command::new("sh").args(["-c", decode, "sh"]).args([&encoded, file]))?;
        fs::remove_file(&encoded).context("remove the encoded picture")
    }

    /// Presses and releases a key that is not a character: `Tab`, `Enter`.
    pub fn press(&self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            _ => bail!("no key {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event)?;
        }
        Ok(())
    }

    /// Returns all events since the last call: requests, log entries, dialogs.
    pub fn take_events(&self) -> Result<Vec<Value>> {
        // All events before this answer have been received by then.
        self.call("Page.getNavigationHistory", json!({}))?;
        Ok(self.events.take())
    }

    fn await_message(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let told = self.events.borrow().iter().position(&is_it);
        if let Some(at) = told {
            return Ok(self.events.borrow_mut().remove(at));
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(rest) {
                Ok(message) if is_it(&message) => return Ok(message),
                Ok(message) => self.events.borrow_mut().push(message),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    bail!(
                        "waited in vain for {what}; Chromium's log ends:\n{}",
                        self.daemon.log_tail()
                    )
                }
            }
        }
    }
}
