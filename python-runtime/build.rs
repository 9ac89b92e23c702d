//! Builds CPython as a WebAssembly component from our WIT world and runner, and packs the standard library beside it.
//!
//! Two components are built: a throw-away one, whose Python code writes the standard library out with its bytecode, and the real one.

#![expect(clippy::disallowed_methods, reason = "a build script is told its folders by the environment")]

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use componentize_py::ComponentGenerator;
use sha2::{Digest, Sha256};

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    for input in ["build.rs", "wit", "runner", "export"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let library = out.join("library");
    if library.exists() {
        fs::remove_dir_all(&library)?;
    }
    fs::create_dir_all(&library)?;
    fs::write(library.join("toolgate-export-here"), "")?;
    componentize(&here, "toolgate_export", &[&here.join("export"), &library], &out.join("export.wasm"))?;
    fs::remove_file(library.join("toolgate-export-here"))?;
    fs::remove_file(out.join("export.wasm"))?;
    pack(&library, &out.join("library.pack"))?;
    fs::remove_dir_all(&library)?;

    let component = out.join("python.wasm");
    componentize(&here, "toolgate_runner", &[&here.join("runner")], &component)?;
    let bytes = fs::read(&component)?;
    fs::write(out.join("python.wasm.zst"), zstd::encode_all(&*bytes, 12)?)?;
    fs::write(out.join("python.sha256"), Sha256::digest(&bytes))?;
    fs::write(out.join("python.size"), bytes.len().to_string())?;
    Ok(())
}

fn componentize(here: &Path, app: &str, path: &[&Path], output: &Path) -> Done {
    let python_path: Vec<&str> = path.iter().map(|part| part.to_str().ok_or("a path is not UTF-8")).collect::<Result<_, _>>()?;
    let none = HashMap::new();
    let generator = ComponentGenerator {
        wit_paths: &[&here.join("wit")],
        worlds: &["sandbox"],
        features: &[],
        all_features: false,
        world_module: None,
        python_path: &python_path,
        module_worlds: &[],
        app_name: app,
        output_path: output,
        add_to_linker: None,
        stub_wasi: false,
        import_interface_names: &none,
        export_interface_names: &none,
        full_names: false,
        intersect_world: None,
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(generator.generate())?;
    Ok(())
}

/// Writes every file beneath `folder` into one: how many they are, per file the lengths of its path and of itself and the path, then the bytes of
/// all in the same order. Numbers are 4 bytes, little-endian. What is read to know the files lies together, so that the rest stays unread until
/// a program opens it.
fn pack(folder: &Path, output: &Path) -> Done {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    let mut pack = std::io::BufWriter::new(fs::File::create(output)?);
    let mut contents = Vec::new();
    pack.write_all(&u32::try_from(files.len())?.to_le_bytes())?;
    for file in files {
        let name = file.strip_prefix(folder)?.to_str().ok_or("a file's name is not UTF-8")?.replace('\\', "/");
        let bytes = fs::read(&file)?;
        pack.write_all(&u32::try_from(name.len())?.to_le_bytes())?;
        pack.write_all(&u32::try_from(bytes.len())?.to_le_bytes())?;
        pack.write_all(name.as_bytes())?;
        contents.extend(bytes);
    }
    pack.write_all(&contents)?;
    Ok(pack.flush()?)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Done {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
