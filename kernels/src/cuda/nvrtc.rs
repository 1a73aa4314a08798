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
        let program = self.program(SOURCE, architecture, arithmetic, None)?;
        machine_code(&program).map_err(|error| self.refused(architecture, error.to_string()))
    }

    fn refused(self, architecture: &str, log: String) -> CudaError {
        CudaError::Compile { version: self.version.to_string(), architecture: architecture.to_owned(), log }
    }

    /// A compiled program, with one more option if there is one.
    fn program(
        self,
        source: &str,
        architecture: &str,
        arithmetic: Arithmetic,
        more: Option<&str>,
    ) -> Result<Program, CudaError> {
        let refused = |log: String| self.refused(architecture, log);
        let source = CString::new(source).map_err(|error| refused(error.to_string()))?;
        let program =
            result::create_program(&source, Some(c"attune.cu")).map_err(|error| refused(error.to_string()))?;
        let program = Program(program);
        let mut options =
            vec![format!("--gpu-architecture={architecture}"), arithmetic.define().into(), "--std=c++17".into()];
        options.extend(more.map(str::to_owned));
        // SAFETY: the program is alive, and so is the source that it refers to.
        unsafe { result::compile_program(program.0, &options) }
            .map_err(|error| refused(log(&program).map_or_else(|| error.to_string(), shortened)))?;
        Ok(program)
    }
}

/// What NVRTC wrote about a program.
fn log(program: &Program) -> Option<String> {
    // SAFETY: the program is alive.
    let text = unsafe { result::get_program_log(program.0) }.ok()?;
    Some(text.iter().map(|&c| c as u8 as char).filter(|&c| c != '\0').collect())
}

/// Cut where nobody reads on.
fn shortened(log: String) -> String {
    const CHARACTERS_MAX: usize = 2000;
    log.chars().take(CHARACTERS_MAX).collect()
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
    use super::super::launch::Kernel;
    use super::*;

    /// Stores and loads of registers that found no room: a few cost nothing, and f32 is for checking.
    const SPILLED_BYTES_MAX: u32 = 24;

    /// What a kernel costs, as the assembler says it.
    #[derive(Debug)]
    struct Cost {
        kernel: String,
        registers: u32,
        spilled_bytes: u32,
    }

    fn costs(log: &str) -> Vec<Cost> {
        let cost = |part: &str| {
            let before = |what: &str| part.split_once(what)?.0.split_whitespace().next_back()?.parse::<u32>().ok();
            let spilled_bytes = before(" bytes spill stores")? + before(" bytes spill loads")?;
            Some(Cost { kernel: part.split('\'').next()?.to_owned(), registers: before(" registers")?, spilled_bytes })
        };
        let parts = log.split("Compiling entry function '").skip(1);
        parts.map(|part| cost(part).unwrap_or_else(|| panic!("no cost in {part}"))).collect()
    }

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
                let program = compiler.program(SOURCE, architecture, arithmetic, Some("--ptxas-options=-v")).unwrap();
                let code = machine_code(&program).unwrap();
                assert!(code.starts_with(b"\x7fELF"), "{architecture} {arithmetic}");
                eprintln!("{architecture} {arithmetic}: {} bytes", code.len());
                let costs = costs(&log(&program).unwrap());
                for kernel in Kernel::of(arithmetic) {
                    assert!(costs.iter().any(|cost| cost.kernel == kernel.name()), "{}: {costs:?}", kernel.name());
                }
                for Cost { kernel, registers, spilled_bytes } in costs {
                    eprintln!("    {kernel}: {registers} registers, {spilled_bytes} bytes spilled");
                    let is_well = arithmetic == Arithmetic::F32 || spilled_bytes <= SPILLED_BYTES_MAX;
                    assert!(is_well, "{kernel}, {architecture} {arithmetic}: {spilled_bytes} bytes spilled");
                }
            }
        }
    }

    #[test]
    fn a_mistake_comes_with_the_compilers_words() {
        let Some(compiler) = compiler() else { return };
        let refused = compiler.program("__global__ void f() { g(); }", "sm_80", Arithmetic::F32, None).map(|_| ());
        let Err(CudaError::Compile { log, .. }) = refused else { panic!("{refused:?}") };
        assert!(log.contains("\"g\" is undefined"), "{log}");
        assert!(compiler.compile("sm_10", Arithmetic::F32).is_err());
    }
}
