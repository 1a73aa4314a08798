//! Large segments on a GPU: the cards that `--device` allows take them over, and answer as the CPU does, bit for bit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use attune_api::rest::operations::ReadyTables;
use attune_inference::DeviceChoice;
use attune_kernels::cuda::{
    Arithmetic, Card, ChoiceError, Chosen, CudaError, Device, Found, GuardedItems, Items, Probe, TopkQuery, choose,
    probe,
};
use attune_ranking::index::scan::{Scan, ScanItems, Scanner, set_scanner};
use attune_ranking::index::{Allowed, Scored, Search};

/// Opens a device, or gives the one that is open.
type Open = dyn Fn() -> Result<Device, CudaError> + Send + Sync;

/// Makes the card that the choice allows take large segments from now on, and gives what will be there. One line of the log
/// says which card, or why none.
///
/// # Errors
/// The choice names a card that is not there.
pub fn start(asked: DeviceChoice) -> Result<Option<Arc<Tables>>, ChoiceError> {
    let why = match asked {
        DeviceChoice::Cpu => "the CPU was asked for".to_owned(),
        _ => {
            let found = probe();
            match choose(asked, &found, Arithmetic::Bf16.capability_min())? {
                Chosen::Cpu { why } => why,
                Chosen::Cards(cards) => {
                    if let (Some(card), Ok(probe)) = (cards.into_iter().next(), found) {
                        tracing::info!(%card, "large segments are searched on the GPU");
                        let tables = Arc::new(Tables::on(card.to_string()));
                        set_scanner(Arc::new(CardScanner::new(Arc::clone(&tables), once(probe, card))));
                        return Ok(Some(tables));
                    }
                    return Ok(None);
                }
            }
        }
    };
    tracing::info!(why, "segments are searched on the CPU");
    Ok(None)
}

/// One device for all segments; a lost one is opened again by whoever asks next.
fn once(probe: Probe, card: Card) -> impl Fn() -> Result<Device, CudaError> + Send + Sync {
    let open: Mutex<Option<Device>> = Mutex::new(None);
    move || {
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = open.as_ref().filter(|device| !device.is_lost()) {
            return Ok(device.clone());
        }
        let device = Device::open(&probe, &card, Arithmetic::Bf16)?;
        Ok(open.insert(device).clone())
    }
}

/// The segments that a card has taken over: some of them may be out of use, each for itself.
pub struct Tables {
    card: String,
    held: Mutex<Vec<Weak<OnCard>>>,
    /// Failures of those that are gone.
    failures_gone: AtomicU64,
}

impl Tables {
    fn on(card: String) -> Self {
        Self { card, held: Mutex::default(), failures_gone: AtomicU64::new(0) }
    }

    /// How they are.
    pub fn state(&self) -> ReadyTables {
        let held: Vec<Arc<OnCard>> = self.held().iter().filter_map(Weak::upgrade).collect();
        let states: Vec<_> = held.iter().map(|table| table.items.state()).collect();
        let in_use = states.iter().filter(|state| state.in_use).count();
        let failures: u64 = states.iter().map(|state| state.failures).sum();
        let failed = states.iter().filter(|state| state.failures > 0).max_by_key(|state| !state.in_use);
        ReadyTables {
            card: self.card.clone(),
            in_use,
            out_of_use: states.len() - in_use,
            failures: failures + self.failures_gone.load(Ordering::Relaxed),
            reason: failed.map(|state| state.reason.clone()).unwrap_or_default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Weak<OnCard>>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|table| table.strong_count() > 0);
        held
    }
}

/// Puts segments on a card.
struct CardScanner {
    tables: Arc<Tables>,
    open: Arc<Open>,
}

impl CardScanner {
    fn new(tables: Arc<Tables>, open: impl Fn() -> Result<Device, CudaError> + Send + Sync + 'static) -> Self {
        Self { tables, open: Arc::new(open) }
    }

    fn put(&self, items: Items) -> Result<Arc<OnCard>, CudaError> {
        let (width, open) = (items.width, Arc::clone(&self.open));
        let items = GuardedItems::new(items, move || open())?;
        let table = Arc::new(OnCard { items, width, tables: Arc::clone(&self.tables) });
        self.tables.held().push(Arc::downgrade(&table));
        Ok(table)
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tables({})", self.card)
    }
}

impl std::fmt::Debug for CardScanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CardScanner")
    }
}

impl Scanner for CardScanner {
    fn take(&self, items: ScanItems) -> Option<Arc<dyn Scan>> {
        let ScanItems { vectors, width, rows } = items;
        let places = rows.len();
        match self.put(Items { vectors, width, rows }) {
            Ok(table) => {
                tracing::info!(places, width, card = self.tables.card, "a segment is on the GPU");
                Some(table)
            }
            Err(error) => {
                tracing::warn!(places, width, %error, "a segment is searched on the CPU");
                None
            }
        }
    }
}

/// A segment on a card.
#[derive(Debug)]
struct OnCard {
    items: GuardedItems,
    width: usize,
    tables: Arc<Tables>,
}

impl Drop for OnCard {
    fn drop(&mut self) {
        self.tables.failures_gone.fetch_add(self.items.state().failures, Ordering::Relaxed);
    }
}

