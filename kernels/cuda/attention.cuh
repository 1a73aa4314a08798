// Attention of each text to itself, without padding: out = softmax(scale q k^T) v per head (Dao et al., FlashAttention,
// 2022: one pass over the keys with a running maximum). q, k and v of a token lie side by side, each `hidden` wide.
//
// A block has one tile: up to QUERIES queries of one text, and some heads one after the other. A tile is (first token of the text, tokens of the
// text, first query within the text, 0). Tiles of keys are counted from the text's first token, so a text's result has the
// same bits in any batch.

const int QUERIES = 64;
const int KEYS = 64;

#if ATTUNE_PRECISION != 0
static_assert(QUERIES == KEYS, "both are loaded by load_rows");

// KEYS rows of WIDTH elements at most, ROWS of them there, zeros below. A thread's rows are so far apart that its piece lies
// at the same place in all of them.
template <int WIDTH>
DEVICE void load_rows(Shared tile, const Element* from, int pitch, int rows) {
    constexpr int PIECES = WIDTH / 8, APART = 128 / PIECES;
    const int row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
    const Element* source = from + (size_t)row * pitch + piece * 8;
    tile += place<PIECES>(row, piece) * 2;
#pragma unroll
    for (int i = 0; i < KEYS / APART; i++) {
        // What is not copied is not to be named either: it may lie outside of all memory.
        const bool inside = row + i * APART < rows;
        copy16(tile + i * APART * WIDTH * 2, inside ? source : from, inside);
        source += APART * pitch;
    }
}

// What 16 queries of a warp have seen so far, two of them a lane: number lane / 4 and 8 more.
template <int WIDTH>
struct Seen {
    float highest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0}, gathered[WIDTH / 8][4] = {};
};

// Places in a tile that a lane reads matrices from; those 16 rows below are 16 * WIDTH * 2 bytes further.
template <int WIDTH>
struct Places {
    Shared keys[WIDTH / 16], values[WIDTH / 16];
};

// Shows 16 queries a tile of keys and values: all of it if WHOLE, else HERE of them.
template <int WIDTH, bool WHOLE>
DEVICE void see_keys(Seen<WIDTH>& seen, const u32 (&q)[WIDTH / 16][4], const Places<WIDTH>& places, Shared stage, int here, float scale_log2) {
    float weights[KEYS / 8][4] = {};
#pragma unroll
    for (int n = 0; n < KEYS / 16; n++) {
        if (!WHOLE && n * 16 >= here) continue;
#pragma unroll
        for (int d = 0; d < WIDTH / 16; d++) {
            u32 k[4];
            load_matrices(k, stage + places.keys[d] + n * 16 * WIDTH * 2);
            multiply_add(weights[2 * n], q[d], k[0], k[1]);
            multiply_add(weights[2 * n + 1], q[d], k[2], k[3]);
        }
    }
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float most = seen.highest[row];
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float& weight = weights[n][row * 2 + i];
                if (!WHOLE && n * 8 + threadIdx.x % 4 * 2 + i >= here) weight = -INFINITY;
                most = fmaxf(most, weight);
            }
        most = fmaxf(most, shuffle_xor(most, 1));
        most = fmaxf(most, shuffle_xor(most, 2));
        const float shrink = power_of_two((seen.highest[row] - most) * scale_log2), shift = most * scale_log2;
        seen.highest[row] = most;
        seen.total[row] *= shrink;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float& weight = weights[n][row * 2 + i];
                weight = power_of_two(weight * scale_log2 - shift);
                seen.total[row] += weight;
            }
#pragma unroll
        for (int d = 0; d < WIDTH / 8; d++) seen.gathered[d][row * 2] *= shrink, seen.gathered[d][row * 2 + 1] *= shrink;
    }
