//! What the lake is made of.

use std::collections::{BTreeMap, BTreeSet};

use attune_store::events::Offsets;
use serde::{Deserialize, Serialize};

/// Where the manifest is, among a tenant's objects.
pub const MANIFEST_KEY: &str = "lake/manifest.json";
/// The layout of files that this program writes and reads.
pub const FORMAT: u32 = 1;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dataset {
    /// What people did, a row an event.
    Events,
    /// What people were shown, a row a position of a list.
    Exposures,
}

/// A file of the lake. It is never changed, only replaced by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Its key among the tenant's objects.
    pub key: String,
    /// What it holds.
    pub dataset: Dataset,
    /// The day on which its rows arrived, in days since 1970.
    pub day: i64,
    /// The partition of the log that they come from.
    pub partition: u32,
    /// The offset of the first record.
    pub first: u64,
    /// The offset of the last one.
    pub last: u64,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The earliest time of its rows, in Unix milliseconds.
    pub time_min_ms: i64,
    /// The latest one.
    pub time_max_ms: i64,
}

/// All files, and how far into the log they go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// By partition, the offset from which the log is to be read on.
    pub next: Offsets,
    /// The files.
    pub files: Vec<DataFile>,
    /// Subjects that are forgotten.
    pub forgotten: BTreeSet<String>,
    /// Copies of events that were left out.
    pub duplicates: u64,
}

impl Dataset {
    /// Every dataset.
    pub const ALL: [Self; 2] = [Self::Events, Self::Exposures];

    /// As in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Exposures => "exposures",
        }
    }
}

impl DataFile {
    /// The key of a file of such a range. A file that replaces others has a `generation` of its own, since readers may
    /// still have theirs open.
    pub fn key(dataset: Dataset, day: i64, partition: u32, offsets: (u64, u64), generation: u64) -> String {
        let (first, last) = offsets;
        let date = date(day);
        let end = if generation == 0 { String::new() } else { format!("-{generation:016x}") };
        format!("lake/{}/day={date}/p{partition:04}-{first:020}-{last:020}{end}.parquet", dataset.name())
    }

    /// The one that has the rows of a run of files, and no key yet.
    pub(crate) fn of_run(run: &[Self]) -> Self {
        let over = |one: Self, other: &Self| Self {
            first: one.first.min(other.first),
            last: one.last.max(other.last),
            rows: one.rows + other.rows,
            time_min_ms: one.time_min_ms.min(other.time_min_ms),
            time_max_ms: one.time_max_ms.max(other.time_max_ms),
            ..one
        };
        let begun = Self { key: String::new(), bytes: 0, ..run[0].clone() };
        run[1..].iter().fold(begun, over)
    }
}

impl Manifest {
    /// The files of a dataset whose rows may lie in a time, both ends included, in Unix milliseconds.
    pub fn files_within(&self, dataset: Dataset, from_ms: i64, to_ms: i64) -> impl Iterator<Item = &DataFile> {
        self.files
            .iter()
            .filter(move |file| file.dataset == dataset && file.time_max_ms >= from_ms && file.time_min_ms <= to_ms)
    }

    /// The files with the newest rows of a dataset, up to so many rows, in the order of the log; and of each how many rows
    /// come before those.
    pub fn newest(&self, dataset: Dataset, rows_max: u64) -> Vec<(DataFile, u64)> {
        let mut files: Vec<&DataFile> = self.files.iter().filter(|file| file.dataset == dataset).collect();
        files.sort_by_key(|file| (file.day, file.partition, file.first));
        let mut left = rows_max;
        let mut chosen: Vec<(DataFile, u64)> = Vec::new();
        for file in files.into_iter().rev() {
            if left == 0 {
                break;
            }
            let taken = file.rows.min(left);
            left -= taken;
            chosen.push((file.clone(), file.rows - taken));
        }
        chosen.reverse();
        chosen
    }

    /// The rows of a dataset.
    pub fn rows(&self, dataset: Dataset) -> u64 {
        self.files.iter().filter(|file| file.dataset == dataset).map(|file| file.rows).sum()
    }

