// How a launch is emulated: block after block, each a set of fibers. Stands behind the kernels.

template <class... Arguments, size_t... I>
static void call(void (*kernel)(Arguments...), void** arguments, std::index_sequence<I...>) {
    kernel(*(Arguments*)arguments[I]...);
}

template <class... Arguments>
static void call(void (*kernel)(Arguments...), void** arguments) {
    call(kernel, arguments, std::index_sequence_for<Arguments...>());
}

static void fiber() {
    emulated.body(emulated.arguments);
    emulated.done[threadIdx.x] = true;
    emulated.steps++;
    give_way();
}

// Runs the block at blockIdx to its end. False when its threads wait for each other for ever.
static bool run_block(bool falling, std::vector<char>& stacks) {
    memset(emulated.shared, 0xff, sizeof(emulated.shared));
    memset(emulated.warps, 0, sizeof(emulated.warps));
    emulated.arrived = 0;
    emulated.tile_copies.clear();
    for (unsigned thread = 0; thread < emulated.threads; thread++) {
        begin_fiber(emulated.fibers[thread], stacks.data() + thread * STACK_BYTES, STACK_BYTES, emulated.main, fiber);
        emulated.done[thread] = false;
        emulated.open[thread].clear();
        emulated.groups[thread].clear();
        emulated.open_products[thread].clear();
        emulated.product_groups[thread].clear();
    }
    for (;;) {
        const unsigned before = emulated.steps;
        bool all_done = true;
        for (unsigned i = 0; i < emulated.threads; i++) {
            const unsigned thread = falling ? emulated.threads - 1 - i : i;
            if (emulated.done[thread]) continue;
            all_done = false;
            threadIdx.x = thread;
            switch_fiber(emulated.main, emulated.fibers[thread]);
        }
        if (all_done) return true;
        if (emulated.steps == before) return false;
    }
}

// Runs the named kernel. ORDER: 1 lets threads run in falling order, 2 lets asynchronous copies land at once. Not for two
// threads at once. Returns 0, 1 when there is no such kernel, 2 when its threads wait for ever.
extern "C" int attune_emulate(const char* name, const unsigned* grid, unsigned threads, void** arguments, unsigned order) {
    emulated.body = nullptr;
#define FIND(KERNEL_NAME) \
    if (!strcmp(name, #KERNEL_NAME)) emulated.body = [](void** arguments) { call(KERNEL_NAME, arguments); };
    ATTUNE_KERNELS(FIND)
    ATTUNE_TOPK_KERNELS(FIND)
    if (!emulated.body || threads % 32 || threads > THREADS_MAX) return 1;
    emulated.threads = threads;
    emulated.arguments = arguments;
    emulated.copies_at_once = order & 2;
    blockDim = {threads, 1, 1};
    gridDim = {grid[0], grid[1], grid[2]};
    std::vector<char> stacks(threads * STACK_BYTES);
    for (blockIdx.z = 0; blockIdx.z < grid[2]; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid[0]; blockIdx.x++)
                if (!run_block(order & 1, stacks)) return 2;
    return 0;
}
