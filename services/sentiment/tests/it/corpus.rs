//! The rated sentences as they were published.

use std::collections::BTreeMap;

use attune_sentiment::data::{Corpus, DataError, Part};

use crate::support::{Fixture, models};

#[test]
fn the_published_sentences_split_into_the_sizes_that_figures_are_quoted_for() {
    let corpus = Corpus::read(&models().join("sentiment-data")).unwrap();
    let sizes = [Part::Train, Part::Dev, Part::Test].map(|part| corpus.part(part).len());
    assert_eq!(sizes, [19_154, 2_240, 2_309]);
    assert_eq!(corpus.sentences.len(), 23_703);
    assert!(corpus.sentences.iter().all(|sentence| !sentence.text.ends_with('\r')));
    let mut test: BTreeMap<&str, usize> = BTreeMap::new();
    for sentence in corpus.part(Part::Test) {
        *test.entry(sentence.source).or_default() += 1;
    }
    assert_eq!(test.len(), 4, "{test:?}");
}

#[test]
fn a_missing_an_empty_and_a_damaged_file_are_named() {
    let fixture = Fixture::new();
    let read = || Corpus::read(&fixture.data()).unwrap_err();
    fixture.write_source("tweets", "1_1\t0.5\tfine\n2_1\tmany\tnot fine\n");
    assert!(matches!(read(), DataError::Row { line: 2, path, .. } if path.ends_with("tweets_GroundTruth.txt")));
    fixture.write_source("tweets", "\n\n");
    assert!(matches!(read(), DataError::Empty { path } if path.ends_with("tweets_GroundTruth.txt")));
    std::fs::write(fixture.data().join("tweets_GroundTruth.txt"), [0xff, 0xfe, 0x00]).unwrap();
    assert!(matches!(read(), DataError::File { .. }), "not UTF-8");
    std::fs::remove_file(fixture.data().join("tweets_GroundTruth.txt")).unwrap();
    let error = read();
    assert!(matches!(error, DataError::File { .. }));
    assert!(error.to_string().contains("attune models pull"), "{error}");
}

#[test]
fn the_fingerprint_changes_with_the_data() {
    let fixture = Fixture::new();
    let before = Corpus::read(&fixture.data()).unwrap().fingerprint;
    assert_eq!(before, Corpus::read(&fixture.data()).unwrap().fingerprint);
    fixture.write_source("tweets", "1_1\t0.5\tfine\n");
    assert_ne!(before, Corpus::read(&fixture.data()).unwrap().fingerprint);
    assert_eq!(before.len(), 64);
}
