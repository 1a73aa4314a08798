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

DEVICE u32 shared_address(const void* pointer) {
    u32 address;
    asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }" : "=r"(address) : "l"(pointer));
    return address;
}

// Starts to copy 16 bytes from global to shared memory; zeros instead unless VALID. The bytes are there after a
// copies_wait by this thread, and for other threads after a barrier behind it.
DEVICE void copy16(void* to, const void* from, bool valid) {
#if __CUDA_ARCH__ >= 800
    const u32 bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes) : "memory");
#else
    *(uint4*)to = valid ? *(const uint4*)from : make_uint4(0, 0, 0, 0);
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

// Four 8 x 8 matrices of 16-bit elements: lane 8 i + r names row r of matrix i, 16 bytes in shared memory. Lane l gets
// elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of each.
DEVICE void load_matrices(u32 (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(row)) : "memory");
}

// The same of the matrices' transposes.
DEVICE void load_matrices_transposed(u32 (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(row)) : "memory");
}

#if ATTUNE_PRECISION == 1
// sum += a b with a 16 x 16 by rows, b 16 x 8 by columns, in the register layout of mma.m16n8k16 (PTX ISA, section "Matrix
// Fragments for mma.m16n8k16").
DEVICE void multiply_add(float (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
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
DEVICE float divide(float x, float y) { return __fdividef(x, y); }
