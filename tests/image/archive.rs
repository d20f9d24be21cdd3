//! The archive itself: it has the same bytes each time, the right contents, and wrong inputs are refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::image::Image;
use castoff_tests::lab::rooms::copy_program;
use serde_json::{Value, json};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// `e_machine` in an ELF header, and its values (elf.h).
const MACHINE: usize = 18;
const AARCH64: u8 = 183;
const RISCV: u8 = 243;

/// An unpacked archive.
pub(crate) struct Unpacked {
    folder: TempDir,
}

impl Unpacked {
    pub(crate) fn of(archive: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        untar(archive, folder.path())?;
        Ok(Self { folder })
    }

    fn read(&self, path: &str) -> Result<Value> {
        let text = fs::read(self.folder.path().join(path)).context(path.to_owned())?;
        serde_json::from_slice(&text).context(path.to_owned())
    }

    fn blob(&self, descriptor: &Value) -> Result<PathBuf> {
        let digest = text(&descriptor["digest"])?;
        let hex = digest.strip_prefix("sha256:").context("a digest")?;
        let path = self.folder.path().join("blobs/sha256").join(hex);
        ensure!(sha256(&path)? == hex, "{} is not what its name says", path.display());
        ensure!(fs::metadata(&path)?.len() == descriptor["size"], "{descriptor}");
        Ok(path)
    }

    fn described(&self, descriptor: &Value) -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(self.blob(descriptor)?)?)?)
    }

    pub(crate) fn manifest(&self) -> Result<Value> {
        self.described(&self.read("index.json")?["manifests"][0])
    }

    /// Returns the image's configuration.
    pub(crate) fn config(&self) -> Result<Value> {
        self.described(&self.manifest()?["config"])
    }

    /// Unpacks its one layer.
    fn layer(&self) -> Result<TempDir> {
        let root = tempfile::tempdir()?;
        untar(&self.blob(&self.manifest()?["layers"][0])?, root.path())?;
        Ok(root)
    }
}

fn untar(archive: &Path, folder: &Path) -> Result<()> {
    let status = Command::new("tar")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .status()?;
    ensure!(status.success(), "tar: {status}");
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let output = Command::new("sha256sum").arg(path).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split(' ').next().context("a digest")?.to_owned())
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is no text"))
}

/// Returns the command that builds from this program, into this directory.
fn build(program: &Path, folder: &Path, more: &[&str]) -> Command {
    let mut script = Image::script(["--binary".as_ref(), program.as_os_str()]);
    script.arg("--output").arg(folder.join("castoff.tar")).args(more);
    script
}

