// The projections of project.cuh as Hopper wants them: a copy engine brings the tiles, and a group of four warps multiplies
// 64 rows of x with all rows of w that the block has, from shared memory. What bounds them is how much of x and w passes from
// the second-level cache to the multiprocessors, so the more of y a block makes of what it has read, the better.

#ifdef ATTUNE_HOPPER

// Elements of a row of a tile.
const int SLICE = 64;

// A block's tile of y is BM x BN. Two blocks share a multiprocessor, so that one multiplies while the other reads its first
// tiles or writes y.
template <int BM, int BN, int STAGES>
DEVICE void project_tiles(unsigned char* memory, const TileMap& x, const TileMap& w, const float* bias, Element* y, int rows,
                          int outputs, int inputs, int activation) {
    constexpr int THREADS = BM * 2, STAGE = (BM + BN) * SLICE;
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
        for (int stage = 0; stage < STAGES; stage++) arrival_begin(arrivals + stage, 1);
    block_barrier();
    if (threadIdx.x == 0)
        for (int step = 0; step < STAGES && step < steps; step++) load(step);

    float sums[BN / 2];
    for (int step = 0; step < steps; step++) {
        const Element* a = tiles + step % STAGES * STAGE + group * 64 * SLICE;
        const Element* b = tiles + step % STAGES * STAGE + BM * SLICE;
        arrival_wait(arrivals + step % STAGES, step / STAGES);
        products_begin();
#pragma unroll
        for (int k = 0; k < SLICE; k += 16) multiply_add_tiles<BN>(sums, a + k, b + k, step + k > 0);
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

// Four lanes, four words each: afterwards lane i has the i-th word of all four.
DEVICE void transpose_quad(u32 (&words)[4]) {
#pragma unroll
    for (int distance = 1; distance < 4; distance *= 2) {
        const bool upper = threadIdx.x & distance;
#pragma unroll
        for (int pair = 0; pair < 2; pair++) {
            u32& low = words[distance == 1 ? 2 * pair : pair];
            u32& high = words[distance == 1 ? 2 * pair + 1 : pair + 2];
            const u32 other = shuffle_xor(upper ? low : high, distance);
            (upper ? low : high) = other;
        }
    }
}

// Inputs of which all of a block's rows fit beside the stages of w, and those stages.
const int RESIDENT_SLICES = 6, RESIDENT_STAGES = 5;

// For few inputs and many outputs: 128 rows of x stay in shared memory while the rows of w pass, 192 at a time. One warp
// tells the copy engine what to bring, as soon as there is room; two groups of four multiply, each at its own pace, so that
// one multiplies while the other writes y. A block has its share of all tiles, those of a row of tiles one after the other.
// Grid: at most as many blocks as there are tiles; outputs are a multiple of 192.
KERNEL(288, 1)
project_resident(TILE_MAP x, TILE_MAP w, const float* __restrict__ bias, Element* __restrict__ y, int rows, int outputs,
                 int inputs, int activation) {
    constexpr int BM = 128, BN = 192;
    SHARED_TILES(memory);
    Element* x_tile = (Element*)memory;
    Element* w_tiles = x_tile + RESIDENT_SLICES * BM * SLICE;
    u64* x_there = (u64*)(w_tiles + RESIDENT_STAGES * BN * SLICE);
    u64* w_there = x_there + RESIDENT_SLICES;
    u64* w_free = w_there + RESIDENT_STAGES;
    u64* x_free = w_free + RESIDENT_STAGES;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = warp / 4;
    const int steps = (inputs + SLICE - 1) / SLICE, columns = outputs / BN, tiles = (rows + BM - 1) / BM * columns;
    const int first = (long long)blockIdx.x * tiles / gridDim.x, end = (long long)(blockIdx.x + 1) * tiles / gridDim.x;
    if (threadIdx.x == 0) {
        for (int step = 0; step < RESIDENT_SLICES; step++) arrival_begin(x_there + step, 1);
        for (int stage = 0; stage < RESIDENT_STAGES; stage++) {
            arrival_begin(w_there + stage, 1);
            arrival_begin(w_free + stage, 8);
        }
        arrival_begin(x_free, 8);
    }
    block_barrier();

    // How often x was read, and pieces of w, by whoever counts.
    int turn = -1, piece = 0;
    if (warp == 8) {
        if (lane != 0) return;
        for (int tile = first; tile < end; tile++) {
            const bool is_other_row = tile == first || tile % columns == 0;
            if (is_other_row && ++turn > 0) arrival_wait(x_free, turn - 1);
            for (int step = 0; step < steps; step++, piece++) {
                const int stage = piece % RESIDENT_STAGES;
                if (is_other_row) {
                    arrival_expect(x_there + step, BM * SLICE * 2);
                    copy_tile(x_tile + step * BM * SLICE, x, step * SLICE, tile / columns * BM, x_there + step);
                }
                if (piece >= RESIDENT_STAGES) arrival_wait(w_free + stage, piece / RESIDENT_STAGES - 1);
                arrival_expect(w_there + stage, BN * SLICE * 2);
                copy_tile(w_tiles + stage * BN * SLICE, w, step * SLICE, tile % columns * BN, w_there + stage);
            }
        }
        return;
    }

    for (int tile = first; tile < end; tile++) {
        const bool is_other_row = tile == first || tile % columns == 0;
        if (is_other_row) turn++;
        float sums[BN / 2];
        for (int step = 0; step < steps; step++, piece++) {
            const int stage = piece % RESIDENT_STAGES;
            const Element* a = x_tile + (step * BM + group * 64) * SLICE;
            const Element* b = w_tiles + stage * BN * SLICE;
            if (is_other_row) arrival_wait(x_there + step, turn);
            arrival_wait(w_there + stage, piece / RESIDENT_STAGES);
            products_begin();
#pragma unroll
            for (int k = 0; k < SLICE; k += 16) multiply_add_tiles<BN>(sums, a + k, b + k, step + k > 0);
            products_commit();
            products_wait<1>();
            warp_barrier();
            if (lane == 0 && step > 0) arrival_tell(w_free + (piece - 1) % RESIDENT_STAGES);
        }
        products_wait<0>();
        warp_barrier();
        if (lane == 0) {
            arrival_tell(w_free + (piece - 1) % RESIDENT_STAGES);
            if ((tile + 1) % columns == 0) arrival_tell(x_free);
        }

        // Each lane writes 16 bytes of a row, four of them 64.
        const int column = tile % columns * BN, row = tile / columns * BM + warp * 16 + lane / 4;
#pragma unroll
        for (int j = 0; j < BN / 8; j += 4) {
            float2 shift[4];
#pragma unroll
            for (int i = 0; i < 4; i++) shift[i] = *(const float2*)(bias + column + (j + i) * 8 + lane % 4 * 2);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                u32 words[4];
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float* sum = sums + 4 * (j + i) + 2 * half;
                    words[i] = narrow2(activated(sum[0] + shift[i].x, activation), activated(sum[1] + shift[i].y, activation));
                }
                transpose_quad(words);
                if (row + half * 8 < rows)
                    *(uint4*)(y + (size_t)(row + half * 8) * outputs + column + (j + lane % 4) * 8) = {words[0], words[1], words[2], words[3]};
            }
        }
    }
}

