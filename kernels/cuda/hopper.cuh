// The projections of project.cuh as Hopper wants them: a copy engine brings the tiles, and a group of four warps multiplies
// 64 rows of x with all rows of w that the block has, from shared memory. A product of 64 x 192 x 16 takes the tensor cores 96
// cycles, so what stands between two of them is counted in instructions: places are added to, never computed anew.

#ifdef ATTUNE_HOPPER

// Elements and bytes of a row of a tile, and units of a Tile: in a row for the 16 elements of a product, and in a row.
const int SLICE = 64, ROW_BYTES = 128, STEP_UNITS = 2, ROW_UNITS = 8;

// Stages that are used in turn.
template <int COUNT>
struct Ring {
    int stage = 0, turn = 0;
    DEVICE void advance() {
        if (++stage == COUNT) stage = 0, turn++;
    }
};

// The products of one slice, for N rows of w.
template <int N>
DEVICE void multiply_slice(float (&sums)[N / 2], Tile a, Tile b, bool add) {
#pragma unroll
    for (int k = 0; k < SLICE / 16; k++) multiply_add_tiles<N>(sums, a + k * STEP_UNITS, b + k * STEP_UNITS, add || k > 0);
}

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

// Writes activation(sums + bias) for N outputs from COLUMN on: this lane's two rows of the group's 64, of which ROW is the
// first. Each lane writes 16 bytes of a row, four of them 64.
template <int N, bool GELU>
DEVICE void write_sums(const float (&sums)[N / 2], const float* bias, Element* y, int row, int rows, int column, int outputs) {
    const int quad = threadIdx.x % 4;
#pragma unroll
    for (int j = 0; j < N / 8; j += 4) {
        float2 shift[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int c = column + (j + i) * 8 + quad * 2;
            shift[i] = c < outputs ? *(const float2*)(bias + c) : float2{0, 0};
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            u32 words[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float first = sums[4 * (j + i) + 2 * half] + shift[i].x, second = sums[4 * (j + i) + 2 * half + 1] + shift[i].y;
                if (GELU) gelu2(first, second);
                words[i] = narrow2(first, second);
            }
            transpose_quad(words);
            const int c = column + (j + quad) * 8;
            if (row + half * 8 < rows && c < outputs)
                *(uint4*)(y + (size_t)(row + half * 8) * outputs + c) = uint4{words[0], words[1], words[2], words[3]};
        }
    }
}

// A block's tile of y is BM x BN. Several blocks share a multiprocessor, so that one multiplies while another reads its first
// tiles or writes y.
template <int BM, int BN, int STAGES>
DEVICE void project_tiles(Shared memory, const TileMap& x, const TileMap& w, const float* bias, Element* y, int rows,
                          int outputs, int inputs, int activation) {
    constexpr int STAGE_BYTES = (BM + BN) * ROW_BYTES;
    const Shared arrivals = memory + STAGES * STAGE_BYTES;
    const int row = blockIdx.y * BM, column = blockIdx.x * BN, steps = (inputs + SLICE - 1) / SLICE;
    const int lane = threadIdx.x % 32, warp = warp_uniform(threadIdx.x / 32), group = warp / 4;

    auto load = [&](int stage, int step) {
        const Shared to = memory + stage * STAGE_BYTES, arrival = arrivals + stage * 8;
        arrival_expect(arrival, STAGE_BYTES);
        copy_tile(to, x, step * SLICE, row, arrival);
        copy_tile(to + BM * ROW_BYTES, w, step * SLICE, column, arrival);
    };
    if (threadIdx.x == 0)
        for (int stage = 0; stage < STAGES; stage++) arrival_begin(arrivals + stage * 8, 1);
    block_barrier();
    if (threadIdx.x == 0)
        for (int step = 0; step < STAGES && step < steps; step++) load(step, step);

    float sums[BN / 2];
    const Tile a = tile_at(memory + group * 64 * ROW_BYTES), b = tile_at(memory + BM * ROW_BYTES);
    Ring<STAGES> ring;
    for (int step = 0; step < steps; step++) {
        const int stage = ring.stage, before = stage == 0 ? STAGES - 1 : stage - 1;
        arrival_wait(arrivals + stage * 8, ring.turn);
        products_begin();
        multiply_slice<BN>(sums, a + stage * (STAGE_BYTES / 16), b + stage * (STAGE_BYTES / 16), step > 0);
        products_commit();
        ring.advance();
        // The products of the step before are done here, behind the barrier everybody's: its stage is free.
        products_wait<1>();
        block_barrier();
        if (threadIdx.x == 0 && step > 0 && step - 1 + STAGES < steps) load(before, step - 1 + STAGES);
    }
    products_wait<0>();
    const int own = row + warp * 16 + lane / 4;
    if (activation == ACTIVATION_GELU) write_sums<BN, true>(sums, bias, y, own, rows, column, outputs);
    else write_sums<BN, false>(sums, bias, y, own, rows, column, outputs);
}

