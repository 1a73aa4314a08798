//! What the services do when nobody calls: started with the server, stopped after the last answer and before the stores
//! close.

use attune_analytics::Bandits;
use attune_content::Workers;
use attune_lake::LakeWriter;
use attune_recommendation::Following;
use attune_trainer::Trainer;
use attune_users::Workers as Erasures;

/// The work of all services of this process.
#[derive(Debug, Default)]
pub struct Background {
    /// What follows writes of items.
    pub content: Option<Workers>,
    /// Shares people out among the arms of bandits.
    pub bandits: Option<Bandits>,
    /// Forgets people.
    pub erasures: Option<Erasures>,
    /// What follows the log, for lists.
    pub recommendation: Option<Following>,
    /// Writes what the log says into files.
    pub lake: Option<LakeWriter>,
    /// Trains recommenders.
    pub trainer: Option<Trainer>,
}

impl Background {
    /// Lets everything end what it is at.
    pub async fn stop(self) {
        // First, since it makes work and ends at once.
        if let Some(trainer) = self.trainer {
            trainer.stop().await;
        }
        if let Some(bandits) = self.bandits {
            bandits.stop().await;
        }
        if let Some(workers) = self.content {
            workers.stop().await;
        }
        if let Some(erasures) = self.erasures {
            erasures.stop().await;
        }
        if let Some(following) = self.recommendation {
            following.stop().await;
        }
        if let Some(lake) = self.lake {
            lake.stop().await;
        }
    }
}
