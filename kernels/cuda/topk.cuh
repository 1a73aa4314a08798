// Exact top-k by inner product. Tensor cores screen every item against every query; what passes a threshold that provably
// loses nobody is scored again in f32, as the CPU does it, bit for bit. Scores that do not pass are never written. Many
// queries are screened in bf16, which is sharp; few in whole numbers of 8 bits, since then the memory is what is waited for,
// and they are half of it.
//
//   prepare    queries to bf16 or levels, and the slack of each: twice the most that a screened score is wrong by
//   (list)     where a filter is set: the items that it allows, one after the other
//   screen     a sample of the items: the best of each group of 16
//   threshold  the k-th best of the groups, minus slack: no item of the answer is screened lower
//   screen     the items against the threshold, those that pass to the query's candidates
//   (narrow)   now and then: a higher threshold from the candidates, those below it dropped
//   (score)    few queries: narrow once more, and what is left scored in f32 by the whole card
//   finish     many queries: the same by one block each; what is scored sorted, the first k written
//
// Why slack is enough: if at least k items are screened at T or higher, the k-th best exact score is at least T - e, so an
// item of the answer is screened at T - 2 e or higher. That holds for any T that k items reach, the k-th best or not, among
// any part of the items. What e is: kernels/src/cuda/topk/bounds.rs.

#if ATTUNE_PRECISION == 1

// Items that a block of the screen takes at a time, in slices of some bytes of each.
const int TILE_ITEMS = 64;
const int SCREEN_THREADS = 128;
// Groups of a tile that a sample keeps the best of.
const int TILE_GROUPS = 4;

// Bytes of a slice, which divides a row of so many and lets SCREEN_THREADS copy whole slices.
DEVICE constexpr int screen_slice(int bytes) { return bytes <= 256 ? bytes : bytes % 256 == 0 ? 256 : 128; }
// Tiles in shared memory, for rows of so many bytes: one in use, the others on their way.
DEVICE constexpr int screen_stage(int bytes) { return TILE_ITEMS * screen_slice(bytes); }
DEVICE constexpr int screen_stages(int bytes) { return screen_stage(bytes) < 8192 ? 6 : 49152 / screen_stage(bytes); }

// What the screen is made in. The bytes of a step of 16 values of bf16 lie in registers as those of 32 levels do.
struct InBf16 {
    typedef float Sum;
    static const int BYTES = 2;
};
struct InLevels {
    typedef int Sum;
    static const int BYTES = 1;
};

// Where queries are few, each of the four warps takes a quarter of the items; where they are many, a quarter of the queries,
// or, where a row fills most of the registers, half of both. A warp has BANDS x 16 queries, which stay in registers while the
// items pass by. SCALES say what a level of an item is worth, QUERY_SCALES one of a query.
template <class In, int WIDTH, int QUERY_WARPS, int BANDS>
DEVICE void screen(unsigned char* memory, const unsigned char* items, const float* scales, const u32* list, int first, int last,
                   const unsigned char* queries, const float* query_scales, int query_count, const float* thresholds,
                   u32* counts, u64* candidates, int capacity, float* maxima, int groups) {
    constexpr int BYTES = WIDTH * In::BYTES, ROW_BYTES = screen_slice(BYTES), SLICES = BYTES / ROW_BYTES;
    constexpr int PIECES = ROW_BYTES / 16, STEPS = ROW_BYTES / 32, STAGE_BYTES = screen_stage(BYTES), STAGES = screen_stages(BYTES);
    constexpr int ROWS_A_TIME = SCREEN_THREADS / PIECES;
    constexpr int ITEM_WARPS = SCREEN_THREADS / 32 / QUERY_WARPS, COLUMNS = TILE_ITEMS / ITEM_WARPS;
    // A group is what a lane has of a tile, or several lanes of a warp where that is less.
    constexpr int WARP_GROUPS = TILE_GROUPS / ITEM_WARPS;
    constexpr bool HAS_SCALES = In::BYTES == 1;
    const Shared stages = shared_address(memory);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int query = (blockIdx.x * QUERY_WARPS + warp % QUERY_WARPS) * BANDS * 16, row = query + lane / 4;
    const int column = warp / QUERY_WARPS * COLUMNS;
    const int tile_count = (last - first + TILE_ITEMS - 1) / TILE_ITEMS;
    const int turns = (tile_count - (int)blockIdx.y + (int)gridDim.y - 1) / (int)gridDim.y, steps = turns * SLICES;
    // A warp without queries only helps to load.
    const bool active = query < query_count;

    // What a thread copies, and what a lane reads: rows a multiple of 8 apart, so at the same piece (see place).
    const int own_row = threadIdx.x / PIECES, own_piece = threadIdx.x % PIECES;
    const int copied = place<PIECES>(own_row, own_piece) * 2;
    const int read_row = (column + lane / 16 * 8 + lane % 8) * ROW_BYTES;
    const int read_piece = (lane / 8 % 2 ^ (PIECES == 4 ? lane % 8 / 2 : lane % 8)) * 16;
    auto load = [&](int step) {
        const Shared stage = stages + step % STAGES * STAGE_BYTES + copied;
        const int start = first + ((int)blockIdx.y + step / SLICES * (int)gridDim.y) * TILE_ITEMS + own_row;
        const unsigned char* from = items + step % SLICES * ROW_BYTES + own_piece * 16;
#pragma unroll
        for (int i = 0; i < TILE_ITEMS / ROWS_A_TIME; i++) {
            const int index = start + i * ROWS_A_TIME;
            const u32 item = index < last ? list ? list[index] : index : 0;
            copy16(stage + i * ROWS_A_TIME * ROW_BYTES, from + (size_t)item * BYTES, index < last);
        }
    };
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++) {
        if (step < steps) load(step);
        copies_commit();
    }

    u32 a[SLICES][STEPS][BANDS][4];
    float limits[BANDS][2], worth[BANDS][2];
