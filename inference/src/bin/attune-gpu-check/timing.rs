//! How fast: each kind of launch alone, and the engine on batches of several shapes.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use attune_inference::engine::Engine;
use attune_inference::engine::cuda::{CudaEngine, CudaModel};
use attune_kernels::cuda::{
    Arithmetic, AttentionSize, BatchPlan, CudaError, Device, NormWeights, Projection, Stream, StreamSize,
};
use serde_json::{Value, json};

use crate::Open;
use crate::engine::{MINI_LM, Model, rows, texts};

/// How often a launch is repeated.
#[derive(Clone, Copy, Debug)]
enum Repeat {
    /// Once, for a profiler to look at.
    Once,
    /// In queues of 50, for so many seconds.
    Seconds(f64),
}

/// Launches between two waits.
const LAUNCHES: usize = 50;
const LIMIT: Duration = Duration::from_secs(10);
/// Tokens of the largest batch.
const CAPACITY: usize = 32_768;

/// Texts of a batch and the length of each: one, what a server gathers, and as much as fits.
const SHAPES: [(usize, usize); 9] =
    [(1, 25), (1, 128), (32, 25), (32, 128), (160, 25), (1024, 25), (128, 128), (256, 128), (64, 512)];

/// All of it in bf16. What fails is in the JSON as an error.
pub(crate) fn measure(open: Open<'_>, seconds: f64) -> Value {
    let launches = open(Arithmetic::Bf16).and_then(|device| launches(&device, Repeat::Seconds(seconds)));
    json!({
        "launches": launches.unwrap_or_else(|error| json!({"error": error.to_string()})),
        "engine": engines(open, seconds).unwrap_or_else(|error| json!({"error": error})),
    })
}

/// Each launch that [`measure`] times, once.
pub(crate) fn once(open: Open<'_>) -> Result<(), CudaError> {
    open(Arithmetic::Bf16).and_then(|device| launches(&device, Repeat::Once)).map(drop)
}

/// Each kernel on MiniLM's sizes, at 32,768 tokens in texts of 128: medians of whole queues of launches.
fn launches(device: &Device, repeat: Repeat) -> Result<Value, CudaError> {
    let (hidden, inner, rows) = (MINI_LM.hidden, MINI_LM.intermediate, CAPACITY);
    let (tokens, offsets) = texts(&vec![128; rows / 128], 27);
    let mut stream = device.stream(StreamSize { tokens: rows, ..StreamSize::default() })?;
    let mut plan = BatchPlan::default();
    plan.lay_out(&tokens, &offsets, 27, 512, None).map_err(|error| CudaError::NoModule(error.to_string()))?;
    stream.begin(&plan, LIMIT)?;
    // Not zeros: they are faster than real numbers on some cards.
    let values =
        |count: usize| -> Vec<f32> { (0..count).map(|i| ((i * 7919 % 1013) as f32 / 506.5 - 1.0) * 0.5).collect() };
    let states = device.elements(&values(rows * hidden))?;
    let mut wide = device.elements(&values(rows * inner.max(3 * hidden)))?;
    let mut change = device.elements(&values(rows * hidden))?;
    let projection = |outputs: usize, inputs: usize, gelu| -> Result<Projection, CudaError> {
        let (weights, bias) = (device.elements(&values(outputs * inputs))?, device.floats(&values(outputs))?);
        Ok(Projection { weights, bias, gelu })
    };
    let norm =
        NormWeights { gamma: device.floats(&values(hidden))?, beta: device.floats(&values(hidden))?, epsilon: 1e-12 };
    let mut answers = Vec::new();
    let mut add = |name: &str, per_launch: f64, operations: f64, bytes: f64| {
        let (tflops, gb) = (operations / per_launch / 1e12, bytes / per_launch / 1e9);
        println!("{name:24} {:9.1} us {tflops:7.1} TFLOP/s {gb:7.0} GB/s", per_launch * 1e6);
        answers.push(json!({"launch": name, "seconds": per_launch, "tflop_per_s": tflops, "gb_per_s": gb}));
    };
    for (name, outputs, inputs, gelu) in
        [("qkv", 3 * hidden, hidden, false), ("out", hidden, hidden, false), ("up+gelu", inner, hidden, true)]
    {
        let projection = projection(outputs, inputs, gelu)?;
        let operations = 2.0 * (rows * outputs * inputs) as f64;
        let bytes = 2.0 * (rows * (inputs + outputs) + outputs * inputs) as f64;
        for tiling in device.tilings().iter().filter(|tiling| tiling.takes(outputs, inputs)) {
            let launch = |stream: &mut Stream| stream.project_by(*tiling, &projection, &states, &mut wide);
            add(&format!("{name} {tiling:?}"), median(&mut stream, repeat, launch)?, operations, bytes);
        }
    }
    let down = projection(hidden, inner, false)?;
    let operations = 2.0 * (rows * hidden * inner) as f64;
    let bytes = 2.0 * (rows * (inner + hidden) + hidden * inner) as f64;
    for tiling in device.tilings().iter().filter(|tiling| tiling.takes(hidden, inner)) {
        let launch = |stream: &mut Stream| stream.project_by(*tiling, &down, &wide, &mut change);
        add(&format!("down {tiling:?}"), median(&mut stream, repeat, launch)?, operations, bytes);
    }
    let size = AttentionSize { heads: 12, head_width: 32, scale: 0.176_776_7 };
    let time = median(&mut stream, repeat, |stream| stream.attention(size, &wide, &mut change))?;
    add("attention, 128 tokens", time, 4.0 * (rows * 128 * hidden) as f64, 2.0 * (rows * 4 * hidden) as f64);
    let mut after = device.elements(&values(rows * hidden))?;
    let time = median(&mut stream, repeat, |stream| stream.residual_norm(&change, &norm, &mut after))?;
    add("residual + norm", time, 0.0, 2.0 * (rows * 3 * hidden) as f64);
    for (name, projection, x) in
        [("out + norm", projection(hidden, hidden, false)?, &states), ("down + norm", down, &wide)]
    {
        let inputs = projection.weights.len() / hidden;
        let launch = |stream: &mut Stream| stream.project_norm(&projection, x, &norm, &mut change, &mut after);
        let time = median(&mut stream, repeat, launch)?;
        let operations = 2.0 * (rows * hidden * inputs) as f64;
        add(name, time, operations, 2.0 * (rows * (inputs + 2 * hidden) + hidden * inputs) as f64);
    }
    Ok(Value::Array(answers))
}

