//! The workspace as a whole, and the real binary from the outside: what a person types, what goes over the wire.

mod analytics;
mod authorization;
mod content;
mod crashes;
mod experiments;
mod golden;
mod http;
mod import;
mod import_items;
mod keys;
mod lag;
mod lifecycle;
mod lists;
mod off_policy;
mod pull;
mod recommend;
mod refusals;
mod score;
mod server;
mod tracking;
mod trainer;
mod users;
mod workspace;
