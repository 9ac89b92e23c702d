//! Makes wheels, good and bad ones, and the naive reader that the bad ones bite.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use crate::packages::files::Files;
use crate::packages::record;

/// A pure package's files, without RECORD.
pub(in crate::packages) fn files(name: &str, version: &str) -> Files {
    let info = format!("{name}-{version}.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not this one\n");
    [
        (format!("{name}/__init__.py"), b"VALUE = 1\n".to_vec()),
        (format!("{info}/METADATA"), metadata.into_bytes()),
        (format!("{info}/WHEEL"), b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_vec()),
    ]
    .into()
}

/// The files as a wheel, RECORD and all.
pub(in crate::packages) fn wheel(info: &str, mut files: Files) -> Vec<u8> {
    let paths: BTreeSet<String> = files.keys().cloned().collect();
    record::write(&mut files, info, &paths);
    let entries: Vec<(String, Vec<u8>)> = files.into_iter().collect();
    zipped(&entries)
}

/// Entries as an archive, in that order and whatever their paths.
pub(in crate::packages) fn zipped(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (path, bytes) in entries {
        writer.start_file(path.as_str(), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Puts other bytes of the same length in all the places.
pub(super) fn patched(mut archive: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let places: Vec<usize> = (0..=archive.len() - old.len()).filter(|at| archive[*at..].starts_with(old)).collect();
    assert!(!places.is_empty());
    for at in places {
        archive[at..at + old.len()].copy_from_slice(new);
    }
    archive
}

/// What one must not do: write each entry to the path it names, links as links.
pub(super) fn naive(archive: &[u8], folder: &Path) -> usize {
    let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut written = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let place = folder.join(entry.name().unwrap().as_ref());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        if entry.is_symlink() {
            let target = std::io::read_to_string(&mut entry).unwrap();
            std::os::unix::fs::symlink(target, &place).unwrap();
        } else {
            written += std::io::copy(&mut entry, &mut fs::File::create(&place).unwrap()).unwrap() as usize;
        }
    }
    written
}
