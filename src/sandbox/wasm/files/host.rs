//! `wasi:filesystem` over the tree.
//!
//! INVARIANT: a handle that the guest holds is an index into its own table, looked up with its type at each use; the type that the bindings
//! name for it is a label only. Nothing here waits, and no answer is larger than [`CHUNK`] but a listing, which the ledger bounds.

use std::sync::Arc;

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use crate::domain::Timestamp;

use super::node::{File, Folder, Node};
use super::stream::{CHUNK, Reader, Writer};
use super::tree::{Disk, find, place, rename};
use types::{DescriptorFlags, DescriptorType, ErrorCode, OpenFlags};

/// How many files and folders a guest may hold open.
const MOST_OPEN: usize = 1_000;

/// What a descriptor stands for.
enum Handle {
    Folder(Arc<Folder>),
    File { file: Arc<File>, read: bool, write: bool },
    Null,
}

/// A listing that is being read.
struct Listing(std::vec::IntoIter<types::DirectoryEntry>);

/// Counts what is open.
#[derive(Default)]
pub(in crate::sandbox::wasm) struct Handles {
    open: usize,
}

/// Marks this file system for the linker.
pub(in crate::sandbox::wasm) struct Files;

impl HasData for Files {
    type Data<'a> = FilesView<'a>;
}

/// What a host function here may touch of the store.
pub(in crate::sandbox::wasm) struct FilesView<'a> {
    pub(in crate::sandbox::wasm) table: &'a mut ResourceTable,
    pub(in crate::sandbox::wasm) handles: &'a mut Handles,
    pub(in crate::sandbox::wasm) disk: &'a Disk,
}

type Fd = Resource<types::Descriptor>;

impl FilesView<'_> {
    fn handle(&self, fd: &Fd) -> FsResult<&Handle> {
        Ok(self.table.get(&Resource::<Handle>::new_borrow(fd.rep()))?)
    }

    fn folder(&self, fd: &Fd) -> FsResult<Arc<Folder>> {
        match self.handle(fd)? {
            Handle::Folder(folder) => Ok(folder.clone()),
            Handle::File { .. } | Handle::Null => Err(ErrorCode::NotDirectory.into()),
        }
    }

    fn node(&self, fd: &Fd) -> FsResult<Node> {
        Ok(match self.handle(fd)? {
            Handle::Folder(folder) => Node::Folder(folder.clone()),
            Handle::File { file, .. } => Node::File(file.clone()),
            Handle::Null => Node::Null,
        })
    }

    /// The file to read; `None` for `/dev/null`.
    fn readable(&self, fd: &Fd) -> FsResult<Option<Arc<File>>> {
        match self.handle(fd)? {
            Handle::Folder(_) => Err(ErrorCode::IsDirectory.into()),
            Handle::File { read: false, .. } => Err(ErrorCode::BadDescriptor.into()),
            Handle::File { file, .. } => Ok(Some(file.clone())),
            Handle::Null => Ok(None),
        }
    }

    /// The file to write; `None` for `/dev/null`.
    fn writable(&self, fd: &Fd) -> FsResult<Option<Arc<File>>> {
        match self.handle(fd)? {
            Handle::Folder(_) => Err(ErrorCode::IsDirectory.into()),
            Handle::File { write: false, .. } => Err(ErrorCode::BadDescriptor.into()),
            Handle::File { file, .. } => Ok(Some(file.clone())),
            Handle::Null => Ok(None),
        }
    }

    fn push(&mut self, handle: Handle) -> FsResult<Fd> {
        if self.handles.open >= MOST_OPEN {
            return Err(ErrorCode::InsufficientMemory.into());
        }
        self.handles.open += 1;
        Ok(Resource::new_own(self.table.push(handle)?.rep()))
    }

    fn open(&mut self, fd: &Fd, path: &str, how: OpenFlags, flags: DescriptorFlags) -> FsResult<Fd> {
        let place = place(&self.folder(fd)?, path)?;
        let write = flags.contains(DescriptorFlags::WRITE);
        let node = match place.node() {
            Ok(_) if how.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE) => return Err(ErrorCode::Exist.into()),
            Ok(node) => node,
            Err(ErrorCode::NoEntry) if how.contains(OpenFlags::CREATE) && !how.contains(OpenFlags::DIRECTORY) => {
                Node::File(place.folder.make_file(place.name()?)?)
            }
            Err(code) => return Err(code.into()),
        };
        let handle = match node {
            Node::Folder(_) if write || how.contains(OpenFlags::TRUNCATE) => return Err(ErrorCode::IsDirectory.into()),
            Node::Folder(folder) => {
                if flags.contains(DescriptorFlags::MUTATE_DIRECTORY) {
                    folder.may_change()?;
                }
                Handle::Folder(folder)
            }
            Node::File(_) | Node::Null if how.contains(OpenFlags::DIRECTORY) => return Err(ErrorCode::NotDirectory.into()),
            Node::File(file) => {
                if write || how.contains(OpenFlags::TRUNCATE) {
                    file.may_change()?;
                }
                if how.contains(OpenFlags::TRUNCATE) {
                    file.set_size(0)?;
                }
                Handle::File { file, read: flags.contains(DescriptorFlags::READ), write }
            }
            Node::Null => Handle::Null,
        };
        self.push(handle)
    }
}

