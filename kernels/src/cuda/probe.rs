//! What this machine has of CUDA, as plain values. Nothing here panics, or loads more than the driver.

use std::fmt;

use cudarc::driver::sys;

use super::error::checked;
use super::{Compiler, CudaError};

/// A version of the driver's interface or of NVRTC, such as 13.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Before the point.
    pub major: u32,
    /// After it.
    pub minor: u32,
}

/// The oldest driver interface that has every function used here (`cuCtxCreate_v4` is the youngest).
pub(super) const DRIVER_MIN: Version = Version { major: 12, minor: 5 };

impl Version {
    /// From the form 1000 major + 10 minor.
    pub(super) fn from_number(number: i32) -> Self {
        let number = u32::try_from(number).unwrap_or(0);
        Self { major: number / 1000, minor: number % 1000 / 10 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The N of `cuda:N`.
    pub index: usize,
    /// As the driver calls it.
    pub name: String,
    /// Major and minor compute capability: (9, 0) for an H100.
    pub capability: (u32, u32),
    /// All of its memory.
    pub memory_bytes: usize,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
}

impl Card {
    /// The architecture that NVRTC compiles for: `sm_90a` for (9, 0).
    pub fn architecture(&self) -> String {
        let (major, minor) = self.capability;
        let suffix = if self.capability == (9, 0) { "a" } else { "" };
        format!("sm_{major}{minor}{suffix}")
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.capability;
        write!(f, "cuda:{} {} (compute {major}.{minor}, {} MiB)", self.index, self.name, self.memory_bytes >> 20)
    }
}

/// A machine with a driver and at least one card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What the driver supports.
    pub driver: Version,
    /// The run-time compiler, if it is installed.
    pub nvrtc: Option<Version>,
    /// In the driver's order.
    pub cards: Vec<Card>,
}

/// Why there is no GPU to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// No driver.
    #[error("this machine has no CUDA driver (libcuda.so is not found)")]
    NoDriver,
    /// A driver that sees no card.
    #[error("the CUDA driver sees no card")]
    NoCard,
    /// CUDA_VISIBLE_DEVICES hides them all.
    #[error("CUDA_VISIBLE_DEVICES is {0:?}, which names no card of this machine")]
    Hidden(String),
    /// A driver from before what the kernels need.
    #[error("the driver supports CUDA {0}, the kernels need {DRIVER_MIN}: install a newer driver")]
    OldDriver(Version),
    /// The driver refused.
    #[error("the CUDA driver cannot be used: {0}")]
    Broken(String),
}

/// Looks for a driver and its cards.
///
/// # Errors
/// [`Absence`] says why no card can be used. That is an answer, not a fault.
pub fn probe() -> Result<Probe, Absence> {
    // SAFETY: only opens the library, which runs NVIDIA's initialisers.
    if !unsafe { sys::is_culib_present() } {
        return Err(Absence::NoDriver);
    }
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let started = start().map_err(|error| absence(&error, visible.clone()))?;
    if started < DRIVER_MIN {
        return Err(Absence::OldDriver(started));
    }
    let cards = cards().map_err(|error| absence(&error, visible.clone()))?;
    match cards.is_empty() {
        true => Err(visible.map_or(Absence::NoCard, Absence::Hidden)),
        false => Ok(Probe { driver: started, nvrtc: Compiler::find().map(|nvrtc| nvrtc.version()), cards }),
    }
}

/// What a failure to start means.
fn absence(error: &CudaError, visible: Option<String>) -> Absence {
    const NO_DEVICE: u32 = sys::CUresult::CUDA_ERROR_NO_DEVICE as u32;
    match error {
        CudaError::Driver { code: NO_DEVICE, .. } => visible.map_or(Absence::NoCard, Absence::Hidden),
        error => Absence::Broken(error.to_string()),
    }
}

fn start() -> Result<Version, CudaError> {
    let mut version = 0;
    // SAFETY: the library is present; `version` is a place for one int.
    checked("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&mut version) })?;
    let version = Version::from_number(version);
    if version >= DRIVER_MIN {
        // SAFETY: may be called any number of times, from any thread.
        checked("cuInit", unsafe { sys::cuInit(0) })?;
    }
    Ok(version)
}

fn cards() -> Result<Vec<Card>, CudaError> {
    let mut count = 0;
    // SAFETY: the driver is started; `count` is a place for one int.
    checked("cuDeviceGetCount", unsafe { sys::cuDeviceGetCount(&mut count) })?;
    (0..count).map(card).collect()
}

fn card(index: i32) -> Result<Card, CudaError> {
    let (mut device, mut name, mut memory_bytes) = (0, [0_u8; 256], 0);
    // SAFETY: the driver is started and `index` below its count; each place is as large as the call is told.
    unsafe {
        checked("cuDeviceGet", sys::cuDeviceGet(&mut device, index))?;
        checked("cuDeviceGetName", sys::cuDeviceGetName(name.as_mut_ptr().cast(), name.len() as i32, device))?;
        checked("cuDeviceTotalMem", sys::cuDeviceTotalMem_v2(&mut memory_bytes, device))?;
    }
    use sys::CUdevice_attribute as Attribute;
    let attribute = |attribute| {
        let mut value = 0;
        // SAFETY: `device` is the driver's own handle; `value` is a place for one int.
        checked("cuDeviceGetAttribute", unsafe { sys::cuDeviceGetAttribute(&mut value, attribute, device) })?;
        Ok(u32::try_from(value).unwrap_or(0))
    };
    Ok(Card {
        index: index as usize,
        name: name.split(|&byte| byte == 0).next().map(String::from_utf8_lossy).unwrap_or_default().into_owned(),
        capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        memory_bytes,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_cards_or_says_why_not() {
        match probe() {
            Ok(found) => assert!(!found.cards.is_empty() && found.driver >= DRIVER_MIN),
            Err(absence) => eprintln!("no GPU here: {absence}"),
        }
    }

    #[test]
    fn a_hidden_card_is_told_from_a_missing_one() {
        let none = CudaError::Driver { call: "cuInit", code: 100, reason: "no CUDA-capable device".into() };
        assert_eq!(absence(&none, None), Absence::NoCard);
        let hidden = absence(&none, Some(String::new()));
        assert_eq!(hidden, Absence::Hidden(String::new()));
        assert_eq!(hidden.to_string(), "CUDA_VISIBLE_DEVICES is \"\", which names no card of this machine");
        let other = CudaError::Driver { call: "cuInit", code: 999, reason: "unknown".into() };
        assert!(matches!(absence(&other, None), Absence::Broken(_)));
    }

    #[test]
    fn versions_and_architectures_are_read_as_nvidia_writes_them() {
        assert_eq!(Version::from_number(12_080), Version { major: 12, minor: 8 });
        assert!(Version::from_number(12_000) < DRIVER_MIN && Version::from_number(13_000) > DRIVER_MIN);
        let card = |capability| Card { index: 0, name: "a".into(), capability, memory_bytes: 1, multiprocessors: 1 };
        let names = [(7, 5), (9, 0), (10, 0), (12, 0)].map(|capability| card(capability).architecture());
        assert_eq!(names, ["sm_75", "sm_90a", "sm_100", "sm_120"]);
    }
}
