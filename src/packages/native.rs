//! Packages that publish no pure wheel although their compiled part is optional: they import and work without it.
//!
//! An entry belongs here only after the package of a current wheel, with its compiled members removed, was imported and used by Python.

use std::io::{Cursor, Write as _};

use crate::domain::Fault;

use super::files::{Files, unfit};
use super::record;
use super::version::Version;
use super::wheel::{Natives, drop_natives, tidy};

/// The names, normalised, with what the compiled part was for and what takes its place.
const OPTIONAL: [(&str, &str); 6] = [
    ("markupsafe", "faster escaping; `markupsafe._native` instead"),
    ("msgpack", "faster packing; `msgpack.fallback` instead"),
    ("pyyaml", "the C loaders and dumpers, which must be asked for by name"),
    ("rapidfuzz", "faster comparison; the `_py` modules instead"),
    ("tornado", "faster masking of web socket frames; Python instead"),
    ("zope-interface", "faster lookups; Python instead"),
];

/// Whether a package does without its compiled part.
pub(super) fn is_optional(name: &str) -> bool {
    OPTIONAL.iter().any(|(known, _)| *known == name)
}

/// A pure wheel of a package's files without its compiled members: its file name and its bytes, which are the same for the same files.
///
/// # Errors
/// `INTERNAL` where the archive cannot be written, which memory does not do.
pub(super) fn rebuild(name: &str, version: &Version, mut files: Files, info: &str) -> Result<(String, Vec<u8>), Fault> {
    let stem = format!("{}-{version}", name.replace('-', "_"));
    let file = format!("{stem}-py3-none-any.whl");
    drop_natives(&file, &mut files, Natives::LeaveOut)?;
    tidy(&mut files, info);
    files.insert(format!("{info}/WHEEL"), b"Wheel-Version: 1.0\nGenerator: toolgate\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_vec());
    // Resolvers look for the folder by the file's own name.
    let renamed = format!("{stem}.dist-info");
    let mut files: Files = files
        .into_iter()
        .map(|(path, bytes)| match path.strip_prefix(info).filter(|rest| rest.starts_with('/')) {
            Some(rest) => (format!("{renamed}{rest}"), bytes),
            None => (path, bytes),
        })
        .collect();
    let paths = files.keys().cloned().collect();
    record::write(&mut files, &renamed, &paths);
    let bytes = zipped(&files).map_err(|error| unfit(&file, format!("it cannot be built: {error}")))?;
    Ok((file, bytes))
}

fn zipped(files: &Files) -> zip::result::ZipResult<Vec<u8>> {
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files {
        writer.start_file(path.as_str(), options)?;
        writer.write_all(bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}
