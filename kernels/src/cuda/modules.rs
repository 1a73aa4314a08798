//! The kernels as a card wants them: compiled by NVRTC and kept on disk, or the PTX that comes with the program.
//!
//! A file of the cache is the SHA-256 of the code, then the code. Its name has all that the code depends on, so nothing is
//! ever stale; one that does not match its hash (a full disk, a lost power) is compiled again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::sources::{SOURCE_HASH, embedded_ptx, has_hopper_ptx};
use super::{Arithmetic, Compiler, CudaError, Version};

/// Bytes of the hash in front of the code.
const HASH_BYTES: usize = 32;

/// Where a device's kernels come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleOrigin {
    /// Compiled a moment ago.
    Compiled,
    /// Compiled by an earlier process.
    Cached,
    /// The program's own PTX, compiled by the driver.
    Embedded,
    /// C++, for the emulation.
    Emulated,
}

/// What the driver loads.
pub(super) struct Image {
    pub(super) origin: ModuleOrigin,
    /// Machine code, or PTX with a zero behind it.
    pub(super) bytes: Vec<u8>,
    /// Whether it has the kernels that only Hopper runs.
    pub(super) has_hopper: bool,
}

/// Machine code for the card from the cache or from NVRTC. `None` where NVRTC is absent, newer than the driver, or too old
/// for the card; that is logged.
pub(super) fn native(
    architecture: &str,
    arithmetic: Arithmetic,
    driver: Version,
    cache: Option<&Path>,
) -> Option<Image> {
    let compiler = Compiler::find()?;
    if compiler.version().major > driver.major {
        tracing::info!(nvrtc = %compiler.version(), %driver, "NVRTC is newer than the driver: the embedded kernels are used");
        return None;
    }
    let file = cache.map(|folder| folder.join(file_name(architecture, arithmetic, compiler.version())));
    let (origin, bytes) = compiled(file.as_deref(), || compiler.compile(architecture, arithmetic))
        .inspect_err(|error| tracing::warn!(%error, "the embedded kernels are used"))
        .ok()?;
    Some(Image { origin, bytes, has_hopper: architecture == "sm_90a" && arithmetic != Arithmetic::F32 })
}

/// The program's own PTX.
pub(super) fn embedded(arithmetic: Arithmetic, capability: (u32, u32)) -> Image {
    let mut bytes = embedded_ptx(arithmetic, capability).into_bytes();
    bytes.push(0);
    Image { origin: ModuleOrigin::Embedded, bytes, has_hopper: has_hopper_ptx(arithmetic, capability) }
}

/// The folder for compiled kernels: `ATTUNE_CACHE_DIR`, else the user's own cache; `None` where there is neither.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("ATTUNE_CACHE_DIR")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("attune")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/attune")))
        .map(|folder| folder.join("kernels"))
}

fn file_name(architecture: &str, arithmetic: Arithmetic, nvrtc: Version) -> String {
    format!("{}-{architecture}-{arithmetic}-nvrtc{nvrtc}.cubin", &SOURCE_HASH[..16])
}

fn compiled(
    file: Option<&Path>,
    compile: impl FnOnce() -> Result<Vec<u8>, CudaError>,
) -> Result<(ModuleOrigin, Vec<u8>), CudaError> {
    if let Some(bytes) = file.and_then(read) {
        return Ok((ModuleOrigin::Cached, bytes));
    }
    let bytes = compile()?;
    if let Some(file) = file {
        // A cache that cannot be written costs seconds at the next start, no more.
        let _ = write(file, &bytes)
            .inspect_err(|error| tracing::warn!(%error, file = %file.display(), "compiled kernels are not kept"));
    }
    Ok((ModuleOrigin::Compiled, bytes))
}

/// The code in a file, if it is what was written.
fn read(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = fs::read(file).ok()?;
    let whole = bytes.len() > HASH_BYTES && Sha256::digest(&bytes[HASH_BYTES..])[..] == bytes[..HASH_BYTES];
    if !whole {
        tracing::warn!(file = %file.display(), "the kernel cache is damaged here: compiling again");
        return None;
    }
    Some(bytes.split_off(HASH_BYTES))
}

/// Writes beside the place and renames, so that no reader sees half of it.
fn write(file: &Path, code: &[u8]) -> io::Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    let beside = file.with_extension(format!("{}.part", std::process::id()));
    let mut bytes = Sha256::digest(code).to_vec();
    bytes.extend_from_slice(code);
    fs::write(&beside, bytes)?;
    fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("attune-kernels-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn compile(file: &Path, code: &[u8]) -> (ModuleOrigin, Vec<u8>) {
        compiled(Some(file), || Ok(code.to_vec())).unwrap()
    }

    #[test]
    fn what_was_compiled_once_is_read_the_next_time() {
        let folder = folder("kept");
        let file = folder.join("deep/a.cubin");
        assert_eq!(compile(&file, b"code"), (ModuleOrigin::Compiled, b"code".to_vec()));
        assert_eq!(compile(&file, b"other"), (ModuleOrigin::Cached, b"code".to_vec()));
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn a_damaged_file_is_compiled_again() {
        let folder = folder("damaged");
        let file = folder.join("a.cubin");
        compile(&file, b"some code");
        let whole = fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for damaged in [&whole[..whole.len() - 1], &flipped, &whole[..7], &[]] {
            fs::write(&file, damaged).unwrap();
            assert_eq!(compile(&file, b"some code"), (ModuleOrigin::Compiled, b"some code".to_vec()));
            assert_eq!(compile(&file, b"never"), (ModuleOrigin::Cached, b"some code".to_vec()));
        }
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn a_cache_that_cannot_be_written_changes_nothing() {
        let file = folder("file");
        fs::write(&file, "a file where the folder should be").unwrap();
        assert_eq!(compile(&file.join("a.cubin"), b"code").0, ModuleOrigin::Compiled);
        let _ = fs::remove_file(file);
    }

    #[test]
    fn a_name_has_all_that_the_code_depends_on() {
        let name = |architecture, arithmetic, minor| file_name(architecture, arithmetic, Version { major: 13, minor });
        let names = [
            name("sm_80", Arithmetic::Bf16, 0),
            name("sm_86", Arithmetic::Bf16, 0),
            name("sm_80", Arithmetic::F32, 0),
            name("sm_80", Arithmetic::Bf16, 1),
        ];
        assert_eq!(std::collections::HashSet::from(names.clone()).len(), names.len());
        assert!(names[0].starts_with(&SOURCE_HASH[..16]));
    }
}