/// Seconds of a launch: the median over queues of [`LAUNCHES`].
fn median(
    stream: &mut Stream,
    repeat: Repeat,
    mut launch: impl FnMut(&mut Stream) -> Result<(), CudaError>,
) -> Result<f64, CudaError> {
    let Repeat::Seconds(seconds) = repeat else {
        launch(stream)?;
        return stream.finish(LIMIT).map(|()| f64::NAN);
    };
    let mut times = Vec::new();
    let started = Instant::now();
    while times.len() < 5 || started.elapsed().as_secs_f64() < seconds {
        let queued = Instant::now();
        for _ in 0..LAUNCHES {
            launch(stream)?;
        }
        stream.finish(LIMIT)?;
        times.push(queued.elapsed().as_secs_f64() / LAUNCHES as f64);
    }
    times.remove(0);
    Ok(middle(times))
}

pub(crate) fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The engine from token ids to rows on the host, one worker and two.
fn engines(open: Open<'_>, seconds: f64) -> Result<Value, String> {
    let model = Model::random(MINI_LM)?;
    let on_card = Arc::new(model.cuda(open, Arithmetic::Bf16, CAPACITY)?);
    let mut answers = Vec::new();
    for (count, length) in SHAPES {
        let (tokens, offsets) = texts(&vec![length; count], model.architecture.vocabulary);
        for workers in [1, 2] {
            let run = |_: usize| worker(&on_card, &tokens, &offsets, seconds);
            let times: Vec<Result<(usize, f64), String>> = thread::scope(|scope| {
                let handles: Vec<_> = (0..workers).map(|number| scope.spawn(move || run(number))).collect();
                handles
                    .into_iter()
                    .map(|handle| handle.join().unwrap_or_else(|_| Err("a worker panicked".into())))
                    .collect()
            });
            let times = times.into_iter().collect::<Result<Vec<_>, _>>()?;
            let batches: usize = times.iter().map(|(batches, _)| batches).sum();
            let latency = middle(times.iter().map(|(_, median)| *median).collect());
            let tokens_per_s = batches as f64 * tokens.len() as f64 / seconds;
            let work = model.architecture.flops(length) / length as f64;
            let tflops = tokens_per_s * work / 1e12;
            println!(
                "engine {count:5} x {length:3}, {workers} workers: {:8.3} ms, {tokens_per_s:12.0} tokens/s, {tflops:6.1} TFLOP/s",
                latency * 1e3
            );
            answers.push(json!({
                "texts": count, "tokens_each": length, "workers": workers, "median_s": latency,
                "tokens_per_s": tokens_per_s, "texts_per_s": tokens_per_s / length as f64, "tflop_per_s": tflops,
            }));
        }
    }
    Ok(Value::Array(answers))
}

/// Batches in the time, and the median of each.
fn worker(model: &Arc<CudaModel>, tokens: &[u32], offsets: &[usize], seconds: f64) -> Result<(usize, f64), String> {
    let mut engine = CudaEngine::new(Arc::clone(model)).map_err(|error| error.to_string())?;
    for _ in 0..3 {
        rows(&mut engine as &mut dyn Engine, tokens, offsets)?;
    }
    let (started, mut times) = (Instant::now(), Vec::new());
    while started.elapsed().as_secs_f64() < seconds {
        let begun = Instant::now();
        rows(&mut engine, tokens, offsets)?;
        times.push(begun.elapsed().as_secs_f64());
    }
    Ok((times.len(), middle(times)))
}
