//! An index as bytes.
//!
//! Little-endian throughout:
//!
//! ```text
//! snapshot = "attuneix", version u32, width u32, metric u8, segments u32, last id u32, bytes of the schema u32, seal,
//!            schema (columns of no rows), seal, segments * segment          and nothing after it
//! segment  = id u32, clusters u32, places u32, bytes of the columns u64, seal,
//!            items u32 by cluster, seal,
//!            directions f32, rows u32 by place, vectors f32 by place, living (one bit a place, in words of 64),
//!            supports i8 by direction and block, columns, seal
//! ```
//!
//! A seal is the SHA-256 of all bytes since the one before. What a part says is believed only once its seal has been read,
//! above all how much there is to come: so a snapshot that was cut or changed anywhere is refused before anything is made
//! of it. Levels and bounds are computed anew: that takes less time than reading them would save, and what is not there
//! cannot contradict the rest.
//!
//! Writing is safe against a crash if the caller writes another file, syncs it, and renames it.

use std::io::{self, Read, Write};

use attune_kernels::{Isa, huge_vec};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::Allowed;
use super::bound::rounding;
use super::error::check;
use super::layout::{Arrangement, HOLE, ITEMS_MAX, PANEL, blocks};
use super::live::{Index, Metric, View};
use super::sealed::Sealed;
use super::segment::Segment;
use super::supports::Table;
use crate::attributes::{Columns, DecodeError, Schema};

const MAGIC: [u8; 8] = *b"attuneix";
const VERSION: u32 = 1;
/// The number of each metric is its place.
const METRICS: [Metric; 2] = [Metric::InnerProduct, Metric::Cosine];
/// Bytes that are hashed and copied at a time: they stay in the first-level cache.
const CHUNK_BYTES: usize = 16 << 10;

/// Why bytes are not a snapshot.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The bytes do not come.
    #[error("the snapshot of the index cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Something else, or the start is damaged.
    #[error("this is no snapshot of an index: it starts with other bytes")]
    Foreign,
    /// Written in a form that this program does not know.
    #[error(
        "the snapshot of the index is of version {version}, this program reads version {known}: build the index anew"
    )]
    Version {
        /// The version found.
        version: u32,
        /// The version that can be read.
        known: u32,
    },
    /// Not what was written.
    #[error(
        "the snapshot of the index is damaged before byte {offset}: {what}; take it from a copy or build the index anew"
    )]
    Damaged {
        /// Up to where it was read.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The attributes are not what was written.
    #[error(transparent)]
    Attributes(#[from] DecodeError),
}

impl View {
    /// Writes all that [`Index::read`] needs. `out` is best buffered; it is not flushed.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, schema: &Schema, out: &mut impl Write) -> io::Result<()> {
        let mut out = Sealing { out, hash: Sha256::new() };
        let schema = encoded(&Columns::builder(schema).finish());
        let id_last = self.sealed.iter().map(|segment| segment.id).max().unwrap_or(0);
        let metric = METRICS.iter().position(|&metric| metric == self.metric).map(|metric| metric as u8);
        out.bytes(&MAGIC)?;
        out.put(&[VERSION, self.width as u32], u32::to_le_bytes)?;
        out.bytes(metric.as_slice())?;
        out.put(&[self.sealed.len() as u32, id_last, schema.len() as u32], u32::to_le_bytes)?;
        out.seal()?;
        out.bytes(&schema)?;
        out.seal()?;
        self.sealed.iter().try_for_each(|sealed| write_segment(sealed, &mut out))
    }
}

