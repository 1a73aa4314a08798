//! The kernels as safe functions: sizes held against the buffers, then a launch.

use std::ffi::{CStr, c_void};

use super::device::{Argument, Shared, TileMap};
use super::memory::Element;
use super::plan::{self, DeviceKind, Shape, Tiling};
use super::topk::TopkKernel;
use super::{Arithmetic, Buffer, CudaError, Stream};

/// A kernel of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    EmbedNorm,
    ResidualNorm,
    Pool,
    Head,
    Project64,
    Project128,
    ProjectHopper64,
    ProjectHopper128,
    ProjectResident,
    ProjectNorm,
    Attention32,
    Attention64,
    Attention128,
    Topk(TopkKernel),
}

impl Kernel {
    /// Those that every module of this arithmetic has.
    pub(super) fn of(arithmetic: Arithmetic) -> Vec<Self> {
        let all = [
            Self::EmbedNorm,
            Self::ResidualNorm,
            Self::Pool,
            Self::Head,
            Self::Project64,
            Self::Project128,
            Self::Attention32,
            Self::Attention64,
            Self::Attention128,
        ];
        let has = |kernel: &Self| match kernel {
            Self::Project128 => arithmetic != Arithmetic::F32,
            Self::Topk(_) => arithmetic == Arithmetic::Bf16,
            _ => true,
        };
        all.into_iter().chain(TopkKernel::ALL.map(Self::Topk)).filter(has).collect()
    }

    /// Those that a module has besides if it was compiled for Hopper.
    pub(super) const HOPPER: [Self; 4] =
        [Self::ProjectHopper64, Self::ProjectHopper128, Self::ProjectResident, Self::ProjectNorm];

    pub(super) fn c_name(self) -> &'static CStr {
        match self {
            Self::EmbedNorm => c"embed_norm",
            Self::ResidualNorm => c"residual_norm",
            Self::Pool => c"pool",
            Self::Head => c"head",
            Self::Project64 => c"project_64",
            Self::Project128 => c"project_128",
            Self::ProjectHopper64 => c"project_hopper_64",
            Self::ProjectHopper128 => c"project_hopper_128",
            Self::ProjectResident => c"project_resident",
            Self::ProjectNorm => c"project_norm",
            Self::Attention32 => c"attention_32",
            Self::Attention64 => c"attention_64",
            Self::Attention128 => c"attention_128",
            Self::Topk(kernel) => kernel.c_name(),
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.c_name().to_str().expect("plain names")
    }
}

/// Scale and shift of a norm, both as wide as a row.
#[derive(Debug)]
pub struct NormWeights {
    /// What normalised values are multiplied with.
    pub gamma: Buffer<f32>,
    /// What is added to them.
    pub beta: Buffer<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// A matrix of outputs x inputs with its bias.
#[derive(Debug)]
pub struct Projection {
    /// By rows: one for each output.
    pub weights: Buffer<Element>,
    /// One for each output; a multiple of 8 of them, as of the inputs.
    pub bias: Buffer<f32>,
    /// Whether the exact GELU follows.
    pub gelu: bool,
}

/// Heads of an attention.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSize {
    /// How many.
    pub heads: usize,
    /// Dimensions of each: 32, 64 or 128.
    pub head_width: usize,
    /// What products of queries and keys are multiplied with.
    pub scale: f32,
}

/// How the states of a text become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Their mean.
    Mean,
    /// The first.
    First,
    /// The last.
    Last,
}

/// Values as a launch wants them.
macro_rules! arguments {
    ($($value:expr),+ $(,)?) => {
        [$(Argument { value: (&raw mut $value).cast::<c_void>(), bytes: size_of_val(&$value) }),+]
    };
}
pub(super) use arguments;

