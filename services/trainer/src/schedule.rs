//! When there is a run.
//!
//! A pure function of the clock and of the number of events: all trainers come to the same turn, whoever started when, and
//! a turn that was had is not had again. Nothing is kept for it but the job that is named by it.

use crate::TrainerConfig;

/// The turn that is due, as the name of a job; `None` where there is too little to learn from, or nothing new since the
/// version in service, which learned from `known` events.
pub fn due(config: &TrainerConfig, now_ms: i64, events: u64, known: Option<u64>) -> Option<String> {
    if events < config.events_min || known == Some(events) {
        return None;
    }
    let (slot, many) = (now_ms.div_euclid(1_000).div_euclid(config.every_s as i64), events / config.events_new);
    Some(format!("train-{}-{slot}-{}-{many}", config.every_s, config.events_new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_comes_with_time_or_with_events_and_not_without_news() {
        let config = TrainerConfig { every_s: 10, events_new: 100, events_min: 50, ..TrainerConfig::default() };
        let due = |now_s: i64, events, known| due(&config, now_s * 1_000, events, known);
        assert_eq!((due(5, 49, None), due(5, 70, Some(70))), (None, None));
        let first = due(5, 70, None).unwrap();
        assert_eq!(first, "train-10-0-100-0");
        assert_eq!((due(9, 99, None), due(9, 99, Some(70))), (Some(first.clone()), Some(first.clone())));
        assert_ne!(due(10, 99, None), Some(first.clone()), "the next slot");
        assert_ne!(due(9, 100, None), Some(first), "many more events");
    }
}
