//! Programs that no package has, built from pinned Go modules into the cache.
//!
//! Each has a directory in `tests/lab/go` with its `go.mod` and a complete `go.sum`, so that the tested sources are the
//! ones that are built.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::FlockOperation;

use super::packages;
use super::rooms;
use super::suites::Unavailable;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lab/go");

/// A program that is built from a Go module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// The newest containerd, with its shim and `ctr`.
    Containerd,
    /// CRI-O, and its `pinns`.
    Crio,
    /// A kubelet 1.23, the last that has dockershim.
    Dockershim,
    /// A complete Kubernetes in one program, the newest.
    Kubernetes,
    /// The same of an older line, in whose cluster a kubelet 1.23 works.
    OlderKubernetes,
}

impl Module {
    /// Returns the module's path and version, as in its `go.mod`.
    pub fn pin(self) -> String {
        format!("{} {}", self.path(), self.version())
    }

    fn path(self) -> &'static str {
        match self {
            Self::Containerd => "github.com/containerd/containerd/v2",
            Self::Crio => "github.com/cri-o/cri-o",
            Self::Dockershim | Self::Kubernetes | Self::OlderKubernetes => "k8s.io/kubernetes",
        }
    }

    /// Returns the version, like `v1.37.2`. It is in `go.mod` and nowhere else.
    fn version(self) -> &'static str {
        let go_mod = match self {
            Self::Containerd => include_str!("../../lab/go/containerd/go.mod"),
            Self::Crio => include_str!("../../lab/go/crio/go.mod"),
            Self::Dockershim => include_str!("../../lab/go/dockershim/go.mod"),
            Self::Kubernetes => include_str!("../../lab/go/kubernetes/go.mod"),
            Self::OlderKubernetes => include_str!("../../lab/go/older-kubernetes/go.mod"),
        };
        required(go_mod, self.path()).expect("go.mod requires what it is there for")
    }

    /// Returns the build tools, except for Go.
    fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Crio => &["gcc", "pkg-config"],
            Self::Containerd | Self::Dockershim | Self::Kubernetes | Self::OlderKubernetes => &[],
        }
    }

    /// Returns the module whose `main.go` it uses, if it has none of its own.
    fn program_of(self) -> Option<Self> {
        (self == Self::OlderKubernetes).then_some(Self::Kubernetes)
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "crio",
            Self::Dockershim => "dockershim",
            Self::Kubernetes => "kubernetes",
            Self::OlderKubernetes => "older-kubernetes",
        }
    }
}

/// Returns the directory with the built programs: `bin` with those of containerd, `crio` and `pinns`, `kubelet`, or
/// `kubernetes`. The first call takes minutes.
///
/// # Errors
/// [`Unavailable`] if Go or a compiler is missing, or the module is not available, with their message.
pub fn build(module: Module) -> Result<PathBuf> {
    let source = Path::new(SOURCES).join(module.folder());
    let cache = rooms::cache()?.join("go").join(module.folder());
    fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("make the lock of a module's cache")?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("lock a module's cache")?;
    let stamp = cache.join("stamp");
    let pinned = fs::read_to_string(source.join("go.mod")).context("read a module's go.mod")?;
    let programs = cache.join("programs");
    if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == pinned) {
        return Ok(programs);
    }
    // Go may write to the directory that it builds from, and this tree must not change.
    let work = tempfile::tempdir_in(&cache).context("make a folder for a build")?;
    if let Some(other) = module.program_of() {
        let program = Path::new(SOURCES).join(other.folder()).join("main.go");
        fs::copy(program, work.path().join("main.go")).context("copy another module's program")?;
    }
    for entry in fs::read_dir(&source).with_context(|| format!("read {}", source.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), work.path().join(entry.file_name())).context("copy a module's source")?;
    }
    let refused = |error: anyhow::Error| Unavailable(format!("{error:#}"));
    packages::run(go(work.path()).args(["mod", "download"])).map_err(refused)?;
    for tool in module.tools() {
        packages::run(Command::new(tool).arg("--version")).map_err(refused)?;
    }
    fs::create_dir_all(&programs).with_context(|| format!("make {}", programs.display()))?;
    match module {
        Module::Containerd => build_containerd(work.path(), &programs, module.version())?,
        Module::Crio => build_crio(work.path(), &programs)?,
        Module::Dockershim => build_kubernetes(work.path(), &programs.join("kubelet"), module.version())?,
        Module::Kubernetes | Module::OlderKubernetes => {
            build_kubernetes(work.path(), &programs.join("kubernetes"), module.version())?;
        }
    }
    fs::write(&stamp, pinned).context("stamp a module's cache")?;
    Ok(programs)
}

fn go(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(folder)
        .env("GOFLAGS", "-mod=mod -buildvcs=false")
        .env("GOTOOLCHAIN", "local");
    go
}

