//! The gateway over the wire: real sockets, real clients, a real (tiny) model.

mod admin;
mod auth;
mod bad_grpc;
mod bad_rest;
mod connections;
mod drain;
mod grpc;
mod issuers;
mod limits;
mod operations;
mod overload;
mod proxies;
mod raw;
mod rest;
mod support;
mod tls;
mod token_keys;
mod tokens;
mod upstream;
