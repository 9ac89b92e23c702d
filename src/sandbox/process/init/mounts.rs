//! The file tree of a job: a fresh, read-only root with what of the machine is shown, and the job's own folders on a file system of
//! bounded size.
//!
//! INVARIANT: every mount point is made in the fresh root before anything of a job is attached, and every source is a descriptor opened
//! without following a link, so no path of a job's making is ever resolved here.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
};

use super::super::job::Mount;
use super::super::protocol::Order;
use super::sys::{MountChange, mount_setattr};

/// The job's folders: name on the box, place in the sandbox.
pub(super) const FOLDERS: &[(&str, &str)] =
    &[("work", "work"), ("out", "out"), ("tmp", "tmp"), ("shm", "dev/shm"), ("run", "run"), ("toolgate", "toolgate")];
/// Those of them that a job writes to.
pub(super) fn writable(order: &Order) -> impl Iterator<Item = &'static str> + use<> {
    order.may_write_work.then_some("/work").into_iter().chain(["/out", "/tmp", "/dev/shm", "/run"])
}
/// Devices that do nothing but give and take bytes.
pub(super) const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Files of the fresh root.
const ETC: &[(&str, &str)] = &[
    ("passwd", "sandbox:x:1000:1000:sandbox:/tmp:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("group", "sandbox:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("hostname", "sandbox\n"),
];
/// Parts of the machine's `/etc` that programs need to run: where libraries are, certificates, zones.
const ETC_SHOWN: &[&str] = &[
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "ssl/certs",
    "ca-certificates",
    "localtime",
    "mime.types",
    "debian_version",
    "os-release",
];
/// Where the box stands until its folders are in their places; an empty folder afterwards.
const BOX: &str = "mnt";
/// Where the new root stands until it is the root.
const STAGING: &str = "/tmp";

/// A tree of the machine, taken but not attached yet.
pub(super) struct Taken {
    tree: OwnedFd,
    mount: Mount,
    is_folder: bool,
}

/// Names the layer of an error.
type Step<T> = Result<T, (&'static str, io::Error)>;

fn at(layer: &'static str) -> impl FnOnce(rustix::io::Errno) -> (&'static str, io::Error) {
    move |error| (layer, error.into())
}

/// Takes every tree that the order names, and of the rest what is there.
pub(super) fn take(order: &Order) -> Step<Vec<Taken>> {
    let mut taken = Vec::new();
    for mount in &order.mounts {
        taken.push(take_one(mount).map_err(|error| ("mounts", io::Error::other(format!("{}: {error}", mount.host.display()))))?);
    }
    let optional = ETC_SHOWN.iter().map(|name| format!("/etc/{name}")).chain(DEVICES.iter().map(|device| (*device).to_owned()));
    for path in optional {
        // Links of the system itself, such as /etc/localtime.
        let Ok(real) = std::fs::canonicalize(&path) else { continue };
        let mount = Mount { host: real, inside: path.into(), writable: false };
        if let Ok(one) = take_one(&mount) {
            taken.push(one);
        }
    }
    Ok(taken)
}

fn take_one(mount: &Mount) -> io::Result<Taken> {
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let source = openat2(CWD, &mount.host, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), no_links)?;
    let found = rustix::fs::fstat(&source)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(&source, "", flags)?;
    let kind = FileType::from_raw_mode(found.st_mode);
    let mut set = u64::from(MountAttrFlags::MOUNT_ATTR_NOSUID.bits());
    if kind != FileType::CharacterDevice {
        set |= u64::from(MountAttrFlags::MOUNT_ATTR_NODEV.bits());
    }
    if !mount.writable && kind != FileType::CharacterDevice {
        set |= u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits());
    }
    mount_setattr(tree.as_fd(), MountChange { set, propagation: libc::MS_PRIVATE, below: true })?;
    Ok(Taken { tree, mount: mount.clone(), is_folder: kind == FileType::Directory })
}

/// Builds the tree and leaves this process in its root. Gives the box: the descriptor of the file system with the job's folders.
pub(super) fn build(order: &Order, taken: Vec<Taken>) -> Step<OwnedFd> {
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).map_err(at("mounts"))?;
    let root = fresh("1m", "4096", true).map_err(at("root"))?;
    points(root.as_fd(), order, &taken).map_err(at("root"))?;
    let attach = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&root, "", CWD, STAGING, attach).map_err(at("root"))?;
    // A descriptor of the attached mount's own root.
    let root = openat(CWD, STAGING, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(at("root"))?;

    for one in &taken {
        move_mount(&one.tree, "", &root, below(&one.mount.inside), attach).map_err(at("mounts"))?;
    }
    drop(taken);
    let proc = process_files().map_err(at("proc"))?;
    move_mount(&proc, "", &root, "proc", attach).map_err(at("proc"))?;
    let folders = job_folders(order, root.as_fd()).map_err(at("folders"))?;
    Ok(folders)
}