/// Returns the exit code and the message of the script's refusal.
fn refusal(script: &mut Command) -> Result<(Option<i32>, String)> {
    let output = script.output()?;
    ensure!(
        output.stdout.is_empty(),
        "it has made {}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

/// Returns a copy of the program whose header names another architecture.
fn for_machine(program: &Path, folder: &Path, machine: u8) -> Result<PathBuf> {
    let mut bytes = fs::read(program)?;
    bytes[MACHINE] = machine;
    let path = folder.join(format!("castoff-{machine}"));
    fs::write(&path, bytes)?;
    Ok(path)
}

#[test]
fn the_image_has_at_most_the_documented_size() -> Result<()> {
    let image = Image::of_this_tree()?;
    let (archive, program) = (
        fs::metadata(&image.archive)?.len(),
        fs::metadata(image.program())?.len(),
    );
    assert!(archive <= 10 * MIB, "the image has {archive} bytes");
    assert!(program <= 9 * MIB, "the program has {program} bytes");
    Ok(())
}

/// The program has no unwind tables, and an unwinder without them would abort.
#[test]
fn an_error_is_printed_with_backtraces_enabled() -> Result<()> {
    let image = Image::of_this_tree()?;
    // An address for documentation, which no machine has.
    let arguments = ["run", "--listen", "192.0.2.1:1"];
    let told = Command::new(image.program())
        .args(arguments)
        .env("RUST_BACKTRACE", "1")
        .output()?;
    let errors = String::from_utf8(told.stderr)?;
    assert_eq!(told.status.code(), Some(70), "{errors}");
    ensure!(errors.contains("listen on 192.0.2.1:1"), "{errors}");
    Ok(())
}

#[test]
fn the_same_program_gives_the_same_image_in_every_build() -> Result<()> {
    let image = Image::of_this_tree()?;
    let folder = tempfile::tempdir()?;
    let other = folder.path().join("other name");
    copy_program(&image.program(), &other)?;
    fs::set_permissions(&other, fs::Permissions::from_mode(0o700))?;
    let again = Image::made(&build(&other, folder.path(), &[]).env("TZ", "Asia/Tokyo").output()?)?;
    assert_eq!((&again.digest, &again.tag), (&image.digest, &image.tag));
    assert_eq!(sha256(&again.archive)?, sha256(&image.archive)?);

    let later = build(&other, folder.path(), &[])
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()?;
    let later = Image::made(&later)?;
    assert_ne!(later.digest, image.digest);
    assert_eq!(
        Unpacked::of(&later.archive)?.config()?["created"],
        "2023-11-14T22:13:20Z"
    );
    Ok(())
}

#[test]
fn the_image_describes_itself_and_has_nothing_else() -> Result<()> {
    let image = Image::of_this_tree()?;
    let unpacked = Unpacked::of(&image.archive)?;
    let manifest = unpacked.read("index.json")?["manifests"][0].clone();
    assert_eq!(manifest["digest"], image.digest.as_str());
    assert_eq!(manifest["annotations"]["io.containerd.image.name"], image.tag.as_str());
    // The two formats describe the same image.
    let archive = unpacked.read("manifest.json")?[0].clone();
    let inner = unpacked.manifest()?;
    let blob = |of: &Value| Ok::<_, anyhow::Error>(format!("blobs/{}", text(&of["digest"])?.replace(':', "/")));
    assert_eq!(archive["Config"], blob(&inner["config"])?);
    assert_eq!(archive["Layers"], json!([blob(&inner["layers"][0])?]));
    assert_eq!(archive["RepoTags"], json!([image.tag]));

    let config = unpacked.config()?;
    assert_eq!(config["config"]["User"], "0:0");
    assert_eq!(config["config"]["Entrypoint"], json!(["/castoff"]));
    assert_eq!(config["config"]["Env"], json!(["MALLOC_TRIM_THRESHOLD_=131072"]));
    assert_eq!(
        config["config"]["Labels"]["org.opencontainers.image.version"],
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(config["rootfs"]["diff_ids"], json!([inner["layers"][0]["digest"]]));
    let root = unpacked.layer()?;
    let mut files: Vec<_> = fs::read_dir(root.path())?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    files.sort();
    assert_eq!(files, ["castoff", "castoff.cdx.json"]);
    assert_eq!(fs::read(root.path().join("castoff"))?, fs::read(image.program())?);
    assert_eq!(
        fs::metadata(root.path().join("castoff"))?.permissions().mode() & 0o7777,
        0o755
    );
    Ok(())
}

/// Otherwise two machines would not build the same program, and its users could read where it was built.
#[test]
fn the_program_has_no_traces_of_its_build_machine() -> Result<()> {
    let program = fs::read(Image::of_this_tree()?.program())?;
    let home = std::env::var("HOME").context("HOME")?;
    let cargo = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let root = fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
    for path in [cargo.as_str(), root.to_str().context("UTF-8")?] {
        let found = program.windows(path.len()).any(|part| part == path.as_bytes());
        assert!(!found, "{path} is in the program");
    }
    Ok(())
}

#[test]
fn its_architecture_is_the_programs_own_and_another_one_is_refused() -> Result<()> {
    let program = Image::of_this_tree()?.program();
    let folder = tempfile::tempdir()?;
    let arm = for_machine(&program, folder.path(), AARCH64)?;
    let made = Image::made(&build(&arm, folder.path(), &["--platform", "linux/arm64"]).output()?)?;
    let unpacked = Unpacked::of(&made.archive)?;
    assert_eq!(unpacked.config()?["architecture"], "arm64");
    assert_eq!(
        unpacked.read("index.json")?["manifests"][0]["platform"]["architecture"],
        "arm64"
    );

    let (code, says) = refusal(&mut build(&arm, folder.path(), &["--platform", "linux/amd64"]))?;
    assert_eq!(code, Some(65));
    assert!(
        says.contains(&format!("--platform linux/amd64: {} is for linux/arm64", arm.display())),
        "{says}"
    );
    let other = for_machine(&program, folder.path(), RISCV)?;
    let (code, says) = refusal(&mut build(&other, folder.path(), &[]))?;
    assert_eq!(code, Some(65));
    assert!(says.contains("for a machine that castoff is not built for"), "{says}");
    Ok(())
}

#[test]
fn other_than_static_programs_and_wrong_arguments_are_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dynamic = Path::new("/bin/sh");
    let text = folder.path().join("text");
    fs::write(&text, "#!/bin/sh\n")?;
    let program = Image::of_this_tree()?.program();
    for (program, more, code, part) in [
        (dynamic, &[][..], 65, "/bin/sh: not static"),
        (&text, &[], 65, "not a 64-bit little-endian ELF program"),
        (Path::new("/nowhere"), &[], 65, "/nowhere: no such file"),
        (
            &program,
            &["--platform", "linux/s390x"],
            64,
            "expected linux/amd64 or linux/arm64",
        ),
        (&program, &["--platform"], 64, "--platform needs a value"),
        (
            &program,
            &["--tag", "Castoff"],
            64,
            "--tag 'Castoff' is not an image name",
        ),
        (&program, &["--squash"], 64, "unknown argument '--squash'"),
    ] {
        let (exit, says) = refusal(&mut build(program, folder.path(), more))?;
        assert_eq!(exit, Some(code), "{says}");
        assert!(says.contains(part), "{part} in {says}");
        assert!(!folder.path().join("castoff.tar").exists(), "{part}");
    }
    let (exit, says) = refusal(build(&program, folder.path(), &[]).env("SOURCE_DATE_EPOCH", "now"))?;
    assert_eq!(exit, Some(64));
    assert!(says.contains("SOURCE_DATE_EPOCH is 'now'"), "{says}");
    Ok(())
}
