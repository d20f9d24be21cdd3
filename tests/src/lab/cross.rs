//! A Rust compiler, a linker and an emulator for programs of arm64 on a machine of amd64: Debian's packages, unpacked
//! into the cache.
//!
//! rustup downloads the standard library of another architecture from a server of its own, which a test machine may not
//! reach. Debian has the library as a package, for the compiler of the same release only. The stable releases have an
//! older compiler than castoff needs, so both come from unstable. The linker, the C library and the emulator are those
//! of this machine's own release.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::packages;
use super::rooms;
use super::suites::{Private, Suite};

/// The name in the cache. The number changes with the contents.
const NAME: &str = "arm64-1";
/// The packages of unstable.
const COMPILER: [&str; 2] = ["rustc", "libstd-rust-dev:arm64"];
/// The packages of this machine's release.
const OTHERS: [&str; 3] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static"];
/// The program that runs programs of arm64.
const EMULATOR: &str = "qemu-aarch64-static";
/// Runs the compiler with the C library of its own release.
const WRAPPER: &str = r#"#!/bin/sh
tree=$(dirname "$(readlink -f "$0")")/compiler/usr
exec "$tree/lib64/ld-linux-x86-64.so.2" --library-path "$tree/lib/x86_64-linux-gnu" "$tree/bin/rustc" "$@"
"#;

/// The unpacked programs.
#[derive(Debug, Clone)]
pub struct Cross {
    folder: PathBuf,
}

impl Cross {
    /// Returns the programs, which the first call unpacks into the cache (370 MB of packages, half a minute).
    ///
    /// # Errors
    /// This machine is not of amd64, or the archive does not have the packages, with the end of apt's output.
    pub fn fetched() -> Result<Self> {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "the packages of a compiler for arm64 are those for amd64, and this machine is of another architecture"
        );
        let folder = rooms::tool(NAME, |folder| {
            unpack_compiler(&folder.join("compiler"))?;
            packages::unpack_into(&OTHERS, &folder.join("others"))?;
            remove_other_emulators(&folder.join("others/usr/bin"))?;
            let wrapper = folder.join("rustc");
            fs::write(&wrapper, WRAPPER).context("write the compiler's wrapper")?;
            fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).context("make it executable")?;
            // A compiler that does not start is not kept.
            packages::output(Command::new(&wrapper).arg("--version")).map(drop)
        })?;
        Ok(Self { folder })
    }

    /// Sets the variables with which `deploy/image/build` compiles for arm64.
    pub fn prepare(&self, command: &mut Command) -> Result<()> {
        let own = self.folder.join("others/usr/bin");
        let path = env::var_os("PATH").unwrap_or_default();
        let all = [own].into_iter().chain(env::split_paths(&path));
        let path: OsString = env::join_paths(all).context("extend PATH")?;
        command
            .env("RUSTC", self.folder.join("rustc"))
            .env("PATH", path)
            .env("LD_LIBRARY_PATH", packages::library_path(&self.folder.join("others")));
        Ok(())
    }

    /// Returns the command that runs castoff for arm64, in the emulator. With backtraces asked for, castoff would start
    /// itself again, and the kernel cannot start a program of arm64.
    pub fn run(&self, program: &Path) -> Command {
        let mut command = Command::new(self.folder.join("others/usr/bin").join(EMULATOR));
        command.arg(program);
        command.env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE");
        command
    }
}

/// Removes the emulators of other architectures, which are most of their package.
fn remove_other_emulators(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).context("read the unpacked programs")? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("qemu-") && name != EMULATOR {
            fs::remove_file(entry.path()).context("remove an emulator")?;
        }
    }
    Ok(())
}

/// Unpacks the compiler, its libraries, and the standard libraries of both architectures.
fn unpack_compiler(tree: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(rooms::cache()?).context("make a folder for the packages")?;
    let apt = Private::of(Suite::Sid, work.path())?.with_architectures(&["amd64", "arm64"])?;
    apt.update()?;
    apt.download_with_dependencies(&COMPILER)?;
    fs::create_dir_all(tree).with_context(|| format!("make {}", tree.display()))?;
    for entry in fs::read_dir(work.path().join("archives")).context("read the downloaded packages")? {
        let package = entry?.path();
        if is_needed(package.file_name().unwrap_or_default()) {
            packages::run(Command::new("dpkg").arg("-x").arg(&package).arg(tree))?;
        }
    }
    Ok(())
}

/// True for the file of a package that the compiler needs to run, or to link for arm64. The dependencies also have a
/// linker for amd64, and the libraries of a compiler that would run on arm64.
fn is_needed(file: &OsStr) -> bool {
    let file = file.to_string_lossy();
    let Some((name, rest)) = file.split_once('_') else {
        return false;
    };
    match rest.rsplit_once('_') {
        Some((_, "amd64.deb")) => name == "rustc" || name == "zlib1g" || name.starts_with("lib"),
        Some((_, "arm64.deb")) => name == "libstd-rust-dev",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_needed_packages_are_the_compiler_its_libraries_and_both_standard_libraries() {
        for (file, needed) in [
            ("rustc_1.97.1+dfsg1-1_amd64.deb", true),
            ("libllvm22_1%3a22.1.8-3_amd64.deb", true),
            ("zlib1g_1%3a1.3.2-4_amd64.deb", true),
            ("libstd-rust-dev_1.97.1+dfsg1-1_amd64.deb", true),
            ("libstd-rust-dev_1.97.1+dfsg1-1_arm64.deb", true),
            ("libllvm22_1%3a22.1.8-3_arm64.deb", false),
            ("gcc-16_16.2.0-4_amd64.deb", false),
            ("linux-libc-dev_7.2.13-1_all.deb", false),
            ("lock", false),
        ] {
            assert_eq!(is_needed(OsStr::new(file)), needed, "{file}");
        }
    }
}
