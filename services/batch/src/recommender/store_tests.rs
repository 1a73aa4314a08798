use std::io::Write;

use attune_ranking::data::History as Asked;

use super::*;
use crate::read::ColumnMap;
use crate::recommender::{Kind, train, train_without_people};

/// Thirty users in two groups with a taste each.
pub(in crate::recommender) fn history() -> History {
    let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    writeln!(file, "user_id,item_id,type,value,timestamp").unwrap();
    for user in 0..30 {
        for step in 0..6 {
            let item = 2 * ((user * 5 + step * 7) % 11) + user % 2;
            writeln!(file, "u{user},i{item},view,,{}", 1_000 + user * 10 + step).unwrap();
        }
    }
    writeln!(file, "u0,i1,dislike,,5000").unwrap();
    History::read(file.path(), &ColumnMap::default()).unwrap()
}

pub(in crate::recommender) fn small(kind: Kind) -> Settings {
    let settings = Settings::new(kind, 7);
    match kind {
        Kind::Als => settings.set(["factors=4", "epochs=3"]).unwrap(),
        Kind::Blend => settings.set(["parts.1.options.factors=4"]).unwrap(),
        _ => settings,
    }
}

pub(in crate::recommender) fn stored(settings: &Settings) -> Stored {
    let history = history();
    let trained = train(settings, &history, &Worth::default()).unwrap();
    Stored {
        name: "tiny".into(),
        command: "attune train".into(),
        settings: settings.clone(),
        model: trained.model,
        data: DataCard {
            inputs: Vec::new(),
            events: history.log.events().len(),
            rejected: 0,
            kinds: BTreeMap::new(),
            users: history.users.len(),
            items: history.items.len(),
            first: None,
            last: history.log.latest(),
            worth: Worth::default(),
            unit: trained.unit,
        },
        users: history.users,
        items: history.items,
        histories: trained.histories,
        measured: Measured::Not { reason: "a test".into() },
        blend: Vec::new(),
        rejected: vec![Rejected { row: 3, reason: "bad".into() }],
    }
}

fn scores(model: &Model, histories: &Histories) -> Vec<f32> {
    let (mut all, mut scores) = (Vec::new(), vec![0.0; model.items()]);
    for user in [Some(0), Some(1)] {
        model.score(user, histories.of(user.unwrap()), &mut scores);
        all.extend_from_slice(&scores);
    }
    model.score(None, Asked { items: &[1, 2], weights: &[1.0, 1.0], times: &[1, 2] }, &mut scores);
    all.extend_from_slice(&scores);
    model.score(None, Asked::default(), &mut scores);
    all.extend(scores);
    all
}

#[test]
fn every_model_comes_back_as_it_was_and_its_version_is_its_content() {
    let data = tempfile::tempdir().unwrap();
    for name in ["popular", "item-knn", "als", "ease", "sequential", "naive-bayes", "blend"] {
        let settings = small(name.parse().unwrap());
        let before = stored(&settings);
        let need = scores(&before.model, &before.histories);
        let folder = before.write(Place::Named(data.path(), name)).unwrap();
        let again = stored(&settings).write(Place::Named(data.path(), name)).unwrap();
        assert_eq!(folder, again, "{name}: the same training is the same version");
        let loaded = Recommender::load(&resolve(data.path(), name).unwrap()).unwrap();
        assert_eq!((loaded.name.as_str(), &loaded.settings), (name, &settings));
        assert!(folder.ends_with(&loaded.version), "{}", folder.display());
        assert_eq!(scores(&loaded.model, &loaded.histories), need, "{name}");
        assert_eq!((loaded.users.len(), loaded.items.row("i0").is_some()), (30, true));
    }
    let other = stored(&small(Kind::Als).with_seed(8)).write(Place::Named(data.path(), "als")).unwrap();
    assert_eq!(resolve(data.path(), "als").unwrap(), other, "a name means the newest");
    assert_eq!(fs::read_dir(data.path().join("recommenders/als")).unwrap().count(), 4, "two versions, current, a lock");
}

#[test]
fn weights_doubled_are_the_same_model() {
    let history = history();
    for name in ["popular", "item-knn", "als", "ease", "sequential", "naive-bayes", "blend"] {
        let settings = small(name.parse().unwrap());
        let [one, two] = [1.0, 2.0].map(|factor| train(&settings, &history, &Worth::default().times(factor)).unwrap());
        assert_eq!(scores(&one.model, &one.histories), scores(&two.model, &two.histories), "{name}");
        assert_eq!(one.histories, two.histories);
    }
}

