//! The generator against a server whose behaviour is known.

mod driver;
mod saturate;
mod server;
mod texts;
