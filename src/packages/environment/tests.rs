//! Tests of environments. All of them make real ones, with the machine's Python and installers in a box of mounts, except where nothing is
//! made; those in `real` also ask the index that the machine is set up with.

mod hosts;
mod index;
mod lab;
mod making;
mod real;
mod settings;
mod shelf;
