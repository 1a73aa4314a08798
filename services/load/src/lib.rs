//! Open-loop load generator: Poisson arrivals, latency from the intended send time.