#pragma unroll
    for (int n = 0; n < KEYS / 16; n++) {
        if (!WHOLE && n * 16 >= here) continue;
        // What the product left in registers is laid out as the next one wants its left operand.
        const float(&even)[4] = weights[2 * n];
        const float(&odd)[4] = weights[2 * n + 1];
        const u32 p[4] = {narrow2(even[0], even[1]), narrow2(even[2], even[3]), narrow2(odd[0], odd[1]), narrow2(odd[2], odd[3])};
#pragma unroll
        for (int d = 0; d < WIDTH / 16; d++) {
            u32 v[4];
            load_matrices_transposed(v, stage + places.values[d] + n * 16 * WIDTH * 2);
            multiply_add(seen.gathered[2 * d], p, v[0], v[1]);
            multiply_add(seen.gathered[2 * d + 1], p, v[2], v[3]);
        }
    }
}

// Writes what a warp's queries gathered, through their own place in shared memory so that what is written lies side by side.
template <int WIDTH>
DEVICE void write_gathered(const Seen<WIDTH>& seen, Element* q_tile, Element* out, int hidden, int rows) {
    constexpr int PIECES = WIDTH / 8;
    const int lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16;
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float total = seen.total[row];
        total += shuffle_xor(total, 1);
        total += shuffle_xor(total, 2);
        const float share = 1 / total;
        const int r = first + row * 8 + lane / 4;
#pragma unroll
        for (int d = 0; d < WIDTH / 8; d++)
            *(u32*)(q_tile + place<PIECES>(r, d) + lane % 4 * 2) =
                narrow2(seen.gathered[d][row * 2] * share, seen.gathered[d][row * 2 + 1] * share);
    }
    warp_barrier();
#pragma unroll
    for (int i = lane; i < 16 * PIECES; i += 32) {
        const int r = first + i / PIECES, piece = i % PIECES;
        if (r < rows) *(uint4*)(out + (size_t)r * hidden + piece * 8) = *(const uint4*)(q_tile + place<PIECES>(r, piece));
    }
}

template <int WIDTH>
DEVICE void attend(unsigned char* memory, const Element* qkv, const uint4* tiles, int hidden, int heads, float scale_log2, Element* out) {
    // Keys and values of a tile are one stage. Where shared memory has room there are two, and two places for queries: one
    // is on its way while the other is in use.
    constexpr int PIECES = WIDTH / 8, TILE_BYTES = KEYS * WIDTH * 2, STAGES = WIDTH == 128 ? 1 : 2;
    const Shared queries = shared_address(memory), stages = queries + STAGES * TILE_BYTES;
    const uint4 tile = tiles[blockIdx.x];
    const int text = tile.x, length = tile.y, query = tile.z, pitch = 3 * hidden;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, head_first = blockIdx.y * heads;
    const Element* part = qkv + (size_t)text * pitch + head_first * WIDTH;
    auto load = [&](int stage, int head, int first) {
        const Element* own = part + head * WIDTH;
        if (first == 0) load_rows<WIDTH>(queries + head % STAGES * TILE_BYTES, own + (size_t)query * pitch, pitch, length - query);
        const Element* keys = own + (size_t)first * pitch + hidden;
        const Shared to = stages + stage * 2 * TILE_BYTES;
        load_rows<WIDTH>(to, keys, pitch, length - first);
        load_rows<WIDTH>(to + TILE_BYTES, keys + hidden, pitch, length - first);
        copies_commit();
    };
    if (length == 0) return;  // fills a bucket
    load(0, 0, 0);

    // A warp whose 16 queries lie past the text only helps to load.
    const bool active = query + warp * 16 < length;
    Places<WIDTH> places;
    u32 q[WIDTH / 16][4];
    Seen<WIDTH> seen;
#pragma unroll
    for (int d = 0; d < WIDTH / 16; d++) {
        places.keys[d] = place<PIECES>(lane / 16 * 8 + lane % 8, d * 2 + lane / 8 % 2) * 2;
        places.values[d] = TILE_BYTES + place<PIECES>(lane % 16, d * 2 + lane / 16) * 2;
    }
    for (int head = 0, first = 0, stage = 0; head < heads;) {
        copies_wait<0>();
        block_barrier();
        const bool is_last = first + KEYS >= length;
        const int next_head = head + is_last, next_first = is_last ? 0 : first + KEYS;
        if (STAGES == 2 && next_head < heads) load(stage ^ 1, next_head, next_first);
        if (active) {
            const Shared at = stages + stage * 2 * TILE_BYTES;
            if (first == 0) {
                seen = Seen<WIDTH>();
#pragma unroll
                for (int d = 0; d < WIDTH / 16; d++)
                    load_matrices(q[d], queries + head % STAGES * TILE_BYTES + place<PIECES>(warp * 16 + lane % 16, d * 2 + lane / 16) * 2);
            }
            if (first + KEYS <= length) see_keys<WIDTH, true>(seen, q, places, at, KEYS, scale_log2);
            else see_keys<WIDTH, false>(seen, q, places, at, length - first, scale_log2);
            Element* q_tile = (Element*)(memory + head % STAGES * TILE_BYTES);
            Element* own = out + (size_t)(text + query) * hidden + (head_first + head) * WIDTH;
            if (is_last) write_gathered<WIDTH>(seen, q_tile, own, hidden, length - query);
        }
        if (STAGES == 1 && next_head < heads) {
            block_barrier();
            load(0, next_head, next_first);
        }
        head = next_head, first = next_first, stage ^= STAGES - 1;
    }
}