impl Scan for OnCard {
    fn scan(&self, search: &Search<'_>) -> Vec<Option<Vec<Scored>>> {
        let Search { queries, k, allowed, excluded, .. } = *search;
        let query = TopkQuery { queries, k, allowed: allowed.map(Allowed::words), excluded };
        let scored = |found: Vec<Found>| found.into_iter().map(|Found { row, score }| Scored { row, score }).collect();
        self.items.search(&query, self.width).into_iter().map(|found| found.map(scored)).collect()
    }
}

#[cfg(test)]
mod tests {
    use attune_kernels::cuda::ThreadOrder;
    use attune_ranking::index::Segment;

    use super::*;

    /// The emulated card; `None` where there is no C++ compiler, and says so.
    fn emulated() -> Option<CardScanner> {
        let open = || Device::emulated(Arithmetic::Bf16, ThreadOrder::default());
        let tables = Arc::new(Tables::on("emulated".into()));
        open().inspect_err(|error| eprintln!("SKIPPED: {error}")).ok().map(|_| CardScanner::new(tables, open))
    }

    fn values(count: usize, seed: u64) -> Vec<f32> {
        let value = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (seed..seed + count as u64).map(value).collect()
    }

    fn segment(items: usize, width: usize) -> Segment {
        let rows: Vec<u32> = (0..items as u32).map(|row| 3 * (items as u32 - row)).collect();
        Segment::build(&values(items * width, 0), width, &rows, 2).expect("finite values")
    }

    fn bits(lists: &[Vec<Scored>]) -> Vec<Vec<(u32, u32)>> {
        lists.iter().map(|list| list.iter().map(|one| (one.row, one.score.to_bits())).collect()).collect()
    }

    /// Odd sizes, filters, what is excluded, k up to and beyond what a card does; widths of embeddings.
    #[test]
    fn a_card_finds_what_a_segment_finds_bit_for_bit() {
        let Some(scanner) = emulated() else { return };
        for (items, width, count) in
            [(997, 8, 3), (601, 72, 17), (300, 256, 1), (9_001, 16, 20), (200, 384, 2), (130, 384, 17), (100, 768, 20)]
        {
            let plain = segment(items, width);
            let on_card = plain.clone().with_scanner(&scanner);
            let queries = values(count * width, 1 << 30);
            let places = plain.places().len();
            let third = Allowed::new(places, (0..places as u32).filter(|place| place % 3 == 0));
            let some: Vec<u32> = (0..items as u32).step_by(11).collect();
            let excluded: Vec<&[u32]> = (0..count).map(|query| if query % 2 == 0 { &some[..] } else { &[] }).collect();
            let cases =
                [(1, None, &[][..]), (10, Some(&third), &excluded[..]), (1024, None, &excluded), (1025, None, &[])];
            for (k, allowed, excluded) in cases {
                let search = Search { queries: &queries, k, allowed, excluded, threads: 1 };
                let (found, expected) = (on_card.search(&search).unwrap(), plain.search(&search).unwrap());
                assert_eq!(bits(&found), bits(&expected), "{items} x {width}, {count} queries, k {k}");
            }
        }
    }

    /// What a card refuses, or loses, is searched here.
    #[test]
    fn a_segment_answers_without_its_card() {
        let Some(scanner) = emulated() else { return };
        let wide = segment(50, 800);
        assert!(scanner.take(ScanItems { vectors: Arc::default(), width: 800, rows: Arc::default() }).is_none());
        let queries = values(2 * 800, 5);
        let search = |queries| Search { queries, k: 5, allowed: None, excluded: &[], threads: 1 };
        let found = wide.clone().with_scanner(&scanner).search(&search(&queries)).unwrap();
        assert_eq!(bits(&found), bits(&wide.search(&search(&queries)).unwrap()));

        let card = scanner.put(few_items()).unwrap();
        let answered = |card: &OnCard| card.scan(&search(&queries[..8])).iter().filter(|found| found.is_some()).count();
        assert_eq!((answered(&card), card.items.state().in_use), (1, true));
        card.items.fail("a test");
        assert_eq!(answered(&card), 0);
    }

    fn few_items() -> Items {
        Items { vectors: Arc::new(values(100 * 8, 0)), width: 8, rows: Arc::new((0..100).collect()) }
    }

    #[test]
    fn tables_are_counted_while_they_are_there_and_their_failures_for_ever() {
        if emulated().is_none() {
            return;
        }
        // Two tables find the card; whoever asks again finds none.
        let opened = AtomicU64::new(0);
        let scanner = CardScanner::new(Arc::new(Tables::on("emulated".into())), move || {
            match opened.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Device::emulated(Arithmetic::Bf16, ThreadOrder::default()),
                _ => Err(CudaError::Lost),
            }
        });
        let counts = || {
            let ReadyTables { in_use, out_of_use, failures, .. } = scanner.tables.state();
            (in_use, out_of_use, failures > 0)
        };
        assert_eq!(counts(), (0, 0, false));
        let (first, second) = (scanner.put(few_items()).unwrap(), scanner.put(few_items()).unwrap());
        assert_eq!((counts(), scanner.tables.state().reason.as_str()), ((2, 0, false), ""));
        second.items.fail("a test");
        assert_eq!(counts(), (1, 1, true));
        assert!(!scanner.tables.state().reason.is_empty());
        drop(second);
        assert_eq!(counts(), (1, 0, true));
        drop(first);
        assert_eq!((counts(), scanner.tables.state().card.as_str()), ((0, 0, true), "emulated"));
    }
}
