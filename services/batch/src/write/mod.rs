//! Columns into the bytes of one file: Parquet or JSON lines.
//!
//! The same columns in the same batches give the same bytes: nothing here looks at a clock, and a row group ends by the
//! size of what is in it. That is what lets a part be written again and be the same part.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

mod hashing;

pub use hashing::{Hashing, digest};

/// A row group is closed when it has about this many encoded bytes: the writer holds it in memory until then.
pub const ROW_GROUP_BYTES: usize = 32 << 20;

/// The format of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Parquet, compressed with Snappy.
    Parquet,
    /// One JSON object a line.
    JsonLines,
}

impl Format {
    /// The end of a part's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::JsonLines => "jsonl",
        }
    }
}

/// Encodes batches into `W`.
pub enum PartWriter<W: Write + Send> {
    /// Parquet.
    Parquet(Box<ArrowWriter<W>>),
    /// JSON lines.
    JsonLines(LineDelimitedWriter<BufWriter<W>>),
}

impl<W: Write + Send> PartWriter<W> {
    /// Begins a file of these columns.
    ///
    /// # Errors
    /// `inner` cannot be written to.
    pub fn new(format: Format, inner: W, columns: &SchemaRef) -> io::Result<Self> {
        match format {
            Format::JsonLines => Ok(Self::JsonLines(LineDelimitedWriter::new(BufWriter::new(inner)))),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_created_by(concat!("attune ", env!("CARGO_PKG_VERSION")).to_owned())
                    .build();
                let writer = ArrowWriter::try_new(inner, Arc::clone(columns), Some(properties));
                Ok(Self::Parquet(Box::new(writer.map_err(from_parquet)?)))
            }
        }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn write(&mut self, rows: &RecordBatch) -> io::Result<()> {
        match self {
            Self::JsonLines(writer) => writer.write(rows).map_err(from_arrow),
            Self::Parquet(writer) => {
                writer.write(rows).map_err(from_parquet)?;
                if writer.in_progress_size() >= ROW_GROUP_BYTES {
                    writer.flush().map_err(from_parquet)?;
                }
                Ok(())
            }
        }
    }

    /// Writes what is still held. The writer below is not given back (lend it): Parquet's way of doing so forgets why it
    /// could not be written to.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Parquet(mut writer) => writer.finish().map(|_| ()).map_err(from_parquet),
            Self::JsonLines(mut writer) => {
                writer.finish().map_err(from_arrow)?;
                writer.into_inner().flush()
            }
        }
    }
}

/// The system's own error where there is one inside: a caller tells a full disk by its kind.
fn from_parquet(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(io) => *io,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

fn from_arrow(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, io) => io,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn rows(from: u32, count: u32) -> RecordBatch {
        let columns =
            Schema::new(vec![Field::new("id", DataType::Utf8, true), Field::new("score", DataType::Float32, false)]);
        let ids: StringArray = (from..from + count).map(|nr| (nr % 3 > 0).then(|| nr.to_string())).collect();
        let scores: Float32Array = (from..from + count).map(|nr| Some(nr as f32 / 7.0)).collect();
        RecordBatch::try_new(Arc::new(columns), vec![Arc::new(ids), Arc::new(scores)]).unwrap()
    }

    fn write(format: Format, inner: impl Write + Send) -> io::Result<()> {
        let mut writer = PartWriter::new(format, inner, &rows(0, 0).schema())?;
        (0..4).try_for_each(|batch| writer.write(&rows(100 * batch, 100)))?;
        writer.finish()
    }

    fn written(format: Format) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(format, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_same_rows_are_the_same_bytes() {
        assert_eq!(written(Format::Parquet), written(Format::Parquet));
        let lines = String::from_utf8(written(Format::JsonLines)).unwrap();
        assert_eq!(lines.lines().count(), 400);
        assert_eq!(lines.lines().nth(1), Some("{\"id\":\"1\",\"score\":0.14285715}"));
        assert_eq!(lines.lines().next(), Some("{\"score\":0.0}"));
    }

    /// A disk with room for so many bytes.
    struct Small(usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let all = written(Format::Parquet).len();
        for (format, room) in [(Format::Parquet, 2), (Format::Parquet, all - 1), (Format::JsonLines, 100)] {
            let error = write(format, Small(room)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{format:?} {room}");
        }
    }
}
