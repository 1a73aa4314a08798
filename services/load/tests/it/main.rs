//! The generator against a server whose behaviour is known.

mod driver;
mod server;
mod texts;