#pragma unroll
    for (int band = 0; band < BANDS; band++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int r = row + band * 16 + half * 8;
            limits[band][half] = r < query_count && thresholds ? thresholds[r] : INFINITY;
            worth[band][half] = HAS_SCALES && r < query_count ? query_scales[r] : 0;
#pragma unroll
            for (int k = 0; k < BYTES / 16; k++)
                a[k / 2 / STEPS][k / 2 % STEPS][band][k % 2 * 2 + half] =
                    r < query_count ? *(const u32*)(queries + (size_t)r * BYTES + k * 16 + lane % 4 * 4) : 0;
        }
    }

    for (int turn = 0; turn < turns; turn++) {
        const int tile = blockIdx.y + turn * gridDim.y, start = first + tile * TILE_ITEMS + column + lane % 4 * 2;
        float scale[COLUMNS / 4];
#pragma unroll
        for (int i = 0; i < COLUMNS / 4; i++) {
            const int index = start + i / 2 * 8 + i % 2;
            scale[i] = HAS_SCALES && active && index < last ? scales[list ? list[index] : index] : 0;
        }
        typename In::Sum sums[BANDS][COLUMNS / 8][4] = {};
#pragma unroll
        for (int slice = 0; slice < SLICES; slice++) {
            const int step = turn * SLICES + slice;
            copies_wait<STAGES - 2>();
            // Behind this barrier the step's items are there for everybody, and nobody reads the ones before, which the
            // next load overwrites.
            block_barrier();
            if (step + STAGES - 1 < steps) load(step + STAGES - 1);
            copies_commit();
            if (!active) continue;
            const Shared tile = stages + step % STAGES * STAGE_BYTES + read_row;
#pragma unroll
            for (int k = 0; k < STEPS; k++)
#pragma unroll
                for (int j = 0; j < COLUMNS / 16; j++) {
                    u32 b[4];
                    load_matrices(b, tile + (read_piece ^ k * 32) + j * 16 * ROW_BYTES);
#pragma unroll
                    for (int band = 0; band < BANDS; band++) {
                        multiply_add(sums[band][j * 2], a[slice][k][band], b[0], b[1]);
                        multiply_add(sums[band][j * 2 + 1], a[slice][k][band], b[2], b[3]);
                    }
                }
        }
        if (!active) continue;

        // scores[band][j][half * 2 + c] is that of query row + band * 16 + half * 8 and item start + j * 8 + c.
        float scores[BANDS][COLUMNS / 8][4];
#pragma unroll
        for (int band = 0; band < BANDS; band++)
#pragma unroll
            for (int j = 0; j < COLUMNS / 8; j++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    scores[band][j][i] = HAS_SCALES ? (float)sums[band][j][i] * (scale[j * 2 + i % 2] * worth[band][i / 2]) : sums[band][j][i];
        if (first + (tile + 1) * TILE_ITEMS > last) {
#pragma unroll
            for (int j = 0; j < COLUMNS / 8; j++)
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int band = 0; band < BANDS; band++)
                        if (start + j * 8 + i % 2 >= last) scores[band][j][i] = -INFINITY;
        }
        // Bit j * 2 + c of a row of which this lane has COLUMNS / 4 scores.
        u32 hits[BANDS][2], any = 0;
#pragma unroll
        for (int band = 0; band < BANDS; band++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int r = row + band * 16 + half * 8;
                float best = -INFINITY;
#pragma unroll
                for (int j = 0; j < COLUMNS / 8; j++)
                    best = fmaxf(best, fmaxf(scores[band][j][half * 2], scores[band][j][half * 2 + 1]));
                hits[band][half] = 0;
                if (maxima) {
                    if (WARP_GROUPS < 4) best = fmaxf(best, shuffle_xor(best, 1));
                    if (WARP_GROUPS < 2) best = fmaxf(best, shuffle_xor(best, 2));
                    const int group = tile * TILE_GROUPS + warp / QUERY_WARPS * WARP_GROUPS + lane % 4 * WARP_GROUPS / 4;
                    if (r < query_count && lane % (4 / WARP_GROUPS) == 0) maxima[(size_t)r * groups + group] = best;
                } else if (best >= limits[band][half]) {
#pragma unroll
                    for (int i = 0; i < COLUMNS / 4; i++) {
                        const float score = scores[band][i / 2][half * 2 + i % 2];
                        // What lies past the end is no item, even where there is no threshold.
                        if (score >= limits[band][half] && score > -INFINITY) hits[band][half] |= 1u << i;
                    }
                    any |= hits[band][half];
                }
            }
        if (any) {
            // All counters are asked before the first answer is waited for.
            u32 slots[BANDS][2];
#pragma unroll
            for (int band = 0; band < BANDS; band++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    if (hits[band][half])
                        slots[band][half] = atomic_add(counts + row + band * 16 + half * 8, bits_set(hits[band][half]));
#pragma unroll
            for (int band = 0; band < BANDS; band++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    if (!hits[band][half]) continue;
                    u64* own = candidates + (size_t)(row + band * 16 + half * 8) * capacity;
                    u32 slot = slots[band][half];
#pragma unroll
                    for (int i = 0; i < COLUMNS / 4; i++) {
                        if (!(hits[band][half] >> i & 1)) continue;
                        const u32 index = start + i / 2 * 8 + i % 2;
                        if (slot < (u32)capacity)
                            own[slot] = (u64)as_bits(scores[band][i / 2][half * 2 + i % 2]) << 32 | (list ? list[index] : index);
                        slot++;
                    }
                }
        }
        // Lanes have parted; products need them together.
        warp_barrier();
    }
}

