//! The vault over the real store: what it keeps, what it refuses, and what it survives.

mod attacks;
mod keys;
mod model;
mod support;
mod vectors;