// Rows of a model of this width fit a block, so that the residual and the norm behind a product need no other kernel.
const int NORM_WIDTH = 384, PROJECT_NORM_STAGES = 3;

// out = norm(x w^T + bias + residual), the product rounded to an element first, with NORM_WIDTH outputs: the same bits as
// project and residual_norm one after the other. Inputs are at least 3 slices; out may be residual. Grid: rows / 128,
// rounded up.
KERNEL(256, 1)
project_norm(TILE_MAP x, TILE_MAP w, TILE_MAP residual, const float* __restrict__ bias, const float* __restrict__ gamma,
             const float* __restrict__ beta, float epsilon, int rows, int inputs, Element* out) {
    constexpr int BM = 128, BN = 192, STAGES = PROJECT_NORM_STAGES, STAGE = (BM + 2 * BN) * SLICE;
    SHARED_TILES(memory);
    Element* stages = (Element*)memory;
    u64* arrivals = (u64*)(stages + STAGES * STAGE);
    u64* residual_there = arrivals + STAGES;
    const int row = blockIdx.x * BM, steps = (inputs + SLICE - 1) / SLICE;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = warp / 4;

    // What the last three steps leave free becomes two tiles of BM x NORM_WIDTH, the residual and the product: a stage each,
    // and half of the one between.
    auto stage_of = [&](int step) { return stages + step % STAGES * STAGE; };
    auto residual_slice = [&](int slice) {
        return slice < 4 ? stage_of(steps - 3) + slice * BM * SLICE : stage_of(steps - 2) + (slice - 4) * BM * SLICE;
    };
    auto product_slice = [&](int slice) {
        return slice < 4 ? stage_of(steps - 1) + slice * BM * SLICE : stage_of(steps - 2) + (slice - 2) * BM * SLICE;
    };
    auto load = [&](int step) {
        u64* arrival = arrivals + step % STAGES;
        arrival_expect(arrival, STAGE * 2);
        copy_tile(stage_of(step), x, step * SLICE, row, arrival);
        copy_tile(stage_of(step) + BM * SLICE, w, step * SLICE, 0, arrival);
        copy_tile(stage_of(step) + (BM + BN) * SLICE, w, step * SLICE, BN, arrival);
    };
    auto load_residual = [&](int from, int to) {
        for (int slice = from; slice < to; slice++) copy_tile(residual_slice(slice), residual, slice * SLICE, row, residual_there);
    };
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; stage++) arrival_begin(arrivals + stage, 1);
        arrival_begin(residual_there, 1);
    }
    block_barrier();
    if (threadIdx.x == 0) {
        arrival_expect(residual_there, BM * NORM_WIDTH * 2);
        for (int step = 0; step < STAGES; step++) load(step);
    }

    float left[BN / 2], right[BN / 2];
    for (int step = 0; step < steps; step++) {
        const Element* a = stage_of(step) + group * 64 * SLICE;
        const Element* b = stage_of(step) + BM * SLICE;
        arrival_wait(arrivals + step % STAGES, step / STAGES);
        products_begin();
#pragma unroll
        for (int k = 0; k < SLICE; k += 16) {
            multiply_add_tiles<BN>(left, a + k, b + k, step + k > 0);
            multiply_add_tiles<BN>(right, a + k, b + BN * SLICE + k, step + k > 0);
        }
        products_commit();
        products_wait<1>();
        block_barrier();
        if (threadIdx.x == 0 && step > 0) {
            if (step - 1 + STAGES < steps) load(step - 1 + STAGES);
            if (step == steps - 2) load_residual(0, 4);
            if (step == steps - 1) load_residual(4, NORM_WIDTH / SLICE);
        }
    }
    products_wait<0>();
    block_barrier();

