//! A zip archive's own list of its entries, read strictly, before any library interprets it.
//!
//! INVARIANT: an archive that passes has one central directory that ends it, each entry once, plain files and folders only, each entry's
//! two headers naming the same file, and no bytes that serve two entries. Readers that differ over odd archives agree on these.

use super::files::MAX_ENTRIES;

const END: u32 = 0x0605_4b50;
const ENTRY: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
const END_LENGTH: usize = 22;
const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its path, which may still be a hostile one.
    pub(super) path: String,
    /// Whether it is a folder.
    pub(super) folder: bool,
    /// Its size when inflated, as the directory claims.
    pub(super) size: usize,
}

/// The entries, in the order of the directory.
///
/// # Errors
/// What is wrong with the archive.
pub(super) fn entries(archive: &[u8]) -> Result<Vec<Entry>, String> {
    let end = archive.len().checked_sub(END_LENGTH).ok_or("it is too short to be an archive")?;
    let mut tail = Reader { bytes: archive, at: end };
    let (signature, disks) = (tail.u32()?, tail.u32()?);
    let (here, count) = (tail.u16()?, tail.u16()?);
    let (length, offset, comment) = (tail.u32()?, tail.u32()?, tail.u16()?);
    if signature != END || disks != 0 || here != count || comment != 0 {
        return Err("it does not end with a plain directory".into());
    }
    let (length, offset) = (to_size(length)?, to_size(offset)?);
    if offset.checked_add(length) != Some(end) {
        return Err("its directory does not reach to its end".into());
    }
    if usize::from(count) > MAX_ENTRIES {
        return Err(format!("it has {count} entries, {MAX_ENTRIES} are allowed"));
    }
    let mut reader = Reader { bytes: archive, at: offset };
    let mut entries = Vec::with_capacity(usize::from(count));
    let mut spans = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (entry, span) = entry(archive, &mut reader)?;
        entries.push(entry);
        spans.push(span);
    }
    if reader.at != end {
        return Err("its directory is longer than its entries".into());
    }
    spans.sort_unstable();
    spans.push((offset, offset));
    let overlap = spans.iter().zip(spans.iter().skip(1)).any(|(one, next)| one.1 > next.0);
    if overlap {
        return Err("two of its entries share bytes".into());
    }
    Ok(entries)
}

/// Reads one entry of the directory and its header beside the data; also gives the bytes that both header and data take.
fn entry(archive: &[u8], reader: &mut Reader<'_>) -> Result<(Entry, (usize, usize)), String> {
    if reader.u32()? != ENTRY {
        return Err("its directory is damaged".into());
    }
    let (made_by, _needs) = (reader.u16()?, reader.u16()?);
    let (flags, method) = (reader.u16()?, reader.u16()?);
    reader.skip(8)?; // time, date, checksum: the RECORD's hash is what counts
    let (packed, size) = (to_size(reader.u32()?)?, to_size(reader.u32()?)?);
    let (name, extra, comment) = (usize::from(reader.u16()?), usize::from(reader.u16()?), usize::from(reader.u16()?));
    reader.skip(4)?; // disk, internal attributes
    let attributes = reader.u32()?;
    let start = to_size(reader.u32()?)?;
    let raw = reader.take(name)?;
    reader.skip(extra)?;
    reader.skip(comment)?;

    let path = std::str::from_utf8(raw).map_err(|_| "one of its paths is not UTF-8")?.to_owned();
    let shown = super::files::printable(&path);
    if flags & ENCRYPTED != 0 || !matches!(method, STORED | DEFLATED) {
        return Err(format!("`{shown}` is encrypted or packed in an unusual way"));
    }
    let folder = path.ends_with('/');
    // The system that made it says whether the upper half is a Unix mode; some readers do not ask, so neither is trusted to hide a link.
    let kind = (attributes >> 16) & 0o170_000;
    let fits = match kind {
        0 => true,
        0o100_000 => !folder,
        0o040_000 => folder,
        _ => false,
    };
    if !fits {
        return Err(format!("`{shown}` is a link or a device, or a folder that is none (made by system {})", made_by >> 8));
    }
    let mut local = Reader { bytes: archive, at: start };
    if local.u32()? != LOCAL {
        return Err(format!("`{shown}` is not where the directory says"));
    }
    local.skip(22)?;
    let (local_name, local_extra) = (usize::from(local.u16()?), usize::from(local.u16()?));
    if local.take(local_name)? != raw {
        return Err(format!("`{shown}` has another name beside its data"));
    }
    local.skip(local_extra)?;
    let end = local.at.checked_add(packed).ok_or("an entry is larger than the archive")?;
    Ok((Entry { path, folder, size }, (start, end)))
}

fn to_size(value: u32) -> Result<usize, String> {
    match usize::try_from(value) {
        Ok(size) if value != u32::MAX => Ok(size),
        _ => Err("it is a large-file archive, which a package does not need".into()),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(length).ok_or("it is cut off")?;
        let taken = self.bytes.get(self.at..end).ok_or("it is cut off")?;
        self.at = end;
        Ok(taken)
    }

    fn skip(&mut self, length: usize) -> Result<(), String> {
        self.take(length).map(drop)
    }

    fn u16(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes(bytes.try_into().map_err(|_| "it is cut off")?))
    }

    fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().map_err(|_| "it is cut off")?))
    }
}