#define SCREEN(NAME, BLOCKS, IN, WIDTH, QUERY_WARPS, BANDS)                                                                  \
    KERNEL(SCREEN_THREADS, BLOCKS)                                                                                           \
    NAME(const unsigned char* __restrict__ items, const float* __restrict__ scales, const u32* __restrict__ list, int first, \
         int last, const unsigned char* __restrict__ queries, const float* __restrict__ query_scales, int query_count,       \
         const float* __restrict__ thresholds, u32* counts, u64* candidates, int capacity, float* maxima, int groups) {      \
        SHARED_BYTES(memory, screen_stages(WIDTH * IN::BYTES) * screen_stage(WIDTH * IN::BYTES));                            \
        screen<IN, WIDTH, QUERY_WARPS, BANDS>(memory, items, scales, list, first, last, queries, query_scales, query_count,  \
                                              thresholds, counts, candidates, capacity, maxima, groups);                     \
    }

// Blocks of the screen for many that fit a multiprocessor. For cards after Hopper NVRTC needs more registers for the same.
#if __CUDA_ARCH__ >= 1000
const int SCREEN_BLOCKS = 2;
#else
const int SCREEN_BLOCKS = 3;
#endif

// Grid: queries / (16 QUERY_WARPS BANDS), rounded up, x parts of the items. With MAXIMA the best of each group is written there
// and the thresholds are not read; without, what passes them goes to the candidates. Wide rows leave a warp room for one band.
SCREEN(screen_64, SCREEN_BLOCKS, InBf16, 64, 4, 2)
SCREEN(screen_128, SCREEN_BLOCKS, InBf16, 128, 4, 2)
SCREEN(screen_256, SCREEN_BLOCKS - 1, InBf16, 256, 4, 2)
SCREEN(screen_384, SCREEN_BLOCKS, InBf16, 384, 4, 1)
SCREEN(screen_512, SCREEN_BLOCKS - 1, InBf16, 512, 4, 1)
SCREEN(screen_768, SCREEN_BLOCKS - 1, InBf16, 768, 2, 1)
// For up to 16 queries. Grid: 1 x parts of the items.
SCREEN(screen_few_64, 4, InLevels, 64, 1, 1)
SCREEN(screen_few_128, 4, InLevels, 128, 1, 1)
SCREEN(screen_few_256, 4, InLevels, 256, 1, 1)
SCREEN(screen_few_384, 4, InLevels, 384, 1, 1)
SCREEN(screen_few_512, 4, InLevels, 512, 1, 1)
SCREEN(screen_few_768, 3, InLevels, 768, 1, 1)

