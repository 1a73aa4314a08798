// What the kernels need of the hardware, each as one instruction of PTX. The twin of this file is emulated.hpp, which gives
// every function below the same meaning on a processor; nothing else of a kernel differs between the two.
//
// No header of the CUDA toolkit is included anywhere: NVRTC has the few built-ins that are used (threadIdx, uint4, ..).

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define INFINITY __int_as_float(0x7f800000)
#define DEVICE __device__ __forceinline__
// A kernel of THREADS threads, BLOCKS blocks of which should fit a multiprocessor.
#define KERNEL(THREADS, BLOCKS) extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
// The one piece of shared memory of a kernel.
#define SHARED_BYTES(NAME, COUNT) __shared__ __align__(16) unsigned char NAME[COUNT]

// Where something lies in shared memory, in bytes. Kernels add to these rather than to pointers of 64 bits.
typedef u32 Shared;

DEVICE Shared shared_address(const void* pointer) {
    u32 address;
    asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }" : "=r"(address) : "l"(pointer));
    return address;
}

// Starts to copy 16 bytes from global to shared memory; zeros instead unless VALID. The bytes are there after a
// copies_wait by this thread, and for other threads after a barrier behind it.
DEVICE void copy16(Shared to, const void* from, bool valid) {
#if __CUDA_ARCH__ >= 800
    const u32 bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
#else
    const uint4 piece = valid ? *(const uint4*)from : make_uint4(0, 0, 0, 0);
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(piece.x), "r"(piece.y), "r"(piece.z), "r"(piece.w) : "memory");
#endif
}

// Closes a group of copies.
DEVICE void copies_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most PENDING of this thread's latest groups are under way.
template <int PENDING>
DEVICE void copies_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

DEVICE void block_barrier() { __syncthreads(); }
DEVICE void warp_barrier() { __syncwarp(); }
DEVICE float shuffle_xor(float x, int distance) { return __shfl_xor_sync(0xffffffffu, x, distance); }
DEVICE u32 shuffle_xor(u32 x, int distance) { return __shfl_xor_sync(0xffffffffu, x, distance); }

// Four 8 x 8 matrices of 16-bit elements: lane 8 i + r names row r of matrix i, 16 bytes in shared memory. Lane l gets
// elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of each.
DEVICE void load_matrices(u32 (&to)[4], Shared row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(row) : "memory");
}

// The same of the matrices' transposes.
DEVICE void load_matrices_transposed(u32 (&to)[4], Shared row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(row) : "memory");
}

#if ATTUNE_PRECISION == 1
// sum += a b with a 16 x 16 by rows, b 16 x 8 by columns, in the register layout of mma.m16n8k16 (PTX ISA, section "Matrix
// Fragments for mma.m16n8k16").
DEVICE void multiply_add(float (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same of whole numbers of 8 bits, a 16 x 32 and b 32 x 8: bytes lie where those of twice as long values would.
DEVICE void multiply_add(int (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two floats as 16-bit elements, the first in the lower half; to nearest, ties to even.
DEVICE u32 narrow2(float first, float second) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
}

DEVICE float widen(u16 x) { return __uint_as_float((u32)x << 16); }
#endif

#if ATTUNE_PRECISION == 2
DEVICE void multiply_add(float (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]) : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]) : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

DEVICE u32 narrow2(float first, float second) {
    u32 pair;
    asm("{ .reg .b16 lower, upper; cvt.rn.f16.f32 lower, %1; cvt.rn.f16.f32 upper, %2; mov.b32 %0, {lower, upper}; }"
        : "=r"(pair) : "f"(first), "f"(second));
    return pair;
}

DEVICE float widen(u16 x) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x));
    return wide;
}
#endif

// 2 to the power of x, within 2 units in the last place; 0 below the normal numbers.
DEVICE float power_of_two(float x) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
}

DEVICE float square_root(float x) { return __fsqrt_rn(x); }
// 1 / x within 2 units in the last place where that is a normal number.
DEVICE float inverse(float x) {
    float result;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

// a b + c, rounded once.
DEVICE float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }

DEVICE u32 as_bits(float x) { return __float_as_uint(x); }
DEVICE float as_float(u32 bits) { return __uint_as_float(bits); }
DEVICE int bits_set(u32 bits) { return __popc(bits); }
// The nearest whole number, ties to even.
DEVICE int nearest(float x) { return __float2int_rn(x); }

// Adds to a counter in global or shared memory, and gives what it was before.
DEVICE u32 atomic_add(u32* counter, u32 more) { return atomicAdd(counter, more); }

#if ATTUNE_PRECISION != 0 && defined(__CUDA_ARCH_FEAT_SM90_ALL)
// Hopper alone: a copy engine that brings whole tiles, and products of tiles in shared memory by four warps together (PTX
// ISA: cp.async.bulk.tensor, mbarrier, wgmma). A tile is rows of 64 elements, 128 bytes, whose pieces of 16 bytes lie as
// place<8> says; it begins at a multiple of 1,024 bytes.
#define ATTUNE_HOPPER 1

