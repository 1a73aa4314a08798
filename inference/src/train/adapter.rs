//! The trained parameters: an adapter at every linear layer of the encoder, and the classification head.

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use crate::model::{Adapter, AdapterConfig};

/// Standard deviation of a new head's weights, as BERT initialises its own.
const HEAD_DEVIATION: f32 = 0.02;

/// The two matrices that adapt one linear layer.
#[derive(Debug)]
pub struct LoraPair {
    /// The layer's path in the base model, for example `encoder.layer.0.output.dense`.
    pub path: String,
    /// rank x in.
    pub a: Var,
    /// out x rank; zero at first, so that training starts from the base model.
    pub b: Var,
}

/// The linear classification head over the pooled text.
#[derive(Debug)]
pub struct Head {
    /// labels x hidden.
    pub weight: Var,
    /// labels.
    pub bias: Var,
}

/// Names of the head's tensors in the adapter file.
const HEAD_WEIGHT: &str = "classifier.weight";
const HEAD_BIAS: &str = "classifier.bias";

/// Every trained value and its name, from the lowest layer up.
pub type Snapshot = Vec<(String, Tensor)>;

/// Everything that is trained.
#[derive(Debug)]
pub struct Parameters {
    pub adapters: Vec<LoraPair>,
    pub head: Head,
}

impl Parameters {
    /// Fresh parameters for linear layers given as (path, out, in), drawn from `seed`.
    pub fn new(
        linears: &[(String, usize, usize)],
        rank: usize,
        labels: usize,
        hidden: usize,
        seed: u64,
    ) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let adapters = linears
            .iter()
            .map(|(path, outputs, inputs)| {
                // PEFT's own start: He's uniform with a slope of sqrt 5 comes to +-1 / sqrt(in).
                let bound = 1.0 / (*inputs as f32).sqrt();
                let a = (0..rank * inputs).map(|_| rng.random_range(-bound..bound)).collect::<Vec<f32>>();
                let a = Var::from_vec(a, (rank, *inputs), &Device::Cpu)?;
                let b = Var::zeros((*outputs, rank), DType::F32, &Device::Cpu)?;
                Ok(LoraPair { path: path.clone(), a, b })
            })
            .collect::<Result<_>>()?;
        let normal = Normal::new(0.0, HEAD_DEVIATION).expect("a fixed, finite deviation");
        let weight = (0..labels * hidden).map(|_| normal.sample(&mut rng)).collect::<Vec<f32>>();
        let head = Head {
            weight: Var::from_vec(weight, (labels, hidden), &Device::Cpu)?,
            bias: Var::zeros(labels, DType::F32, &Device::Cpu)?,
        };
        Ok(Self { adapters, head })
    }

    /// Every parameter and its name, in a fixed order from the lowest layer up.
    pub fn named(&self) -> Vec<(String, &Var)> {
        let adapters = self.adapters.iter().flat_map(|pair| {
            let name = |matrix| format!("{}.{matrix}", pair.path);
            [(name("lora_A"), &pair.a), (name("lora_B"), &pair.b)]
        });
        let head = [(HEAD_WEIGHT.to_string(), &self.head.weight), (HEAD_BIAS.to_string(), &self.head.bias)];
        adapters.chain(head).collect()
    }

    /// A copy of every value.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.named().into_iter().map(|(name, var)| Ok((name, var.as_detached_tensor().copy()?))).collect()
    }

    /// A copy of every value, to be written.
    pub fn adapter(&self, config: AdapterConfig) -> Result<Adapter> {
        let copy = |var: &Var| var.as_detached_tensor().copy();
        let pairs = self.adapters.iter().map(|pair| Ok((pair.path.clone(), (copy(&pair.a)?, copy(&pair.b)?))));
        let saved = [(HEAD_WEIGHT, &self.head.weight), (HEAD_BIAS, &self.head.bias)];
        let saved = saved.into_iter().map(|(name, var)| Ok((name.to_string(), copy(var)?)));
        Ok(Adapter::new(config, pairs.collect::<Result<_>>()?, saved.collect::<Result<_>>()?))
    }

    /// Moves every value the `share` of the way to `others`' value: 0 not at all, 1 all the way.
    pub fn approach(&self, others: &Self, share: f64) -> Result<()> {
        self.named().into_iter().zip(others.named()).try_for_each(|((_, mine), (_, other))| {
            let (mine_now, other) = (mine.as_detached_tensor(), other.as_detached_tensor());
            mine.set(&((mine_now * (1.0 - share))? + (other * share)?)?)
        })
    }

    /// Puts a snapshot's values back.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        self.named().into_iter().zip(snapshot).try_for_each(|((_, var), (_, value))| var.set(value))
    }
}