const int PREPARE_QUERIES = 8;
const u32 PENDING = 0xffffffff, CROWDED = 0xfffffffe;

// What a query needs before it is screened in bf16, or AS_LEVELS. Lengths are in units of its largest value, so that squares
// do not vanish. A warp has a query. Grid: queries / PREPARE_QUERIES, rounded up.
KERNEL(PREPARE_QUERIES * 32, 1)
topk_prepare(const float* __restrict__ queries, int query_count, int width, int padded, int as_levels, float items_max,
             float unseen_max, float sum_error, float underflow, unsigned char* __restrict__ rounded, float* query_scales,
             float* slack, float* thresholds, u32* counts, u32* lost, u32* status) {
    const int query = blockIdx.x * PREPARE_QUERIES + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (query >= query_count) return;
    const float* row = queries + (size_t)query * width;
    float largest = 1e-30f;
    for (int i = lane; i < width; i += 32) largest = fmaxf(largest, row[i] < 0 ? -row[i] : row[i]);
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) largest = fmaxf(largest, shuffle_xor(largest, distance));
    const float level = largest / 127;
    float whole = 0, kept = 0, left = 0;
    for (int i = lane * 4; i < padded; i += 128) {
        u32 bits[4];
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const float x = i + c < width ? row[i + c] : 0;
            float y;
            if (as_levels) {
                const int steps = nearest(x / level);
                bits[c] = steps & 0xff;
                y = steps * level;
            } else {
                const u32 pair = narrow2(x, 0) & 0xffff;
                // What is below the normal numbers is left out: nothing depends on how tensor cores treat it.
                bits[c] = pair & 0x7f80 ? pair : 0;
                y = widen((u16)bits[c]);
            }
            const float rest = (x - y) / largest;
            whole += x / largest * (x / largest);
            kept += y / largest * (y / largest);
            left += rest * rest;
        }
        if (as_levels)
            *(u32*)(rounded + (size_t)query * padded + i) = bits[0] | bits[1] << 8 | bits[2] << 16 | bits[3] << 24;
        else {
            u32* pairs = (u32*)(rounded + ((size_t)query * padded + i) * 2);
            pairs[0] = bits[0] | bits[1] << 16;
            pairs[1] = bits[2] | bits[3] << 16;
        }
    }
    whole = square_root(warp_sum(whole)), kept = square_root(warp_sum(kept)), left = square_root(warp_sum(left));
    if (lane != 0) return;
    const float error = largest * (left * items_max + whole * unseen_max + kept * items_max * sum_error) + underflow;
    query_scales[query] = level;
    slack[query] = 2.004f * error;
    thresholds[query] = -INFINITY;
    counts[query] = 0;
    lost[query] = 0;
    status[query] = PENDING;
}

