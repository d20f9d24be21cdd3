//! Mounts that the usual tools do not make, one per mode. Each prints `ready` like every client, once it is ready:
//!
//! - `idmapped FROM TO`: mounts a directory with other owners (`MOUNT_ATTR_IDMAP`)
//! - `inject PID FROM TO`: mounts a directory in the mount namespace of another process
//! - `late PATH`, `late-tcp ADDRESS`: is ready at once, and connects as soon as it can
//! - `jailed FOLDER PATH`: makes the folder its root, and a child connects that keeps the usual one
//! - `outside FOLDER PATH`: makes the folder its root, and connects by its working directory, which is not below it
//! - `unmounted PATH`: unmounts the path in a mount namespace of its own, and a child connects that keeps the usual one
//! - `pivoted FOLDER PATH`: connects below a root of its own at the folder, from which the machine's is gone

use std::ffi::{c_char, c_int, c_long};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::chroot;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process;
use std::thread;
use std::time::Duration;

use super::tricks::{AT_FDCWD, CLONE_NEWNS, CLONE_NEWUSER, MS_BIND, check, mount, setns, syscall, text};
use super::{split, stand, stay, unshare};

const AT_EMPTY_PATH: c_long = 0x1000;
const OPEN_TREE_CLONE: c_long = 1;
const MOVE_MOUNT_FROM_EMPTY: c_long = 4;
const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
const MS_PRIVATE_REC: u64 = 0x4_0000 | 0x4000;
const MNT_DETACH: c_int = 2;
const SYS_OPEN_TREE: c_long = 428;
const SYS_MOVE_MOUNT: c_long = 429;
const SYS_MOUNT_SETATTR: c_long = 442;
const SYS_PIVOT_ROOT: c_long = if cfg!(target_arch = "x86_64") { 155 } else { 41 };
/// The users of the mount: root of the file system is this one.
const OWNERS: &str = "0 100000 65536";

/// `struct mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

unsafe extern "C" {
    fn umount2(target: *const c_char, flags: c_int) -> c_int;
}

/// Runs a mode of this file. Returns none for any other.
pub fn run(args: &[&str], until_eof: bool) -> Option<io::Result<()>> {
    let stand = |()| stand(until_eof, process::id());
    Some(match *args {
        ["idmapped", from, to] => mount_with_other_owners(from, to).and_then(stand),
        ["inject", pid, from, to] => mount_in(pid, from, to).and_then(stand),
        ["late", path] => {
            let path = path.to_owned();
            hold_later(move || UnixStream::connect(&path));
            stand(())
        }
        ["late-tcp", address] => {
            let address = address.to_owned();
            hold_later(move || TcpStream::connect(&address));
            stand(())
        }
        ["jailed", folder, path] => connect_in_a_child(path, until_eof, || {
            fs::create_dir(folder)?;
            chroot(folder)
        }),
        ["outside", folder, path] => leave_root(folder, Path::new(path)).and_then(|_connection| stand(())),
        ["unmounted", path] => connect_in_a_child(path, until_eof, || unmount_alone(path)),
        ["pivoted", folder, path] => pivot(folder, Path::new(path)).and_then(|_connection| stand(())),
        _ => return None,
    })
}

