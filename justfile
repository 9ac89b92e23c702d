# What CI does, and the pieces of it. Everything here is a plain script or cargo command, so `just` is only a convenience.

# All checks, as CI runs them
verify:
    scripts/verify

# The tests
test:
    cargo test --locked

# Format, lints, docs
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The benchmarks (docs/benchmarks.md says what they measure)
bench *ARGS:
    cargo bench --profile dev {{ARGS}}

# Write schemas/ anew from the Rust types
schemas:
    UPDATE_SCHEMAS=1 cargo test --locked --test it schemas

# What is published: stripped programs, archive, SBOM and checksums in dist/ (docs/release.md)
release *ARGS:
    scripts/release {{ARGS}}