const int LIST_THREADS = 256;
const int LIST_ITEMS = 4096;

// The places of the items that a filter allows, in no order that matters: items lie shuffled. NUMBERS are the items' in the
// filter. Grid: items / LIST_ITEMS, rounded up.
KERNEL(LIST_THREADS, 4)
topk_list(const u32* __restrict__ numbers, const u32* __restrict__ allowed, int items, u32* list, u32* total) {
    SHARED_BYTES(memory, 16);
    u32* shared = (u32*)memory;
    if (threadIdx.x == 0) shared[0] = 0;
    block_barrier();
    u32 mask = 0, own = 0;
#pragma unroll
    for (int i = 0; i < LIST_ITEMS / LIST_THREADS; i++) {
        const int item = blockIdx.x * LIST_ITEMS + i * LIST_THREADS + threadIdx.x;
        if (item >= items) continue;
        const u32 number = numbers[item];
        if (allowed[number / 32] >> number % 32 & 1) mask |= 1u << i, own++;
    }
    u32 place = own ? atomic_add(shared, own) : 0;
    block_barrier();
    if (threadIdx.x == 0) shared[1] = atomic_add(total, shared[0]);
    block_barrier();
    place += shared[1];
#pragma unroll
    for (int i = 0; i < LIST_ITEMS / LIST_THREADS; i++)
        if (mask >> i & 1) list[place++] = blockIdx.x * LIST_ITEMS + i * LIST_THREADS + threadIdx.x;
}

const int SELECT_THREADS = 512;
const int BINS = 512;
const int ZOOMS = 4;

// Shared memory of a selection.
struct Selection {
    // By rising score; the last has what lies above the range.
    u32 bins[BINS + 1];
    u32 parts[32];
    float lowest[SELECT_THREADS / 32], highest[SELECT_THREADS / 32];
    int chosen;
    u32 reached;
    u32 kept;
};

DEVICE float score_of(u64 candidate) { return as_float((u32)(candidate >> 32)); }

// The smallest and the largest of all threads'.
DEVICE void block_range(Selection& s, float& low, float& high) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        low = fminf(low, shuffle_xor(low, distance));
        high = fmaxf(high, shuffle_xor(high, distance));
    }
    if (threadIdx.x % 32 == 0) s.lowest[threadIdx.x / 32] = low, s.highest[threadIdx.x / 32] = high;
    block_barrier();
    for (int warp = 0; warp < SELECT_THREADS / 32; warp++) low = fminf(low, s.lowest[warp]), high = fmaxf(high, s.highest[warp]);
}

// The highest bin that with all above it has at least K, for one warp; -1 when there are fewer.
DEVICE void choose_bin(Selection& s, u32 k) {
    const int lane = threadIdx.x, top = BINS - lane * (BINS / 32);
    u32 own = 0;
#pragma unroll
    for (int i = 1; i <= BINS / 32; i++) own += s.bins[top - i];
    s.parts[lane] = own;
    if (lane == 0) s.chosen = -1;
    warp_barrier();
    u32 reached = s.bins[BINS];
    for (int other = 0; other < lane; other++) reached += s.parts[other];
    if (reached >= k || reached + own < k) return;
    int bin = top;
    while (reached < k) reached += s.bins[--bin];
    s.chosen = bin;
    s.reached = reached;
}

