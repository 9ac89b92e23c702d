//! Files and folders, and the ledger that bounds what a call may write.
//!
//! INVARIANT: a node without a ledger never changes. The bytes and nodes that live are never more than the ledger allowed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use crate::domain::{Clock, Timestamp, twin_key};

/// The longest name of a file or folder, in bytes.
const LONGEST_NAME: usize = 255;

/// What is left of a call's disk.
pub(in crate::sandbox::wasm) struct Ledger {
    bytes: AtomicU64,
    nodes: AtomicU64,
    struck: AtomicBool,
    clock: Arc<dyn Clock>,
}

impl Ledger {
    pub(in crate::sandbox::wasm) fn new(bytes: u64, nodes: u64, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { bytes: bytes.into(), nodes: nodes.into(), struck: false.into(), clock })
    }

    /// Sets what is allowed, before anything was written.
    pub(in crate::sandbox::wasm) fn allow(&self, bytes: u64, nodes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.nodes.store(nodes, Ordering::Relaxed);
    }

    /// Whether anything was refused.
    pub(in crate::sandbox::wasm) fn struck(&self) -> bool {
        self.struck.load(Ordering::Relaxed)
    }

    fn take(&self, from: &AtomicU64, amount: u64) -> Result<(), ErrorCode> {
        from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount)).map(drop).map_err(|_| {
            self.struck.store(true, Ordering::Relaxed);
            ErrorCode::InsufficientSpace
        })
    }

    fn now(&self) -> u64 {
        self.clock.now().unix_millis()
    }
}

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Node {
    Folder(Arc<Folder>),
    File(Arc<File>),
    /// `/dev/null`.
    Null,
}

/// Names and what they stand for.
pub(super) struct Folder {
    pub(super) id: u64,
    children: RwLock<BTreeMap<String, Node>>,
    ledger: Option<Arc<Ledger>>,
    /// Whether names that are spellings of one another are refused, here and below.
    without_twins: bool,
    modified: AtomicU64,
}

/// Bytes under a name.
pub(super) struct File {
    pub(super) id: u64,
    content: Mutex<Content>,
    ledger: Option<Arc<Ledger>>,
    modified: AtomicU64,
}

