//! Recommenders that stay fresh: trained over the event lake, judged, published, put in service.
//!
//! ```text
//! lake --read--> history --train, measure--> a version --gate--> objects --promote--> every replica
//! ```
//!
//! **A run is a job**, named by its turn: the time divided by how often there is one, and how many events there were. So
//! of many trainers one enters it, one has it at a time, another takes it over when that one ends, and whoever has slept
//! past his lease changes nothing: the commit that puts a version in service ends the job by its fence. A run that was cut
//! off is begun again from the lake; what was in service stays there.
//!
//! **A version is judged before it is published.** With the settings of the one in service, its figure may be below that
//! one's by a share, since the events are others now; with other settings, those of the one in service are measured anew
//! on the same split, and whoever is worse stays out. The alternative, to compare figures of different days, lets a lucky
//! week block every later model.
//!
//! **What a version weighs in lists is learned with it**: whoever makes lists rehearses some with the model that was
//! measured, which does not know what was held out, and what comes of it is part of the version. It comes into service with
//! the model and goes with it.
//!
//! **A version holds nothing of single users.** It is asked with what they did, which every replica knows anyway: so
//! erasure has nothing to do here, and whoever comes after the training is served like everybody else.

mod config;
mod lake;
mod publish;
mod run;
mod schedule;
mod tried;
mod worker;

pub use config::{ConfigError, TrainerConfig};
pub use lake::{LakeReadError, Learned, read_lake};
pub use publish::{PublishError, fetch, publish};
pub use run::known_events;
pub use tried::Trying;
pub use worker::{KIND, MakesLists, Seams, Timing, Trainer, Tried};

/// Under which name the versions of recommenders are entered among the models of a tenant.
pub const MODEL: &str = "recommender";
/// Under which key a version's entry says that somebody took it back: a rollback does not go back to it.
pub const TAKEN_BACK: &str = "taken_back";

/// What a tenant's trained recommender is called: the folder of its versions.
pub fn name_of(tenant: &attune_store::Tenant) -> String {
    format!("trained-{tenant}")
}
