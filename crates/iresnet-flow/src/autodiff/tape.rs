//! The two walks of a training pass: forward, keeping what [`Memory`] says, and back.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::memory::{Memory, MemoryReport};
use super::pool::Pool;
use super::step::{Inner, Kinks, Recovered, Step, TrainedLayer};
use crate::Purpose;
use crate::batch::Batch;

/// Gradients of the output below this are zero.
const NEGLIGIBLE: f32 = 1e-20;

/// Layers whose kernels are prepared together: enough for all threads, and no more, since each takes memory.
fn group_size() -> usize {
    rayon::current_num_threads().next_multiple_of(4)
}

/// Layers of a training pass, the first one first.
type Layers<'a> = [Box<dyn TrainedLayer + 'a>];

/// What is kept of one layer.
#[derive(Default)]
struct Record {
    input: Option<Vec<f32>>,
    inner: Option<Inner>,
    kinks: Option<Kinks>,
}

/// What a forward pass keeps for its backward pass.
pub struct Tape<'a> {
    layers: &'a Layers<'a>,
    records: Vec<Record>,
    /// What leaves the last layer, where inputs will be recovered from outputs.
    output: Option<Vec<f32>>,
    samples: usize,
    memory: Memory,
    pool: Arc<Pool>,
    report: MemoryReport,
}

/// Runs of layers that are prepared together: up to [`group_size`], and not across a change of shape.
fn groups(layers: &Layers<'_>) -> Vec<Range<usize>> {
    let size = group_size();
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        let shapes = [layer.input(), layer.output()];
        let alike = |first: &dyn TrainedLayer| [first.input(), first.output()] == shapes && shapes[0] == shapes[1];
        match groups.last_mut().filter(|group| group.len() < size && alike(&*layers[group.start])) {
            Some(group) => group.end = i + 1,
            None => groups.push(i..i + 1),
        }
    }
    groups
}

/// Steps of some layers.
fn prepare<'a>(layers: &'a Layers<'a>, samples: usize, purpose: Purpose) -> Vec<Box<dyn Step + 'a>> {
    layers.par_iter().map(|layer| layer.prepare(samples, purpose)).collect()
}

/// Place of each iterative layer in its segment, which a change of shape ends.
fn places(layers: &Layers<'_>) -> Vec<Option<usize>> {
    let mut next = 0;
    let mut place = |layer: &dyn TrainedLayer| {
        if layer.input() != layer.output() {
            next = 0;
        }
        layer.is_iterative().then(|| {
            next += 1;
            next - 1
        })
    };
    layers.iter().map(|layer| place(&**layer)).collect()
}

impl<'a> Tape<'a> {
    /// The output for the input `x`, and the tape for the way back. `seen` gets the number of each layer and what happened
    /// inside.
    pub fn forward(
        layers: &'a Layers<'a>,
        x: Batch<f32>,
        memory: Memory,
        pool: &Arc<Pool>,
        mut seen: impl FnMut(usize, &Inner),
    ) -> (Batch<f32>, Self) {
        let samples = x.samples();
        let mut packs = x.into_packs();
        let places = places(layers);
        let mut records: Vec<Record> = Vec::with_capacity(layers.len());
        for group in groups(layers) {
            for step in prepare(&layers[group], samples, Purpose::Inference) {
                let (layer, place) = (&layers[records.len()], places[records.len()]);
                let keep_inner = memory == Memory::Standard;
                let kinked = memory == Memory::Reversible && place.is_some_and(|place| place > 0) && layer.has_kinks();
                let (out, inner) = step.forward(&packs, keep_inner || kinked, pool);
                seen(records.len(), &inner);
                let kinks = kinked.then(|| Kinks::of(&packs, &inner, samples));
                let input = std::mem::replace(&mut packs, out);
                let keeps_input = place.is_some_and(|place| memory.keeps_input(place));
                let inner = kept(inner, keep_inner, pool);
                records.push(Record { input: kept_input(input, keeps_input, pool), inner, kinks });
            }
        }
        let output = Batch::from_packs(packs, layers[layers.len() - 1].output(), samples);
        let keep = memory == Memory::Reversible || places.last() == Some(&None);
        let tape = Tape {
            layers,
            records,
            output: keep.then(|| {
                let mut copy = pool.take(output.packs().len());
                copy.copy_from_slice(output.packs());
                copy
            }),
            samples,
            memory,
            pool: pool.clone(),
            report: MemoryReport::default(),
        };
        (output, tape)
    }

