//! Backends that are servers.

pub mod cache;
pub mod documents;
pub mod events;
pub mod objects;
pub mod relational;
pub mod search;

/// Text in which bytes may be escaped as `%` and two hexadecimal digits; `None` where they are no text.
pub(crate) fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, left) = match (first, tail) {
            (b'%', [high, low, left @ ..]) => {
                let digits = [*high, *low];
                (u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?, left)
            }
            (byte, left) => (*byte, left),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescaped("a+b%2Bc%20%C3%BC").as_deref(), Some("a+b+c ü"));
        assert_eq!(unescaped("100%").as_deref(), Some("100%"));
        assert_eq!((unescaped("%zz"), unescaped("%ff")), (None, None));
    }
}
