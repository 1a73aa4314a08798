//! `attune train` and `attune score --task recommend` with the real binary: the same bytes twice, after kills too, and
//! what is said of bad input.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::score::{files, kill_after, said};
use crate::server::{attune, run};

const USERS: usize = 40;
const ITEMS: usize = 24;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// Events of two groups of users with a taste each, one bad row among them.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut csv = String::from("user_id,item_id,type,value,timestamp\n");
        for user in 0..USERS {
            for step in 0..7 {
                let item = 2 * ((user * 5 + step * 7) % (ITEMS / 2)) + user % 2;
                writeln!(csv, "u{user},i{item},view,,{}", 1_000 + user * 10 + step).unwrap();
            }
        }
        csv.push_str("u0,,view,,1\n");
        fs::write(folder.path().join("events.csv"), csv).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn words(&self, words: &[&str]) -> Vec<String> {
        let data = ["--data".to_owned(), self.path("data")];
        words.iter().map(|word| (*word).to_owned()).chain(data).collect()
    }

    fn run(&self, words: &[&str]) -> Output {
        let words = self.words(words);
        run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Trains, and gives the folder.
    fn train(&self, words: &[&str]) -> PathBuf {
        let output = self.run(&[&["train"], words, &["--events", &self.path("events.csv")]].concat());
        assert!(output.status.success(), "{}", said(&output));
        let printed = String::from_utf8(output.stdout).unwrap();
        PathBuf::from(printed.lines().last().unwrap())
    }

    fn score(&self, model: &str, input: &str, output: &str, words: &[&str]) -> Output {
        let (input, output) = (self.path(input), self.path(output));
        let task = ["score", "--task", "recommend", "--model", model, "--input", &input, "--output", &output];
        self.run(&[&task, words].concat())
    }

    /// The rows of an output in JSON lines.
    fn rows(&self, output: &str) -> Vec<Value> {
        let parts = files(Path::new(&self.path(output)));
        let parts = parts.iter().filter(|(name, _)| name.starts_with("part-"));
        let lines = parts.flat_map(|(_, bytes)| std::str::from_utf8(bytes).unwrap().lines());
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn why(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        said(&output)
    }
}

#[test]
fn the_same_command_writes_the_same_bytes_and_a_card_with_figures() {
    let place = Place::new();
    for model in ["als", "ease", "blend"] {
        let one = place.train(&[model, "--seed", "3"]);
        let two = place.path(model);
        place.train(&[model, "--seed", "3", "--output", &two]);
        let but_the_card = |folder: &Path| -> BTreeMap<String, Vec<u8>> {
            files(folder)
                .into_iter()
                .filter(|(name, _)| !["README.md", "attune-manifest.json"].contains(&&**name))
                .collect()
        };
        assert!(but_the_card(&one) == but_the_card(Path::new(&two)), "{model}");
        let again = place.train(&[model, "--seed", "3"]);
        assert_eq!(one, again, "the version is the content");
        let card = fs::read_to_string(one.join("README.md")).unwrap();
        for needed in ["| ndcg@10 |", "--seed 3", "events.csv", "40 users, 24 items, 280 events; 1 rows were left out"]
        {
            assert!(card.contains(needed), "{needed}: {card}");
        }
        let rejected = fs::read_to_string(one.join("rejected.jsonl")).unwrap();
        assert_eq!(rejected, "{\"row\":281,\"reason\":\"item_id is missing or empty\"}\n");
    }
    assert_ne!(place.train(&["als", "--seed", "3"]), place.train(&["als", "--seed", "4"]));
}

#[test]
fn lists_are_of_ones_taste_without_what_was_seen_and_strangers_get_what_is_popular() {
    let place = Place::new();
    place.write("users.csv", "user_id,history\nu1,\nu0,\nnobody,\nnew,i0 i2 unheard-of\n,\n");
    for model in ["als", "ease", "item-knn", "sequential", "blend", "popular"] {
        place.train(&[model, "--protocol", "none"]);
        let out = format!("{model}.jsonl");
        let output = place.score(model, "users.csv", &out, &["--k", "3"]);
        assert!(output.status.success() && said(&output).contains("5 rows, 1 rejected"), "{}", said(&output));
        let rows = place.rows(&out);
        assert_eq!(rows.len(), 4 * 3);
        let list = |user: &str| -> Vec<&Value> { rows.iter().filter(|row| row["user_id"] == user).collect() };
        let parity = |row: &Value| row["item_id"].as_str().unwrap()[1..].parse::<usize>().unwrap() % 2;
        let based_on = ["u0", "nobody", "new"].map(|user| list(user)[0]["based_on"].as_str().unwrap().to_owned());
        assert_eq!(based_on, ["user", "popular", "history"]);
        assert_eq!(list("u1").iter().map(|row| row["rank"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
        if model != "popular" {
            assert!(list("u1").iter().all(|row| parity(row) == 1), "{model}: {:?}", list("u1"));
            assert!(list("new").iter().all(|row| parity(row) == 0), "{model}: {:?}", list("new"));
        }
        let seen = ["i0", "i2"];
        assert!(list("new").iter().all(|row| !seen.contains(&row["item_id"].as_str().unwrap())), "{model}");
    }
}

#[test]
fn a_filter_over_a_file_of_items_decides_what_may_be_recommended() {
    let place = Place::new();
    place.write("users.csv", "user_id\nu1\nnobody\n");
    let items: String = (0..ITEMS).map(|item| format!("i{item},{},{}\n", item, item % 3 == 0)).collect();
    let items = place.write("items.csv", &format!("item_id,price,new\n{items}"));
    for model in ["als", "ease"] {
        place.train(&[model, "--protocol", "none"]);
        let out = format!("{model}.jsonl");
        let words = ["--k", "5", "--exclude-seen", "false", "--items", &items];
        let output = place.score(model, "users.csv", &out, &[&words[..], &["--filter", "price < 12 and new"]].concat());
        assert!(output.status.success(), "{}", said(&output));
        let rows = place.rows(&out);
        assert_eq!(rows.len(), 2 * 4, "i0, i3, i6, i9: {rows:?}");
        let fits = ["i0", "i3", "i6", "i9"];
        assert!(rows.iter().all(|row| fits.contains(&row["item_id"].as_str().unwrap())), "{model}: {rows:?}");
        let nothing =
            place.score(model, "users.csv", "none.jsonl", &[&words[..], &["--filter", "price > 99"]].concat());
        assert!(said(&nothing).contains("2 rows, 2 rejected"), "{}", said(&nothing));
        assert_eq!(nothing.status.code(), Some(1));
        assert!(said(&nothing).contains("no row of ") && said(&nothing).contains("none.jsonl.rejected.jsonl says why"));
        fs::remove_dir_all(place.path("none.jsonl")).unwrap();
        for (filter, why) in
            [("price <", "--filter price <"), ("size < 3", "no column \"size\""), ("price == \"a\"", "price")]
        {
            let refused = place.score(model, "users.csv", "bad.jsonl", &[&words[..], &["--filter", filter]].concat());
            assert!(!refused.status.success() && said(&refused).contains(why), "{}", said(&refused));
        }
    }
}

#[test]
fn killed_twice_the_lists_are_the_same_to_the_byte() {
    let place = Place::new();
    let users: String = (0..6_000).map(|user| format!("u{}\n", user * 7 % 60)).collect();
    place.write("users.csv", &format!("user_id\n{users}"));
    place.train(&["als", "--protocol", "none"]);
    let (input, killed) = (place.path("users.csv"), place.path("killed.parquet"));
    let words = ["score", "--task", "recommend", "--model", "als", "--part-rows", "100", "--input", &input, "--output"];
    let whole = place.run(&[&words[..], &[&place.path("whole.parquet")]].concat());
    assert!(whole.status.success() && said(&whole).contains("6,000 rows, 0 rejected"), "{}", said(&whole));
    let words = place.words(&[&words[..], &[&killed]].concat());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let kills = [2, 20].map(|count| kill_after(attune(&words).spawn().unwrap(), Path::new(&killed), count));
    assert!(kills[0], "the first process ended before it could be killed");
    let resumed = run(&words);
    assert!(resumed.status.success() && said(&resumed).contains("going on behind row"), "{}", said(&resumed));
    assert!(files(Path::new(&killed)) == files(Path::new(&place.path("whole.parquet"))));

    place.train(&["als", "--protocol", "none", "--seed", "1"]);
    let other = run(&words);
    assert!(said(&other).contains("model_version was"), "{}", said(&other));
}

#[test]
fn what_cannot_be_trained_on_is_told() {
    let place = Place::new();
    let head = "user_id,item_id,type,value,timestamp\n";
    let train = |text: &str| place.why(&["train", "als", "--events", &place.write("bad.csv", text)]);
    assert!(train("user_id,item_id\na,b\n").contains("has no column \"type\"; it has \"user_id\", \"item_id\""));
    assert!(train("").contains("has no column"));
    assert!(train(head).contains("has no event that could be read"));
    assert!(train(&format!("{head}a,b,view,,yesterday\n")).contains("the first because: timestamp \"yesterday\""));
    assert!(train(&format!("{head}a,x,view,,1\na,y,view,,2\n")).contains("have 1 user: at least 2 are needed"));
    assert!(train(&format!("{head}a,x,view,,1\nb,x,view,,2\n")).contains("have 1 item: at least 2 are needed"));
    assert!(train(&format!("{head}a,x,dislike,,1\nb,y,impression,,2\n")).contains("no positive entry"));
    assert!(!Path::new(&place.path("data/recommenders/als")).exists());
    let events = place.path("events.csv");
    assert!(place.why(&["train", "als", "--events", &place.path("absent.csv")]).contains("absent.csv"));
    assert!(
        place.why(&["train", "als", "--events", &events, "--set", "factor=3"]).contains("als has no option \"factor\"")
    );
    assert!(place.why(&["train", "als", "--events", &events, "--set", "factors=0"]).contains("factors is 0"));
    assert!(
        place.why(&["train", "popular", "--events", &events, "--search", "3"]).contains("no settings to search for")
    );
    assert!(place.why(&["train", "als", "--events", &events, "--output", &events]).contains("exists"));
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    let place = Place::new();
    let (users, events, out) =
        (place.write("users.csv", "text\nhello\n"), place.path("events.csv"), place.path("out.jsonl"));
    let score = |task: &str, flags: &[&str]| {
        place.why(&[&["score", "--task", task, "--input", &users, "--output", &out], flags].concat())
    };
    for flags in [&["--k", "3"][..], &["--exclude-seen", "false"], &["--worth", "alike"]] {
        let told = score("sentiment", flags);
        let need = format!("{} does nothing with --task sentiment, it is for --task recommend", flags[0]);
        assert!(told.contains(&need), "{told}");
    }
    let filter = ["--filter", "price < 3", "--items", "absent.csv"];
    assert!(score("embed", &filter).contains("--filter does nothing with --task embed"), "{}", score("embed", &filter));
    assert!(!Path::new(&out).exists());

    let tenant = place.run(&["train", "popular", "--events", &events, "--tenant", "other"]);
    assert_eq!(tenant.status.code(), Some(2), "{}", said(&tenant));
    let told = said(&tenant);
    assert!(told.contains("cannot be used with") && told.contains("--tenant"), "{told}");
}

#[test]
fn bad_models_and_lengths_are_told_before_anything_is_written() {
    let place = Place::new();
    place.write("users.csv", "user_id\nu1\n");
    let why = |model: &str, words: &[&str]| {
        let output = place.score(model, "users.csv", "out.jsonl", words);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        said(&output)
    };
    assert!(why("als", &[]).contains("there is no recommender \"als\""));
    let folder = place.train(&["als", "--protocol", "none"]);
    for k in ["0", "25", "100000"] {
        assert!(why("als", &["--k", k]).contains(&format!("--k is {k}: 1 to 24 are possible")));
    }
    fs::write(folder.join("users.txt"), "u1\n").unwrap();
    assert!(why("als", &[]).contains("users.txt is damaged: 3 bytes where"), "{}", why("als", &[]));
    fs::remove_file(folder.join("attune-manifest.json")).unwrap();
    assert!(why(folder.to_str().unwrap(), &[]).contains("is not there"));
    assert!(!Path::new(&place.path("out.jsonl")).exists());
}

/// A limit on the size of files stands for a disk that fills up: both fail in the middle of a write.
#[cfg(unix)]
fn run_on_a_small_disk(words: &[String]) -> Output {
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_attune")]).args(words);
    command.output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_leaves_no_half_model_and_no_half_list() {
    let place = Place::new();
    let events = place.path("events.csv");
    let words = ["train", "als", "--events", &events, "--protocol", "none", "--set", "factors=64"];
    let output = run_on_a_small_disk(&place.words(&words));
    assert!(!output.status.success() && said(&output).contains("make room"), "{}", said(&output));
    let left: Vec<String> = files_or_none(&place.path("data/recommenders/als"));
    assert_eq!(left, [".lock"]);

    place.train(&["als", "--protocol", "none"]);
    let users: String = (0..3_000).map(|user| format!("u{user}\n")).collect();
    let input = place.write("users.csv", &format!("user_id\n{users}"));
    let out = place.path("out.jsonl");
    let words = ["score", "--task", "recommend", "--model", "als", "--input", &input, "--output", &out, "--k", "5"];
    let output = run_on_a_small_disk(&place.words(&words));
    assert!(!output.status.success() && said(&output).contains("cannot write"), "{}", said(&output));
    let output = place.run(&words);
    assert!(output.status.success() && said(&output).contains("3,000 rows, 0 rejected"), "{}", said(&output));
    assert_eq!(place.rows("out.jsonl").len(), 3_000 * 5);
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_fails_the_command() {
    let place = Place::new();
    let events = place.path("events.csv");
    let words = place.words(&["train", "popular", "--events", &events, "--protocol", "none"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_attune")).args(&words).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("the answer cannot be written to standard output"), "{}", said(&output));
}

fn files_or_none(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn worth_is_data_and_a_trained_folder_can_be_judged() {
    let place = Place::new();
    let worth = place.write("worth.toml", "[kinds.view]\nweight = 3\n");
    let worthless = place.write("worthless.toml", "[kinds.view]\nweight = 0\n");
    let events = place.path("events.csv");
    // Only ratios count: one type worth 3 is one type worth 1.
    let model = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    let (one, three) = (place.train(&["als"]), place.train(&["als", "--worth", &worth]));
    assert_eq!(model(&one), model(&three));
    assert_ne!(one, three, "data.json says what events were worth");
    assert!(place.why(&["train", "als", "--events", &events, "--worth", &worthless]).contains("no positive entry"));
    let bad = place.write("bad.toml", "[kinds.view]\nwieght = 3\n");
    assert!(place.why(&["train", "als", "--events", &events, "--worth", &bad]).contains("wieght"));

    let judge = ["evaluate", "--protocol", "user-90-10", "--events", &events, "--seeds", "1", "--model"];
    let alike = place.run(&[&judge[..], &[one.to_str().unwrap()]].concat());
    assert!(alike.status.success() && said(&alike).contains("trained anew on each split"), "{}", said(&alike));
    assert!(said(&alike).contains("every event counts alike"), "{}", said(&alike));
    // The name of a kind is the kind, also where a recommender is called so, and that is told.
    let told = place.run(&[&judge[..], &["als", "--worth", &worth]].concat());
    let current = one.parent().unwrap().to_str().unwrap();
    assert!(said(&told).contains("als is judged with its default options; --model "), "{}", said(&told));
    assert!(said(&told).contains(current), "{}", said(&told));
    assert!(said(&told).contains("events are worth what --worth says"), "{}", said(&told));
}

#[test]
fn a_search_takes_the_best_and_the_card_says_how_to_do_it_again() {
    let place = Place::new();
    let folder = place.train(&["ease", "--search", "4"]);
    let card = fs::read_to_string(folder.join("README.md")).unwrap();
    let command = card.split('`').find(|code| code.starts_with("attune train ease")).unwrap();
    let set: Vec<&str> =
        command.split(' ').skip(3).filter(|word| *word != "events.csv" && *word != "--events").collect();
    let again = place.train(&[&["ease"], &set[..]].concat());
    let model = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(model(&folder), model(&again), "{command}");
}

#[test]
fn vectors_made_elsewhere_are_a_model_like_any_other() {
    let place = Place::new();
    let texts =
        "id,text\ni1,A wonderful film.\ni2,A marvellous movie.\ni3,The battery is dead.\ni4,The charger broke.\n";
    let texts = place.write("texts.csv", texts);
    let config = crate::server::config(place.folder.path());
    let embedded = place.path("embedded.parquet");
    let embed = ["score", "--task", "embed", "--input", &texts, "--output", &embedded, "--config"];
    let output = place.run(&[&embed[..], &[config.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let map = ["--map", "item_id=id", "--map", "vector=embedding", "--metric", "cosine"];
    let output = place.run(&[&["train", "vectors", "--items", &embedded], &map[..]].concat());
    assert!(output.status.success() && said(&output).contains("0 users and 4 items"), "{}", said(&output));
    let folder = String::from_utf8(output.stdout).unwrap();
    let card = fs::read_to_string(Path::new(folder.trim_end()).join("README.md")).unwrap();
    let command =
        "attune train vectors --items embedded.parquet --map item_id=id --map vector=embedding --metric cosine";
    assert!(card.contains(command), "{card}");

    place.write("users.jsonl", "{\"user_id\": \"a\", \"history\": [\"i2\"]}\n{\"user_id\": \"b\"}\n");
    let output = place.score("vectors", "users.jsonl", "out.jsonl", &["--k", "1"]);
    assert!(said(&output).contains("2 rows, 1 rejected"), "{}", said(&output));
    let rows = place.rows("out.jsonl");
    assert_eq!((rows[0]["item_id"].as_str(), rows[0]["based_on"].as_str()), (Some("i1"), Some("history")));
    let judged = ["evaluate", "--protocol", "user-90-10", "--events", &place.path("events.csv"), "--model", "vectors"];
    assert!(place.why(&judged).contains("vectors made elsewhere are not trained on events"));
}