impl Stream {
    /// `out = norm(table[token] + positions[place])` for each token of the batch.
    ///
    /// # Errors
    /// What the device said.
    ///
    /// # Panics
    /// If a buffer is too short for the batch, or is another device's.
    pub fn embed_norm(
        &mut self,
        table: &Buffer<Element>,
        positions: &Buffer<Element>,
        norm: &NormWeights,
        out: &mut Buffer<Element>,
    ) -> Result<(), CudaError> {
        let (hidden, batch) = (self.check_norm(norm), self.batch);
        self.holds(table, batch.vocabulary * hidden);
        self.holds(positions, batch.positions * hidden);
        self.holds(out, batch.tokens * hidden);
        let [_, mut tokens, mut places, _] = self.batch_addresses();
        let (mut table, mut positions, mut out) = (table.address, positions.address, out.address);
        let (mut gamma, mut beta, mut epsilon) = (norm.gamma.address, norm.beta.address, norm.epsilon);
        let (mut hidden, mut rows) = (hidden as i32, batch.tokens as i32);
        let shape = plan::norm(Kernel::EmbedNorm, batch.tokens);
        let mut arguments = arguments![tokens, places, table, positions, gamma, beta, epsilon, hidden, rows, out];
        // SAFETY: the types are the kernel's; lengths were checked above, tokens and places by the batch's plan.
        unsafe { self.launch(shape, &mut arguments) }
    }

    /// `states = norm(x + states)` for each token of the batch.
    ///
    /// # Errors
    /// What the device said.
    ///
    /// # Panics
    /// As [`embed_norm`](Self::embed_norm).
    pub fn residual_norm(
        &mut self,
        x: &Buffer<Element>,
        norm: &NormWeights,
        states: &mut Buffer<Element>,
    ) -> Result<(), CudaError> {
        let (hidden, tokens) = (self.check_norm(norm), self.batch.tokens);
        self.holds(x, tokens * hidden);
        self.holds(states, tokens * hidden);
        let (mut x, mut residual, mut out) = (x.address, states.address, states.address);
        let (mut gamma, mut beta, mut epsilon) = (norm.gamma.address, norm.beta.address, norm.epsilon);
        let (mut hidden, mut rows) = (hidden as i32, tokens as i32);
        let shape = plan::norm(Kernel::ResidualNorm, tokens);
        let mut arguments = arguments![x, residual, gamma, beta, epsilon, hidden, rows, out];
        // SAFETY: the types are the kernel's; lengths were checked above. A warp reads its row before it writes it.
        unsafe { self.launch(shape, &mut arguments) }
    }

    /// `y = activation(x w^T + bias)` for each token of the batch.
    ///
    /// # Errors
    /// What the device said.
    ///
    /// # Panics
    /// As [`embed_norm`](Self::embed_norm), and if inputs or outputs are no multiples of 8.
    pub fn project(
        &mut self,
        projection: &Projection,
        x: &Buffer<Element>,
        y: &mut Buffer<Element>,
    ) -> Result<(), CudaError> {
        let outputs = projection.bias.len();
        let size = [self.batch.tokens, outputs, projection.weights.len() / outputs.max(1)];
        let tiling = plan::tiling(self.device_kind(), size);
        self.project_by(tiling, projection, x, y)
    }

    /// [`project`](Self::project) in tiles of the caller's choice: the values have the same bits.
    ///
    /// # Errors
    /// What the device said.
    ///
    /// # Panics
    /// As [`project`](Self::project), and if the device has no such tiles, or they are not [for](Tiling::takes) these sizes.
    pub fn project_by(
        &mut self,
        tiling: Tiling,
        projection: &Projection,
        x: &Buffer<Element>,
        y: &mut Buffer<Element>,
    ) -> Result<(), CudaError> {
        let (tokens, outputs) = (self.batch.tokens, projection.bias.len());
        self.own(&projection.bias);
        let inputs = projection.weights.len() / outputs.max(1);
        assert!(
            outputs > 0 && outputs.is_multiple_of(8) && inputs.is_multiple_of(8),
            "a matrix of {outputs} x {inputs}"
        );
        self.holds(&projection.weights, outputs * inputs);
        self.holds(x, tokens * inputs);
        self.holds(y, tokens * outputs);
        assert!(tiling.takes(outputs, inputs), "{tiling:?} for a matrix of {outputs} x {inputs}");
        let shape = plan::projection(tiling, self.device_kind(), [tokens, outputs]);
        let maps = tiling.is_hopper().then(|| self.tile_maps(projection, x, inputs, tiling.sides())).transpose()?;
        let (mut x, mut w, mut bias, mut y) =
            (x.address, projection.weights.address, projection.bias.address, y.address);
        let (mut rows, mut outputs, mut inputs) = (tokens as i32, outputs as i32, inputs as i32);
        let mut activation = i32::from(projection.gelu);
        if let Some([mut x, mut w]) = maps {
            let mut arguments = arguments![x, w, bias, y, rows, outputs, inputs, activation];
            // SAFETY: as below; the maps say what they lie in, and nothing outside of that is read.
            return unsafe { self.launch(shape, &mut arguments) };
        }
        let mut arguments = arguments![x, w, bias, y, rows, outputs, inputs, activation];
        // SAFETY: the types are the kernel's; lengths were checked above.
        unsafe { self.launch(shape, &mut arguments) }
    }

