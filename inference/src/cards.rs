//! The cards of a process: found once, opened when the first model needs them, opened again after a failure.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use attune_kernels::cuda::{
    Arithmetic, Card, CardState, ChoiceError, Chosen, CudaError, Device, DeviceChoice, Probe, choose, probe,
};

use crate::engine::cpu::{CpuEngine, CpuModel};
use crate::engine::cuda::guard::{GuardedEngine, GuardedModel, Reopen};
use crate::engine::cuda::{CudaModel, CudaModelError};
use crate::engine::{Engine, Precision};
use crate::model::{Adapter, Architecture, Checkpoint, LoadError};
use crate::registry::{CAPACITY_TOKENS, ModelSpec};

/// The cards that models are put on; none when the CPU runs them.
pub(crate) struct Cards {
    cards: Vec<Card>,
    devices: Arc<Devices>,
    /// Cards were asked for by name: what keeps a model off them is then an error.
    required: bool,
    /// Base models by folder and card, for the adapters that stand on them.
    bases: HashMap<(PathBuf, Precision, usize), CudaModel>,
}

/// Open devices, shared by the models of a process. A lost one is opened again by whoever asks next.
struct Devices {
    probe: Option<Probe>,
    open: Mutex<HashMap<(usize, Arithmetic), Device>>,
}

/// What a model is made of.
pub(crate) struct CardSource<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) checkpoint: &'a Checkpoint,
    /// The checkpoint with an adapter in it, and the adapter.
    pub(crate) merged: Option<(&'a Checkpoint, &'a Adapter)>,
    pub(crate) architecture: &'a Architecture,
    pub(crate) labels: usize,
}

impl Cards {
    /// No card, and the reason for the log.
    pub(crate) fn none(why: &str) -> Self {
        tracing::info!(why, "models run on the CPU");
        Self::of(Vec::new(), None, false)
    }

    /// The cards of this machine that the choice allows. One line of the log says which, or why none.
    pub(crate) fn find(asked: DeviceChoice) -> Result<Self, ChoiceError> {
        if asked == DeviceChoice::Cpu {
            return Ok(Self::none("the CPU was asked for"));
        }
        let found = probe();
        match choose(asked, &found, Arithmetic::F16.capability_min())? {
            Chosen::Cpu { why } => Ok(Self::none(&why)),
            Chosen::Cards(cards) => {
                let names: Vec<String> = cards.iter().map(Card::to_string).collect();
                tracing::info!(cards = names.join(", "), "models run on the GPU");
                Ok(Self::of(cards, found.ok(), asked != DeviceChoice::Auto))
            }
        }
    }

    fn of(cards: Vec<Card>, probe: Option<Probe>, required: bool) -> Self {
        let devices = Arc::new(Devices { probe, open: Mutex::default() });
        Self { cards, devices, required, bases: HashMap::new() }
    }

    /// The format of 16 bits that all of them have; `None` without cards.
    pub(crate) fn half(&self) -> Option<Precision> {
        let has_bf16 = |card: &Card| card.capability >= Arithmetic::Bf16.capability_min();
        let half = if self.cards.iter().all(has_bf16) { Precision::Bf16 } else { Precision::F16 };
        (!self.is_empty()).then_some(half)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }

    /// Puts a model on every card; `None` when the CPU is to run it, which the log explains.
    pub(crate) fn load(
        &mut self,
        source: &CardSource<'_>,
        precision: Precision,
        cpu: &Arc<CpuModel>,
    ) -> Result<Option<OnCards>, LoadError> {
        if self.cards.is_empty() {
            return Ok(None);
        }
        let loaded = self.cards.clone().iter().map(|card| self.load_on(card, source, precision)).collect();
        let loaded: Result<Vec<_>, CudaModelError> = loaded;
        match loaded {
            Ok(models) => Ok(Some(OnCards { models, cpu: Arc::clone(cpu), next: AtomicUsize::new(0) })),
            Err(CudaModelError::Load(error)) => Err(error),
            Err(error) if self.required => {
                let detail = format!("cannot run on the GPU: {error}; --device auto would run it on the CPU");
                Err(LoadError::Model { name: source.spec.name.clone(), detail })
            }
            Err(error) => {
                tracing::warn!(model = source.spec.name, %error, "this model runs on the CPU");
                Ok(None)
            }
        }
    }

