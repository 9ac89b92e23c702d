//! The whole client against a real server on the loopback, allowed by a private exception.

mod guard;
mod limits;
mod proxy;
mod redirects;
mod requests;
mod support;
mod tls;
mod tunnel;