#pragma unroll
    for (int j = 0; j < NORM_WIDTH / 8; j++) {
        const float2 shift = *(const float2*)(bias + j * 8 + lane % 4 * 2);
        const float* sum = j < BN / 8 ? left + 4 * j : right + 4 * (j - BN / 8);
#pragma unroll
        for (int half = 0; half < 2; half++)
            *(u32*)(product_slice(j / 8) + place<8>(warp * 16 + half * 8 + lane / 4, j % 8) + lane % 4 * 2) =
                narrow2(sum[2 * half] + shift.x, sum[2 * half + 1] + shift.y);
    }
    warp_barrier();
    arrival_wait(residual_there, 0);
    const int count = rows - row - warp * 16;
#pragma unroll 2
    for (int r = warp * 16; r < warp * 16 + (count < 16 ? count : 16); r++) {
        float sum[CHUNKS][8];
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) {
            const int column = lane * 8 + c * 256;
            if (column >= NORM_WIDTH) continue;
            const int inside = place<8>(r, column % SLICE / 8);
            float shift[8];
            load8(sum[c], product_slice(column / SLICE) + inside);
            load8(shift, residual_slice(column / SLICE) + inside);
#pragma unroll
            for (int i = 0; i < 8; i++) sum[c][i] += shift[i];
        }
        write_normalised(sum, gamma, beta, epsilon, NORM_WIDTH, out + (size_t)(row + r) * NORM_WIDTH);
    }
}

#endif