#else

// The f32 twin, for checking: a warp has a query at a time, a lane WIDTH / 32 of its dimensions.
template <int WIDTH>
DEVICE void attend(unsigned char*, const Element* qkv, const uint4* tiles, int hidden, int heads, float scale_log2, Element* out) {
    constexpr int OWN = WIDTH / 32;
    const uint4 tile = tiles[blockIdx.x];
    const int text = tile.x, length = tile.y, queries = length - tile.z < QUERIES ? length - tile.z : QUERIES, pitch = 3 * hidden;
    for (int i = threadIdx.x / 32; i < queries * heads; i += 4) {
        const int query = tile.z + i / heads, column = (blockIdx.y * heads + i % heads) * WIDTH + threadIdx.x % 32;
        const Element* part = qkv + (size_t)text * pitch + column;
        float highest = -INFINITY, total = 0, gathered[OWN] = {};
        for (int key = 0; key < length; key++) {
            float product = 0;
#pragma unroll
            for (int d = 0; d < OWN; d++) product += part[(size_t)query * pitch + d * 32] * part[(size_t)key * pitch + hidden + d * 32];
            product = warp_sum(product);
            const float most = fmaxf(highest, product);
            const float shrink = power_of_two((highest - most) * scale_log2);
            const float weight = power_of_two((product - most) * scale_log2);
            highest = most;
            total = total * shrink + weight;
#pragma unroll
            for (int d = 0; d < OWN; d++)
                gathered[d] = gathered[d] * shrink + weight * part[(size_t)key * pitch + 2 * hidden + d * 32];
        }
#pragma unroll
        for (int d = 0; d < OWN; d++) out[(size_t)(text + query) * hidden + column + d * 32] = gathered[d] / total;
    }
}

#endif

#define ATTENTION(WIDTH, BLOCKS)                                                                                             \
    KERNEL(128, BLOCKS)                                                                                                      \
    attention_##WIDTH(const Element* __restrict__ qkv, const uint4* __restrict__ tiles, int hidden, int heads,               \
                      float scale_log2, Element* __restrict__ out) {                                                         \
        SHARED_BYTES(memory, ATTUNE_PRECISION ? (WIDTH == 128 ? 1 : 2) * 3 * KEYS * WIDTH * 2 : 16);                         \
        attend<WIDTH>(memory, qkv, tiles, hidden, heads, scale_log2, out);                                                   \
    }

// Grid: tiles x heads of the model / HEADS of a block.
ATTENTION(32, 4)
ATTENTION(64, 3)
ATTENTION(128, 2)

#if ATTUNE_PRECISION != 0
#define ATTUNE_KERNELS(F) F(embed_norm) F(residual_norm) F(pool) F(head) F(project_64) F(project_128) F(project_hopper_64) F(project_hopper_128) F(project_resident) F(project_norm) F(attention_32) F(attention_64) F(attention_128)
#else
#define ATTUNE_KERNELS(F) F(embed_norm) F(residual_norm) F(pool) F(head) F(project_64) F(attention_32) F(attention_64) F(attention_128)
#endif
