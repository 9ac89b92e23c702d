//! Paths: how they are followed, and a call's whole tree.
//!
//! INVARIANT: no path leads above the folder it starts from.

use std::sync::{Arc, OnceLock};

use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use crate::domain::{ErrorCode as Code, Fault, twin_key};
use crate::sandbox::{GuestFile, ProducedFile};

use super::node::{File, Folder, Ledger, Node};

/// The mode of every produced file: WASI has no permission bits.
const MODE: u32 = 0o644;

/// The longest path that is followed, in parts.
const DEEPEST: usize = 64;

/// Where a path leads: the folders on the way, and the last name, if it ends in one.
pub(super) struct Place<'p> {
    pub(super) way: Vec<Arc<Folder>>,
    pub(super) folder: Arc<Folder>,
    pub(super) name: Option<&'p str>,
}

impl Place<'_> {
    /// What is there.
    pub(super) fn node(&self) -> Result<Node, ErrorCode> {
        match self.name {
            Some(name) => self.folder.get(name).ok_or(ErrorCode::NoEntry),
            None => Ok(Node::Folder(self.folder.clone())),
        }
    }

    /// The last name, for acts that need one.
    pub(super) fn name(&self) -> Result<&str, ErrorCode> {
        self.name.ok_or(ErrorCode::Invalid)
    }
}

/// Follows a path up to its last name.
pub(super) fn place<'p>(base: &Arc<Folder>, path: &'p str) -> Result<Place<'p>, ErrorCode> {
    if path.is_empty() {
        return Err(ErrorCode::NoEntry);
    }
    if path.starts_with('/') {
        return Err(ErrorCode::NotPermitted);
    }
    let mut way: Vec<Arc<Folder>> = Vec::new();
    let mut here = base.clone();
    let mut last = None;
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if let Some(name) = last.take() {
            let next = match here.get(name) {
                Some(Node::Folder(folder)) => folder,
                Some(Node::File(_) | Node::Null) => return Err(ErrorCode::NotDirectory),
                None => return Err(ErrorCode::NoEntry),
            };
            way.push(std::mem::replace(&mut here, next));
            if way.len() > DEEPEST {
                return Err(ErrorCode::NameTooLong);
            }
        }
        if part == ".." {
            here = way.pop().ok_or(ErrorCode::NotPermitted)?;
        } else {
            last = Some(part);
        }
    }
    Ok(Place { way, folder: here, name: last })
}

/// What a path leads to.
pub(super) fn find(base: &Arc<Folder>, path: &str) -> Result<Node, ErrorCode> {
    place(base, path)?.node()
}

/// Moves a file or folder. As POSIX has it, a file replaces a file and a folder an empty folder.
pub(super) fn rename(from: &Place<'_>, to: &Place<'_>) -> Result<(), ErrorCode> {
    let (name, new_name) = (from.name()?, to.name()?);
    from.folder.may_change()?;
    to.folder.may_change()?;
    let node = from.node()?;
    if let Some(there) = to.folder.get(new_name) {
        if there.id() == node.id() {
            return Ok(());
        }
        match (&node, &there) {
            (Node::Folder(_), Node::Folder(there)) if !there.read().is_empty() => return Err(ErrorCode::NotEmpty),
            (Node::Folder(_), Node::Folder(_)) | (Node::File(_) | Node::Null, Node::File(_) | Node::Null) => {}
            (Node::Folder(_), Node::File(_) | Node::Null) => return Err(ErrorCode::NotDirectory),
            (Node::File(_) | Node::Null, Node::Folder(_)) => return Err(ErrorCode::IsDirectory),
        }
    }
    if let Node::Folder(moved) = &node
        && to.way.iter().chain([&to.folder]).any(|folder| folder.id == moved.id)
    {
        return Err(ErrorCode::Invalid);
    }
    if to.folder.get(new_name).is_some() {
        to.folder.remove(new_name)?;
    }
    from.folder.give(name, &to.folder, new_name)
}

/// One call's tree.
#[derive(Clone)]
pub(in crate::sandbox::wasm) struct Disk {
    pub(super) root: Arc<Folder>,
    work: Arc<Folder>,
    out: Arc<Folder>,
    /// What was given to the program: path and bytes.
    given: Arc<OnceLock<Arc<[GuestFile]>>>,
    pub(in crate::sandbox::wasm) ledger: Arc<Ledger>,
}

