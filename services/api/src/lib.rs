//! The wire contract: protocol buffers, wire types, errors.
