//! NVIDIA's run-time compiler, where it is installed. It needs no card and no driver.

use std::ffi::CString;

use cudarc::nvrtc::{result, sys};

use super::sources::SOURCE;
use super::{Arithmetic, CudaError, Version};

/// NVRTC, found and of a version that can compile the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compiler {
    version: Version,
}

/// Owns a program of NVRTC's until it is read.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by `create_program` and destroyed here alone. A failure leaks it, which harms nobody.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

impl Compiler {
    /// The installed compiler; `None` where the library is not found.
    pub fn find() -> Option<Self> {
        // SAFETY: only opens the library, which runs NVIDIA's initialisers.
        if !unsafe { sys::is_culib_present() } {
            return None;
        }
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the library is present; each place is for one int.
        let answer = unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
        let version = Version { major: u32::try_from(major).ok()?, minor: u32::try_from(minor).ok()? };
        answer.result().ok().map(|()| Self { version })
    }

    /// Its version.
    pub fn version(self) -> Version {
        self.version
    }

    /// Machine code of all kernels for a card such as `sm_90a`.
    ///
    /// # Errors
    /// [`CudaError::Compile`] with NVRTC's own words; an NVRTC older than the card does not know its architecture.
    pub fn compile(self, architecture: &str, arithmetic: Arithmetic) -> Result<Vec<u8>, CudaError> {
        self.compile_source(SOURCE, architecture, arithmetic)
    }

    fn compile_source(self, source: &str, architecture: &str, arithmetic: Arithmetic) -> Result<Vec<u8>, CudaError> {
        let refused = |log: String| CudaError::Compile {
            version: self.version.to_string(),
            architecture: architecture.to_owned(),
            log,
        };
        let source = CString::new(source).map_err(|error| refused(error.to_string()))?;
        let program =
            result::create_program(&source, Some(c"attune.cu")).map_err(|error| refused(error.to_string()))?;
        let program = Program(program);
        let options = [format!("--gpu-architecture={architecture}"), arithmetic.define().into(), "--std=c++17".into()];
        // SAFETY: the program is alive, and so is the source that it refers to.
        unsafe { result::compile_program(program.0, &options) }.map_err(|error| refused(log(&program, &error)))?;
        machine_code(&program).map_err(|error| refused(error.to_string()))
    }
}

/// What NVRTC wrote about a failure, cut where nobody reads on.
fn log(program: &Program, error: &result::NvrtcError) -> String {
    const CHARACTERS_MAX: usize = 2000;
    // SAFETY: the program is alive.
    match unsafe { result::get_program_log(program.0) } {
        Ok(text) => text.iter().take(CHARACTERS_MAX).map(|&c| c as u8 as char).filter(|&c| c != '\0').collect(),
        Err(_) => error.to_string(),
    }
}

fn machine_code(program: &Program) -> Result<Vec<u8>, result::NvrtcError> {
    let mut bytes = 0;
    // SAFETY: the program is alive and compiled for a real architecture.
    unsafe { sys::nvrtcGetCUBINSize(program.0, &mut bytes) }.result()?;
    let mut code = vec![0_u8; bytes];
    // SAFETY: as above; `code` has the size that NVRTC asked for.
    unsafe { sys::nvrtcGetCUBIN(program.0, code.as_mut_ptr().cast()) }.result()?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::super::ARCHITECTURES;
    use super::*;

    fn compiler() -> Option<Compiler> {
        let found = Compiler::find();
        if found.is_none() {
            eprintln!("SKIPPED: NVRTC is not installed; `make test-cuda-compile` fetches it and runs this test");
            assert!(std::env::var_os("ATTUNE_NEEDS_NVRTC").is_none(), "NVRTC was asked for and is not found");
        }
        found
    }

    #[test]
    fn every_kernel_compiles_for_every_generation() {
        let Some(compiler) = compiler() else { return };
        for architecture in ARCHITECTURES {
            let has = |arithmetic: &Arithmetic| *arithmetic != Arithmetic::Bf16 || architecture != "sm_75";
            for arithmetic in Arithmetic::ALL.into_iter().filter(has) {
                let code = compiler.compile(architecture, arithmetic).unwrap();
                assert!(code.starts_with(b"\x7fELF"), "{architecture} {arithmetic}");
                eprintln!("{architecture} {arithmetic}: {} bytes", code.len());
            }
        }
    }

    #[test]
    fn a_mistake_comes_with_the_compilers_words() {
        let Some(compiler) = compiler() else { return };
        let refused = compiler.compile_source("__global__ void f() { g(); }", "sm_80", Arithmetic::F32);
        let Err(CudaError::Compile { log, .. }) = refused else { panic!("{refused:?}") };
        assert!(log.contains("\"g\" is undefined"), "{log}");
        assert!(compiler.compile("sm_10", Arithmetic::F32).is_err());
    }
}
