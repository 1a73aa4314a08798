//! Numbers by name, in the safetensors format: a length, a header in JSON, and the values, little endian.
//!
//! A format that other programs read too; a header can say nothing but names, types, shapes and places, and is checked
//! against the length of the file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bytemuck::{AnyBitPattern, cast_slice, pod_read_unaligned};
use safetensors::{Dtype, SafeTensors, View};

#[cfg(target_endian = "big")]
compile_error!("numbers are written as they lie in memory, which has to be little endian");

/// The values of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Values {
    F32(Vec<f32>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
}

/// Values and their shape, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) values: Values,
}

/// Tensors by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tensors(BTreeMap<String, Tensor>);

impl Tensors {
    /// Adds rows of `width` values.
    pub(super) fn put(&mut self, name: String, width: usize, values: Values) {
        let shape = match width {
            1 => vec![values.len()],
            _ => vec![values.len() / width.max(1), width],
        };
        self.0.insert(name, Tensor { shape, values });
    }

    /// Takes floats out, and the width of their rows.
    pub(super) fn f32(&mut self, name: &str) -> Result<(Vec<f32>, usize), String> {
        match self.take(name)? {
            Tensor { values: Values::F32(values), shape } => Ok((values, *shape.get(1).unwrap_or(&1))),
            _ => Err(format!("{name} is not of 32-bit floats")),
        }
    }

    /// Takes numbers of 32 bits out.
    pub(super) fn u32(&mut self, name: &str) -> Result<Vec<u32>, String> {
        match self.take(name)?.values {
            Values::U32(values) => Ok(values),
            _ => Err(format!("{name} is not of 32-bit numbers")),
        }
    }

    /// Takes numbers of 64 bits out.
    pub(super) fn u64(&mut self, name: &str) -> Result<Vec<u64>, String> {
        match self.take(name)?.values {
            Values::U64(values) => Ok(values),
            _ => Err(format!("{name} is not of 64-bit numbers")),
        }
    }

    /// Takes signed numbers of 64 bits out.
    pub(super) fn i64(&mut self, name: &str) -> Result<Vec<i64>, String> {
        match self.take(name)?.values {
            Values::I64(values) => Ok(values),
            _ => Err(format!("{name} is not of signed 64-bit numbers")),
        }
    }

    /// Whether there is such a tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn take(&mut self, name: &str) -> Result<Tensor, String> {
        self.0.remove(name).ok_or_else(|| format!("it has no tensor {name}"))
    }

    /// Writes a file, one tensor at a time.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let views = self.0.iter().map(|(name, tensor)| (name.as_str(), tensor));
        safetensors::serialize_to_file(views, None, path).map_err(|error| match error {
            safetensors::SafeTensorError::IoError(io) => io,
            other => io::Error::other(other),
        })
    }

    /// Reads the bytes of a file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let found = SafeTensors::deserialize(bytes).map_err(|error| format!("no safetensors: {error}"))?;
        let mut tensors = Self::default();
        for (name, view) in found.iter() {
            let values = match view.dtype() {
                Dtype::F32 => Values::F32(collect(view.data())),
                Dtype::U32 => Values::U32(collect(view.data())),
                Dtype::U64 => Values::U64(collect(view.data())),
                Dtype::I64 => Values::I64(collect(view.data())),
                other => return Err(format!("{name} is of type {other:?}, which no model has")),
            };
            tensors.0.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), values });
        }
        Ok(tensors)
    }
}

/// Bytes lie anywhere in a file: the values are copied to where they may be read.
fn collect<T: AnyBitPattern>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(pod_read_unaligned).collect()
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::U64(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(values) => cast_slice(values),
            Self::U32(values) => cast_slice(values),
            Self::U64(values) => cast_slice(values),
            Self::I64(values) => cast_slice(values),
        }
    }
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        match self.values {
            Values::F32(_) => Dtype::F32,
            Values::U32(_) => Dtype::U32,
            Values::U64(_) => Dtype::U64,
            Values::I64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.values.bytes())
    }

    fn data_len(&self) -> usize {
        self.values.bytes().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_and_the_bytes_are_one() {
        let mut tensors = Tensors::default();
        tensors.put("a".into(), 2, Values::F32(vec![1.0, -0.0, f32::MIN_POSITIVE, 4.0]));
        tensors.put("b".into(), 1, Values::U32(vec![7]));
        tensors.put("c".into(), 1, Values::U64(vec![]));
        tensors.put("d".into(), 1, Values::I64(vec![-1]));
        let folder = tempfile::tempdir().unwrap();
        let paths = ["one", "two"].map(|name| folder.path().join(name));
        paths.iter().for_each(|path| tensors.write(path).unwrap());
        let bytes = std::fs::read(&paths[0]).unwrap();
        assert_eq!(bytes, std::fs::read(&paths[1]).unwrap());
        let mut read = Tensors::parse(&bytes).unwrap();
        assert_eq!(read, tensors);
        assert_eq!(read.f32("a").unwrap().1, 2);
        assert!(read.f32("b").is_err() && read.u32("a").is_err());
        assert!(Tensors::parse(&bytes[..bytes.len() - 1]).is_err());
        assert!(Tensors::parse(b"").is_err());
    }
}
