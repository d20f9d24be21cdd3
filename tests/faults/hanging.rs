//! A file system that never answers: a FUSE mount whose device nobody reads, like a network disk whose server is gone.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, unmount,
};

/// A mount on which every access waits until the mount is dropped. Then each access fails, and the directory below is
/// visible again.
pub(crate) struct HangingMount {
    device: Option<File>,
    point: PathBuf,
}

impl HangingMount {
    /// Mounts it over a directory.
    pub(crate) fn over(point: &Path) -> Result<Self> {
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.context("open /dev/fuse")?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = std::ffi::CString::new(options)?;
        mount("hanging", point, "fuse", MountFlags::empty(), Some(options.as_c_str()))
            .with_context(|| format!("mount over {}", point.display()))?;
        Ok(Self {
            device: Some(device),
            point: point.to_owned(),
        })
    }
}

impl Drop for HangingMount {
    fn drop(&mut self) {
        // The kernel fails every waiting access when the device is closed.
        drop(self.device.take());
        if let Err(error) = unmount(&self.point, UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.point.display());
        }
    }
}

/// A directory that has the files of another one, and can be covered without touching that one.
pub(crate) struct Copy {
    point: PathBuf,
    _folder: tempfile::TempDir,
}

impl Copy {
    /// Mounts `folder`, with everything that is mounted below it, at a new place.
    pub(crate) fn of(folder: &str) -> Result<Self> {
        let place = tempfile::tempdir()?;
        let point = place.path().join("copy");
        fs::create_dir(&point)?;
        mount_bind_recursive(folder, &point).with_context(|| format!("bind {folder}"))?;
        let copy = Self { point, _folder: place };
        // Otherwise a mount over the copy would cover the directory itself.
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change(&copy.point, private).with_context(|| format!("separate the copy of {folder}"))?;
        Ok(copy)
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.point
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.point, UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.point.display());
        }
    }
}
