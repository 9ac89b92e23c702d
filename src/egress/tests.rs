//! The whole client against a real server on the loopback, allowed by a private exception.

mod cache;
mod guard;
mod limits;
mod patience;
mod proxy;
mod redirects;
mod requests;
mod support;
mod tls;
mod tunnel;
