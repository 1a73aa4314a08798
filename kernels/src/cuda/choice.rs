//! Which devices a process uses: what was asked for, held against what is there. Pure.

use std::fmt;
use std::str::FromStr;

use super::{Absence, Card, Probe};

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// Every card that can be used; the CPU if there is none.
    #[default]
    Auto,
    /// The CPU, whatever there is.
    Cpu,
    /// This card, or a refusal to start.
    Cuda(usize),
    /// All cards, or a refusal to start.
    CudaAll,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" | "cuda:all" => Ok(Self::CudaAll),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("{text:?} is no device: give auto, cpu, cuda:all, or cuda:0 and so on")),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::CudaAll => f.write_str("cuda:all"),
        }
    }
}

/// What is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The CPU, with the reason for the log.
    Cpu {
        /// A clause: "no GPU is used because ..".
        why: String,
    },
    /// These cards, at least one.
    Cards(Vec<Card>),
}

/// A card was asked for that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--device {asked}: {reason}; --device auto falls back to the CPU")]
pub struct ChoiceError {
    asked: DeviceChoice,
    reason: String,
}

/// Holds the wish against what the probe found; a card needs `capability_min` to be used.
///
/// # Errors
/// [`ChoiceError`] when a card was named and cannot be used.
pub fn choose(
    asked: DeviceChoice,
    found: &Result<Probe, Absence>,
    capability_min: (u32, u32),
) -> Result<Chosen, ChoiceError> {
    if asked == DeviceChoice::Cpu {
        return Ok(Chosen::Cpu { why: "the CPU was asked for".into() });
    }
    usable(asked, found, capability_min).map(Chosen::Cards).or_else(|reason| match asked {
        DeviceChoice::Auto => Ok(Chosen::Cpu { why: reason }),
        _ => Err(ChoiceError { asked, reason }),
    })
}

fn usable(
    asked: DeviceChoice,
    found: &Result<Probe, Absence>,
    capability_min: (u32, u32),
) -> Result<Vec<Card>, String> {
    let supported = |card: &Card| supported(card, capability_min);
    let cards = &found.as_ref().map_err(ToString::to_string)?.cards;
    if let DeviceChoice::Cuda(index) = asked {
        let card = cards.get(index).ok_or_else(|| no_such_card(cards))?;
        return supported(card).map(|()| vec![card.clone()]);
    }
    let usable: Vec<Card> = cards.iter().filter(|card| supported(card).is_ok()).cloned().collect();
    match (usable.is_empty(), cards.iter().find_map(|card| supported(card).err())) {
        (true, reason) => Err(reason.unwrap_or_else(|| Absence::NoCard.to_string())),
        (false, _) => Ok(usable),
    }
}

fn no_such_card(cards: &[Card]) -> String {
    let names: Vec<String> = cards.iter().map(ToString::to_string).collect();
    format!("there is no such card; this machine has {}", names.join(", "))
}

fn supported(card: &Card, capability_min: (u32, u32)) -> Result<(), String> {
    let (major, minor) = capability_min;
    match card.capability >= capability_min {
        true => Ok(()),
        false => Err(format!("{card} is too old: compute {major}.{minor} is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Version;
    use super::*;

    fn machine(capabilities: &[(u32, u32)]) -> Result<Probe, Absence> {
        let card = |(index, &capability): (usize, &(u32, u32))| Card {
            index,
            name: "Card".into(),
            capability,
            memory_bytes: 1 << 34,
            multiprocessors: 100,
        };
        let cards = capabilities.iter().enumerate().map(card).collect();
        Ok(Probe { driver: Version { major: 13, minor: 0 }, nvrtc: None, cards })
    }

    fn chosen(asked: DeviceChoice, found: &Result<Probe, Absence>) -> Result<Chosen, ChoiceError> {
        choose(asked, found, (8, 0))
    }

    fn indices(chosen: Result<Chosen, ChoiceError>) -> Vec<usize> {
        match chosen {
            Ok(Chosen::Cards(cards)) => cards.iter().map(|card| card.index).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["auto", "cpu", "cuda:all", "cuda:0", "cuda:12"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        for name in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CUDA:0"] {
            assert!(name.parse::<DeviceChoice>().unwrap_err().contains("auto, cpu, cuda:all"), "{name}");
        }
    }

    #[test]
    fn auto_takes_what_it_can_use_and_says_why_there_is_nothing() {
        assert_eq!(indices(chosen(DeviceChoice::Auto, &machine(&[(6, 1), (9, 0), (8, 6)]))), [1, 2]);
        for (found, reason) in [
            (Err(Absence::NoDriver), "no CUDA driver"),
            (Err(Absence::Hidden(String::new())), "CUDA_VISIBLE_DEVICES"),
            (Err(Absence::OldDriver(Version { major: 11, minor: 4 })), "supports CUDA 11.4"),
            (machine(&[(6, 1)]), "is too old: compute 8.0 is needed"),
        ] {
            let Ok(Chosen::Cpu { why }) = chosen(DeviceChoice::Auto, &found) else { panic!("{found:?}") };
            assert!(why.contains(reason), "{why}");
        }
    }

    #[test]
    fn a_card_that_was_named_is_used_or_refused() {
        assert_eq!(indices(chosen(DeviceChoice::Cuda(1), &machine(&[(8, 0), (9, 0)]))), [1]);
        assert_eq!(indices(chosen(DeviceChoice::CudaAll, &machine(&[(8, 0), (9, 0)]))), [0, 1]);
        let refused = chosen(DeviceChoice::Cuda(9), &machine(&[(8, 0)])).unwrap_err().to_string();
        assert_eq!(
            refused,
            "--device cuda:9: there is no such card; this machine has cuda:0 Card (compute 8.0, 16384 MiB); \
             --device auto falls back to the CPU"
        );
        let refused = chosen(DeviceChoice::Cuda(0), &Err(Absence::NoDriver)).unwrap_err().to_string();
        assert!(refused.starts_with("--device cuda:0: this machine has no CUDA driver"), "{refused}");
        assert!(chosen(DeviceChoice::CudaAll, &machine(&[(5, 2)])).is_err());
    }

    #[test]
    fn the_cpu_is_used_when_it_is_asked_for() {
        let cpu = chosen(DeviceChoice::Cpu, &machine(&[(9, 0)])).unwrap();
        assert_eq!(cpu, Chosen::Cpu { why: "the CPU was asked for".into() });
    }
}