impl Index {
    /// Writes the index as it is now; readers and writers go on.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.view().write(&self.schema, out)
    }

    /// Reads what [`write`](Self::write) wrote, all of `input`; `threads` share what has to be computed.
    ///
    /// # Errors
    /// [`SnapshotError`] says what is wrong with the bytes.
    ///
    /// # Panics
    /// If the instruction set that the environment forces is none that this machine can run; a start checks that.
    pub fn read(input: impl Read, threads: usize) -> Result<Self, SnapshotError> {
        let mut input = Unsealing::new(input);
        if input.array::<8>()? != MAGIC {
            return Err(SnapshotError::Foreign);
        }
        let version = input.u32()?;
        if version != VERSION {
            return Err(SnapshotError::Version { version, known: VERSION });
        }
        let (width, [metric]) = (input.u32()? as usize, input.array()?);
        let [segments, id_last, schema_bytes] = [input.u32()?, input.u32()?, input.u32()?];
        input.unseal()?;
        let metric = METRICS.get(usize::from(metric)).copied();
        let metric = metric.ok_or_else(|| input.damaged("there is no such metric"))?;
        let schema = read_schema(&mut input, schema_bytes as usize)?;
        let index = Self::new(width, metric, schema);
        let index = index.map_err(|_| input.damaged("vectors of such a width are impossible"))?;
        let mut sealed: Vec<Sealed> = Vec::new();
        for _ in 0..segments {
            let segment = read_segment(&mut input, width, threads)?;
            let new = segment.id <= id_last && sealed.iter().all(|other| other.id != segment.id);
            input.ensure(new && segment.has(&index.schema), "a segment is of another index")?;
            sealed.push(segment);
        }
        input.end()?;
        index.restore(sealed, id_last).then_some(index).ok_or_else(|| input.damaged("a row is there twice"))
    }

    /// Takes segments over; whether no row lives twice.
    fn restore(&self, sealed: Vec<Sealed>, id_last: u32) -> bool {
        let mut writer = self.lock();
        writer.id_last = id_last;
        writer.places.reserve(sealed.iter().map(|segment| segment.items).sum());
        for segment in &sealed {
            writer.places.extend(segment.living().map(|(place, row)| (row, (segment.id, place))));
        }
        let items: usize = sealed.iter().map(|segment| segment.items).sum();
        let once = writer.places.len() == items;
        self.install(sealed);
        once
    }
}

fn write_segment(sealed: &Sealed, out: &mut Sealing<impl Write>) -> io::Result<()> {
    let (layout, columns) = (&sealed.segment().layout, encoded(sealed.columns()));
    let items: Vec<u32> = layout.clusters.iter().map(|cluster| layout.items_of(cluster) as u32).collect();
    out.put(&[sealed.id, items.len() as u32, layout.rows.len() as u32], u32::to_le_bytes)?;
    out.put(&[columns.len() as u64], u64::to_le_bytes)?;
    out.seal()?;
    out.put(&items, u32::to_le_bytes)?;
    out.seal()?;
    out.put(&layout.directions, f32::to_le_bytes)?;
    out.put(&layout.rows, u32::to_le_bytes)?;
    out.put(&layout.vectors, f32::to_le_bytes)?;
    out.put(sealed.live().words(), u64::to_le_bytes)?;
    out.put(layout.supports.of_blocks.levels(), i8::to_le_bytes)?;
    out.bytes(&columns)?;
    out.seal()
}

fn read_schema(input: &mut Unsealing<impl Read>, bytes: usize) -> Result<Schema, SnapshotError> {
    let schema = input.take(Vec::new(), bytes, u8::from_le_bytes)?;
    input.unseal()?;
    let schema = Columns::decode(&schema)?;
    let attributes = schema.attributes().map(|(name, kind)| (name.to_owned(), kind));
    Schema::new(attributes).map_err(|_| input.damaged("an attribute is impossible"))
}

fn read_segment(input: &mut Unsealing<impl Read>, width: usize, threads: usize) -> Result<Sealed, SnapshotError> {
    let [id, clusters, places] = [input.u32()?, input.u32()?, input.u32()?].map(|number| number as usize);
    let columns_bytes = u64::from_le_bytes(input.array()?) as usize;
    input.unseal()?;
    let items = input.take(Vec::new(), clusters, u32::from_le_bytes)?;
    input.unseal()?;
    let taken: usize = items.iter().map(|&items| (items as usize).next_multiple_of(PANEL)).sum();
    input.ensure(taken == places && places <= 2 * ITEMS_MAX && !items.contains(&0), "its clusters do not fill it")?;

    let directions = input.take(Vec::new(), clusters * width, f32::from_le_bytes)?;
    let rows = input.take(Vec::new(), places, u32::from_le_bytes)?;
    let vectors = input.take(huge_vec(places * width), places * width, f32::from_le_bytes)?;
    let words = input.take(Vec::new(), places.div_ceil(64), u64::from_le_bytes)?;
    let supports = clusters * items.iter().map(|&items| blocks(items as usize)).sum::<usize>();
    let supports = Table::new(input.take(huge_vec(supports), supports, i8::from_le_bytes)?, clusters);
    let columns = input.take(Vec::new(), columns_bytes, u8::from_le_bytes)?;
    input.unseal()?;

    let columns = Columns::decode(&columns)?;
    let isa = Isa::active().expect("checked at start");
    input.ensure(columns.rows() as usize == places, "the attributes are of another number of items")?;
    let finite = check(&vectors, places, width).is_ok() && check(&directions, clusters, width).is_ok();
    input.ensure(finite, "a value is no finite number")?;
    input.ensure(directions.chunks_exact(width).all(is_direction), "a direction is not of length 1")?;
    let arrangement = Arrangement { width, directions, rows, vectors, items };
    input.ensure(arrangement.holes_are_in_place(), "an item is where none can be")?;
    let live = Allowed::from_words(words, places);
    let layout = arrangement.finish(isa, Some(supports), threads);
    let holes = |live: &Allowed| (0..).zip(&*layout.rows).any(|(place, &row)| row == HOLE && live.contains(place));
    let live = live.filter(|live| !holes(live)).ok_or_else(|| input.damaged("an item lives where none is"))?;
    Ok(Sealed::restore(id as u32, Segment::of(layout), columns, live))
}

