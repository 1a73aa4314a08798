//! Every store against the behaviour that its trait promises.

mod search;
mod servers;
