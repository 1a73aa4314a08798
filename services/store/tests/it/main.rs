//! Every store against the behaviour that its trait promises.

mod disk;
mod events;
mod objects;
mod own_server;
mod search;
mod servers;
