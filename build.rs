//! The shipped files are embedded by a macro that cannot see new ones; this makes cargo look.

fn main() {
    for folder in ["tool-manifests", "schemas", "policies", "workflows", "migrations"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}