    fn load_on(
        &mut self,
        card: &Card,
        source: &CardSource<'_>,
        precision: Precision,
    ) -> Result<Arc<GuardedModel>, CudaModelError> {
        let arithmetic = arithmetic(precision)?;
        let device = self.devices.device(card, arithmetic)?;
        let CardSource { spec, checkpoint, merged, architecture, labels } = source;
        let model = match merged {
            None => CudaModel::new(&device, checkpoint, architecture, *labels, CAPACITY_TOKENS)?,
            Some((merged, adapter)) => {
                let key = (spec.path.clone(), precision, card.index);
                if !self.bases.contains_key(&key) {
                    let base = CudaModel::new(&device, checkpoint, architecture, 0, CAPACITY_TOKENS)?;
                    self.bases.insert(key.clone(), base);
                }
                self.bases[&key].adapted(merged, adapter, *labels)?
            }
        };
        if merged.is_none() {
            self.bases.insert((spec.path.clone(), precision, card.index), model.clone());
        }
        let reopen = self.reopen(card, arithmetic, source);
        Ok(GuardedModel::new(model, reopen))
    }

    /// How to put the model on the card again: from its files, since no checkpoint stays in memory.
    fn reopen(&self, card: &Card, arithmetic: Arithmetic, source: &CardSource<'_>) -> Reopen {
        let (devices, card) = (Arc::clone(&self.devices), card.clone());
        let (spec, architecture, labels) = (source.spec.clone(), source.architecture.clone(), source.labels);
        Box::new(move || {
            let again = || -> Result<CudaModel, CudaModelError> {
                let mut checkpoint = Checkpoint::read(&spec.path)?;
                if let Some(adapter) = &spec.adapter {
                    checkpoint = checkpoint.merged(&Adapter::read(adapter)?)?;
                }
                let device = devices.device(&card, arithmetic)?;
                CudaModel::new(&device, &checkpoint, &architecture, labels, CAPACITY_TOKENS)
            };
            again().map_err(|error| error.to_string())
        })
    }
}

impl Devices {
    /// The card, open.
    fn device(&self, card: &Card, arithmetic: Arithmetic) -> Result<Device, CudaError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (card.index, arithmetic);
        if let Some(device) = open.get(&key).filter(|device| !device.is_lost()) {
            return Ok(device.clone());
        }
        let probe = self.probe.as_ref().ok_or(CudaError::Lost)?;
        let device = Device::open(probe, card, arithmetic)?;
        tracing::info!(%card, %arithmetic, kernels = ?device.origin(), "opened");
        open.insert(key, device.clone());
        Ok(device)
    }
}

fn arithmetic(precision: Precision) -> Result<Arithmetic, CudaError> {
    match precision {
        Precision::F32 => Ok(Arithmetic::F32),
        Precision::Bf16 => Ok(Arithmetic::Bf16),
        Precision::F16 => Ok(Arithmetic::F16),
        Precision::Int8 => Err(CudaError::NoModule("int8 runs on the CPU alone".into())),
    }
}

/// A model on every card, with the CPU behind it.
pub(crate) struct OnCards {
    models: Vec<Arc<GuardedModel>>,
    cpu: Arc<CpuModel>,
    /// The card of the next engine: workers take turns.
    next: AtomicUsize,
}

impl OnCards {
    pub(crate) fn engine(&self) -> Box<dyn Engine> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.models.len();
        Box::new(GuardedEngine::new(Arc::clone(&self.models[turn]), CpuEngine::new(Arc::clone(&self.cpu))))
    }

    pub(crate) fn states(&self) -> Vec<CardState> {
        self.models.iter().map(|model| model.state()).collect()
    }
}

impl fmt::Debug for OnCards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.models).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_one_that_all_cards_have() {
        let card = |index, capability| Card {
            index,
            name: "a card".into(),
            capability,
            memory_bytes: 16 << 30,
            multiprocessors: 40,
        };
        let half = |capabilities: &[(u32, u32)]| {
            let cards = capabilities.iter().enumerate().map(|(index, capability)| card(index, *capability)).collect();
            Cards::of(cards, None, false).half()
        };
        assert_eq!(half(&[]), None);
        assert_eq!(half(&[(7, 5)]), Some(Precision::F16));
        assert_eq!(half(&[(8, 0), (9, 0)]), Some(Precision::Bf16));
        assert_eq!(half(&[(9, 0), (7, 5)]), Some(Precision::F16));
    }
}