    /// `states = norm(x w^T + bias + states)` for each token of the batch; `change` holds the product, as wide as the states,
    /// where it takes two kernels.
    ///
    /// # Errors
    /// What the device said.
    ///
    /// # Panics
    /// As [`project`](Self::project), and if the projection has an activation.
    pub fn project_norm(
        &mut self,
        projection: &Projection,
        x: &Buffer<Element>,
        norm: &NormWeights,
        change: &mut Buffer<Element>,
        states: &mut Buffer<Element>,
    ) -> Result<(), CudaError> {
        let (tokens, hidden) = (self.batch.tokens, self.check_norm(norm));
        let inputs = projection.weights.len() / hidden;
        assert!(projection.bias.len() == hidden && !projection.gelu, "a product of {}", projection.bias.len());
        match plan::project_norm(self.device_kind(), [tokens, hidden, inputs]) {
            Some(shape) => self.project_norm_by(shape, projection, x, norm, states),
            None => {
                self.project(projection, x, change)?;
                self.residual_norm(change, norm, states)
            }
        }
    }

    fn project_norm_by(
        &mut self,
        shape: Shape,
        projection: &Projection,
        x: &Buffer<Element>,
        norm: &NormWeights,
        states: &mut Buffer<Element>,
    ) -> Result<(), CudaError> {
        let (tokens, hidden) = (self.batch.tokens, norm.gamma.len());
        let inputs = projection.weights.len() / hidden;
        self.own(&projection.bias);
        self.holds(&projection.weights, hidden * inputs);
        self.holds(x, tokens * inputs);
        self.holds(states, tokens * hidden);
        let mut residual = self.tile_map(states.address, [tokens, hidden], 128)?;
        let [mut x, mut w] = self.tile_maps(projection, x, inputs, [128, 192])?;
        let (mut bias, mut out) = (projection.bias.address, states.address);
        let (mut gamma, mut beta, mut epsilon) = (norm.gamma.address, norm.beta.address, norm.epsilon);
        let (mut rows, mut inputs) = (tokens as i32, inputs as i32);
        let mut arguments = arguments![x, w, residual, bias, gamma, beta, epsilon, rows, inputs, out];
        // SAFETY: the types are the kernel's; lengths were checked above. A block reads its rows before it writes them.
        unsafe { self.launch(shape, &mut arguments) }
    }

    /// A product's rows and weights as the copy engine sees them, in tiles of so many rows of each.
    fn tile_maps(
        &self,
        projection: &Projection,
        x: &Buffer<Element>,
        inputs: usize,
        [x_rows, w_rows]: [usize; 2],
    ) -> Result<[TileMap; 2], CudaError> {
        let x = self.tile_map(x.address, [self.batch.tokens, inputs], x_rows)?;
        let w = self.tile_map(projection.weights.address, [projection.bias.len(), inputs], w_rows)?;
        Ok([x, w])
    }

    /// What plans depend on.
    fn device_kind(&self) -> DeviceKind {
        let &Shared { arithmetic, has_hopper, ref card, .. } = &*self.shared;
        DeviceKind { arithmetic, has_hopper, multiprocessors: card.multiprocessors }
    }

