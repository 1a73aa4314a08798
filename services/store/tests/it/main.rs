//! Every store against the behaviour that its trait promises.

mod cache;
mod conformance;
mod disk;
mod documents;
mod events;
mod killed_server;
mod objects;
mod own_server;
mod relational;
mod resolve;
mod restarts;
mod search;
mod servers;
mod silent;
mod small_disk;
