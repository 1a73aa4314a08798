//! Text to token ids, with the limits of the model and never those that a tokenizer file happens to bake in.

use std::path::Path;

use tokenizers::{Encoding, Tokenizer};

use crate::model::LoadError;
use crate::model::error::read;

/// A long text is tokenised from its beginning: first this many bytes for each token that the model takes, then twice as
/// many, until the model is full. A megabyte would cost seconds otherwise, to keep its first page or to refuse it.
const HEAD_BYTES_PER_TOKEN: usize = 16;

/// The tokenizer of one model.
#[derive(Debug)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    tokens_max: usize,
}

/// One text as token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The ids that fit the model, special tokens included.
    pub ids: Vec<u32>,
    /// Length of the text in tokens; more than there are ids where the end was cut off, and of a very long text a lower
    /// bound.
    pub tokens: usize,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` of a model folder. Texts are cut to `tokens_max` tokens, special ones included; the
    /// truncation and the padding of the file are overridden.
    ///
    /// # Errors
    /// [`LoadError`] when the file is missing, damaged, or knows tokens that the model has no vector for.
    pub fn read(folder: &Path, tokens_max: usize, vocabulary: usize) -> Result<Self, LoadError> {
        let path = folder.join("tokenizer.json");
        let damaged = |error: tokenizers::Error| LoadError::damaged(&path, error);
        let mut tokenizer = Tokenizer::from_bytes(read(&path)?).map_err(damaged)?;
        let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0) as usize;
        if largest >= vocabulary {
            let detail = format!(
                "it has a token {largest}, the model has vectors for {vocabulary}: they do not belong together"
            );
            return Err(LoadError::unsupported(&path, detail));
        }
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(damaged)?;
        Ok(Self { tokenizer, tokens_max })
    }

    /// The longest text in tokens, special ones included.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// Encodes one text. An empty text has its special tokens; a long one loses its end, but not the special tokens that
    /// close it.
    ///
    /// # Errors
    /// What the tokenizer says, which for a WordPiece vocabulary with an unknown-token entry is nothing.
    pub fn encode(&self, text: &str) -> Result<Encoded, String> {
        let mut bytes = self.tokens_max * HEAD_BYTES_PER_TOKEN;
        while bytes < text.len() {
            if let Some(head) = self.encode_head(&text[..text.floor_char_boundary(bytes)])? {
                return Ok(head);
            }
            bytes *= 2;
        }
        self.encode_whole(text)
    }

    /// The ids of every text that begins with `head`, if they are certain: the last word may go on behind the head and
    /// then have other tokens, but those before it fill the model.
    fn encode_head(&self, head: &str) -> Result<Option<Encoded>, String> {
        let encoding = self.tokenizer.encode(head, true).map_err(|error| error.to_string())?;
        let words = encoding.get_word_ids();
        let last = words.iter().flatten().max();
        let certain = words.iter().flatten().filter(|word| Some(*word) < last).count();
        Ok((certain > self.tokens_max).then(|| self.cut(&encoding)))
    }

    fn encode_whole(&self, text: &str) -> Result<Encoded, String> {
        let encoding = self.tokenizer.encode_fast(text, true).map_err(|error| error.to_string())?;
        Ok(self.cut(&encoding))
    }

    fn cut(&self, encoding: &Encoding) -> Encoded {
        let tokens = encoding.len();
        let mut ids = encoding.get_ids().to_vec();
        if tokens > self.tokens_max {
            let closing = encoding.get_special_tokens_mask().iter().rev().take_while(|&&special| special == 1).count();
            ids.drain(self.tokens_max - closing..tokens - closing);
        }
        Encoded { ids, tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::write_tiny_model;

    #[test]
    fn a_long_text_is_not_read_to_its_end_with_spaces_or_without() {
        let folder = tempfile::tempdir().unwrap();
        write_tiny_model(folder.path(), 1).unwrap();
        let tokenizer = TextTokenizer::read(folder.path(), 12, usize::MAX).unwrap();
        for text in ["good ".repeat(100_000), "!".repeat(500_000)] {
            let tokens = tokenizer.encode(&text).unwrap().tokens;
            assert!((13..=12 * HEAD_BYTES_PER_TOKEN + 2).contains(&tokens), "{tokens} tokens of {text:.10}");
        }
    }

    #[test]
    fn the_beginning_has_the_same_ids_whatever_follows() {
        const TOKENS_MAX: usize = 12;
        let folder = tempfile::tempdir().unwrap();
        write_tiny_model(folder.path(), 1).unwrap();
        let tokenizer = TextTokenizer::read(folder.path(), TOKENS_MAX, usize::MAX).unwrap();
        let words = "the film was not very good, hello dogs ";
        let (blank, one_word, accents) = (" ".repeat(5_000), "x".repeat(5_000), "\u{e9} ".repeat(3_000));
        let (marks, glued) = ("!".repeat(5_000), words.replace(' ', "").repeat(500));
        let texts = ["", "a", words, &words.repeat(500), &format!("{blank}{words}{blank}"), &one_word, &accents];
        let texts = texts.into_iter().chain([marks.as_str(), &glued]);
        for text in texts {
            let (head, whole) = (tokenizer.encode(text).unwrap(), tokenizer.encode_whole(text).unwrap());
            assert_eq!(head.ids, whole.ids, "{text:.40}");
            assert_eq!(head.tokens > TOKENS_MAX, whole.tokens > TOKENS_MAX, "{text:.40}");
        }
    }
}
