//! Options that mean something for some choices of another option only, such as `--adapter` for one protocol of many.
//!
//! A command line parser knows which options exclude each other, whatever their values are. What depends on a value
//! stands in one table a command, and an option that would do nothing is refused: whoever typed it believes that it does.

use std::fmt::Display;

use anyhow::{Result, ensure};

/// An option, whether it was given, and the choices that it belongs to.
pub type Belonging<'a, C> = (&'a str, bool, &'a [C]);

/// Refuses the first option that was given and does not belong to what was chosen.
///
/// # Errors
/// Such an option, and what it belongs to.
pub fn check<C: Copy + PartialEq + Display>(chosen: C, table: &[Belonging<'_, C>]) -> Result<()> {
    for (option, is_given, choices) in table {
        let known: Vec<String> = choices.iter().map(C::to_string).collect();
        ensure!(
            !is_given || choices.contains(&chosen),
            "{option} does nothing with {chosen}, it is for {}: leave it out",
            known.join(" and ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_another_choice_is_refused_and_one_that_was_not_given_is_not() {
        const CHOICES: &[&str] = &["a", "b"];
        let table = |[one, both]: [bool; 2]| [("--one", one, &CHOICES[..1]), ("--both", both, CHOICES)];
        for given in [[false, false], [false, true]] {
            assert!(check("b", &table(given)).is_ok(), "{given:?}");
        }
        assert!(check("a", &table([true, true])).is_ok());
        let told = check("b", &table([true, true])).unwrap_err().to_string();
        assert_eq!(told, "--one does nothing with b, it is for a: leave it out");
        let told = check("c", &table([false, true])).unwrap_err().to_string();
        assert!(told.contains("--both does nothing with c, it is for a and b"), "{told}");
    }
}