fn kind(node: &Node) -> DescriptorType {
    match node {
        Node::Folder(_) => DescriptorType::Directory,
        Node::File(_) => DescriptorType::RegularFile,
        Node::Null => DescriptorType::CharacterDevice,
    }
}

fn stat(node: &Node) -> types::DescriptorStat {
    let millis = node.modified().unix_millis();
    let time = Datetime { seconds: millis / 1000, nanoseconds: u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000 };
    let size = match node {
        Node::File(file) => file.size(),
        Node::Folder(_) | Node::Null => 0,
    };
    types::DescriptorStat {
        type_: kind(node),
        link_count: 1,
        size,
        data_access_timestamp: Some(time),
        data_modification_timestamp: Some(time),
        status_change_timestamp: Some(time),
    }
}

fn hash(node: &Node) -> types::MetadataHashValue {
    types::MetadataHashValue { lower: node.id(), upper: 0 }
}

fn set_times(node: &Node, modified: types::NewTimestamp) -> FsResult<()> {
    let time = match modified {
        types::NewTimestamp::NoChange => Some(node.modified()),
        types::NewTimestamp::Now => None,
        types::NewTimestamp::Timestamp(time) => {
            Some(Timestamp::from_unix_millis(time.seconds.saturating_mul(1000).saturating_add(u64::from(time.nanoseconds / 1_000_000))))
        }
    };
    Ok(node.set_modified(time)?)
}

impl preopens::Host for FilesView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let root = self.disk.root.clone();
        Ok(vec![(self.push(Handle::Folder(root))?, "/".to_owned())])
    }
}

impl types::Host for FilesView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<ErrorCode>().copied())
    }
}