// A value that at least K of COUNT values reach, and hardly more than K; -INFINITY when there are fewer. Values of -INFINITY
// are none. A histogram by equal steps, and another of the step that decides, until few too many are left.
template <class Value>
DEVICE float reached_by(Selection& s, int count, u32 k, Value value) {
    float low = INFINITY, high = -INFINITY;
    for (int i = threadIdx.x; i < count; i += SELECT_THREADS) {
        const float v = value(i);
        if (v > -INFINITY) low = fminf(low, v), high = fmaxf(high, v);
    }
    block_range(s, low, high);
    float found = -INFINITY;
    for (int zoom = 0; zoom < ZOOMS; zoom++) {
        const float step = (high - low) / BINS, scale = BINS / (high - low);
        for (int i = threadIdx.x; i <= BINS; i += SELECT_THREADS) s.bins[i] = 0;
        block_barrier();
        for (int i = threadIdx.x; i < count; i += SELECT_THREADS) {
            const float v = value(i), place = (v - low) * scale;
            if (v < low) continue;
            atomic_add(s.bins + (v > high ? BINS : place < BINS - 1 ? (int)place : BINS - 1), 1);
        }
        block_barrier();
        if (threadIdx.x < 32) choose_bin(s, k);
        block_barrier();
        const int bin = s.chosen;
        if (bin < 0) break;
        // All values are as good as one; steps could not be told apart.
        const bool flat = !(scale < INFINITY);
        // One step of room on either side for rounding: a value of this bin or a higher one is not below the new low.
        const float before = low;
        if (bin > 0 && !flat) low += (bin - 1) * step;
        found = low;
        if (s.reached - k <= k / 16 + 4 || flat) break;
        high = fminf(high, before + (bin + 2) * step);
        if (!(high > low)) break;
    }
    block_barrier();
    return found;
}

// Moves the candidates of at least a score to the front, in no order; how many.
DEVICE int keep_from(Selection& s, u64* candidates, int count, float limit) {
    const int EACH = 4;
    if (threadIdx.x == 0) s.kept = 0;
    for (int start = threadIdx.x; start - (int)threadIdx.x < count; start += EACH * SELECT_THREADS) {
        u64 some[EACH];
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int at = start + i * SELECT_THREADS;
            some[i] = at < count ? candidates[at] : 0;
        }
        // Places that are written now were read by everybody.
        block_barrier();
#pragma unroll
        for (int i = 0; i < EACH; i++)
            if (start + i * SELECT_THREADS < count && score_of(some[i]) >= limit) candidates[atomic_add(&s.kept, 1)] = some[i];
    }
    block_barrier();
    const int kept = s.kept;
    block_barrier();
    return kept;
}

// k, and as many more as the query excludes: any of them may be in the way.
DEVICE u32 wanted(const u32* offsets, u32 k) { return k + offsets[blockIdx.x + 1] - offsets[blockIdx.x]; }

// Thresholds from a sample. Grid: queries.
KERNEL(SELECT_THREADS, 2)
topk_threshold(const float* __restrict__ maxima, int groups, const u32* __restrict__ offsets, int k,
               const float* __restrict__ slack, float* thresholds) {
    SHARED_BYTES(memory, sizeof(Selection));
    const float* own = maxima + (size_t)blockIdx.x * groups;
    const float least = reached_by(*(Selection*)memory, groups, wanted(offsets, k), [&](int i) { return own[i]; });
    if (threadIdx.x == 0) thresholds[blockIdx.x] = least - slack[blockIdx.x];
}

// Raises thresholds by what the candidates say, and drops those below. A query whose candidates did not all find room has
// LOST some: they are looked for again. Grid: queries.
KERNEL(SELECT_THREADS, 2)
topk_narrow(u32* counts, u64* candidates, int capacity, const u32* __restrict__ offsets, int k,
            const float* __restrict__ slack, float* thresholds, u32* lost) {
    SHARED_BYTES(memory, sizeof(Selection));
    Selection& s = *(Selection*)memory;
    u64* own = candidates + (size_t)blockIdx.x * capacity;
    const u32 came = counts[blockIdx.x];
    const int count = came < (u32)capacity ? came : capacity;
    const float least = reached_by(s, count, wanted(offsets, k), [&](int i) { return score_of(own[i]); });
    const float limit = fmaxf(thresholds[blockIdx.x], least - slack[blockIdx.x]);
    const int kept = keep_from(s, own, came > (u32)capacity ? 0 : count, limit);
    if (threadIdx.x != 0) return;
    counts[blockIdx.x] = kept;
    thresholds[blockIdx.x] = limit;
    if (came > (u32)capacity) lost[blockIdx.x] = 1;
}

// Candidates that 16 lanes score at a time: that many rows are on their way from memory together.
const int SCORED_TOGETHER = 3;