#[test]
fn a_folder_of_ones_own_is_never_written_over() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("mine");
    let settings = small(Kind::Popular);
    assert_eq!(stored(&settings).write(Place::Folder(&folder)).unwrap(), folder);
    assert_eq!(Recommender::load(&folder).unwrap().name, "mine");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing else is left there");
    let before = fs::read(folder.join(folder::MANIFEST)).unwrap();
    let error = stored(&settings.with_seed(1)).write(Place::Folder(&folder)).unwrap_err();
    assert!(matches!(error, RecommenderError::Exists { .. }), "{error}");
    assert_eq!(fs::read(folder.join(folder::MANIFEST)).unwrap(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_in_no_utf8_is_called_as_it_was_asked_for() {
    use std::os::unix::ffi::OsStrExt;

    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    stored(&small(Kind::Popular)).write(Place::Folder(&folder)).unwrap();
    Recommender::load(&folder).unwrap();
}

#[test]
fn a_flipped_byte_anywhere_and_a_cut_anywhere_are_found() {
    let parent = tempfile::tempdir().unwrap();
    let folder = stored(&small(Kind::ItemKnn)).write(Place::Folder(&parent.path().join("mine"))).unwrap();
    for file in [MODEL, HISTORIES, USERS, ITEMS, CONFIG, DATA, folder::MANIFEST] {
        let path = folder.join(file);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len().div_ceil(23)) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            for bytes in [&flipped[..], &whole[..at]] {
                fs::write(&path, bytes).unwrap();
                // A flipped letter in the manifest may be in what no other file contradicts; its version changes then.
                match Recommender::load(&folder) {
                    Err(error) => assert!(error.to_string().contains("mine"), "{error}"),
                    Ok(_) => assert_eq!(file, folder::MANIFEST, "{file} at {at}"),
                }
            }
        }
        fs::write(&path, whole).unwrap();
    }
    Recommender::load(&folder).unwrap();
}

#[test]
fn foreign_folders_and_unknown_names_say_what_is_wrong() {
    let data = tempfile::tempdir().unwrap();
    let why = |name: &str| {
        resolve(data.path(), name).and_then(|folder| Recommender::load(&folder)).err().unwrap().to_string()
    };
    assert!(why("als").contains("no recommender \"als\"") && why("als").contains("attune train"), "{}", why("als"));
    stored(&small(Kind::Popular)).write(Place::Named(data.path(), "best")).unwrap();
    assert!(why("als").contains("there are best"), "{}", why("als"));
    let foreign = data.path().join("foreign");
    let mut staging = Staging::begin(data.path()).unwrap();
    staging.add("a", &mut &b"a"[..]).unwrap();
    let describe = |files| Manifest { format: "something else".into(), format_version: 1, files };
    staging.seal(describe).unwrap().commit("foreign").unwrap();
    assert!(why(foreign.to_str().unwrap()).contains("its manifest is of \"something else\""));
    let mut staging = Staging::begin(data.path()).unwrap();
    staging.add("a", &mut &b"a"[..]).unwrap();
    let describe = |files| Manifest { format: FORMAT.into(), format_version: 9, files };
    staging.seal(describe).unwrap().commit("foreign").unwrap();
    assert!(why(foreign.to_str().unwrap()).contains("format version 9"));
}

#[test]
fn a_model_without_people_answers_histories_as_before() {
    let data = tempfile::tempdir().unwrap();
    for name in ["popular", "item-knn", "als", "ease", "sequential", "naive-bayes", "blend"] {
        let settings = small(name.parse().unwrap());
        let by_history = |model: &Model| {
            let mut scores = vec![0.0; model.items()];
            model.score(None, Asked { items: &[1, 2], weights: &[1.0, 1.0], times: &[1, 2] }, &mut scores);
            scores
        };
        let need = by_history(&stored(&settings).model);
        let trained = train_without_people(&settings, &history(), &Worth::default()).unwrap();
        let (model, histories, users) = (trained.model, trained.histories, Names::default());
        let folder = Stored { model, histories, users, ..stored(&settings) }.write(Place::Named(data.path(), name));
        let loaded = Recommender::load(&folder.unwrap()).unwrap();
        assert_eq!(by_history(&loaded.model), need, "{name}");
        assert_eq!((loaded.users.len(), loaded.histories.users()), (0, 0));
        assert!(loaded.model.factors().is_none_or(|factors| factors.users.is_empty()), "{name}");
    }
}
