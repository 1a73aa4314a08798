//! Requests that are encoded before the clock starts, and answers of which only the bookkeeping is read.
//!
//! The generator shares the processor with the server, so what it spends the server lacks. The generated client would
//! encode every request again and build a vector of floats from every answer.

use std::marker::PhantomData;

use attune_api::v1::{Timing, Usage};
use bytes::{BufMut, Bytes};
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Room for one short text; a longer one makes the buffer grow.
const REQUEST_BYTES: usize = 512;

/// What `EmbedResponse` and `ClassifyResponse` have in common, under the same numbers; decoding skips the rest.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    #[prost(message, optional, tag = "5")]
    pub usage: Option<Usage>,
    #[prost(message, optional, tag = "6")]
    pub timing: Option<Timing>,
}

impl Answer {
    /// Tokens that were computed.
    pub fn tokens(&self) -> usize {
        self.usage.as_ref().map_or(0, |usage| usage.tokens as usize)
    }

    /// Time that the engine took, by the server's own clock.
    pub fn infer_ms(&self) -> f64 {
        self.timing.as_ref().map_or(0.0, |timing| timing.infer_ms)
    }
}

/// Of an answer, that it was one.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Unread {}

/// Encoded messages out, what is read of the answers in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncodedCodec<A>(PhantomData<fn() -> A>);

impl<A> EncodedCodec<A> {
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<A: Message + Default + 'static> Codec for EncodedCodec<A> {
    type Encode = Bytes;
    type Decode = A;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::new()
    }

    fn decoder(&mut self) -> Self {
        Self::new()
    }
}

impl<A> Encoder for EncodedCodec<A> {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(REQUEST_BYTES, REQUEST_BYTES)
    }
}

impl<A: Message + Default> Decoder for EncodedCodec<A> {
    type Item = A;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<A>, Status> {
        let answer = A::decode(buffer);
        answer.map(Some).map_err(|error| Status::internal(format!("the answer does not decode: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use attune_api::v1::{ClassifyResponse, EmbedResponse, Embedding};

    use super::*;

    #[test]
    fn both_kinds_of_answers_are_read() {
        let usage = Some(Usage { tokens: 9, texts: 1 });
        let timing = Some(Timing { tokenize_ms: 0.1, queue_ms: 0.2, infer_ms: 3.5 });
        let embeddings = vec![Embedding { values: vec![0.5; 384], tokens: 9, truncated: false }];
        let embed =
            EmbedResponse { model: "m".into(), dimensions: 384, embeddings, usage, timing, ..Default::default() };
        let classify = ClassifyResponse { model: "m".into(), usage, timing, ..Default::default() };
        for bytes in [embed.encode_to_vec(), classify.encode_to_vec()] {
            let answer = Answer::decode(bytes.as_slice()).unwrap();
            assert_eq!((answer.tokens(), answer.infer_ms()), (9, 3.5));
        }
    }
}
