// Attention of each text to itself, without padding: out = softmax(scale q k^T) v per head (Dao et al., FlashAttention,
// 2022: one pass over the keys with a running maximum). q, k and v of a token lie side by side, each `hidden` wide.
//
// A block has one tile: up to QUERIES queries of one text, and one head. A tile is (first token of the text, tokens of the
// text, first query within the text, 0). Tiles of keys are counted from the text's first token, so a text's result has the
// same bits in any batch.

const int QUERIES = 64;
const int KEYS = 64;

#if ATTUNE_PRECISION != 0

// COUNT rows of WIDTH elements at most, ROWS of them there, zeros below.
template <int WIDTH>
DEVICE void load_rows(Element* tile, const Element* from, int pitch, int rows) {
    constexpr int PIECES = WIDTH / 8;
#pragma unroll
    for (int i = threadIdx.x; i < KEYS * PIECES; i += 128) {
        const int row = i / PIECES, piece = i % PIECES;
        const bool inside = row < rows;
        copy16(tile + place<PIECES>(row, piece), inside ? from + (size_t)row * pitch + piece * 8 : from, inside);
    }
}

template <int WIDTH>
DEVICE void attend(unsigned char* memory, const Element* qkv, const uint4* tiles, int hidden, float scale_log2, Element* out) {
    constexpr int PIECES = WIDTH / 8;
    Element* q_tile = (Element*)memory;
    Element* k_tile = q_tile + QUERIES * WIDTH;
    Element* v_tile = k_tile + KEYS * WIDTH;
    const uint4 tile = tiles[blockIdx.x];
    const int text = tile.x, length = tile.y, query = tile.z, pitch = 3 * hidden;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const Element* part = qkv + (size_t)text * pitch + blockIdx.y * WIDTH;
    const Element* keys = part + hidden;
    const Element* values = part + 2 * hidden;

    load_rows<WIDTH>(q_tile, part + (size_t)query * pitch, pitch, length - query);
    load_rows<WIDTH>(k_tile, keys, pitch, length);
    copies_commit();
    load_rows<WIDTH>(v_tile, values, pitch, length);
    copies_commit();
    copies_wait<1>();
    block_barrier();

    // A warp whose 16 queries lie past the text only helps to load.
    const bool active = query + warp * 16 < length;
    u32 q[WIDTH / 16][4];
#pragma unroll
    for (int d = 0; d < WIDTH / 16; d++) load_matrices(q[d], q_tile + place<PIECES>(warp * 16 + lane % 16, d * 2 + lane / 16));

    // Two rows a lane: lane / 4 and 8 more.
    float highest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
    float gathered[WIDTH / 8][4] = {};
    for (int first = 0; first < length; first += KEYS) {
        const int here = length - first, next = first + KEYS;
        float weights[KEYS / 8][4] = {};
        if (active) {
#pragma unroll
            for (int d = 0; d < WIDTH / 16; d++)
#pragma unroll
                for (int n = 0; n < KEYS / 16; n++) {
                    if (n * 16 >= here) continue;
                    u32 k[4];
                    load_matrices(k, k_tile + place<PIECES>(n * 16 + lane / 16 * 8 + lane % 8, d * 2 + lane / 8 % 2));
                    multiply_add(weights[2 * n], q[d], k[0], k[1]);
                    multiply_add(weights[2 * n + 1], q[d], k[2], k[3]);
                }
        }
        block_barrier();
        if (next < length) load_rows<WIDTH>(k_tile, keys + (size_t)next * pitch, pitch, length - next);
        copies_commit();

        if (active) {
#pragma unroll
            for (int row = 0; row < 2; row++) {
                float most = highest[row];
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        float& weight = weights[n][row * 2 + i];
                        if (n * 8 + lane % 4 * 2 + i >= here) weight = -INFINITY;
                        most = fmaxf(most, weight);
                    }
                most = fmaxf(most, shuffle_xor(most, 1));
                most = fmaxf(most, shuffle_xor(most, 2));
                const float shrink = power_of_two((highest[row] - most) * scale_log2);
                highest[row] = most;
                total[row] *= shrink;
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        float& weight = weights[n][row * 2 + i];
                        weight = power_of_two((weight - most) * scale_log2);
                        total[row] += weight;
                    }
#pragma unroll
                for (int d = 0; d < WIDTH / 8; d++) gathered[d][row * 2] *= shrink, gathered[d][row * 2 + 1] *= shrink;
            }
        }
        copies_wait<1>();
        block_barrier();
        if (active) {
#pragma unroll
            for (int n = 0; n < KEYS / 16; n++) {
                if (n * 16 >= here) continue;
                // What the product left in registers is laid out as the next one wants its left operand.
                const float(&even)[4] = weights[2 * n];
                const float(&odd)[4] = weights[2 * n + 1];
                const u32 p[4] = {narrow2(even[0], even[1]), narrow2(even[2], even[3]), narrow2(odd[0], odd[1]), narrow2(odd[2], odd[3])};
#pragma unroll
                for (int d = 0; d < WIDTH / 16; d++) {
                    u32 v[4];
                    load_matrices_transposed(v, v_tile + place<PIECES>(n * 16 + lane % 16, d * 2 + lane / 16));
                    multiply_add(gathered[2 * d], p, v[0], v[1]);
                    multiply_add(gathered[2 * d + 1], p, v[2], v[3]);
                }
            }
        }
        block_barrier();
        if (next < length) load_rows<WIDTH>(v_tile, values + (size_t)next * pitch, pitch, length - next);
        copies_commit();
        copies_wait<1>();
        block_barrier();
    }
    copies_wait<0>();
    if (!active) return;

    // Through this warp's own queries' place in shared memory, so that what is written lies side by side.