enum Content {
    Embedded(&'static [u8]),
    Shared(Arc<[u8]>),
    Own(Vec<u8>),
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Embedded(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// When what is given was made, as its guest sees it (2026-01-01, in milliseconds since 1970): the same for all, so that nothing depends on it.
const GIVEN_AT: u64 = 1_767_225_600_000;

fn fresh_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Folder {
    /// A folder nobody can change; whoever builds the tree fills it by [`Folder::put`].
    pub(super) fn fixed() -> Arc<Self> {
        Arc::new(Self { id: fresh_id(), children: RwLock::default(), ledger: None, without_twins: false, modified: GIVEN_AT.into() })
    }

    /// A folder the guest may change, not counted itself.
    pub(super) fn open(ledger: &Arc<Ledger>) -> Arc<Self> {
        Self::writable(ledger, false)
    }

    /// The same, where no two names may be spellings of one another.
    pub(super) fn open_without_twins(ledger: &Arc<Ledger>) -> Arc<Self> {
        Self::writable(ledger, true)
    }

    fn writable(ledger: &Arc<Ledger>, without_twins: bool) -> Arc<Self> {
        let modified = ledger.now().into();
        Arc::new(Self { id: fresh_id(), children: RwLock::default(), modified, ledger: Some(ledger.clone()), without_twins })
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Node>> {
        self.children.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Node>> {
        self.children.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays out a tree, before a guest sees it.
    pub(super) fn put(&self, name: &str, node: Node) {
        self.write().insert(name.to_owned(), node);
    }

    pub(super) fn get(&self, name: &str) -> Option<Node> {
        self.read().get(name).cloned()
    }

    fn ledger(&self) -> Result<&Arc<Ledger>, ErrorCode> {
        self.ledger.as_ref().ok_or(ErrorCode::ReadOnly)
    }

    pub(super) fn may_change(&self) -> Result<(), ErrorCode> {
        self.ledger().map(drop)
    }

    fn new_name<'n>(&self, name: &'n str) -> Result<&'n str, ErrorCode> {
        if name.len() > LONGEST_NAME {
            return Err(ErrorCode::NameTooLong);
        }
        if self.without_twins {
            let key = twin_key(name);
            if self.read().keys().any(|other| other != name && twin_key(other) == key) {
                return Err(ErrorCode::Exist);
            }
        }
        Ok(name)
    }

    /// Makes an empty file that is not there yet.
    pub(super) fn make_file(&self, name: &str) -> Result<Arc<File>, ErrorCode> {
        let (ledger, name) = (self.ledger()?, self.new_name(name)?);
        ledger.take(&ledger.nodes, 1)?;
        let file = Arc::new(File {
            id: fresh_id(),
            content: Mutex::new(Content::Own(Vec::new())),
            modified: ledger.now().into(),
            ledger: Some(ledger.clone()),
        });
        self.put(name, Node::File(file.clone()));
        self.touch();
        Ok(file)
    }

    /// Makes an empty folder that is not there yet.
    pub(super) fn make_folder(&self, name: &str) -> Result<(), ErrorCode> {
        let (ledger, name) = (self.ledger()?, self.new_name(name)?);
        if self.get(name).is_some() {
            return Err(ErrorCode::Exist);
        }
        ledger.take(&ledger.nodes, 1)?;
        self.put(name, Node::Folder(Self::writable(ledger, self.without_twins)));
        self.touch();
        Ok(())
    }

    /// Takes a name out; its node counts no longer.
    pub(super) fn remove(&self, name: &str) -> Result<(), ErrorCode> {
        let ledger = self.ledger()?;
        self.write().remove(name).ok_or(ErrorCode::NoEntry)?;
        ledger.nodes.fetch_add(1, Ordering::Relaxed);
        self.touch();
        Ok(())
    }

    /// Takes a name out and puts its node under another, where nothing is; the count stays.
    pub(super) fn give(&self, name: &str, to: &Self, new_name: &str) -> Result<(), ErrorCode> {
        self.ledger()?;
        to.ledger()?;
        // A folder from where twins may be could bring some along: as between two file systems, it is copied, not moved.
        if self.without_twins != to.without_twins && matches!(self.get(name), Some(Node::Folder(_))) {
            return Err(ErrorCode::CrossDevice);
        }
        let new_name = to.new_name(new_name)?;
        let node = self.write().remove(name).ok_or(ErrorCode::NoEntry)?;
        to.put(new_name, node);
        self.touch();
        to.touch();
        Ok(())
    }

    fn touch(&self) {
        if let Some(ledger) = &self.ledger {
            self.modified.store(ledger.now(), Ordering::Relaxed);
        }
    }
}

impl File {
    /// A file nobody can change, whose bytes lie in the executable.
    pub(super) fn embedded(bytes: &'static [u8]) -> Node {
        Self::fixed(Content::Embedded(bytes))
    }

    /// A file nobody can change.
    pub(super) fn shared(bytes: Arc<[u8]>) -> Node {
        Self::fixed(Content::Shared(bytes))
    }

    fn fixed(content: Content) -> Node {
        Node::File(Arc::new(Self { id: fresh_id(), content: Mutex::new(content), ledger: None, modified: GIVEN_AT.into() }))
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether these very bytes are in it, not others that were put in their place.
    pub(super) fn holds(&self, bytes: &Arc<[u8]>) -> bool {
        matches!(&*self.content(), Content::Shared(own) if Arc::ptr_eq(own, bytes))
    }

    pub(super) fn may_change(&self) -> Result<(), ErrorCode> {
        if self.ledger.is_some() { Ok(()) } else { Err(ErrorCode::ReadOnly) }
    }

    pub(super) fn size(&self) -> u64 {
        self.content().bytes().len() as u64
    }

    /// Up to `most` bytes from `offset` on; none at and after the end.
    pub(super) fn read_at(&self, offset: u64, most: usize) -> Bytes {
        let part = |bytes: &'_ [u8]| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            start..start.saturating_add(most).min(bytes.len())
        };
        match &*self.content() {
            Content::Embedded(bytes) => Bytes::from_static(bytes).slice(part(bytes)),
            Content::Shared(bytes) => Bytes::copy_from_slice(bytes.get(part(bytes)).unwrap_or(&[])),
            Content::Own(bytes) => Bytes::copy_from_slice(bytes.get(part(bytes)).unwrap_or(&[])),
        }
    }

    /// Writes all of `bytes` at `offset`, or nothing.
    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), ErrorCode> {
        self.change(|own, grow| {
            let start = usize::try_from(offset).map_err(|_| ErrorCode::FileTooLarge)?;
            let end = start.checked_add(bytes.len()).ok_or(ErrorCode::FileTooLarge)?;
            if end > own.len() {
                grow(own, end)?;
            }
            if let Some(place) = own.get_mut(start..end) {
                place.copy_from_slice(bytes);
            }
            Ok(())
        })
    }

    /// Writes all of `bytes` at the end, or nothing.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<(), ErrorCode> {
        let end = self.size();
        self.write_at(end, bytes)
    }

    /// Cuts the file, or fills it up with zeros.
    pub(super) fn set_size(&self, size: u64) -> Result<(), ErrorCode> {
        let ledger = self.ledger.clone().ok_or(ErrorCode::ReadOnly)?;
        self.change(|own, grow| {
            let size = usize::try_from(size).map_err(|_| ErrorCode::FileTooLarge)?;
            if size > own.len() {
                return grow(own, size);
            }
            ledger.bytes.fetch_add((own.len() - size) as u64, Ordering::Relaxed);
            own.truncate(size);
            if size == 0 {
                own.shrink_to_fit();
            }
            Ok(())
        })
    }

    fn change(
        &self,
        act: impl FnOnce(&mut Vec<u8>, &dyn Fn(&mut Vec<u8>, usize) -> Result<(), ErrorCode>) -> Result<(), ErrorCode>,
    ) -> Result<(), ErrorCode> {
        let ledger = self.ledger.as_ref().ok_or(ErrorCode::ReadOnly)?;
        let grow = |own: &mut Vec<u8>, size: usize| {
            ledger.take(&ledger.bytes, (size - own.len()) as u64)?;
            own.resize(size, 0);
            Ok(())
        };
        match &mut *self.content() {
            Content::Own(own) => act(own, &grow)?,
            Content::Embedded(_) | Content::Shared(_) => return Err(ErrorCode::ReadOnly),
        }
        self.modified.store(ledger.now(), Ordering::Relaxed);
        Ok(())
    }

    /// Takes the bytes out, at the call's end.
    pub(super) fn take_bytes(&self) -> Vec<u8> {
        match &mut *self.content() {
            Content::Own(own) => std::mem::take(own),
            Content::Embedded(bytes) => bytes.to_vec(),
            Content::Shared(bytes) => bytes.to_vec(),
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let size = self.size();
        if let Some(ledger) = &self.ledger {
            ledger.bytes.fetch_add(size, Ordering::Relaxed);
        }
    }
}

impl Node {
    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Folder(folder) => folder.id,
            Self::File(file) => file.id,
            Self::Null => 0,
        }
    }

    pub(super) fn modified(&self) -> Timestamp {
        Timestamp::from_unix_millis(match self {
            Self::Folder(folder) => folder.modified.load(Ordering::Relaxed),
            Self::File(file) => file.modified.load(Ordering::Relaxed),
            Self::Null => GIVEN_AT,
        })
    }

    /// Sets the time of the last change: to `time`, or to now where that is `None`.
    pub(super) fn set_modified(&self, time: Option<Timestamp>) -> Result<(), ErrorCode> {
        let (ledger, modified) = match self {
            Self::Folder(folder) => (&folder.ledger, &folder.modified),
            Self::File(file) => (&file.ledger, &file.modified),
            Self::Null => return Ok(()),
        };
        let ledger = ledger.as_ref().ok_or(ErrorCode::ReadOnly)?;
        modified.store(time.map_or_else(|| ledger.now(), Timestamp::unix_millis), Ordering::Relaxed);
        Ok(())
    }
}
