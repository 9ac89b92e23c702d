//! The shipped files are embedded by a macro that cannot see new ones; this makes cargo look.

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn main() {
    for folder in ["tool-manifests", "schemas", "policies", "workflows", "migrations"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}
