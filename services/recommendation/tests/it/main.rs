//! The service over the embedded stores, with a catalogue of its own.

mod changes;
mod definitions;
mod faults;
mod feeds;
mod lists;
mod outside;
mod restarts;
mod shop;
