//! One suite for all backends of a trait.

/// Stamps each behaviour, a function of the module that takes `&Fixture`, for each backend, a function of its `backends`
/// that opens one; a backend that is not there gives none, and says so.
macro_rules! conformance {
    ([$($backend:ident),* $(,)?] $behaviours:tt) => {
        $(conformance!(@backend $backend $behaviours);)*
    };
    (@backend $backend:ident [$($behaviour:ident),* $(,)?]) => {
        mod $backend {
            $(
                #[tokio::test]
                async fn $behaviour() {
                    if let Some(fixture) = super::backends::$backend().await {
                        super::$behaviour(&fixture).await;
                    }
                }
            )*
        }
    };
}
pub(crate) use conformance;

/// Keys that a careless backend confuses with its own syntax, or with one another.
pub const ODD_KEYS: [&str; 16] = [
    "a",
    "A",
    "a/b",
    "a:b",
    "a.b",
    "$a",
    "{a}",
    "a'b\"c`",
    "a%_*?",
    " a ",
    "\u{1}\n\t",
    "\\u0000",
    "ключ-é",
    "cle\u{301}",
    "clé",
    "🦀\u{10ffff}",
];
