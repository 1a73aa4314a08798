//! REST and gRPC on one port: authentication, limits, deadlines, errors.