#pragma unroll
    for (int row = 0; row < 2; row++) {
        total[row] += shuffle_xor(total[row], 1);
        total[row] += shuffle_xor(total[row], 2);
        const float share = 1 / total[row];
        const int r = warp * 16 + row * 8 + lane / 4;
#pragma unroll
        for (int d = 0; d < WIDTH / 8; d++)
            *(u32*)(q_tile + place<PIECES>(r, d) + lane % 4 * 2) =
                narrow2(gathered[d][row * 2] * share, gathered[d][row * 2 + 1] * share);
    }
    warp_barrier();
#pragma unroll
    for (int i = lane; i < 16 * PIECES; i += 32) {
        const int r = warp * 16 + i / PIECES, piece = i % PIECES;
        if (query + r < length)
            *(uint4*)(out + (size_t)(text + query + r) * hidden + blockIdx.y * WIDTH + piece * 8) =
                *(const uint4*)(q_tile + place<PIECES>(r, piece));
    }
}

#else

// The f32 twin, for checking: a warp has a query at a time, a lane WIDTH / 32 of its dimensions.
template <int WIDTH>
DEVICE void attend(unsigned char*, const Element* qkv, const uint4* tiles, int hidden, float scale_log2, Element* out) {
    constexpr int OWN = WIDTH / 32;
    const uint4 tile = tiles[blockIdx.x];
    const int text = tile.x, length = tile.y, lane = threadIdx.x % 32, pitch = 3 * hidden;
    const Element* part = qkv + (size_t)text * pitch + blockIdx.y * WIDTH + lane;
    for (int query = tile.z + threadIdx.x / 32; query < length && query < (int)tile.z + QUERIES; query += 4) {
        float highest = -INFINITY, total = 0, gathered[OWN] = {};
        for (int key = 0; key < length; key++) {
            float product = 0;
#pragma unroll
            for (int i = 0; i < OWN; i++) product += part[(size_t)query * pitch + i * 32] * part[(size_t)key * pitch + hidden + i * 32];
            product = warp_sum(product);
            const float most = fmaxf(highest, product);
            const float shrink = power_of_two((highest - most) * scale_log2);
            const float weight = power_of_two((product - most) * scale_log2);
            highest = most;
            total = total * shrink + weight;
#pragma unroll
            for (int i = 0; i < OWN; i++)
                gathered[i] = gathered[i] * shrink + weight * part[(size_t)key * pitch + 2 * hidden + i * 32];
        }
#pragma unroll
        for (int i = 0; i < OWN; i++)
            out[(size_t)(text + query) * hidden + blockIdx.y * WIDTH + lane + i * 32] = gathered[i] / total;
    }
}

#endif

#define ATTENTION(WIDTH, BLOCKS)                                                                                             \
    KERNEL(128, BLOCKS)                                                                                                      \
    attention_##WIDTH(const Element* __restrict__ qkv, const uint4* __restrict__ tiles, int hidden, float scale_log2,        \
                      Element* __restrict__ out) {                                                                           \
        SHARED_BYTES(memory, ATTUNE_PRECISION ? (QUERIES + 2 * KEYS) * WIDTH * 2 : 16);                                      \
        attend<WIDTH>(memory, qkv, tiles, hidden, scale_log2, out);                                                          \
    }

// Grid: tiles x heads.
ATTENTION(32, 4)
ATTENTION(64, 4)
ATTENTION(128, 2)

#if ATTUNE_PRECISION != 0
#define ATTUNE_KERNELS(F) F(embed_norm) F(residual_norm) F(pool) F(head) F(project_64) F(project_128) F(project_hopper_64) F(project_hopper_128) F(project_hopper_192) F(project_resident) F(project_norm) F(attention_32) F(attention_64) F(attention_128)
#else
#define ATTUNE_KERNELS(F) F(embed_norm) F(residual_norm) F(pool) F(head) F(project_64) F(attention_32) F(attention_64) F(attention_128)
#endif