/// Whether it is of length 1 but for rounding, or 0.
fn is_direction(direction: &[f32]) -> bool {
    let squares: f64 = direction.iter().map(|&value| f64::from(value).powi(2)).sum();
    squares == 0.0 || (squares - 1.0).abs() <= rounding(direction.len())
}

fn encoded(columns: &Columns) -> Vec<u8> {
    let mut bytes = Vec::new();
    columns.encode(&mut bytes);
    bytes
}

/// Writes, and seals what it wrote.
struct Sealing<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Sealing<W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        for bytes in bytes.chunks(CHUNK_BYTES) {
            self.hash.update(bytes);
            self.out.write_all(bytes)?;
        }
        Ok(())
    }

    fn put<T: Copy, const N: usize>(&mut self, values: &[T], bytes: fn(T) -> [u8; N]) -> io::Result<()> {
        let mut buffer = [0; CHUNK_BYTES];
        for values in values.chunks(CHUNK_BYTES / N) {
            let (to, _) = buffer.as_chunks_mut();
            to.iter_mut().zip(values).for_each(|(to, &value)| *to = bytes(value));
            self.bytes(&buffer[..values.len() * N])?;
        }
        Ok(())
    }

    fn seal(&mut self) -> io::Result<()> {
        let seal = self.hash.finalize_reset();
        self.out.write_all(&seal)
    }
}

/// Reads what was sealed.
struct Unsealing<R> {
    input: R,
    hash: Sha256,
    offset: u64,
}

impl<R: Read> Unsealing<R> {
    fn new(input: R) -> Self {
        Self { input, hash: Sha256::new(), offset: 0 }
    }

    fn damaged(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Damaged { offset: self.offset, what }
    }

    fn ensure(&self, holds: bool, what: &'static str) -> Result<(), SnapshotError> {
        if holds { Ok(()) } else { Err(self.damaged(what)) }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("the bytes end too soon"),
            _ => error.into(),
        })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, SnapshotError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Adds so many values to an empty vector, which need not have room for them.
    fn take<T, const N: usize>(
        &mut self,
        mut values: Vec<T>,
        count: usize,
        value: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, SnapshotError> {
        let mut buffer = [0; CHUNK_BYTES];
        while values.len() < count {
            let bytes = &mut buffer[..N * (CHUNK_BYTES / N).min(count - values.len())];
            self.fill(bytes)?;
            self.hash.update(&*bytes);
            values.extend(bytes.as_chunks().0.iter().map(|&bytes| value(bytes)));
        }
        Ok(values)
    }

    /// Checks what was read since the last seal.
    fn unseal(&mut self) -> Result<(), SnapshotError> {
        let (found, mut seal) = (self.hash.finalize_reset(), [0; 32]);
        self.fill(&mut seal)?;
        self.ensure(found[..] == seal, "the bytes are not those that were written")
    }

    fn end(&mut self) -> Result<(), SnapshotError> {
        match self.fill(&mut [0]) {
            Err(SnapshotError::Damaged { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(self.damaged("more bytes follow than belong to it")),
        }
    }
}

#[cfg(test)]
mod tests;