/// Makes the tree the root, and the root read-only.
pub(super) fn enter() -> Step<()> {
    rustix::process::chdir(STAGING).map_err(at("root"))?;
    rustix::process::pivot_root(".", ".").map_err(at("root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(at("root"))?;
    rustix::process::chdir("/").map_err(at("root"))?;
    let root = openat(CWD, "/", OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(at("root"))?;
    let read_only = MountChange { set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()), ..MountChange::default() };
    mount_setattr(root.as_fd(), read_only).map_err(|error| ("root", error))
}

/// A new file system in memory.
fn fresh(size: &str, inodes: &str, may_run: bool) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "size", size)?;
    fsconfig_set_string(&context, "nr_inodes", inodes)?;
    fsconfig_set_string(&context, "mode", "0755")?;
    fsconfig_create(&context)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    if !may_run {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Every place where something will be attached, and the files that are ours.
fn points(root: BorrowedFd<'_>, order: &Order, taken: &[Taken]) -> rustix::io::Result<()> {
    for folder in ["etc", "dev", "proc", BOX] {
        make_folder(root, Path::new(folder))?;
    }
    for (_, inside) in FOLDERS {
        make_folder(root, Path::new(inside))?;
    }
    for one in taken {
        let inside = below(&one.mount.inside);
        if one.is_folder {
            make_folder(root, inside)?;
        } else {
            make_folder(root, inside.parent().unwrap_or_else(|| Path::new("")))?;
            write(root, inside, b"")?;
        }
    }
    for (name, target) in &order.links {
        match symlinkat(target, root, name) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    for (name, text) in ETC {
        write(root, &Path::new("etc").join(name), text.as_bytes())?;
    }
    for (name, target) in
        [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")]
    {
        symlinkat(target, root, Path::new("dev").join(name))?;
    }
    Ok(())
}

/// `/proc` of the new process namespace alone.
fn process_files() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Kernels before 5.8 do not know it.
    let _older = fsconfig_set_string(&context, "subset", "pid");
    fsconfig_set_flag(&context, "ro")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_RDONLY;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// The box with its folders, each attached at its place; the box itself is left nowhere in the tree.
fn job_folders(order: &Order, root: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let folders = fresh(&order.caps.disk.to_string(), &order.caps.files.saturating_add(8).to_string(), true)?;
    for (name, _) in FOLDERS {
        mkdirat(&folders, *name, Mode::from_raw_mode(0o755))?;
    }
    match attach_folders(order, &folders, root) {
        // Before Linux 6.15 a tree can be taken only from what is attached.
        Err(rustix::io::Errno::INVAL) => {
            move_mount(&folders, "", root, BOX, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            attach_folders(order, &folders, root)?;
            unmount(format!("{STAGING}/{BOX}"), UnmountFlags::DETACH)?;
        }
        other => other?,
    }
    Ok(folders)
}

fn attach_folders(order: &Order, folders: &OwnedFd, root: BorrowedFd<'_>) -> rustix::io::Result<()> {
    for (name, inside) in FOLDERS {
        let tree = open_tree(folders, *name, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
        if !writable(order).any(|path| path.trim_start_matches('/') == *inside) {
            let change = MountChange { set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()), ..MountChange::default() };
            mount_setattr(tree.as_fd(), change)
                .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::PERM))?;
        }
        move_mount(&tree, "", root, *inside, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    }
    Ok(())
}

/// A path of the sandbox, seen from its root.
fn below(inside: &Path) -> &Path {
    inside.strip_prefix("/").unwrap_or(inside)
}

/// Makes a folder with those above it, in the fresh root, where every component is ours.
fn make_folder(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<()> {
    let mut so_far = std::path::PathBuf::new();
    for part in path.components() {
        let Component::Normal(name) = part else { return Err(rustix::io::Errno::INVAL) };
        so_far.push(name);
        match mkdirat(root, &so_far, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write(root: BorrowedFd<'_>, path: &Path, bytes: &[u8]) -> rustix::io::Result<()> {
    if statat(root, path, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(());
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(root, path, flags, Mode::from_raw_mode(0o644))?;
    rustix::io::write(&file, bytes).map(drop)
}
