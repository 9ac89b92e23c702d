//! CPython as a WebAssembly component, with the standard library that it mounts: data only, built by this crate's build script.
//!
//! INVARIANT: [`COMPONENT_SHA256`] is the digest of exactly what [`component`] returns.

use std::io;

/// The component, compressed.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/python.wasm.zst"));
static SIZE: &str = include_str!(concat!(env!("OUT_DIR"), "/python.size"));
static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/library.pack"));

/// SHA-256 of the component.
pub static COMPONENT_SHA256: &[u8; 32] = include_bytes!(concat!(env!("OUT_DIR"), "/python.sha256"));

/// The component's bytes, unpacked anew at each call: some 25 MB.
///
/// # Errors
/// Where the packed bytes do not unpack: the executable is damaged.
pub fn component() -> io::Result<Vec<u8>> {
    let size = SIZE.parse().map_err(io::Error::other)?;
    zstd::bulk::decompress(PACKED, size)
}

/// The standard library: each file's path, relative and with `/`, and its bytes, which lie in the executable and are not read here. Ends early
/// where the packed bytes are damaged.
pub fn library() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    listed(LIBRARY)
}

fn listed(packed: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let mut index = packed;
    let files = number(&mut index).unwrap_or(0);
    let mut contents = index;
    for _ in 0..files {
        let sizes = (number(&mut contents), number(&mut contents));
        contents = sizes.0.and_then(|name| contents.get(name..)).unwrap_or_default();
    }
    (0..files).map_while(move |_| {
        let (name, size) = (number(&mut index)?, number(&mut index)?);
        let (name, bytes) = (cut(&mut index, name)?, cut(&mut contents, size)?);
        Some((std::str::from_utf8(name).ok()?, bytes))
    })
}

fn number(from: &mut &[u8]) -> Option<usize> {
    let (number, rest) = from.split_first_chunk::<4>()?;
    *from = rest;
    usize::try_from(u32::from_le_bytes(*number)).ok()
}

fn cut<'a>(from: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(size)?;
    *from = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_component_unpacks_and_the_library_is_whole() {
        assert_eq!(super::component().unwrap().get(..4), Some(&b"\0asm"[..]));
        let names: Vec<_> = super::library().map(|(name, _)| name).collect();
        for name in ["json/__init__.py", "json/__pycache__/__init__.cpython-314.pyc", "unittest/case.py"] {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn damaged_bytes_end_the_list_and_nothing_else() {
        let packed = [&2u32.to_le_bytes()[..], &[1, 0, 0, 0, 2, 0, 0, 0], b"a", &[1, 0, 0, 0, 3, 0, 0, 0], b"b", b"hiyou"].concat();
        assert_eq!(super::listed(&packed).collect::<Vec<_>>(), [("a", &b"hi"[..]), ("b", b"you")]);
        for end in 0..packed.len() {
            assert!(super::listed(&packed[..end]).count() < 2, "{end}");
        }
    }
}