    /// Adds the gradient with respect to all parameters, layer after layer, to `parameters`, from the gradient with respect
    /// to the output; says what was made again on the way.
    ///
    /// # Panics
    /// If there are not as many places as parameters.
    pub fn backward(mut self, gradient: Batch<f32>, parameters: &mut [f32]) -> MemoryReport {
        let (layers, samples, pool) = (self.layers, self.samples, self.pool.clone());
        let ends: Vec<usize> = layers
            .iter()
            .scan(0, |end, layer| {
                *end += layer.num_parameters();
                Some(*end)
            })
            .collect();
        assert_eq!(ends.last(), Some(&parameters.len()), "places of the parameters' gradients");
        let mut packs = gradient.into_packs();
        // Samples that are classified with certainty have gradients around exp(-90); what follows would run on
        // denormal numbers, twenty times slower, for changes that no weight can feel.
        packs.par_iter_mut().with_min_len(1 << 14).filter(|g| g.abs() < NEGLIGIBLE).for_each(|g| *g = 0.0);
        // What the layer that comes next gave, where it is known.
        let mut output = self.output.take();
        for group in groups(layers).into_iter().rev() {
            let steps = prepare(&layers[group.clone()], samples, Purpose::Training);
            for (index, step) in group.zip(&steps).rev() {
                let own = ends[index] - layers[index].num_parameters()..ends[index];
                let (input, inner) = self.recall(index, &**step, output.as_deref());
                step.backward(&input, inner, &mut packs, &mut parameters[own], &pool);
                if let Some(output) = output.replace(input) {
                    pool.give(output);
                }
            }
        }
        // The gradient came from outside; a pass gives back as many buffers as it took.
        if let Some(output) = output {
            pool.give(output);
        }
        self.report
    }

    /// Whether the layer before `index` recalls its input from its output, which is this one's input.
    fn needs_output(&self, index: usize) -> bool {
        let before = index.checked_sub(1).map(|before| &self.layers[before]);
        before.is_some_and(|layer| !layer.is_iterative() || self.memory == Memory::Reversible)
    }

    /// Input and inner values of layer `index`: kept, recovered from its output, or computed again. A layer in closed form
    /// without parameters has no use for them: empty where the layer before has none either.
    fn recall(&mut self, index: usize, step: &dyn Step, output: Option<&[f32]>) -> (Vec<f32>, Inner) {
        let layer = &self.layers[index];
        if !layer.is_iterative() {
            if layer.num_parameters() == 0 && !self.needs_output(index) {
                return (Vec::new(), Inner::Nothing);
            }
            let output = output.expect("the output of the layer behind was recalled");
            let Recovered { input, inner, .. } = step.recover(output, &self.pool).expect("a closed form");
            return (input, inner);
        }
        if self.records[index].input.is_none() {
            if let Some(output) = output.filter(|_| self.memory == Memory::Reversible) {
                if let Some(Recovered { mut input, mut inner, evaluations }) = step.recover(output, &self.pool) {
                    if let Some(kinks) = self.records[index].kinks.take() {
                        kinks.restore(&mut input, &mut inner);
                    }
                    self.report.evaluations += evaluations;
                    self.report.recovered += 1;
                    return (input, inner);
                }
                self.report.recomputed += 1;
            }
            self.recompute(index);
        }
        let Record { input, inner, .. } = std::mem::take(&mut self.records[index]);
        let input = input.expect("kept or computed again");
        let inner = inner.unwrap_or_else(|| {
            let (out, inner) = step.forward(&input, true, &self.pool);
            self.pool.give(out);
            inner
        });
        (input, inner)
    }

    /// Runs forward from the nearest kept input to layer `index`, keeping what the last few layers need, and inputs
    /// here and there for those before them.
    fn recompute(&mut self, index: usize) {
        let from = (0..=index).rev().find(|&i| self.records[i].input.is_some()).expect("a segment's input is kept");
        let stride = match self.memory {
            Memory::Checkpoint(every) => every,
            _ => (index - from + 1).isqrt() + 1,
        };
        let mut at = from;
        let mut packs = self.records[from].input.take().expect("just found");
        let layers = self.layers;
        for group in groups(&layers[from..=index]) {
            for step in prepare(&layers[from..][group], self.samples, Purpose::Inference) {
                let near = at + stride > index;
                let iterative = layers[at].is_iterative();
                let (out, inner) = step.forward(&packs, near && iterative, &self.pool);
                let input = std::mem::replace(&mut packs, out);
                let inner = kept(inner, near && iterative, &self.pool);
                let keep = iterative && (near || (at - from).is_multiple_of(stride));
                self.records[at] = Record { input: kept_input(input, keep, &self.pool), inner, kinks: None };
                at += 1;
            }
        }
        self.pool.give(packs);
    }
}

/// What is kept of what happened inside a layer; buffers that are not go back to the pool.
fn kept(inner: Inner, keep: bool, pool: &Pool) -> Option<Inner> {
    match inner {
        Inner::Hidden(hidden) if !keep => {
            pool.give(hidden);
            None
        }
        inner => keep.then_some(inner),
    }
}

fn kept_input(input: Vec<f32>, keep: bool, pool: &Pool) -> Option<Vec<f32>> {
    match keep {
        true => Some(input),
        false => {
            pool.give(input);
            None
        }
    }
}
