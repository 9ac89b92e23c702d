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

/// The standard library: each file's path, relative and with `/`, and its bytes, which lie in the executable.
pub fn library() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let mut rest = LIBRARY;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (size, after) = after.split_first_chunk::<4>()?;
        let (name, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*name)).ok()?)?;
        let (bytes, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*size)).ok()?)?;
        rest = after;
        Some((std::str::from_utf8(name).ok()?, bytes))
    })
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
}