#define PROJECT_HOPPER(BM, BN, STAGES, BLOCKS)                                                                               \
    KERNEL(BM * 2, BLOCKS)                                                                                                   \
    project_hopper_##BN(TILE_MAP x, TILE_MAP w, const float* __restrict__ bias, Element* __restrict__ y, int rows,           \
                        int outputs, int inputs, int activation) {                                                           \
        SHARED_TILES(memory);                                                                                                \
        project_tiles<BM, BN, STAGES>(shared_address(memory), x, w, bias, y, rows, outputs, inputs, activation);             \
    }

// Grid: outputs / BN x rows / BM, rounded up. Shared memory: STAGES stages of (BM + BN) x 64 elements, and 8 bytes for each.
PROJECT_HOPPER(64, 64, 4, 3)
PROJECT_HOPPER(128, 128, 3, 2)

// Slices of x that fit beside the stages of w, and those stages.
const int RESIDENT_SLICES = 6, RESIDENT_STAGES = 5;

// For few inputs and many outputs: 128 rows of x stay in shared memory while the rows of w pass, 192 at a time. One warp
// tells the copy engine what to bring, as soon as there is room; two groups of four multiply, each at its own pace, so that
// one multiplies while the other writes y. A block has its share of all tiles, those of a row of tiles one after the other.
// Grid: at most as many blocks as there are tiles; outputs are a multiple of 192.
KERNEL(288, 1)
project_resident(TILE_MAP x, TILE_MAP w, const float* __restrict__ bias, Element* __restrict__ y, int rows, int outputs,
                 int inputs, int activation) {
    constexpr int BM = 128, BN = 192, X_BYTES = BM * ROW_BYTES, W_BYTES = BN * ROW_BYTES;
    SHARED_TILES(shared);
    const Shared memory = shared_address(shared), w_tiles = memory + RESIDENT_SLICES * X_BYTES;
    const Shared x_there = w_tiles + RESIDENT_STAGES * W_BYTES, w_there = x_there + RESIDENT_SLICES * 8;
    const Shared w_free = w_there + RESIDENT_STAGES * 8, x_free = w_free + RESIDENT_STAGES * 8;
    const int lane = threadIdx.x % 32, warp = warp_uniform(threadIdx.x / 32), group = warp / 4;
    const int steps = (inputs + SLICE - 1) / SLICE, columns = outputs / BN, tiles = (rows + BM - 1) / BM * columns;
    const int first = (long long)blockIdx.x * tiles / gridDim.x, end = (long long)(blockIdx.x + 1) * tiles / gridDim.x;
    if (threadIdx.x == 0) {
        for (int step = 0; step < RESIDENT_SLICES; step++) arrival_begin(x_there + step * 8, 1);
        for (int stage = 0; stage < RESIDENT_STAGES; stage++) {
            arrival_begin(w_there + stage * 8, 1);
            arrival_begin(w_free + stage * 8, 8);
        }
        arrival_begin(x_free, 8);
    }
    block_barrier();

    int row = first / columns * BM, column = first % columns * BN, turn = 0;
    bool is_other_row = true;
    auto next_tile = [&] {
        is_other_row = (column += BN) == outputs;
        if (is_other_row) row += BM, column = 0, turn++;
    };
    Ring<RESIDENT_STAGES> ring;
    if (warp == 8) {
        if (lane != 0) return;
        for (int tile = first; tile < end; tile++, next_tile()) {
            if (is_other_row && turn > 0) arrival_wait(x_free, turn - 1);
            for (int step = 0; step < steps; step++, ring.advance()) {
                if (is_other_row) {
                    arrival_expect(x_there + step * 8, X_BYTES);
                    copy_tile(memory + step * X_BYTES, x, step * SLICE, row, x_there + step * 8);
                }
                if (ring.turn > 0) arrival_wait(w_free + ring.stage * 8, ring.turn - 1);
                arrival_expect(w_there + ring.stage * 8, W_BYTES);
                copy_tile(w_tiles + ring.stage * W_BYTES, w, step * SLICE, column, w_there + ring.stage * 8);
            }
        }
        return;
    }

    const Tile a = tile_at(memory + group * 64 * ROW_BYTES), b = tile_at(w_tiles);
    for (int tile = first; tile < end; tile++, next_tile()) {
        float sums[BN / 2];
        Shared before = 0;
        for (int step = 0; step < steps; step++, ring.advance()) {
            if (is_other_row) arrival_wait(x_there + step * 8, turn);
            arrival_wait(w_there + ring.stage * 8, ring.turn);
            products_begin();
            multiply_slice<BN>(sums, a + step * (X_BYTES / 16), b + ring.stage * (W_BYTES / 16), step > 0);
            products_commit();
            products_wait<1>();
            warp_barrier();
            if (lane == 0 && step > 0) arrival_tell(before);
            before = w_free + ring.stage * 8;
        }
        products_wait<0>();
        warp_barrier();
        if (lane == 0) {
            arrival_tell(before);
            if (column + BN == outputs) arrival_tell(x_free);
        }
        const int own = row + warp * 16 + lane / 4;
        if (activation == ACTIVATION_GELU) write_sums<BN, true>(sums, bias, y, own, rows, column, outputs);
        else write_sums<BN, false>(sums, bias, y, own, rows, column, outputs);
    }
}

