//! The engine against a log in memory and a scripted call path, both of which can die at any point.

mod calls;
mod control;
mod crash;
mod drive;
mod log;
mod repair;
mod world;
