// Embedding, residual and layer normalisation; pooling; the classifier head. A warp has a row, a lane eight columns at a
// time: all of a row is in registers between the mean, the variance and the result.

// Rows of a block of embed_norm and residual_norm; the widest row is CHUNKS * 256 columns.
const int NORM_ROWS = 8;
const int CHUNKS = 4;

// Scale and shift of the columns that a lane has, read when they are wanted.
struct NormTable {
    const float *gammas, *betas;

    DEVICE void of(int c, float (&gamma)[8], float (&beta)[8]) const {
        const int column = threadIdx.x % 32 * 8 + c * 256;
#pragma unroll
        for (int i = 0; i < 8; i += 4) {
            const float4 g = *(const float4*)(gammas + column + i), b = *(const float4*)(betas + column + i);
            gamma[i] = g.x, gamma[i + 1] = g.y, gamma[i + 2] = g.z, gamma[i + 3] = g.w;
            beta[i] = b.x, beta[i + 1] = b.y, beta[i + 2] = b.z, beta[i + 3] = b.w;
        }
    }
};

// The same, kept for many rows of CHUNKS * 256 columns at most.
struct NormColumns {
    float gammas[CHUNKS][8], betas[CHUNKS][8];

    DEVICE NormColumns(const NormTable& table, int hidden) {
#pragma unroll
        for (int c = 0; c < CHUNKS; c++)
            if ((int)threadIdx.x % 32 * 8 + c * 256 < hidden) table.of(c, gammas[c], betas[c]);
    }

    DEVICE void of(int c, float (&gamma)[8], float (&beta)[8]) const {
#pragma unroll
        for (int i = 0; i < 8; i++) gamma[i] = gammas[c][i], beta[i] = betas[c][i];
    }
};

// Writes (x - mean) / sqrt(variance + epsilon) * gamma + beta; the variance is the biased one, in a second pass.
template <class Columns>
DEVICE void write_normalised(float (&x)[CHUNKS][8], const Columns& columns, float epsilon, int hidden, Element* out) {
    const int first = threadIdx.x % 32 * 8;
    float sum = 0;
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
        if (first + c * 256 < hidden)
#pragma unroll
            for (int i = 0; i < 8; i++) sum += x[c][i];
    const float mean = warp_sum(sum) / hidden;
    float squares = 0;
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
        if (first + c * 256 < hidden)
#pragma unroll
            for (int i = 0; i < 8; i++) squares += (x[c][i] - mean) * (x[c][i] - mean);
    const float scale = 1 / square_root(warp_sum(squares) / hidden + epsilon);
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
        if (first + c * 256 >= hidden) continue;
        float gamma[8], beta[8];
        columns.of(c, gamma, beta);
#pragma unroll
        for (int i = 0; i < 8; i++) x[c][i] = (x[c][i] - mean) * scale * gamma[i] + beta[i];
        store8(out + first + c * 256, x[c]);
    }
}

// out = norm(table[token] + positions[place]), row by row. Grid: rows / NORM_ROWS, rounded up.
KERNEL(NORM_ROWS * 32, 3)
embed_norm(const u32* __restrict__ tokens, const u32* __restrict__ places, const Element* __restrict__ table,
           const Element* __restrict__ positions, const float* __restrict__ gamma, const float* __restrict__ beta,
           float epsilon, int hidden, int rows, Element* __restrict__ out) {
    const int row = blockIdx.x * NORM_ROWS + threadIdx.x / 32, first = threadIdx.x % 32 * 8;
    if (row >= rows) return;
    const Element* token = table + (size_t)tokens[row] * hidden;
    const Element* position = positions + (size_t)places[row] * hidden;
    float x[CHUNKS][8];
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
        if (first + c * 256 >= hidden) continue;
        float shift[8];
        load8(x[c], token + first + c * 256);
        load8(shift, position + first + c * 256);
#pragma unroll
        for (int i = 0; i < 8; i++) x[c][i] += shift[i];
    }
    write_normalised(x, NormTable{gamma, beta}, epsilon, hidden, out + (size_t)row * hidden);
}

// out = norm(x + residual), row by row; out may be residual. Grid: rows / NORM_ROWS, rounded up.
KERNEL(NORM_ROWS * 32, 3)
residual_norm(const Element* x_rows, const Element* residual, const float* __restrict__ gamma,
              const float* __restrict__ beta, float epsilon, int hidden, int rows, Element* out) {
    const int row = blockIdx.x * NORM_ROWS + threadIdx.x / 32, first = threadIdx.x % 32 * 8;
    if (row >= rows) return;
    const size_t start = (size_t)row * hidden;
    float x[CHUNKS][8];
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
        if (first + c * 256 >= hidden) continue;
        float shift[8];
        load8(x[c], x_rows + start + first + c * 256);
        load8(shift, residual + start + first + c * 256);
#pragma unroll
        for (int i = 0; i < 8; i++) x[c][i] += shift[i];
    }
    write_normalised(x, NormTable{gamma, beta}, epsilon, hidden, out + start);
}

const int POOL_THREADS = 128;
const int POOL_MEAN = 0, POOL_FIRST = 1;

// One vector for each text: the mean of its rows, the first or the last; of length 1 if asked, unless shorter than
// SHORTEST. Grid: texts.
KERNEL(POOL_THREADS, 1)
pool(const Element* __restrict__ states, const u32* __restrict__ offsets, int hidden, int kind, int normalise,
     float shortest, float* __restrict__ out) {
    SHARED_BYTES(memory, POOL_THREADS / 32 * sizeof(float));
    float* sums = (float*)memory;
    const int begin = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
    if (begin == end) return;  // fills a bucket
    const int from = kind == POOL_MEAN || kind == POOL_FIRST ? begin : end - 1;
    const int to = kind == POOL_MEAN ? end : from + 1;
    float* row = out + (size_t)blockIdx.x * hidden;
    const float share = 1.0f / (to - from);
    float squares = 0;
    for (int column = threadIdx.x; column < hidden; column += POOL_THREADS) {
        float sum = 0;
        for (int token = from; token < to; token++) sum += load1(states + (size_t)token * hidden + column);
        row[column] = sum * share;
        squares += sum * share * (sum * share);
    }
    if (!normalise) return;
    squares = warp_sum(squares);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
    block_barrier();
    const float length = square_root(sums[0] + sums[1] + sums[2] + sums[3]);
    const float scale = 1 / (length < shortest ? shortest : length);
    for (int column = threadIdx.x; column < hidden; column += POOL_THREADS) row[column] *= scale;
}

// logits = pooled weights^T + bias, in f32: few rows and few labels. A warp has a label. Grid: texts.
KERNEL(POOL_THREADS, 1)
head(const float* __restrict__ pooled, const float* __restrict__ weights, const float* __restrict__ bias, int hidden,
     int labels, float* __restrict__ out) {
    const float* row = pooled + (size_t)blockIdx.x * hidden;
    for (int label = threadIdx.x / 32; label < labels; label += POOL_THREADS / 32) {
        float sum = 0;
        for (int i = threadIdx.x % 32; i < hidden; i += 32) sum += row[i] * weights[(size_t)label * hidden + i];
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) out[(size_t)blockIdx.x * labels + label] = sum + bias[label];
    }
}
