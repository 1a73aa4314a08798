// The projections of project.cuh as Hopper wants them: a copy engine brings the tiles, and four warps multiply 64 rows of x
// with all rows of w that the block has, from shared memory. A block's tile of y is BM x BN, a group of four warps has 64
// rows of it. Two blocks share a multiprocessor, so that one multiplies while the other reads its first tiles or writes y.

#ifdef ATTUNE_HOPPER

template <int BM, int BN, int STAGES>
DEVICE void project_tiles(unsigned char* memory, const TileMap& x, const TileMap& w, const float* bias, Element* y, int rows,
                          int outputs, int inputs, int activation) {
    constexpr int THREADS = BM * 2, SLICE = 64, STAGE = (BM + BN) * SLICE;
    Element* tiles = (Element*)memory;
    u64* arrivals = (u64*)(tiles + STAGES * STAGE);
    const int row = blockIdx.y * BM, column = blockIdx.x * BN;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = warp / 4;
    const int steps = (inputs + SLICE - 1) / SLICE;

    auto load = [&](int step) {
        Element* stage = tiles + step % STAGES * STAGE;
        u64* arrival = arrivals + step % STAGES;
        arrival_expect(arrival, STAGE * 2);
        copy_tile(stage, x, step * SLICE, row, arrival);
        copy_tile(stage + BM * SLICE, w, step * SLICE, column, arrival);
    };
    if (threadIdx.x == 0)
        for (int stage = 0; stage < STAGES; stage++) arrival_begin(arrivals + stage);
    block_barrier();
    if (threadIdx.x == 0)
        for (int step = 0; step < STAGES && step < steps; step++) load(step);

    float sums[BN / 2] = {};
    for (int step = 0; step < steps; step++) {
        const Element* a = tiles + step % STAGES * STAGE + group * 64 * SLICE;
        const Element* b = tiles + step % STAGES * STAGE + BM * SLICE;
        arrival_wait(arrivals + step % STAGES, step / STAGES);
        products_begin();
#pragma unroll
        for (int k = 0; k < SLICE; k += 16) multiply_add_tiles<BN>(sums, a + k, b + k);
        products_commit();
        // The products of the step before are done here, behind the barrier everybody's: its stage is free.
        products_wait<1>();
        block_barrier();
        if (threadIdx.x == 0 && step > 0 && step - 1 + STAGES < steps) load(step - 1 + STAGES);
    }
    products_wait<0>();
    block_barrier();

    // Through shared memory, so that what is written lies side by side. Eight columns between rows keep banks apart.
    constexpr int PITCH = BN + 8;
#pragma unroll
    for (int j = 0; j < BN / 8; j++) {
        const int c = j * 8 + lane % 4 * 2;
        const bool inside = column + c < outputs;
        const float2 shift = inside ? *(const float2*)(bias + column + c) : float2{0, 0};
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int r = warp * 16 + half * 8 + lane / 4;
            *(u32*)(tiles + r * PITCH + c) = narrow2(activated(sums[4 * j + 2 * half] + shift.x, activation),
                                                     activated(sums[4 * j + 2 * half + 1] + shift.y, activation));
        }
    }
    block_barrier();
#pragma unroll 4
    for (int i = threadIdx.x; i < BM * BN / 8; i += THREADS) {
        const int r = i / (BN / 8), c = i % (BN / 8) * 8;
        if (row + r < rows && column + c < outputs)
            *(uint4*)(y + (size_t)(row + r) * outputs + column + c) = *(const uint4*)(tiles + r * PITCH + c);
    }
}

#define PROJECT_HOPPER(BM, BN, STAGES, BLOCKS)                                                                               \
    KERNEL(BM * 2, BLOCKS)                                                                                                   \
    project_hopper_##BN(TILE_MAP x, TILE_MAP w, const float* __restrict__ bias, Element* __restrict__ y, int rows,           \
                        int outputs, int inputs, int activation) {                                                           \
        SHARED_TILES(memory);                                                                                                \
        project_tiles<BM, BN, STAGES>(memory, x, w, bias, y, rows, outputs, inputs, activation);                             \
    }

// Grid: outputs / BN x rows / BM, rounded up. Shared memory: STAGES stages of (BM + BN) x 64 elements, and 8 bytes for each.
PROJECT_HOPPER(64, 64, 4, 4)
PROJECT_HOPPER(128, 128, 3, 2)
PROJECT_HOPPER(128, 192, 2, 2)

#endif
