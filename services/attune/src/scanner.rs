//! Large segments on a GPU: the cards that `--device` allows take them over, and answer as the CPU does, bit for bit.

use std::sync::{Arc, Mutex, PoisonError};

use attune_inference::DeviceChoice;
use attune_kernels::cuda::{
    Arithmetic, Card, ChoiceError, Chosen, CudaError, Device, Found, GuardedItems, Items, Probe, TopkQuery, choose,
    probe,
};
use attune_ranking::index::scan::{Scan, ScanItems, Scanner, set_scanner};
use attune_ranking::index::{Allowed, Scored, Search};

/// Opens a device, or gives the one that is open.
type Open = dyn Fn() -> Result<Device, CudaError> + Send + Sync;

/// Makes the card that the choice allows take large segments from now on. One line of the log says which, or why none.
///
/// # Errors
/// The choice names a card that is not there.
pub fn start(asked: DeviceChoice) -> Result<(), ChoiceError> {
    let why = match asked {
        DeviceChoice::Cpu => "the CPU was asked for".to_owned(),
        _ => {
            let found = probe();
            match choose(asked, &found, Arithmetic::Bf16.capability_min())? {
                Chosen::Cpu { why } => why,
                Chosen::Cards(cards) => {
                    if let (Some(card), Ok(probe)) = (cards.into_iter().next(), found) {
                        tracing::info!(%card, "large segments are searched on the GPU");
                        set_scanner(Arc::new(CardScanner::new(once(probe, card))));
                    }
                    return Ok(());
                }
            }
        }
    };
    tracing::info!(why, "segments are searched on the CPU");
    Ok(())
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

/// Puts segments on a card.
struct CardScanner(Arc<Open>);

impl CardScanner {
    fn new(open: impl Fn() -> Result<Device, CudaError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
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
        let (places, open) = (rows.len(), Arc::clone(&self.0));
        match GuardedItems::new(Items { vectors, width, rows }, move || open()) {
            Ok(items) => {
                tracing::info!(places, width, card = items.state().card, "a segment is on the GPU");
                Some(Arc::new(OnCard { items, width }))
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
        open().inspect_err(|error| eprintln!("SKIPPED: {error}")).ok().map(|_| CardScanner::new(open))
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

    /// Odd sizes, filters, what is excluded, k up to and beyond what a card does.
    #[test]
    fn a_card_finds_what_a_segment_finds_bit_for_bit() {
        let Some(scanner) = emulated() else { return };
        for (items, width, count) in [(997, 8, 3), (601, 72, 17), (300, 256, 1), (9_001, 16, 20)] {
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
        let wide = segment(50, 300);
        assert!(scanner.take(ScanItems { vectors: Arc::default(), width: 300, rows: Arc::default() }).is_none());
        let queries = values(2 * 300, 5);
        let search = |queries| Search { queries, k: 5, allowed: None, excluded: &[], threads: 1 };
        let found = wide.clone().with_scanner(&scanner).search(&search(&queries)).unwrap();
        assert_eq!(bits(&found), bits(&wide.search(&search(&queries)).unwrap()));

        let (vectors, rows) = (Arc::new(values(100 * 8, 0)), Arc::new((0..100).collect()));
        let open = || Device::emulated(Arithmetic::Bf16, ThreadOrder::default());
        let items = GuardedItems::new(Items { vectors, width: 8, rows }, open).unwrap();
        let card = OnCard { items, width: 8 };
        let answered = |card: &OnCard| card.scan(&search(&queries[..8])).iter().filter(|found| found.is_some()).count();
        assert_eq!((answered(&card), card.items.state().in_use), (1, true));
        card.items.fail("a test");
        assert_eq!(answered(&card), 0);
    }
}