struct alignas(64) TileMap { u64 words[16]; };
#define TILE_MAP const __grid_constant__ TileMap
#define SHARED_TILES(NAME) extern __shared__ __align__(1024) unsigned char NAME[]

// A place in shared memory where threads wait for others, and for bytes that the copy engine brings: a turn is over when
// COUNT threads have told it so and what they expected is there. One thread makes it, before a block_barrier.
DEVICE void arrival_begin(Shared arrival, int count) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1; fence.mbarrier_init.release.cluster;" ::"r"(arrival), "r"(count) : "memory");
}

DEVICE void arrival_tell(Shared arrival) {
    asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(arrival) : "memory");
}

// Tells it, and how many bytes this turn waits for.
DEVICE void arrival_expect(Shared arrival, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(arrival), "r"(bytes) : "memory");
}

// Waits until turn number TURN, counted from 0, is over; the one behind it must not be.
DEVICE void arrival_wait(Shared arrival, int turn) {
    asm volatile(
        "{ .reg .pred there; again: mbarrier.try_wait.parity.shared.b64 there, [%0], %1; @!there bra again; }"
        ::"r"(arrival), "r"(turn & 1) : "memory");
}

// Starts to bring the tile whose first element is (ROW, COLUMN) of a matrix; zeros for what lies outside of it.
DEVICE void copy_tile(Shared to, const TileMap& matrix, int column, int row, Shared arrival) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
                 ::"r"(to), "l"(&matrix), "r"(column), "r"(row), "r"(arrival) : "memory");
}

// Stands before the first product that reads or adds to registers which were written since.
DEVICE void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// Closes a group of products.
DEVICE void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most PENDING of the latest groups are under way.
template <int PENDING>
DEVICE void products_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory"); }

// Tells the compiler that a value is the same in all lanes of a warp.
DEVICE int warp_uniform(int x) { return __shfl_sync(0xffffffffu, x, 0); }

// A place in a tile, to which units of 16 bytes can be added: within the 128 bytes of a row, or by whole groups of 8 rows.
typedef u32 Tile;
DEVICE Tile tile_at(Shared address) { return 1 << 16 | address >> 4; }

#if ATTUNE_PRECISION == 1
#define TYPES ".f32.bf16.bf16 "
#else
#define TYPES ".f32.f16.f16 "
#endif
// 1,024 bytes between groups of eight rows, pieces placed by 128 bytes.
#define TILE_LAYOUT "0x40000040"
#define SUMS_8(I) "+f"(sum[I]), "+f"(sum[I + 1]), "+f"(sum[I + 2]), "+f"(sum[I + 3]), "+f"(sum[I + 4]), "+f"(sum[I + 5]), "+f"(sum[I + 6]), "+f"(sum[I + 7])
#define SUMS_32(I) SUMS_8(I), SUMS_8(I + 8), SUMS_8(I + 16), SUMS_8(I + 24)
#define NAMES_32 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_64 NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_96 NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"

// sum = a b, or sum += a b if ADD, for the 64 rows of a tile A and the N rows of a tile B, over 16 of their elements: those behind the two
// addresses. Thread t of the four warps has of row t / 32 * 16 + t % 32 / 4 + 8 h the columns 8 j + t % 4 * 2 + i, at
// sum[4 j + 2 h + i]. Asynchronous: sums and tiles are not to be touched until a products_wait.
template <int N>
DEVICE void multiply_add_tiles(float (&sum)[N / 2], Tile a, Tile b, bool add);

#define MULTIPLY_ADD_TILES(N, NAMES, A, B, ADD, ...)                                                                         \
    template <>                                                                                                              \
    DEVICE void multiply_add_tiles<N>(float (&sum)[N / 2], Tile a, Tile b, bool add) {                                       \
        asm volatile("{ .reg .pred add; .reg .b64 a, b; setp.ne.b32 add, " ADD ", 0; mov.b64 a, {" A ", " TILE_LAYOUT "}; "  \
                     "mov.b64 b, {" B ", " TILE_LAYOUT "}; wgmma.mma_async.sync.aligned.m64n" #N "k16" TYPES "{" NAMES       \
                     "}, a, b, add, 1, 1, 0, 0; }"                                                                           \
                     : __VA_ARGS__ : "r"(a), "r"(b), "r"((int)add) : "memory");                                              \
    }
MULTIPLY_ADD_TILES(64, NAMES_32, "%32", "%33", "%34", SUMS_32(0))
MULTIPLY_ADD_TILES(128, NAMES_64, "%64", "%65", "%66", SUMS_32(0), SUMS_32(32))
MULTIPLY_ADD_TILES(192, NAMES_96, "%96", "%97", "%98", SUMS_32(0), SUMS_32(32), SUMS_32(64))
#endif