    /// Attention of each text to itself: `qkv` has queries, keys and values of a token side by side.
    ///
    /// # Errors
    /// What the device said.
    ///
    /// # Panics
    /// As [`embed_norm`](Self::embed_norm), and if there is no kernel for heads of this width.
    pub fn attention(
        &mut self,
        size: AttentionSize,
        qkv: &Buffer<Element>,
        out: &mut Buffer<Element>,
    ) -> Result<(), CudaError> {
        let (hidden, batch) = (size.heads * size.head_width, self.batch);
        self.holds(qkv, batch.tokens * 3 * hidden);
        self.holds(out, batch.tokens * hidden);
        let plan = plan::attention(self.device_kind(), batch.tiles, size.heads, size.head_width);
        let (shape, heads) = plan.unwrap_or_else(|| panic!("no kernel for heads of {}", size.head_width));
        let [mut tiles, ..] = self.batch_addresses();
        let (mut qkv, mut out, mut hidden, mut heads) = (qkv.address, out.address, hidden as i32, heads as i32);
        let mut scale_log2 = size.scale * std::f32::consts::LOG2_E;
        let mut arguments = arguments![qkv, tiles, hidden, heads, scale_log2, out];
        // SAFETY: the types are the kernel's; lengths were checked above, tiles by the batch's plan.
        unsafe { self.launch(shape, &mut arguments) }
    }

    /// One vector for each text of the batch; of length 1 if `shortest` is given, unless shorter than that.
    ///
    /// # Errors
    /// What the device said.
    ///
    /// # Panics
    /// As [`embed_norm`](Self::embed_norm).
    pub fn pool(
        &mut self,
        kind: PoolKind,
        shortest: Option<f32>,
        hidden: usize,
        states: &Buffer<Element>,
        out: &mut Buffer<f32>,
    ) -> Result<(), CudaError> {
        let batch = self.batch;
        self.holds(states, batch.tokens * hidden);
        self.holds(out, batch.rows * hidden);
        let [_, _, _, mut offsets] = self.batch_addresses();
        let (mut states, mut out, mut hidden) = (states.address, out.address, hidden as i32);
        let (mut kind, mut normalise) = (kind as i32, i32::from(shortest.is_some()));
        let mut shortest = shortest.unwrap_or(0.0);
        let mut arguments = arguments![states, offsets, hidden, kind, normalise, shortest, out];
        // SAFETY: the types are the kernel's; lengths were checked above, offsets by the batch's plan.
        unsafe { self.launch(plan::texts(Kernel::Pool, batch.rows), &mut arguments) }
    }

    /// `logits = pooled w^T + bias` for each text of the batch; `weights` has a row for each label.
    ///
    /// # Errors
    /// What the device said.
    ///
    /// # Panics
    /// As [`embed_norm`](Self::embed_norm).
    pub fn head(
        &mut self,
        weights: &Buffer<f32>,
        bias: &Buffer<f32>,
        pooled: &Buffer<f32>,
        out: &mut Buffer<f32>,
    ) -> Result<(), CudaError> {
        let (rows, labels) = (self.batch.rows, bias.len());
        let hidden = weights.len() / labels.max(1);
        self.own(bias);
        self.holds(weights, labels * hidden);
        self.holds(pooled, rows * hidden);
        self.holds(out, rows * labels);
        let (mut pooled, mut weights, mut bias, mut out) = (pooled.address, weights.address, bias.address, out.address);
        let (mut hidden, mut labels) = (hidden as i32, labels as i32);
        let mut arguments = arguments![pooled, weights, bias, hidden, labels, out];
        let shape: Shape = plan::texts(Kernel::Head, rows);
        // SAFETY: the types are the kernel's; lengths were checked above.
        unsafe { self.launch(shape, &mut arguments) }
    }

    /// The width of rows that a norm is for.
    fn check_norm(&mut self, norm: &NormWeights) -> usize {
        let hidden = norm.gamma.len();
        assert!(
            norm.beta.len() == hidden && hidden.is_multiple_of(8) && (8..=plan::WIDTH_MAX).contains(&hidden),
            "a norm of {hidden} and {}",
            norm.beta.len()
        );
        self.own(&norm.gamma);
        self.own(&norm.beta);
        hidden
    }

    /// Panics unless the buffer is this device's and has `count` cells.
    #[track_caller]
    fn holds<T>(&mut self, buffer: &Buffer<T>, count: usize) {
        self.own(buffer);
        assert!(buffer.len() >= count, "a buffer of {} where {count} are needed", buffer.len());
    }
}