    /// The first run of files that belong together and are small enough to be one.
    pub fn to_compact(&self, files_min: usize, rows_max: u64) -> Option<Vec<DataFile>> {
        let mut groups: BTreeMap<(Dataset, i64, u32), Vec<&DataFile>> = BTreeMap::new();
        for file in self.files.iter().filter(|file| file.rows <= rows_max / 2) {
            groups.entry((file.dataset, file.day, file.partition)).or_default().push(file);
        }
        groups.into_values().find_map(|mut group| {
            group.sort_by_key(|file| file.first);
            let mut rows = 0;
            let fits = |file: &&&DataFile| {
                rows += file.rows;
                rows <= rows_max
            };
            let mut run: Vec<DataFile> = group.iter().take_while(fits).map(|file| (*file).clone()).collect();
            // One that outweighs all the others would be written again and again for a few rows more.
            while run.len() >= files_min && 2 * run[0].rows > run.iter().map(|file| file.rows).sum::<u64>() {
                run.remove(0);
            }
            (run.len() >= files_min).then_some(run)
        })
    }
}

/// A day since 1970 as `2026-11-26` (civil_from_days of Howard Hinnant's "chrono-compatible low-level date algorithms").
pub fn date(day: i64) -> String {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(first: u64, rows: u64, partition: u32) -> DataFile {
        let (dataset, day) = (Dataset::Events, 20_000);
        let offsets = (first, first + rows - 1);
        let key = DataFile::key(dataset, day, partition, offsets, 0);
        let (last, bytes) = (offsets.1, 1);
        DataFile { key, dataset, day, partition, first, last, rows, bytes, time_min_ms: 5, time_max_ms: 9 }
    }

    #[test]
    fn days_have_dates() {
        let known = [(0, "1970-01-01"), (-1, "1969-12-31"), (11_016, "2000-02-29"), (20_783, "2026-11-26")];
        for (day, text) in known {
            assert_eq!(date(day), text);
        }
        assert!(file(7, 3, 2).key.starts_with("lake/events/day=2024-10-04/p0002-00000000000000000007-"));
    }

    #[test]
    fn the_last_rows_are_taken_and_kept_in_order() {
        let file = |day: i64, partition: u32, first: u64, rows: u64| DataFile {
            key: format!("{day}-{partition}-{first}"),
            day,
            ..self::file(first, rows, partition)
        };
        let files = vec![file(2, 1, 50, 10), file(1, 0, 0, 100), file(2, 0, 100, 30), file(2, 1, 20, 30)];
        let manifest = Manifest { files, ..Manifest::default() };
        let chosen = |max| {
            let chosen = manifest.newest(Dataset::Events, max).into_iter();
            chosen.map(|(file, skipped)| (file.key, skipped)).collect::<Vec<_>>()
        };
        let key = |key: &str, skipped| (key.to_owned(), skipped);
        assert_eq!(chosen(25), [key("2-1-20", 15), key("2-1-50", 0)]);
        assert_eq!(chosen(70), [key("2-0-100", 0), key("2-1-20", 0), key("2-1-50", 0)]);
        assert_eq!(chosen(71)[0], key("1-0-0", 99));
        assert_eq!((chosen(10_000).len(), manifest.rows(Dataset::Events)), (4, 170));
        assert_eq!(manifest.newest(Dataset::Exposures, 9), []);
    }

    #[test]
    fn small_neighbours_become_one() {
        let files = vec![file(0, 10, 0), file(10, 10, 0), file(20, 10, 0), file(0, 10, 1), file(100, 60, 0)];
        let manifest = Manifest { files, ..Manifest::default() };
        let run = manifest.to_compact(3, 100).unwrap();
        assert_eq!(run.iter().map(|file| file.first).collect::<Vec<_>>(), [0, 10, 20]);
        assert_eq!(manifest.to_compact(4, 100), None);
        let joined = DataFile::of_run(&run);
        assert_eq!((joined.first, joined.last, joined.rows, joined.key.as_str()), (0, 29, 30, ""));
        let beside = |rows| {
            let files = vec![file(0, rows, 0), file(100, 10, 0), file(110, 10, 0), file(120, 10, 0)];
            let run = Manifest { files, ..Manifest::default() }.to_compact(3, 200);
            run.map(|run| run.iter().map(|file| file.first).collect::<Vec<_>>())
        };
        assert_eq!(beside(30), Some(vec![0, 100, 110, 120]));
        assert_eq!(beside(31), Some(vec![100, 110, 120]), "the large one is left alone");
        assert_eq!(manifest.to_compact(2, 20).unwrap().len(), 2);
        let within = |from, to| manifest.files_within(Dataset::Events, from, to).count();
        assert_eq!((within(0, 4), within(0, 5), within(9, 99), within(10, 99)), (0, 5, 5, 0));
    }
}