/// Holds the first connection that can be made, until the process ends.
fn hold_later<T: 'static>(connect: impl Fn() -> io::Result<T> + Send + 'static) {
    thread::spawn(move || {
        loop {
            if let Ok(_held) = connect() {
                loop {
                    thread::park();
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
}

/// Returns a mount of the directory that is attached nowhere yet.
fn clone_tree(from: &str) -> io::Result<OwnedFd> {
    let from = text(from)?;
    // SAFETY: the name outlives the call, which makes the descriptor.
    unsafe {
        let tree = syscall(SYS_OPEN_TREE, c_long::from(AT_FDCWD), from.as_ptr(), OPEN_TREE_CLONE);
        Ok(OwnedFd::from_raw_fd(check(tree as c_int)?))
    }
}

fn attach(tree: &OwnedFd, to: &str) -> io::Result<()> {
    let (here, to) = (text("")?, text(to)?);
    let (tree, cwd) = (c_long::from(tree.as_raw_fd()), c_long::from(AT_FDCWD));
    // SAFETY: both names outlive the call.
    let moved = unsafe {
        syscall(
            SYS_MOVE_MOUNT,
            tree,
            here.as_ptr(),
            cwd,
            to.as_ptr(),
            MOVE_MOUNT_FROM_EMPTY,
        )
    };
    check(moved as c_int).map(drop)
}

fn mount_with_other_owners(from: &str, to: &str) -> io::Result<()> {
    let (mut near, far) = UnixStream::pair()?;
    let mut near_of_child = Some(near.try_clone()?);
    let child = split(|| {
        drop(near_of_child.take());
        // SAFETY: no thread runs.
        check(unsafe { unshare(CLONE_NEWUSER) })?;
        (&far).write_all(b"x")?;
        (&far).read_exact(&mut [0])
    })?;
    near.read_exact(&mut [0])?;
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{child}/{map}"), OWNERS)?;
    }
    let owners = fs::File::open(format!("/proc/{child}/ns/user"))?;
    near.write_all(b"x")?;
    let tree = clone_tree(from)?;
    let attributes = MountAttributes {
        set: MOUNT_ATTR_IDMAP,
        clear: 0,
        propagation: 0,
        user_namespace: owners.as_raw_fd() as u64,
    };
    let here = text("")?;
    // SAFETY: the name and the attributes outlive the call, and have the length that is stated.
    let set = unsafe {
        let (tree, size) = (c_long::from(tree.as_raw_fd()), size_of::<MountAttributes>());
        syscall(
            SYS_MOUNT_SETATTR,
            tree,
            here.as_ptr(),
            AT_EMPTY_PATH,
            &raw const attributes,
            size,
        )
    };
    check(set as c_int)?;
    attach(&tree, to)
}

fn mount_in(pid: &str, from: &str, to: &str) -> io::Result<()> {
    let tree = clone_tree(from)?;
    let namespace = fs::File::open(format!("/proc/{pid}/ns/mnt"))?;
    // SAFETY: the descriptor is open, and no thread runs.
    check(unsafe { setns(namespace.as_raw_fd(), CLONE_NEWNS) })?;
    fs::create_dir(to)?;
    attach(&tree, to)
}

/// Starts a child, changes what this process sees, and then the child connects and is ready.
fn connect_in_a_child(path: &str, until_eof: bool, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (mut near, mut far) = UnixStream::pair()?;
    split(|| {
        far.read_exact(&mut [0])?;
        let _connection = UnixStream::connect(path)?;
        super::stand(until_eof, process::id())
    })?;
    change()?;
    near.write_all(b"x")?;
    stay(until_eof)
}

fn leave_root(folder: &str, path: &Path) -> io::Result<UnixStream> {
    let (from, name) = path.parent().zip(path.file_name()).ok_or(io::ErrorKind::InvalidInput)?;
    std::env::set_current_dir(from)?;
    fs::create_dir(folder)?;
    chroot(folder)?;
    UnixStream::connect(name)
}

fn unmount_alone(path: &str) -> io::Result<()> {
    let (all, path) = (text("/")?, text(path)?);
    let none = std::ptr::null();
    // SAFETY: every name outlives its call; no thread runs.
    unsafe {
        check(unshare(CLONE_NEWNS))?;
        check(mount(none, all.as_ptr(), none, MS_PRIVATE_REC, none.cast()))?;
        check(umount2(path.as_ptr(), MNT_DETACH)).map(drop)
    }
}

fn pivot(folder: &str, path: &Path) -> io::Result<UnixStream> {
    let (from, name) = path.parent().zip(path.file_name()).ok_or(io::ErrorKind::InvalidInput)?;
    let (root, below) = (text(folder)?, format!("{folder}/run"));
    let (all, kind) = (text("/")?, text("tmpfs")?);
    let none = std::ptr::null();
    // SAFETY: every name outlives its call; no thread runs.
    unsafe {
        check(unshare(CLONE_NEWNS))?;
        check(mount(none, all.as_ptr(), none, MS_PRIVATE_REC, none.cast()))?;
        check(mount(kind.as_ptr(), root.as_ptr(), kind.as_ptr(), 0, none.cast()))?;
        fs::create_dir(&below)?;
        let (from, to) = (text(&from.to_string_lossy())?, text(&below)?);
        check(mount(from.as_ptr(), to.as_ptr(), none, MS_BIND, none.cast()))?;
        check(syscall(SYS_PIVOT_ROOT, root.as_ptr(), root.as_ptr()) as c_int)?;
        check(umount2(all.as_ptr(), MNT_DETACH))?;
    }
    std::env::set_current_dir("/")?;
    UnixStream::connect(Path::new("/run").join(name))
}
