//! Runs the AMX kernels on processors without AMX, for tests: the very instructions of the product, carried out by hand.
//!
//! A processor that has no tiles raises SIGILL at the first tile instruction. The handler here decodes the instruction at
//! the program counter, does what Intel's manual says it does (Software Developer's Manual, volume 2, the pseudo-code of each
//! instruction) and steps over it. So layouts, addresses, strides, operand order and loop counts are tested as they are,
//! down to the encoded bytes; what is not tested is speed and the hardware itself. It also watches that no tile load
//! leaves the memory that the kernel was given.

use crate::cpu::lines::Line;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Once;

const TILES: usize = 8;
const ROWS: usize = 16;
const ROW_BYTES: usize = 64;

/// `pp` field of the VEX prefix.
mod prefix {
    pub(super) const NONE: u8 = 0;
    pub(super) const P66: u8 = 1;
    pub(super) const F3: u8 = 2;
    pub(super) const F2: u8 = 3;
}

/// The tile state of one thread, and what its loads may read.
struct Machine {
    configured: bool,
    tiles: [[[u8; ROW_BYTES]; ROWS]; TILES],
    readable: [Range<usize>; 2],
    strays: usize,
    instructions: usize,
}

thread_local! {
    static MACHINE: RefCell<Machine> = const {
        RefCell::new(Machine {
            configured: false,
            tiles: [[[0; ROW_BYTES]; ROWS]; TILES],
            readable: [0..0, 0..0],
            strays: 0,
            instructions: 0,
        })
    };
}

/// Runs `body` with tile instructions, emulated on this thread if the processor does not have them. Panics if an emulated
/// load left the `readable` memory.
pub(super) fn with_tiles<R>(readable: [&[Line]; 2], body: impl FnOnce() -> R) -> R {
    if super::is_available() {
        return body();
    }
    static HANDLER: Once = Once::new();
    HANDLER.call_once(install_handler);
    MACHINE.with_borrow_mut(|machine| {
        machine.readable = readable.map(|lines| lines.as_ptr().addr()..lines.as_ptr().addr() + size_of_val(lines));
        (machine.strays, machine.instructions) = (0, 0);
    });
    let result = body();
    MACHINE.with_borrow(|machine| {
        assert_eq!(machine.strays, 0, "tile loads outside of the operands");
        assert!(machine.instructions > 0, "no tile instruction was executed");
        assert!(!machine.configured, "the tiles were not released");
    });
    result
}

fn install_handler() {
    // SAFETY: a zeroed sigaction is a valid one, and `on_illegal_instruction` has the signature that SA_SIGINFO asks for.
    let installed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_illegal_instruction as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut())
    };
    assert_eq!(installed, 0, "installing a handler for SIGILL");
}

extern "C" fn on_illegal_instruction(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system passes the interrupted thread's ucontext.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    // SAFETY: the program counter points at an instruction; 16 bytes can be read, because more code of the test follows.
    let code = unsafe { std::slice::from_raw_parts(registers[libc::REG_RIP as usize] as *const u8, 16) };
    let Some(instruction) = Instruction::decode(code, registers) else {
        eprintln!("not a tile instruction: {code:02x?}");
        std::process::abort();
    };
    MACHINE.with_borrow_mut(|machine| machine.execute(&instruction));
    registers[libc::REG_RIP as usize] += instruction.length as i64;
}

/// A decoded VEX instruction of the map 0F 38.
#[derive(Debug)]
struct Instruction {
    prefix: u8,
    opcode: u8,
    /// The `reg` field, and the field `vvvv`.
    reg: usize,
    vvvv: usize,
    operand: Operand,
    length: usize,
}

#[derive(Debug)]
enum Operand {
    Register(usize),
    /// Address, and the value of the scaled index: the stride of a tile load or store.
    Memory {
        address: usize,
        stride: usize,
    },
}

impl Instruction {
    fn decode(code: &[u8], registers: &[i64; 23]) -> Option<Self> {
        let &[0xc4, vex1, vex2, opcode, modrm, ..] = code else { return None };
        if vex1 & 0x1f != 2 {
            return None;
        }
        let high = |bit: u8| usize::from(!vex1 >> bit & 1) << 3;
        let mut length = 5;
        let mut next = |bytes: usize| {
            let field = &code[length..length + bytes];
            length += bytes;
            field.iter().rev().fold(0u32, |value, &byte| value << 8 | u32::from(byte))
        };
        let (mode, rm) = (modrm >> 6, usize::from(modrm & 7));
        let operand = if mode == 3 {
            Operand::Register(rm)
        } else {
            let (mut base, mut stride) = (rm | high(5), 0);
            if rm == 4 {
                let sib = next(1) as usize;
                base = sib & 7 | high(5);
                let index = sib >> 3 & 7 | high(6);
                stride = if index == 4 { 0 } else { general_register(registers, index) << (sib >> 6) };
            }
            if mode == 0 && base & 7 == 5 {
                return None; // relative to the program counter, or absolute: not used by the kernels
            }
            let displacement = match mode {
                0 => 0,
                1 => i64::from(next(1) as u8 as i8),
                _ => i64::from(next(4) as i32),
            };
            Operand::Memory {
                address: general_register(registers, base).wrapping_add_signed(displacement as isize),
                stride,
            }
        };
        Some(Instruction {
            prefix: vex2 & 3,
            opcode,
            reg: usize::from(modrm >> 3 & 7),
            vvvv: usize::from(!vex2 >> 3 & 15),
            operand,
            length,
        })
    }
}

