// y = activation(x w^T + bias): x is rows x inputs, w outputs x inputs, y rows x outputs, all by rows; inputs and outputs are
// multiples of 8. Sums are made over the inputs in one order whatever the tile, so a row of y has the same bits in any batch.
//
// Why not cuBLASLt: it chooses its order of summation by the number of rows, its GELU is the tanh form, and it is 500 MB that
// a machine with a driver need not have.

const int ACTIVATION_GELU = 1;

DEVICE void activate(float& first, float& second, int activation) {
    if (activation == ACTIVATION_GELU) gelu2(first, second);
}

#if ATTUNE_PRECISION != 0

// Inputs that are in shared memory at a time, and how many such pieces are there: one in use, the others on their way.
const int DEPTH = 32;
const int STAGES = 3;

// Where the 16 bytes number PIECE of ROW lie in a tile of rows of PIECES such: eight rows at the same piece are in eight
// different groups of banks.
template <int PIECES>
DEVICE int place(int row, int piece) {
    return (row * PIECES + (PIECES == 4 ? piece ^ (row >> 1 & 3) : piece ^ (row & 7))) * 8;
}

// A tile of ROWS x DEPTH from a matrix of COUNT rows of INPUTS, zeros outside.
template <int ROWS, int THREADS>
DEVICE void load_tile(Shared tile, const Element* matrix, int row, int count, int input, int inputs) {
#pragma unroll
    for (int i = threadIdx.x; i < ROWS * 4; i += THREADS) {
        const int r = i / 4, piece = i % 4, column = input + piece * 8;
        const bool inside = row + r < count && column < inputs;
        copy16(tile + place<4>(r, piece) * 2, inside ? matrix + (size_t)(row + r) * inputs + column : matrix, inside);
    }
}

// A block has a tile of BM x BN of y, a warp WM x WN of that.
template <int BM, int BN, int WM, int WN>
DEVICE void project(unsigned char* memory, const Element* x, const Element* w, const float* bias, Element* y, int rows,
                    int outputs, int inputs, int activation) {
    constexpr int THREADS = BM / WM * (BN / WN) * 32;
    constexpr int STAGE = (BM + BN) * DEPTH;
    Element* tiles = (Element*)memory;
    const Shared first = shared_address(memory);
    const int row = blockIdx.y * BM, column = blockIdx.x * BN;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int warp_row = warp / (BN / WN) * WM, warp_column = warp % (BN / WN) * WN;
    const int steps = (inputs + DEPTH - 1) / DEPTH;

    auto load = [&](int step) {
        const Shared stage = first + step % STAGES * STAGE * 2;
        load_tile<BM, THREADS>(stage, x, row, rows, step * DEPTH, inputs);
        load_tile<BN, THREADS>(stage + BM * DEPTH * 2, w, column, outputs, step * DEPTH, inputs);
    };
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++) {
        if (step < steps) load(step);
        copies_commit();
    }

    float sums[WM / 16][WN / 8][4] = {};
    for (int step = 0; step < steps; step++) {
        copies_wait<STAGES - 2>();
        // Behind this barrier the step's tiles are there for everybody, and nobody reads the ones before, which the next
        // load overwrites.
        block_barrier();
        if (step + STAGES - 1 < steps) load(step + STAGES - 1);
        copies_commit();
        const Shared a_tile = first + step % STAGES * STAGE * 2, b_tile = a_tile + BM * DEPTH * 2;
#pragma unroll
        for (int k = 0; k < DEPTH / 16; k++) {
            u32 a[WM / 16][4], b[WN / 16][4];
#pragma unroll
            for (int i = 0; i < WM / 16; i++)
                load_matrices(a[i], a_tile + place<4>(warp_row + i * 16 + lane % 16, k * 2 + lane / 16) * 2);
#pragma unroll
            for (int j = 0; j < WN / 16; j++)
                load_matrices(b[j], b_tile + place<4>(warp_column + j * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2) * 2);
#pragma unroll
            for (int i = 0; i < WM / 16; i++)
#pragma unroll
                for (int j = 0; j < WN / 8; j++)
                    multiply_add(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
    }

    // Through shared memory, so that what is written lies side by side. Eight columns between rows keep banks apart.
    constexpr int PITCH = BN + 8;
    copies_wait<0>();
    block_barrier();
#pragma unroll
    for (int j = 0; j < WN / 8; j++) {
        const int c = warp_column + j * 8 + lane % 4 * 2;
        const bool inside = column + c < outputs;
        const float shift[2] = {inside ? bias[column + c] : 0, inside ? bias[column + c + 1] : 0};
#pragma unroll
        for (int i = 0; i < WM / 16; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int r = warp_row + i * 16 + half * 8 + lane / 4;
                float first = sums[i][j][half * 2] + shift[0], second = sums[i][j][half * 2 + 1] + shift[1];
                activate(first, second, activation);
                *(u32*)(tiles + r * PITCH + c) = narrow2(first, second);
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

// Grid: outputs / 128 x rows / 128, rounded up.
KERNEL(256, 2)
project_128(const Element* __restrict__ x, const Element* __restrict__ w, const float* __restrict__ bias,
            Element* __restrict__ y, int rows, int outputs, int inputs, int activation) {
    SHARED_BYTES(memory, STAGES * (128 + 128) * DEPTH * 2);
    project<128, 128, 64, 32>(memory, x, w, bias, y, rows, outputs, inputs, activation);
}

// For few rows: more and smaller blocks. Grid: outputs / 64 x rows / 64, rounded up.
KERNEL(128, 4)
project_64(const Element* __restrict__ x, const Element* __restrict__ w, const float* __restrict__ bias,
           Element* __restrict__ y, int rows, int outputs, int inputs, int activation) {
    SHARED_BYTES(memory, STAGES * (64 + 64) * DEPTH * 2);
    project<64, 64, 32, 32>(memory, x, w, bias, y, rows, outputs, inputs, activation);
}

#else

// The f32 twin, for checking: a block has 64 x 64 of y, a thread 4 x 4 of that. Grid: outputs / 64 x rows / 64, rounded up.
KERNEL(256, 1)
project_64(const Element* __restrict__ x, const Element* __restrict__ w, const float* __restrict__ bias,
           Element* __restrict__ y, int rows, int outputs, int inputs, int activation) {
    SHARED_BYTES(memory, 2 * 16 * 65 * sizeof(float));
    float(*a)[65] = (float(*)[65])memory;
    float(*b)[65] = a + 16;
    const int row = blockIdx.y * 64, column = blockIdx.x * 64;
    const int thread_row = threadIdx.x / 16, thread_column = threadIdx.x % 16;
    float sums[4][4] = {};
    for (int input = 0; input < inputs; input += 16) {
        for (int i = threadIdx.x; i < 64 * 16; i += 256) {
            const int r = i / 16, k = i % 16;
            a[k][r] = row + r < rows && input + k < inputs ? x[(size_t)(row + r) * inputs + input + k] : 0;
            b[k][r] = column + r < outputs && input + k < inputs ? w[(size_t)(column + r) * inputs + input + k] : 0;
        }
        block_barrier();
#pragma unroll
        for (int k = 0; k < 16; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sums[i][j] += a[k][i * 16 + thread_row] * b[k][j * 16 + thread_column];
        block_barrier();
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int r = row + i * 16 + thread_row, c = column + j * 16 + thread_column;
            if (r >= rows || c >= outputs) continue;
            const float sum = sums[i][j] + bias[c];
            y[(size_t)r * outputs + c] = activation == ACTIVATION_GELU ? gelu(sum) : sum;
        }
}

#endif
