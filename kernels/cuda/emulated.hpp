// A GPU's block on one processor thread: the twin of ptx.cuh, so that kernels run where there is no GPU.
//
// Every CUDA thread is a fiber. A barrier, a shuffle, a matrix load and a matrix product are places where a fiber gives way
// until the others have come. What can hide a mistake is a choice of the caller's: fibers run in rising or falling order, and
// asynchronous copies land at once or as late as the waits allow. Shared memory starts as NaN. The layouts of matrix
// fragments are written from the PTX ISA and not from the kernels.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
struct alignas(16) uint4 { u32 x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct Index { unsigned x, y, z; };

#define DEVICE inline
#define KERNEL(THREADS, BLOCKS) extern "C" void
#define __restrict__
#define SHARED_BYTES(NAME, COUNT) \
    static_assert((COUNT) <= SHARED_BYTES_MAX, "more shared memory than every card has"); \
    unsigned char* NAME = emulated.shared

const int SHARED_BYTES_MAX = 48 * 1024;
const int SHARED_BYTES_HOPPER = 227 * 1024;
const int THREADS_MAX = 1024;
const size_t STACK_BYTES = 128 * 1024;

// A fiber is a stack: what is on it when it gives way is all there is to know of it. ucontext would do the same at twenty
// times the cost, since it asks the system for the signal mask at each step.
#if defined(__x86_64__)
asm(R"(
.text
attune_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
extern "C" __attribute__((visibility("hidden"))) void attune_switch_stack(void** from, void* to);
typedef void* Fiber;
static void switch_fiber(Fiber& from, Fiber& to) { attune_switch_stack(&from, to); }
static void begin_fiber(Fiber& fiber, char* stack, size_t bytes, Fiber&, void (*body)()) {
    void** top = (void**)((uintptr_t)(stack + bytes) & ~(uintptr_t)15);
    top[-2] = (void*)body;
    fiber = top - 2 - 6;
}
#else
#include <ucontext.h>
typedef ucontext_t Fiber;
static void switch_fiber(Fiber& from, Fiber& to) { swapcontext(&from, &to); }
static void begin_fiber(Fiber& fiber, char* stack, size_t bytes, Fiber& main, void (*body)()) {
    getcontext(&fiber);
    fiber.uc_stack.ss_sp = stack;
    fiber.uc_stack.ss_size = bytes;
    fiber.uc_link = &main;
    makecontext(&fiber, body, 0);
}
#endif

typedef uintptr_t Shared;
typedef uintptr_t Tile;  // in units of 16 bytes

struct Copy { Shared to; const void* from; bool valid; };
struct alignas(64) TileMap { u64 words[16]; };
struct TileCopy { Shared to; TileMap matrix; int column, row; Shared arrival; };
struct Product { float* sum; Tile a, b; bool add; void (*run)(float*, Tile, Tile, bool); };

struct Warp {
    // What each lane brought to the last two meetings: nobody is two meetings ahead of another.
    alignas(16) unsigned char brought[2][32][64];
    unsigned meetings[32];
    unsigned arrived, passed;
};

struct Emulated {
    Fiber main, fibers[THREADS_MAX];
    bool done[THREADS_MAX];
    std::vector<Copy> open[THREADS_MAX];
    std::vector<std::vector<Copy>> groups[THREADS_MAX];
    std::vector<TileCopy> tile_copies;
    std::vector<Product> open_products[THREADS_MAX];
    std::vector<std::vector<Product>> product_groups[THREADS_MAX];
    Warp warps[THREADS_MAX / 32];
    unsigned threads, arrived, passed, steps;
    bool copies_at_once;
    void (*body)(void**);
    void** arguments;
    alignas(1024) unsigned char shared[SHARED_BYTES_HOPPER];
};

static Emulated emulated;
static Index threadIdx, blockIdx, blockDim, gridDim;

static void give_way() { switch_fiber(emulated.fibers[threadIdx.x], emulated.main); }

static void meet(unsigned& arrived, unsigned& passed, unsigned members) {
    const unsigned before = passed;
    if (++arrived == members) {
        arrived = 0;
        passed++;
        emulated.steps++;
        return;
    }
    while (*(volatile unsigned*)&passed == before) give_way();
}

template <class T>
struct Brought {
    const unsigned char (*slots)[64];
    const T& of(unsigned lane) const { return *(const T*)slots[lane]; }
};

// Every lane of a warp brings a value and sees what the others brought.
template <class T>
static Brought<T> exchange(const T& mine) {
    static_assert(sizeof(T) <= 64, "too much to bring");
    Warp& warp = emulated.warps[threadIdx.x / 32];
    const unsigned lane = threadIdx.x % 32, turn = warp.meetings[lane]++ % 2;
    memcpy(warp.brought[turn][lane], &mine, sizeof(T));
    meet(warp.arrived, warp.passed, 32);
    return Brought<T>{warp.brought[turn]};
}

static void block_barrier() { meet(emulated.arrived, emulated.passed, emulated.threads); }
static void warp_barrier() { exchange(0); }
static float shuffle_xor(float x, int distance) { return exchange(x).of(threadIdx.x % 32 ^ distance); }
static u32 shuffle_xor(u32 x, int distance) { return exchange(x).of(threadIdx.x % 32 ^ distance); }

static void land(const Copy& copy) {
    if (copy.valid) memcpy((void*)copy.to, copy.from, 16);
    else memset((void*)copy.to, 0, 16);
}

static Shared shared_address(const void* pointer) { return (Shared)pointer; }

static void copy16(Shared to, const void* from, bool valid) {
    if (to % 16 || (valid && (uintptr_t)from % 16)) abort();
    const Copy copy = {to, from, valid};
    if (emulated.copies_at_once) land(copy);
    else emulated.open[threadIdx.x].push_back(copy);
}

static void copies_commit() {
    emulated.groups[threadIdx.x].push_back(std::move(emulated.open[threadIdx.x]));
    emulated.open[threadIdx.x].clear();
}

template <int PENDING>
static void copies_wait() {
    auto& groups = emulated.groups[threadIdx.x];
    while (groups.size() > PENDING) {
        for (const Copy& copy : groups.front()) land(copy);
        groups.erase(groups.begin());
    }
}

static void load_matrices(u32 (&to)[4], Shared row) {
    const auto rows = exchange(row);
    const unsigned lane = threadIdx.x % 32;
    for (unsigned i = 0; i < 4; i++) {
        const u16* elements = (const u16*)rows.of(8 * i + lane / 4);
        to[i] = elements[2 * (lane % 4)] | (u32)elements[2 * (lane % 4) + 1] << 16;
    }
}

static void load_matrices_transposed(u32 (&to)[4], Shared row) {
    const auto rows = exchange(row);
    const unsigned lane = threadIdx.x % 32;
    for (unsigned i = 0; i < 4; i++) {
        const u16* even = (const u16*)rows.of(8 * i + 2 * (lane % 4));
        const u16* odd = (const u16*)rows.of(8 * i + 2 * (lane % 4) + 1);
        to[i] = even[lane / 4] | (u32)odd[lane / 4] << 16;
    }
}

static float as_float(u32 bits) { float x; memcpy(&x, &bits, 4); return x; }
static u32 as_bits(float x) { u32 bits; memcpy(&bits, &x, 4); return bits; }

#if ATTUNE_PRECISION == 1
static float widen(u16 x) { return as_float((u32)x << 16); }
static u16 narrow1(float x) {
    const u32 bits = as_bits(x);
    return x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
#endif

#if ATTUNE_PRECISION == 2
static float widen(u16 x) {
    const int exponent = x >> 10 & 31, fraction = x & 1023;
    const float size = exponent == 31 ? (fraction ? NAN : INFINITY)
        : exponent ? ldexpf(1024 + fraction, exponent - 25) : ldexpf(fraction, -24);
    return x >> 15 ? -size : size;
}
static u16 narrow1(float x) {
    const u16 sign = as_bits(x) >> 16 & 0x8000;
    const float size = fabsf(x);
    if (x != x) return 0x7fff;
    if (size >= 65520) return sign | 0x7c00;
    int exponent = size < 0x1p-14f ? -14 : ilogbf(size);
    const float steps = nearbyintf(ldexpf(size, 10 - exponent));  // below 1024 where subnormal
    return sign | (u16)((exponent + 14) * 1024 + (int)steps);
}
#endif

#if ATTUNE_PRECISION != 0
static u32 narrow2(float first, float second) { return narrow1(first) | (u32)narrow1(second) << 16; }

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": with group g = lane / 4 and t = lane % 4,
// a's register r holds row g (r even) or g + 8 (r odd), columns 2 t and 2 t + 1, plus 8 in registers 2 and 3;
// b's register r holds rows 2 t and 2 t + 1, plus 8 in register 1, of column g; c holds rows g, g, g + 8, g + 8 of columns
// 2 t, 2 t + 1, 2 t, 2 t + 1.
static void multiply_add(float (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    struct Registers { u32 a[4], b[2]; };
    const auto all = exchange(Registers{{a[0], a[1], a[2], a[3]}, {b0, b1}});
    const unsigned lane = threadIdx.x % 32;
    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        for (unsigned k = 0; k < 16; k++) {
            const u32 left = all.of(row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2];
            const u32 right = all.of(column * 4 + k % 8 / 2).b[k / 8];
            sum[i] += widen(left >> k % 2 * 16) * widen(right >> k % 2 * 16);
        }
    }
}

// PTX ISA, "Matrix Fragments for mma.m16n8k32": a's register r holds row g (r even) or g + 8 (r odd), columns 4 t to 4 t + 3,
// plus 16 in registers 2 and 3; b's register r holds rows 4 t to 4 t + 3, plus 16 in register 1, of column g; c as above.
static void multiply_add(int (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    struct Registers { u32 a[4], b[2]; };
    const auto all = exchange(Registers{{a[0], a[1], a[2], a[3]}, {b0, b1}});
    const unsigned lane = threadIdx.x % 32;
    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        for (unsigned k = 0; k < 32; k++) {
            const u32 left = all.of(row % 8 * 4 + k % 16 / 4).a[row / 8 + k / 16 * 2];
            const u32 right = all.of(column * 4 + k % 16 / 4).b[k / 16];
            sum[i] += (int)(int8_t)(left >> k % 4 * 8) * (int)(int8_t)(right >> k % 4 * 8);
        }
    }
}
#endif

#if ATTUNE_PRECISION != 0
// Hopper's: tiles that land when somebody waits for them, products that are made when somebody waits for those.
#define ATTUNE_HOPPER 1
#define TILE_MAP const TileMap
#define SHARED_TILES(NAME) unsigned char* NAME = emulated.shared

struct Arrival { u64 bytes : 24, count : 8, missing : 8, turns : 24; };
static Arrival& state(Shared arrival) { return *(Arrival*)arrival; }

static void arrival_pass(Shared arrival) {
    Arrival& there = state(arrival);
    emulated.steps++;
    if (there.missing || there.bytes) return;
    there.missing = there.count;
    there.turns++;
}

static void arrival_begin(Shared arrival, int count) { state(arrival) = {0, (u64)count, (u64)count, 0}; }

static void arrival_expect(Shared arrival, u32 bytes) {
    if (!state(arrival).missing) abort();
    state(arrival).bytes += bytes;
    state(arrival).missing--;
    arrival_pass(arrival);
}

static void arrival_tell(Shared arrival) { arrival_expect(arrival, 0); }

static void land(const TileCopy& copy) {
    const u64 *words = copy.matrix.words, columns = words[1], rows = words[2];
    const u16* matrix = (const u16*)words[0];
    u16* tile = (u16*)copy.to;
    if (copy.to % 1024 || copy.column % 64) abort();
    for (unsigned r = 0; r < words[3]; r++)
        for (unsigned c = 0; c < 64; c++) {
            const u64 row = copy.row + r, column = copy.column + c;
            tile[(r * 8 + (c / 8 ^ r % 8)) * 8 + c % 8] = row < rows && column < columns ? matrix[row * columns + column] : 0;
        }
    state(copy.arrival).bytes -= words[3] * 128;
    arrival_pass(copy.arrival);
}

static void arrival_wait(Shared arrival, int turn) {
    // The hardware knows a turn's last bit only: who waits for another than the one under way, or the one before, waits for
    // the wrong one.
    if ((int)state(arrival).turns > turn + 1 || (int)state(arrival).turns < turn) abort();
    while ((int)state(arrival).turns == turn) {
        bool landed = false;
        auto& copies = emulated.tile_copies;
        for (size_t i = 0; i < copies.size();)
            if (copies[i].arrival == arrival) {
                const TileCopy copy = copies[i];
                copies.erase(copies.begin() + i);
                land(copy);
                landed = true;
            } else i++;
        if (!landed) give_way();
    }
}

static void copy_tile(Shared to, const TileMap& matrix, int column, int row, Shared arrival) {
    const TileCopy copy = {to, matrix, column, row, arrival};
    if (emulated.copies_at_once) land(copy);
    else emulated.tile_copies.push_back(copy);
}

static int warp_uniform(int x) {
    if (exchange(x).of(0) != x) abort();
    return x;
}

static Tile tile_at(Shared address) { return address / 16; }

static float tile_element(Tile place, unsigned row, unsigned k) {
    const uintptr_t tile = place * 16 & ~(uintptr_t)1023, first = place % 64;
    return widen(((const u16*)tile)[(row * 8 + (first + k / 8 ^ row % 8)) * 8 + k % 8]);
}

// PTX ISA, "Register Fragments for wgmma.mma_async.m64nNk16": matrix D.
template <int N>
static void tiles_product(float* sum, Tile a, Tile b, bool add) {
    const unsigned thread = threadIdx.x % 128;
    for (unsigned i = 0; i < N / 2; i++) {
        const unsigned row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + thread % 4 * 2 + i % 2;
        if (!add) sum[i] = 0;
        for (unsigned k = 0; k < 16; k++) sum[i] += tile_element(a, row, k) * tile_element(b, column, k);
    }
}

template <int N>
static void multiply_add_tiles(float (&sum)[N / 2], Tile a, Tile b, bool add) {
    if (emulated.copies_at_once) tiles_product<N>(sum, a, b, add);
    else emulated.open_products[threadIdx.x].push_back({sum, a, b, add, tiles_product<N>});
}

static void products_begin() {}

static void products_commit() {
    emulated.product_groups[threadIdx.x].push_back(std::move(emulated.open_products[threadIdx.x]));
    emulated.open_products[threadIdx.x].clear();
}

template <int PENDING>
static void products_wait() {
    auto& groups = emulated.product_groups[threadIdx.x];
    while (groups.size() > PENDING) {
        for (const Product& product : groups.front()) product.run(product.sum, product.a, product.b, product.add);
        groups.erase(groups.begin());
    }
}
#endif

static float power_of_two(float x) { return exp2f(x); }
static float square_root(float x) { return sqrtf(x); }
static float inverse(float x) { return 1 / x; }
static float fused(float a, float b, float c) { return fmaf(a, b, c); }

static int bits_set(u32 bits) { return __builtin_popcount(bits); }
static int nearest(float x) { return (int)nearbyintf(x); }

// Fibers give way nowhere in between.
static u32 atomic_add(u32* counter, u32 more) {
    const u32 before = *counter;
    *counter += more;
    return before;
}