// The inner products in f32 of a query with some rows, by 16 lanes: the sums of kernels/src/cpu/pool.rs in the same order,
// and zero without a sign. Every lane of the 16 knows them.
DEVICE void exact(float (&scores)[SCORED_TOGETHER], const float* query, const float* const (&rows)[SCORED_TOGETHER], int width) {
    const int lane = threadIdx.x % 16, whole = width / 64 * 64;
    float sums[SCORED_TOGETHER][4] = {};
    for (int column = lane; column < whole; column += 64)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float value = query[column + i * 16];
#pragma unroll
            for (int r = 0; r < SCORED_TOGETHER; r++) sums[r][i] = fused(value, rows[r][column + i * 16], sums[r][i]);
        }
    for (int column = whole + lane; column < width; column += 16)
#pragma unroll
        for (int r = 0; r < SCORED_TOGETHER; r++) sums[r][0] = fused(query[column], rows[r][column], sums[r][0]);
#pragma unroll
    for (int r = 0; r < SCORED_TOGETHER; r++) {
        float sum = sums[r][0] + sums[r][1] + (sums[r][2] + sums[r][3]);
#pragma unroll
        for (int distance = 8; distance > 0; distance /= 2) sum += shuffle_xor(sum, distance);
        scores[r] = sum + 0.0f;
    }
}

DEVICE bool holds(const u32* sorted, u32 begin, u32 end, u32 row) {
    while (begin < end) {
        const u32 middle = (begin + end) / 2;
        if (sorted[middle] == row) return true;
        if (sorted[middle] < row) begin = middle + 1;
        else end = middle;
    }
    return false;
}

// Sorts COUNT keys, a power of two, the largest first (Batcher, 1968: bitonic).
DEVICE void sort_falling(u64* keys, int count) {
    for (int size = 2; size <= count; size *= 2)
        for (int stride = size / 2; stride > 0; stride /= 2) {
            block_barrier();
            for (int i = threadIdx.x; i < count / 2; i += SELECT_THREADS) {
                const int lower = 2 * i - (i & stride - 1), upper = lower + stride;
                const u64 a = keys[lower], b = keys[upper];
                if ((a < b) == ((lower & size) == 0)) keys[lower] = b, keys[upper] = a;
            }
        }
    block_barrier();
}

// Puts the exact scores of COUNT candidates in their places, -INFINITY where the query excludes them: every STRIDE-th of the
// runs that a block takes, from the FIRST on. A warp has two runs of candidates, its first half's and its second half's; it
// ends where the first ends, so that all lanes are there for the sums.
DEVICE void score_exactly(u64* candidates, int count, int first, int stride, const u32* offsets, const u32* excluded,
                          const float* queries, const float* items, const u32* rows, int width) {
    const int run = SELECT_THREADS / 16, group = threadIdx.x / 16, lane = threadIdx.x % 16, query = blockIdx.x;
    const int turn = run * SCORED_TOGETHER;
    for (int start = group + first * turn; start - group % 2 < count; start += stride * turn) {
        const float* vectors[SCORED_TOGETHER];
        u32 found[SCORED_TOGETHER];
#pragma unroll
        for (int r = 0; r < SCORED_TOGETHER; r++) {
            const int at = start + r * run;
            found[r] = at < count ? (u32)candidates[at] : 0;
            vectors[r] = items + (size_t)found[r] * width;
        }
        float scores[SCORED_TOGETHER];
        exact(scores, queries + (size_t)query * width, vectors, width);
#pragma unroll
        for (int r = 0; r < SCORED_TOGETHER; r++) {
            if (start + r * run >= count || lane != 0) continue;
            const bool out = holds(excluded, offsets[query], offsets[query + 1], rows[found[r]]);
            candidates[start + r * run] = (u64)as_bits(out ? -INFINITY : scores[r]) << 32 | found[r];
        }
    }
}

// Scores what topk_narrow has left. One block a query would wait for the vectors of thousands of candidates: few queries are
// screened as levels, which let many through. Grid: queries, parts of the candidates.
KERNEL(SELECT_THREADS, 2)
topk_score(const u32* __restrict__ counts, u64* candidates, int capacity, const u32* __restrict__ offsets,
           const u32* __restrict__ excluded, const float* __restrict__ queries, const float* __restrict__ items,
           const u32* __restrict__ rows, int width, const u32* __restrict__ status) {
    if (status[blockIdx.x] != PENDING) return;
    u64* own = candidates + (size_t)blockIdx.x * capacity;
    score_exactly(own, counts[blockIdx.x], blockIdx.y, gridDim.y, offsets, excluded, queries, items, rows, width);
}