/// A general register by its number in an encoding.
fn general_register(registers: &[i64; 23], number: usize) -> usize {
    use libc::*;
    const ORDER: [c_int; 16] = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11,
        REG_R12, REG_R13, REG_R14, REG_R15,
    ];
    registers[ORDER[number] as usize] as usize
}

/// Adds the products of a row's groups with a column's groups to a sum.
type AddProducts = fn([u8; 4], &[[u8; 4]], &[[u8; 4]]) -> [u8; 4];

impl Machine {
    fn execute(&mut self, instruction: &Instruction) {
        self.instructions += 1;
        let &Instruction { prefix, opcode, reg, vvvv, ref operand, .. } = instruction;
        match (opcode, prefix, operand) {
            (0x49, prefix::NONE, &Operand::Memory { address, .. }) => self.configure(address),
            (0x49, prefix::NONE, Operand::Register(0)) => self.configured = false,
            _ if !self.configured => refuse(instruction, "tiles are not configured"),
            (0x49, prefix::F2, Operand::Register(0)) => self.tiles[reg] = [[0; ROW_BYTES]; ROWS],
            (0x4b, prefix::F2, &Operand::Memory { address, stride }) => self.load(reg, address, stride),
            (0x4b, prefix::F3, &Operand::Memory { address, stride }) => self.store(reg, address, stride),
            (0x5c, prefix::F3, &Operand::Register(a)) => self.multiply(reg, a, vvvv, add_bf16_products),
            (0x5e, prefix::P66, &Operand::Register(a)) => self.multiply(reg, a, vvvv, add_byte_products),
            _ => refuse(instruction, "not an instruction that the kernels use"),
        }
    }

    fn configure(&mut self, address: usize) {
        // SAFETY: the operand of ldtilecfg is 64 bytes.
        let config = unsafe { std::slice::from_raw_parts(address as *const u8, 64) };
        let mut expected = [0; 64];
        expected[0] = 1;
        for tile in 0..TILES {
            expected[16 + 2 * tile] = ROW_BYTES as u8;
            expected[48 + tile] = ROWS as u8;
        }
        assert_eq!(config, expected, "only full tiles are emulated");
        self.configured = true;
        self.tiles = [[[0; ROW_BYTES]; ROWS]; TILES];
    }

    fn load(&mut self, tile: usize, address: usize, stride: usize) {
        for (row, bytes) in self.tiles[tile].iter_mut().enumerate() {
            let start = address + row * stride;
            if !self.readable.iter().any(|range| range.start <= start && start + ROW_BYTES <= range.end) {
                self.strays += 1;
                continue;
            }
            // SAFETY: within memory that the test holds.
            *bytes = unsafe { *(start as *const [u8; ROW_BYTES]) };
        }
    }

    fn store(&mut self, tile: usize, address: usize, stride: usize) {
        for (row, bytes) in self.tiles[tile].iter().enumerate() {
            // SAFETY: the kernel's own promise: it is writing its sums.
            unsafe { *((address + row * stride) as *mut [u8; ROW_BYTES]) = *bytes };
        }
    }

    /// `sums[m][n] += a[m][k] * b[k][n]` over groups of four bytes.
    fn multiply(&mut self, sums: usize, a: usize, b: usize, add: AddProducts) {
        let (a, b) = (self.tiles[a], self.tiles[b]);
        for (sums, a) in self.tiles[sums].iter_mut().zip(&a) {
            for (n, sum) in sums.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let column = b.map(|row| row.as_chunks::<4>().0[n]);
                *sum = add(*sum, a.as_chunks().0, &column);
            }
        }
    }
}

/// `tdpbusd`: unsigned bytes times signed bytes.
fn add_byte_products(sum: [u8; 4], a: &[[u8; 4]], b: &[[u8; 4]]) -> [u8; 4] {
    let products = a.as_flattened().iter().zip(b.as_flattened()).map(|(&a, &b)| i32::from(a) * i32::from(b as i8));
    products.fold(i32::from_ne_bytes(sum), i32::wrapping_add).to_ne_bytes()
}

/// `tdpbf16ps`: even and odd products are summed apart, each sum rounded once per product, then added to the tile.
fn add_bf16_products(sum: [u8; 4], a: &[[u8; 4]], b: &[[u8; 4]]) -> [u8; 4] {
    let halves = |group: [u8; 4]| {
        let [lower, upper] = [[group[0], group[1]], [group[2], group[3]]].map(u16::from_ne_bytes);
        [lower, upper].map(|half| f32::from_bits(u32::from(half) << 16))
    };
    let mut sums = [0.0f32; 2];
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (halves(a), halves(b));
        (0..2).for_each(|i| sums[i] = a[i].mul_add(b[i], sums[i]));
    }
    (f32::from_ne_bytes(sum) + (sums[0] + sums[1])).to_ne_bytes()
}

fn refuse(instruction: &Instruction, why: &str) {
    eprintln!("{why}: {instruction:x?}");
    std::process::abort();
}
