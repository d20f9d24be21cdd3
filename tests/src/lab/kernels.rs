//! Kernels of Debian's releases for virtual machines: the cloud images' kernels, unpacked into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::packages::{self, Programs};
use super::rooms;
use super::suites::{Private, Suite, Unavailable};

/// The package that depends on the newest cloud kernel of a release.
const META: &str = "linux-image-cloud-amd64";
/// The prefixes of the packages with the kernel and its modules; the release's version follows. Older releases have one
/// package for both.
const PARTS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];
/// The module through which `sock_diag` lists Unix sockets. Debian does not build it in.
pub const UNIX_DIAG: &str = "unix_diag.ko";

/// A kernel, ready to boot.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The compressed kernel.
    pub image: PathBuf,
    /// [`UNIX_DIAG`].
    pub unix_diag: PathBuf,
}

/// Returns the cloud kernel of a release, which the first call downloads (20 to 37 MB).
///
/// # Errors
/// [`Unavailable`] if the archive does not answer or has no such kernel.
pub fn kernel(suite: Suite) -> Result<Kernel> {
    let folder = rooms::tool(&format!("kernel-{}-1", suite.name()), |folder| fill(suite, folder))?;
    Ok(Kernel {
        image: folder.join("vmlinuz"),
        unix_diag: folder.join(UNIX_DIAG),
    })
}

fn fill(suite: Suite, folder: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(folder).context("make a folder for the packages")?;
    let archives = work.path().join("archives");
    let wanted = Private::of(suite, work.path())
        .and_then(|apt| apt.update().map(|()| apt))
        .and_then(|apt| {
            let wanted = parts(&apt)?;
            apt.download(&wanted, &archives)?;
            Ok(wanted)
        })
        .map_err(|error| Unavailable(format!("{error:#}")))?;
    let tree = work.path().join("tree");
    fs::create_dir_all(&tree).context("make a folder for the unpacked packages")?;
    for entry in fs::read_dir(&archives).context("read the downloaded packages")? {
        let package = entry?.path();
        if package.extension().is_some_and(|kind| kind == "deb") {
            packages::run(Command::new("dpkg").arg("-x").arg(&package).arg(&tree))?;
        }
    }
    let image = find(&tree, &|name| name.starts_with("vmlinuz"));
    let image = image.with_context(|| format!("no kernel in {wanted:?}"))?;
    fs::copy(image, folder.join("vmlinuz")).context("keep the kernel")?;
    let module = find(&tree, &|name| name.starts_with(UNIX_DIAG));
    let module = module.with_context(|| format!("no {UNIX_DIAG} in {wanted:?}"))?;
    fs::write(folder.join(UNIX_DIAG), plain(&module)?).context("keep the module")
}

/// Returns the packages with the kernel and its modules.
fn parts(apt: &Private) -> Result<Vec<String>> {
    let is_part = |name: &&String| {
        PARTS.iter().any(|part| {
            name.strip_prefix(part)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    let mut found: Vec<String> = apt.depends(META)?.iter().filter(is_part).cloned().collect();
    ensure!(!found.is_empty(), "{META} depends on no kernel");
    let behind = apt.depends(&found[0])?;
    found.extend(behind.iter().filter(is_part).cloned());
    Ok(found)
}

/// Returns the bytes of a module; newer releases compress their modules.
fn plain(module: &Path) -> Result<Vec<u8>> {
    if module.extension().is_none_or(|kind| kind != "xz") {
        return fs::read(module).context("read the module");
    }
    let mut unpack = Programs::debian()?.command("busybox")?;
    let output = unpack.arg("xzcat").arg(module).output().context("start busybox")?;
    ensure!(output.status.success(), "busybox xzcat: {}", output.status);
    Ok(output.stdout)
}

/// Returns the first file below a directory with such a name.
fn find(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && wanted(&entry.file_name().to_string_lossy()) {
                return Some(entry.path());
            }
        }
    }
    None
}