impl Disk {
    /// The tree of a guest that has no call yet: the library, and folders with nothing in them.
    pub(in crate::sandbox::wasm) fn new(library: &Library, ledger: Arc<Ledger>) -> Self {
        let (root, work, dev) = (Folder::fixed(), Folder::fixed(), Folder::fixed());
        // What is produced goes to other file systems later, where two spellings may be one file.
        let (out, tmp) = (Folder::open_without_twins(&ledger), Folder::open(&ledger));
        dev.put("null", Node::Null);
        for (name, folder) in [("python", &library.0), ("work", &work), ("dev", &dev), ("out", &out), ("tmp", &tmp)] {
            root.put(name, Node::Folder(folder.clone()));
        }
        Self { root, work, out, given: Arc::default(), ledger }
    }

    /// Lays out what a call gives: files and packages.
    ///
    /// # Errors
    /// `PATH_REFUSED` for a path that is absolute, has an empty, `.` or `..` part, or stands twice (also in another spelling).
    pub(in crate::sandbox::wasm) fn give(&self, files: &[GuestFile], packages: &[GuestFile]) -> Result<(), Fault> {
        let mut seen = std::collections::BTreeSet::new();
        for file in files {
            if !seen.insert(twin_key(&file.path)) {
                return Err(refused(&file.path, "it stands twice, or is another spelling of another one (case or Unicode form)"));
            }
            lay(&self.work, &file.path, File::shared(file.bytes.clone()))?;
        }
        if !packages.is_empty() {
            let folder = Folder::fixed();
            for file in packages {
                lay(&folder, &file.path, File::shared(file.bytes.clone()))?;
            }
            self.root.put("packages", Node::Folder(folder));
        }
        self.given.set(files.into()).map_err(|_| Fault::internal("a guest was given two calls"))
    }

    /// Whether the program's files are, after it ran, exactly those it was given: the same paths with the same bytes, and nothing else.
    pub(in crate::sandbox::wasm) fn given_is_untouched(&self) -> bool {
        let mut found = 0;
        let mut open = vec![self.work.clone()];
        while let Some(folder) = open.pop() {
            for node in folder.read().values() {
                match node {
                    Node::Folder(inner) => open.push(inner.clone()),
                    Node::File(_) => found += 1,
                    Node::Null => return false,
                }
            }
        }
        let same = |file: &GuestFile| matches!(find(&self.work, &file.path), Ok(Node::File(there)) if there.holds(&file.bytes));
        let given = self.given.get().map_or(&[][..], |given| given);
        found == given.len() && given.iter().all(same)
    }

    /// What lies in the output folder, sorted by path. Takes the bytes out.
    pub(in crate::sandbox::wasm) fn produced(&self) -> Vec<ProducedFile> {
        let mut files = Vec::new();
        let mut open = vec![(String::new(), self.out.clone())];
        while let Some((prefix, folder)) = open.pop() {
            for (name, node) in folder.read().iter() {
                let path = format!("{prefix}{name}");
                match node {
                    Node::Folder(inner) => open.push((format!("{path}/"), inner.clone())),
                    Node::File(file) => files.push(ProducedFile { path, bytes: file.take_bytes(), mode: MODE }),
                    Node::Null => {}
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }
}

/// The standard library's tree, shared by all calls.
#[derive(Clone)]
pub(in crate::sandbox::wasm) struct Library(pub(super) Arc<Folder>);

/// Puts a node at a path beneath `base`, making the folders on the way.
pub(super) fn lay(base: &Arc<Folder>, path: &str, node: Node) -> Result<(), Fault> {
    let parts: Vec<&str> = path.split('/').collect();
    if parts.len() > DEEPEST / 2 {
        return Err(refused(path, "it has too many parts"));
    }
    if parts.iter().any(|part| part.is_empty() || *part == "." || *part == ".." || part.len() > 255 || part.contains('\0')) {
        return Err(refused(path, "it must be relative, without empty, `.` or `..` parts"));
    }
    let Some((name, folders)) = parts.split_last() else { return Err(refused(path, "it is empty")) };
    let mut here = base.clone();
    for part in folders {
        here = match here.get(part) {
            Some(Node::Folder(folder)) => folder,
            Some(Node::File(_) | Node::Null) => return Err(refused(path, "a part of it is a file")),
            None => {
                let folder = Folder::fixed();
                here.put(part, Node::Folder(folder.clone()));
                folder
            }
        };
    }
    if here.get(name).is_some() {
        return Err(refused(path, "something is there already"));
    }
    here.put(name, node);
    Ok(())
}

fn refused(path: &str, why: &str) -> Fault {
    let shown: String = path.chars().take(200).collect();
    Fault::new(Code::PathRefused, format!("the path `{shown}` cannot be given to the sandbox: {why}"))
}