/// Returns the version that a `go.mod` requires of a module.
fn required<'a>(go_mod: &'a str, path: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.split_whitespace().filter(|word| *word != "require");
        let named = words.next() == Some(path);
        words.next().filter(|version| named && version.starts_with('v'))
    })
}

/// Without these flags a program of Kubernetes does not know its own version.
fn build_kubernetes(work: &Path, program: &Path, version: &str) -> Result<()> {
    let minor = version.split('.').nth(1).context("a version has a minor")?;
    let package = "k8s.io/component-base/version";
    let flags =
        format!("-s -w -X {package}.gitVersion={version} -X {package}.gitMajor=1 -X {package}.gitMinor={minor}");
    let mut build = go(work);
    build.args(["build", "-trimpath", "-ldflags", &flags, "-o"]);
    packages::run(build.arg(program).arg(".").env("CGO_ENABLED", "0"))
}

/// Without the flag a containerd does not know its own version.
fn build_containerd(work: &Path, programs: &Path, version: &str) -> Result<()> {
    let module = Module::Containerd.path();
    let flags = format!("-s -w -X {module}/version.Version={}", version.trim_start_matches('v'));
    let folder = programs.join("bin");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let commands = ["containerd", "containerd-shim-runc-v2", "ctr"].map(|command| format!("{module}/cmd/{command}"));
    let mut build = go(work);
    build.args(["build", "-trimpath", "-ldflags", &flags, "-o"]).arg(folder);
    packages::run(build.args(commands).env("CGO_ENABLED", "0"))
}

/// Uses the tags with which CRI-O's own build leaves out what needs more libraries.
fn build_crio(work: &Path, programs: &Path) -> Result<()> {
    const TAGS: &str = "libsqlite3 containers_image_openpgp exclude_graphdriver_btrfs exclude_graphdriver_devicemapper \
                        containers_image_ostree_stub";
    let headers = headers(programs)?;
    let mut build = go(work);
    build.args(["build", "-trimpath", "-ldflags", "-s -w", "-tags", TAGS, "-o"]);
    build.arg(programs.join("crio")).arg("github.com/cri-o/cri-o/cmd/crio");
    for (variable, value) in &headers {
        build.env(variable, value);
    }
    packages::run(build.env("CGO_ENABLED", "1"))?;
    let folder = packages::output(go(work).args(["list", "-m", "-f", "{{.Dir}}", "github.com/cri-o/cri-o"]))?;
    let source = Path::new(&folder).join("pinns/src");
    let mut compile = Command::new("gcc");
    compile
        .args(["-std=c99", "-Os", "-static", "-o"])
        .arg(programs.join("pinns"));
    packages::run(compile.args(["pinns.c", "sysctl.c"]).current_dir(source))
}

/// Returns the variables for the headers that cgo needs, which are unpacked next to the programs.
fn headers(programs: &Path) -> Result<Vec<(&'static str, String)>> {
    let tree = programs.join("headers");
    packages::unpack_into(
        &["libseccomp-dev", "libseccomp2", "libsqlite3-dev", "libsqlite3-0"],
        &tree,
    )?;
    let libraries = packages::library_path(&tree);
    let description = libraries.split(':').map(|folder| format!("{folder}/pkgconfig"));
    let description = description.collect::<Vec<_>>().join(":");
    ensure!(
        tree.join("usr/include/seccomp.h").exists(),
        "libseccomp-dev has no seccomp.h"
    );
    let include = tree.join("usr/include");
    let flags: Vec<String> = libraries.split(':').map(|folder| format!("-L{folder}")).collect();
    Ok(vec![
        ("PKG_CONFIG_PATH", description),
        ("PKG_CONFIG_SYSROOT_DIR", tree.display().to_string()),
        ("CGO_CFLAGS", format!("-O2 -I{}", include.display())),
        ("CGO_LDFLAGS", flags.join(" ")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_is_pinned_by_its_go_mod() {
        let all = [
            Module::Containerd,
            Module::Crio,
            Module::Dockershim,
            Module::Kubernetes,
            Module::OlderKubernetes,
        ];
        for module in all {
            let parts = module.version().trim_start_matches('v').split('.');
            let numbers: Vec<u32> = parts.filter_map(|part| part.parse().ok()).collect();
            assert_eq!(numbers.len(), 3, "{}", module.pin());
        }
        let replaced = "require (\n\tk8s.io/api v0.0.0\n)\nreplace k8s.io/api => k8s.io/api v0.34.4\n";
        assert_eq!(required(replaced, "k8s.io/api"), Some("v0.0.0"));
        assert_eq!(required("replace k8s.io/api => ./api\n", "k8s.io/api"), None);
        assert_eq!(required("require k8s.io/api v1.2.3\n", "k8s.io/api"), Some("v1.2.3"));
    }
}