// Candidates that can be sorted.
const int SORTED_MAX = 4096;

// From candidates to the answer: RESULTS has k pairs a query, row and score; STATUS says how many of them are there, or
// PENDING: some were lost, and must be looked for with the raised threshold; or CROWDED: too many are as good as the k-th.
// A query that is not PENDING is left as it is, and looks for nothing any more. SCORED: topk_score has been there, behind
// topk_narrow. Grid: queries.
KERNEL(SELECT_THREADS, 2)
topk_finish(u32* counts, u64* candidates, int capacity, const u32* __restrict__ offsets, const u32* __restrict__ excluded,
            int k, const float* __restrict__ slack, float* thresholds, u32* lost, const float* __restrict__ queries,
            const float* __restrict__ items, const u32* __restrict__ rows, int width, int scored, u32* status, u32* results) {
    SHARED_BYTES(memory, SORTED_MAX * sizeof(u64) + sizeof(Selection));
    u64* keys = (u64*)memory;
    Selection& s = *(Selection*)(keys + SORTED_MAX);
    const int query = blockIdx.x;
    const u32 came = counts[query], missed = lost[query];
    if (status[query] != PENDING) return;
    u64* own = candidates + (size_t)query * capacity;
    int count = came < (u32)capacity ? came : capacity;
    float limit = thresholds[query];
    if (!scored) {
        const float least = reached_by(s, count, wanted(offsets, k), [&](int i) { return score_of(own[i]); });
        limit = fmaxf(limit, least - slack[query]);
    }
    if (missed || came > (u32)capacity) {
        block_barrier();
        if (threadIdx.x == 0) thresholds[query] = limit, counts[query] = 0, lost[query] = 0;
        return;
    }
    if (!scored) {
        count = keep_from(s, own, count, limit);
        score_exactly(own, count, 0, 1, offsets, excluded, queries, items, rows, width);
    }
    block_barrier();
    if (count > SORTED_MAX) {
        const float enough = reached_by(s, count, k, [&](int i) { return score_of(own[i]); });
        count = keep_from(s, own, count, enough);
    }
    if (count > SORTED_MAX) {
        if (threadIdx.x == 0) status[query] = CROWDED, thresholds[query] = INFINITY;
        return;
    }
    int padded = 2;
    while (padded < count) padded *= 2;
    for (int i = threadIdx.x; i < padded; i += SELECT_THREADS) {
        const u32 bits = i < count ? (u32)(own[i] >> 32) : 0xff800000;
        // The order of floats is that of their bits, with those of negative ones turned round. Equal scores: the lower row.
        const u32 ordered = bits >> 31 ? ~bits : bits | 0x80000000;
        keys[i] = bits == 0xff800000 ? 0 : (u64)ordered << 32 | ~rows[(u32)own[i]];
    }
    sort_falling(keys, padded);
    const int most = k < padded ? k : padded;
    if (threadIdx.x == 0) thresholds[query] = INFINITY;
    if (threadIdx.x == 0 && keys[0] == 0) status[query] = 0;
    for (int i = threadIdx.x; i < most; i += SELECT_THREADS) {
        if (keys[i] == 0) continue;
        const u32 ordered = (u32)(keys[i] >> 32);
        u32* result = results + ((size_t)query * k + i) * 2;
        result[0] = ~(u32)keys[i];
        result[1] = ordered >> 31 ? ordered & 0x7fffffff : ~ordered;
        if (i + 1 == most || keys[i + 1] == 0) status[query] = i + 1;
    }
}

#define ATTUNE_TOPK_KERNELS(F) \
    F(topk_prepare) F(topk_list) F(topk_threshold) F(topk_narrow) F(topk_score) F(topk_finish) \
    F(screen_64) F(screen_128) F(screen_256) F(screen_384) F(screen_512) F(screen_768) \
    F(screen_few_64) F(screen_few_128) F(screen_few_256) F(screen_few_384) F(screen_few_512) F(screen_few_768)

#else
#define ATTUNE_TOPK_KERNELS(F)
#endif
