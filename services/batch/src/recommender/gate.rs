//! Whether a version may take the place of another.

use attune_ranking::evaluate::{GroupReport, Metric, Report};

use super::Measured;

/// Why it may not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GateError {
    /// There is nothing to compare.
    #[error("one of the two was not measured: train it with a --protocol")]
    NotMeasured,
    /// Protocol, seed or length of the lists differ.
    #[error("they were measured in different ways: {new} and {old}")]
    Differently {
        /// How the new one was measured.
        new: String,
        /// How the old one was.
        old: String,
    },
    /// A report without the figure that decides.
    #[error("its figures have no ndcg")]
    NoFigure,
    /// The figures.
    #[error("it is worse: {0}")]
    Worse(String),
}

/// Lets a version pass whose nDCG of the first group is at least that of the old one less the share `slack` of it, and says
/// both figures.
///
/// # Errors
/// [`GateError`] says why it does not pass.
pub fn gate(new: &Measured, old: &Measured, slack: f64) -> Result<String, GateError> {
    let (Measured::HeldOut(new), Measured::HeldOut(old)) = (new, old) else { return Err(GateError::NotMeasured) };
    let how = |report: &Report| format!("{}, seed {}, k {}", report.protocol, report.seed, report.k);
    if how(new) != how(old) {
        return Err(GateError::Differently { new: how(new), old: how(old) });
    }
    let (after, before) = (ndcg(new)?, ndcg(old)?);
    let told = format!("ndcg@{} of {}: {after:.4}, of the one in service {before:.4}", new.k, new.protocol);
    if after >= before * (1.0 - slack) { Ok(told) } else { Err(GateError::Worse(told)) }
}

fn ndcg(report: &Report) -> Result<f64, GateError> {
    let of_group =
        |group: &GroupReport| group.metrics.iter().find(|(metric, _)| *metric == Metric::Ndcg).map(|one| one.1);
    Ok(report.groups.first().and_then(of_group).ok_or(GateError::NoFigure)?.mean)
}

#[cfg(test)]
mod tests {
    use attune_ranking::evaluate::{Bootstrap, Interval, Stage};

    use super::*;

    fn measured(protocol: &str, mean: f64) -> Measured {
        let metrics = vec![(Metric::Ndcg, Interval { mean, low: mean, high: mean })];
        let group = GroupReport { name: "all".into(), users: 1, skipped: 0, metrics, coverage: 0.5, novelty_bits: 1.0 };
        let (protocol, groups) = (protocol.to_owned(), vec![group]);
        let bootstrap = Bootstrap::default();
        Measured::HeldOut(Box::new(Report { protocol, seed: 0, stage: Stage::Test, k: 10, bootstrap, groups }))
    }

    #[test]
    fn who_is_not_worse_passes_and_both_figures_are_said() {
        let gate = |new: f64, slack| gate(&measured("a", new), &measured("a", 0.4), slack);
        assert_eq!(gate(0.4, 0.0).unwrap(), "ndcg@10 of a: 0.4000, of the one in service 0.4000");
        let told = gate(0.39, 0.0).unwrap_err().to_string();
        assert!(told.contains("worse") && told.contains("0.3900") && told.contains("0.4000"), "{told}");
        assert!(gate(0.37, 0.1).is_ok() && gate(0.35, 0.1).is_err());
    }

    #[test]
    fn what_cannot_be_compared_does_not_pass() {
        let none = Measured::Not { reason: "too few".into() };
        let one = measured("a", 0.4);
        assert_eq!(gate(&one, &none, 0.0), Err(GateError::NotMeasured));
        assert_eq!(gate(&none, &one, 0.0), Err(GateError::NotMeasured));
        assert!(matches!(gate(&measured("b", 0.9), &one, 0.5), Err(GateError::Differently { .. })));
    }
}