impl types::HostDescriptor for FilesView<'_> {
    fn read_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(Reader { file: self.readable(&fd)?, offset });
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Writer { file: self.writable(&fd)?, offset: Some(offset) });
        Ok(self.table.push(stream)?)
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Writer { file: self.writable(&fd)?, offset: None });
        Ok(self.table.push(stream)?)
    }

    async fn advise(&mut self, fd: Fd, _offset: u64, _length: u64, _advice: types::Advice) -> FsResult<()> {
        self.handle(&fd).map(drop)
    }

    async fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        self.handle(&fd).map(drop)
    }

    async fn get_flags(&mut self, fd: Fd) -> FsResult<DescriptorFlags> {
        Ok(match self.handle(&fd)? {
            Handle::Folder(folder) if folder.may_change().is_ok() => DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY,
            Handle::Folder(_) => DescriptorFlags::READ,
            Handle::File { read, write, .. } => {
                let mut flags = DescriptorFlags::empty();
                flags |= if *read { DescriptorFlags::READ } else { DescriptorFlags::empty() };
                flags |= if *write { DescriptorFlags::WRITE } else { DescriptorFlags::empty() };
                flags
            }
            Handle::Null => DescriptorFlags::READ | DescriptorFlags::WRITE,
        })
    }

    async fn get_type(&mut self, fd: Fd) -> FsResult<DescriptorType> {
        Ok(kind(&self.node(&fd)?))
    }

    async fn set_size(&mut self, fd: Fd, size: u64) -> FsResult<()> {
        match self.writable(&fd)? {
            Some(file) => Ok(file.set_size(size)?),
            None => Ok(()),
        }
    }

    async fn set_times(&mut self, fd: Fd, _accessed: types::NewTimestamp, modified: types::NewTimestamp) -> FsResult<()> {
        set_times(&self.node(&fd)?, modified)
    }

    async fn read(&mut self, fd: Fd, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        let most = usize::try_from(length).unwrap_or(CHUNK).min(CHUNK);
        let bytes = self.readable(&fd)?.map_or_else(bytes::Bytes::new, |file| file.read_at(offset, most));
        let end = bytes.is_empty() && most > 0;
        Ok((bytes.into(), end))
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        if let Some(file) = self.writable(&fd)? {
            file.write_at(offset, &bytes)?;
        }
        Ok(bytes.len() as u64)
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<types::DirectoryEntryStream>> {
        let entries: Vec<_> =
            self.folder(&fd)?.read().iter().map(|(name, node)| types::DirectoryEntry { type_: kind(node), name: name.clone() }).collect();
        Ok(Resource::new_own(self.table.push(Listing(entries.into_iter()))?.rep()))
    }

    async fn sync(&mut self, fd: Fd) -> FsResult<()> {
        self.handle(&fd).map(drop)
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let place = place(&self.folder(&fd)?, &path)?;
        match place.name {
            Some(name) => Ok(place.folder.make_folder(name)?),
            None => Err(ErrorCode::Exist.into()),
        }
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<types::DescriptorStat> {
        Ok(stat(&self.node(&fd)?))
    }

    async fn stat_at(&mut self, fd: Fd, _flags: types::PathFlags, path: String) -> FsResult<types::DescriptorStat> {
        Ok(stat(&find(&self.folder(&fd)?, &path)?))
    }

    async fn set_times_at(
        &mut self,
        fd: Fd,
        _flags: types::PathFlags,
        path: String,
        _accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        set_times(&find(&self.folder(&fd)?, &path)?, modified)
    }

    async fn link_at(&mut self, _fd: Fd, _flags: types::PathFlags, _path: String, _new_fd: Fd, _new_path: String) -> FsResult<()> {
        Err(ErrorCode::NotPermitted.into())
    }

    async fn open_at(&mut self, fd: Fd, _flags: types::PathFlags, path: String, how: OpenFlags, flags: DescriptorFlags) -> FsResult<Fd> {
        self.open(&fd, &path, how, flags)
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        find(&self.folder(&fd)?, &path)?;
        Err(ErrorCode::Invalid.into())
    }

    async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let place = place(&self.folder(&fd)?, &path)?;
        match place.node()? {
            Node::Folder(folder) if !folder.read().is_empty() => Err(ErrorCode::NotEmpty.into()),
            Node::Folder(_) => Ok(place.folder.remove(place.name()?)?),
            Node::File(_) | Node::Null => Err(ErrorCode::NotDirectory.into()),
        }
    }

    async fn rename_at(&mut self, fd: Fd, path: String, new_fd: Fd, new_path: String) -> FsResult<()> {
        let (from, to) = (self.folder(&fd)?, self.folder(&new_fd)?);
        Ok(rename(&place(&from, &path)?, &place(&to, &new_path)?)?)
    }

    async fn symlink_at(&mut self, _fd: Fd, _target: String, _path: String) -> FsResult<()> {
        Err(ErrorCode::NotPermitted.into())
    }

    async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let place = place(&self.folder(&fd)?, &path)?;
        match place.node()? {
            Node::Folder(_) => Err(ErrorCode::IsDirectory.into()),
            Node::File(_) | Node::Null => Ok(place.folder.remove(place.name()?)?),
        }
    }

    async fn is_same_object(&mut self, a: Fd, b: Fd) -> wasmtime::Result<bool> {
        Ok(self.node(&a)?.id() == self.node(&b)?.id())
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<types::MetadataHashValue> {
        Ok(hash(&self.node(&fd)?))
    }

    async fn metadata_hash_at(&mut self, fd: Fd, _flags: types::PathFlags, path: String) -> FsResult<types::MetadataHashValue> {
        Ok(hash(&find(&self.folder(&fd)?, &path)?))
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Handle>::new_own(fd.rep()))?;
        self.handles.open = self.handles.open.saturating_sub(1);
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for FilesView<'_> {
    async fn read_directory_entry(&mut self, stream: Resource<types::DirectoryEntryStream>) -> FsResult<Option<types::DirectoryEntry>> {
        Ok(self.table.get_mut(&Resource::<Listing>::new_borrow(stream.rep()))?.0.next())
    }

    fn drop(&mut self, stream: Resource<types::DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Listing>::new_own(stream.rep()))?;
        Ok(())
    }
}
