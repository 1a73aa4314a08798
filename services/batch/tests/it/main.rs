//! Files in, files out: what is read of them, and what is left of them after kills, power cuts and full disks.

mod crash;
mod disk;
mod job;
mod reading;
mod scoring;
mod shout;
