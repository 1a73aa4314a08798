//! What a person sees while a command works: headings, marks and bars on standard error.
//!
//! Results go to standard output and nowhere else, so that they can be piped. Without a terminal there are no colours
//! and no bars, only lines.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::sync::{LazyLock, OnceLock};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line of the command's answer, on standard output.
macro_rules! say {
    () => {
        $crate::term::answer(format_args!(""))
    };
    ($($format:tt)*) => {
        $crate::term::answer(format_args!($($format)*))
    };
}

/// Why a line of the answer is lost, if one is.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Writes a line of the answer. Whoever reads it may stop reading: that ends no server, and no command half-way. Where
/// it cannot be written for another reason, such as a full disk, the command goes on and fails at its end.
pub fn answer(line: fmt::Arguments<'_>) {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            // The first reason is the one that is told.
            let _ = LOST.set(error);
        }
        _ => {}
    }
}

/// Why a line of the answer is lost, if one is.
pub fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

static STDERR_IS_RICH: LazyLock<bool> =
    LazyLock::new(|| std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
static STDOUT_IS_RICH: LazyLock<bool> =
    LazyLock::new(|| std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());

/// How a word stands out.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// Headings.
    Bold,
    /// What matters less.
    Dim,
    /// What went well.
    Green,
    /// What wants attention.
    Yellow,
    /// What is wrong.
    Red,
    /// Names and links.
    Cyan,
}

impl Style {
    fn code(self) -> u8 {
        match self {
            Self::Bold => 1,
            Self::Dim => 2,
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Cyan => 36,
        }
    }
}

/// `text` in a style, for standard output; plain where that is not a terminal.
pub fn styled(style: Style, text: impl Display) -> String {
    paint(*STDOUT_IS_RICH, style, text)
}

fn paint(rich: bool, style: Style, text: impl Display) -> String {
    if rich { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_string() }
}

/// A step begins.
pub fn heading(text: &str) {
    eprintln!("{}", paint(*STDERR_IS_RICH, Style::Bold, text));
}

/// Something about the step.
pub fn detail(text: &str) {
    eprintln!("  {}", paint(*STDERR_IS_RICH, Style::Dim, text));
}

/// The step ended well.
pub fn good(text: &str) {
    eprintln!("  {} {text}", paint(*STDERR_IS_RICH, Style::Green, "ok"));
}

/// The step goes on, but a person should know.
pub fn warn(text: &str) {
    eprintln!("  {} {text}", paint(*STDERR_IS_RICH, Style::Yellow, "warning"));
}

/// The command ends here.
pub fn error(text: &str) {
    eprintln!("{} {text}", paint(*STDERR_IS_RICH, Style::Red, "error:"));
}

/// An error and its causes in one line; a cause that the error before it quotes already is not said twice.
pub fn causes(error: &anyhow::Error) -> String {
    let said = error.chain().map(ToString::to_string);
    said.reduce(|line, cause| if line.contains(&cause) { line } else { format!("{line}: {cause}") }).unwrap_or_default()
}

/// A bar over bytes, or a spinner where their number is not known; a line of text where there is no terminal.
pub fn bytes_bar(label: &str, bytes: Option<u64>) -> ProgressBar {
    let template = match bytes {
        Some(_) => "  {msg} [{bar:32}] {decimal_bytes}/{decimal_total_bytes}",
        None => "  {spinner} {msg} {decimal_bytes}",
    };
    if !std::io::stderr().is_terminal() {
        eprintln!("  {label}");
    }
    bar(label, bytes, template)
}

/// A bar over things counted, with the time left; nothing where there is no terminal.
pub fn count_bar(label: &str, count: u64) -> ProgressBar {
    bar(label, Some(count), "  {msg} [{bar:32}] {pos}/{len} {eta} left")
}

/// A bar over a file that is read, with the time left; a line of text where there is no terminal. Its message says what
/// was made of it.
pub fn file_bar(label: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        eprintln!("  {label}");
    }
    bar(label, Some(0), "  {msg} [{bar:32}] {decimal_bytes}/{decimal_total_bytes} {eta} left")
}

fn bar(label: &str, length: Option<u64>, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
    if std::io::stderr().is_terminal() {
        let style = ProgressStyle::with_template(template).expect("the templates above are valid");
        bar.set_style(style.progress_chars("=> "));
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_message(label.to_owned());
    }
    bar
}

/// Bytes for a person: `84 MB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit > 0 && value < 9.95 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// A count for a person: `1,234,567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_said_once() {
        let quoted =
            anyhow::anyhow!("no such file").context("cannot read a: no such file; fetch it").context("no data");
        assert_eq!(causes(&quoted), "no data: cannot read a: no such file; fetch it");
    }

    #[test]
    fn counts_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn bytes_read_well() {
        assert_eq!(human_bytes(0), "0 B");
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(1_500), "1.5 kB");
        assert_eq!(human_bytes(83_506_384), "84 MB");
        assert_eq!(human_bytes(999_900), "1.0 MB");
    }
}