// Rows of a model of this width fit a block, so that the residual and the norm behind a product need no other kernel.
const int NORM_WIDTH = 384, NORM_STAGES = 3;

// out = norm(x w^T + bias + residual), the product rounded to an element first, with NORM_WIDTH outputs: the same bits as
// project and residual_norm one after the other. Inputs are more than 2 slices; out may be residual. Grid: rows / 128,
// rounded up.
KERNEL(256, 1)
project_norm(TILE_MAP x, TILE_MAP w, TILE_MAP residual, const float* __restrict__ bias, const float* __restrict__ gamma,
             const float* __restrict__ beta, float epsilon, int rows, int inputs, Element* out) {
    constexpr int BM = 128, BN = NORM_WIDTH / 2, STAGE_BYTES = (BM + NORM_WIDTH) * ROW_BYTES, SLICE_BYTES = BM * ROW_BYTES;
    SHARED_TILES(shared);
    const Shared memory = shared_address(shared), arrivals = memory + NORM_STAGES * STAGE_BYTES;
    const Shared residual_there = arrivals + NORM_STAGES * 8;
    const int row = blockIdx.x * BM, steps = (inputs + SLICE - 1) / SLICE;
    const int lane = threadIdx.x % 32, warp = warp_uniform(threadIdx.x / 32), group = warp / 4;

    // The stages of the last three steps become two tiles of BM x NORM_WIDTH, the residual and the product: a stage each, and
    // half of the one between. In bytes from the start of the memory.
    const int residual_stage = (steps - 3) % NORM_STAGES * STAGE_BYTES, half_stage = (steps - 2) % NORM_STAGES * STAGE_BYTES;
    const int product_stage = (steps - 1) % NORM_STAGES * STAGE_BYTES;
    auto residual_slice = [&](int slice) { return slice < 4 ? residual_stage + slice * SLICE_BYTES : half_stage + (slice - 4) * SLICE_BYTES; };
    auto product_slice = [&](int slice) { return slice < 4 ? product_stage + slice * SLICE_BYTES : half_stage + (slice - 2) * SLICE_BYTES; };
    auto load = [&](int stage, int step) {
        const Shared to = memory + stage * STAGE_BYTES, arrival = arrivals + stage * 8;
        arrival_expect(arrival, STAGE_BYTES);
        copy_tile(to, x, step * SLICE, row, arrival);
        copy_tile(to + SLICE_BYTES, w, step * SLICE, 0, arrival);
        copy_tile(to + SLICE_BYTES + BN * ROW_BYTES, w, step * SLICE, BN, arrival);
    };
    auto load_residual = [&](int from, int to) {
        for (int slice = from; slice < to; slice++)
            copy_tile(memory + residual_slice(slice), residual, slice * SLICE, row, residual_there);
    };
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < NORM_STAGES; stage++) arrival_begin(arrivals + stage * 8, 1);
        arrival_begin(residual_there, 1);
    }
    block_barrier();
    if (threadIdx.x == 0) {
        arrival_expect(residual_there, BM * NORM_WIDTH * 2);
        for (int stage = 0; stage < NORM_STAGES; stage++) load(stage, stage);
    }

    float left[BN / 2], right[BN / 2];
    const Tile a = tile_at(memory + group * 64 * ROW_BYTES), b = tile_at(memory + SLICE_BYTES);
    Ring<NORM_STAGES> ring;
    for (int step = 0; step < steps; step++) {
        const int stage = ring.stage, before = stage == 0 ? NORM_STAGES - 1 : stage - 1, offset = stage * (STAGE_BYTES / 16);
        arrival_wait(arrivals + stage * 8, ring.turn);
        products_begin();
        multiply_slice<BN>(left, a + offset, b + offset, step > 0);
        multiply_slice<BN>(right, a + offset, b + offset + BN * ROW_UNITS, step > 0);
        products_commit();
        ring.advance();
        products_wait<1>();
        block_barrier();
        if (threadIdx.x == 0 && step > 0) {
            if (step - 1 + NORM_STAGES < steps) load(before, step - 1 + NORM_STAGES);
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
            *(u32*)(shared + product_slice(j / 8) + place<8>(warp * 16 + half * 8 + lane / 4, j % 8) * 2 + lane % 4 * 4) =
                narrow2(sum[2 * half] + shift.x, sum[2 * half + 1] + shift.y);
    }
    warp_barrier();
    arrival_wait(residual_there, 0);
    const NormColumns columns(NormTable{gamma, beta}, NORM_WIDTH);
    const int count = rows - row - warp * 16;
#pragma unroll 4
    for (int r = warp * 16; r < warp * 16 + (count < 16 ? count : 16); r++) {
        float sum[CHUNKS][8];
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) {
            const int column = lane * 8 + c * 256;
            if (column >= NORM_WIDTH) continue;
            const int inside = place<8>(r, column % SLICE / 8) * 2;
            float shift[8];
            load8(sum[c], (const Element*)(shared + product_slice(column / SLICE) + inside));
            load8(shift, (const Element*)(shared + residual_slice(column / SLICE) + inside));
#pragma unroll
            for (int i = 0; i < 8; i++) sum[c][i] += shift[i];
        }
        write_normalised(sum, columns, epsilon, NORM_WIDTH, out + (size_t)(row + r) * NORM_WIDTH);
    }
}

#endif
