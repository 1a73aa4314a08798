//! The table of protocols: what each name fixes.

use thiserror::Error;

/// What a figure was measured with. In every protocol
/// - events of kinds that weigh 0 take no part,
/// - an item is relevant when the user's test events have one of a kind that speaks for it, whatever its value (binary),
/// - every item of the log is ranked except the masked ones, unless [`Rule`] says otherwise; none is sampled,
/// - an item that is relevant but masked (met again after training) cannot be ranked and is no longer relevant,
/// - a figure is the mean over users with at least one relevant item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Protocol {
    /// What it is called, in reports and on the command line.
    pub name: &'static str,
    /// What is split, and after whom.
    pub description: &'static str,
    /// Length of the lists that are judged.
    pub k: usize,
    /// What a user is not shown in the test run.
    pub masked: &'static str,
    /// How events are divided.
    pub rule: Rule,
}

/// How events are divided into train, validation and test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Each user's events are shuffled; the first `train_share` of them, rounded half to even, train, the others test.
    Stratified {
        /// Share of a user's events in train.
        train_share: f64,
    },
    /// Each user's events are shuffled; a tenth, rounded half to even but at least one while train keeps one, tests.
    Tenth,
    /// Each user's events are shuffled; a tenth, rounded down but at least one while train keeps one, tests, and another
    /// validates.
    TwoTenths {
        /// Whether the test run is of models that were trained with the validation part too.
        refit: bool,
    },
    /// Each user's events are shuffled and cut after eight tenths and after nine, both rounded down but train is not empty:
    /// the first train, the next validate, and the rest, a tenth rounded up, tests.
    CutTenths,
    /// The last event of a user with two or more tests, the second to last of one with three or more validates.
    LeaveLastOut,
    /// Events from one date on test.
    GlobalTime {
        /// The date is the time of the event at this share of all, in order of time.
        quantile: f64,
    },
    /// Some users are unknown in training; all their events test.
    UsersCold {
        /// Share of the users, at least one user.
        share: f64,
        /// How many of their earliest events they are ranked with, one group each; the later events are relevant.
        histories: &'static [usize],
    },
    /// Some items are unknown in training; all their events test, and only they are ranked, those of one score by chance.
    ItemsCold {
        /// Share of the items, at least one item.
        share: f64,
    },
}

/// A name that is not in [`PROTOCOLS`].
#[derive(Clone, Debug, Error, PartialEq)]
#[error("there is no protocol {name:?}: use one of {known}")]
pub struct UnknownProtocol {
    name: String,
    known: String,
}

const TRAIN: &str = "the user's training items";
const TRAIN_AND_VALIDATION: &str = "the user's training and validation items";

/// All protocols.
pub const PROTOCOLS: &[Protocol] = &[
    Protocol {
        name: "recommenders-75-25",
        description: "random by user, 3:1, as `python_stratified_split` of Microsoft's recommenders with ratio 0.75. \
                      Its README's map is `map_all` here",
        k: 10,
        masked: TRAIN,
        rule: Rule::Stratified { train_share: 0.75 },
    },
    Protocol {
        name: "recbole-811-full",
        description: "random by user, 8:1:1, as RecBole's `order: RO, split: {RS: [0.8, 0.1, 0.1]}, group_by: user, \
                      mode: full`, whose parts other than train are rounded down; trained on train alone",
        k: 10,
        masked: TRAIN_AND_VALIDATION,
        rule: Rule::TwoTenths { refit: false },
    },
    Protocol {
        name: "recbole-811-refit",
        description: "the split of recbole-811-full; settings are chosen on validation, and the model of the test run is \
                      then trained on train and validation",
        k: 10,
        masked: TRAIN_AND_VALIDATION,
        rule: Rule::TwoTenths { refit: true },
    },
    Protocol {
        name: "user-80-10-10",
        description: "random by user, 8:1:1, cut after eight and after nine tenths, rounded down; trained on train alone",
        k: 10,
        masked: TRAIN_AND_VALIDATION,
        rule: Rule::CutTenths,
    },
    Protocol {
        name: "user-90-10",
        description: "random by user, 9:1, the tenth rounded half to even",
        k: 10,
        masked: TRAIN,
        rule: Rule::Tenth,
    },
    Protocol {
        name: "leave-last-out-full",
        description: "each user's last event tests and the second to last validates, by time and, within a second, by \
                      order of the file; the test run has the validation event as history. Leaks the future of other \
                      users: report global-time beside it",
        k: 10,
        masked: TRAIN_AND_VALIDATION,
        rule: Rule::LeaveLastOut,
    },
    Protocol {
        name: "global-time",
        description: "one date for all: the last tenth of all events tests, those within the second of the date too. \
                      Users with a history before it and users without are apart",
        k: 10,
        masked: TRAIN,
        rule: Rule::GlobalTime { quantile: 0.9 },
    },
    Protocol {
        name: "users-cold",
        description: "a tenth of the users is unknown in training and ranked with none, 1, 3 and 10 of their earliest \
                      events; what they did later is relevant",
        k: 10,
        masked: "the earliest events that the user is ranked with",
        rule: Rule::UsersCold { share: 0.1, histories: &[0, 1, 3, 10] },
    },
    Protocol {
        name: "items-cold",
        description: "a tenth of the items has no event in training; these items alone are ranked, those \
                      of one score by chance",
        k: 10,
        masked: "every item with an event in training",
        rule: Rule::ItemsCold { share: 0.1 },
    },
];

impl Protocol {
    /// The protocol called `name`.
    ///
    /// # Errors
    /// [`UnknownProtocol`] lists the names there are.
    pub fn named(name: &str) -> Result<&'static Self, UnknownProtocol> {
        PROTOCOLS.iter().find(|protocol| protocol.name == name).ok_or_else(|| {
            let known: Vec<&str> = PROTOCOLS.iter().map(|protocol| protocol.name).collect();
            UnknownProtocol { name: name.to_owned(), known: known.join(", ") }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_found_by_its_name_alone() {
        assert!(PROTOCOLS.iter().all(|protocol| Protocol::named(protocol.name) == Ok(protocol)));
        let error = Protocol::named("sampled-99").unwrap_err().to_string();
        assert!(
            error.contains("sampled-99") && error.contains("recbole-811-full, recbole-811-refit, user-80-10-10"),
            "{error}"
        );
    }
}
