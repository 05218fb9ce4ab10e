// The simulator: runs the threads of a grid one at a time on one CPU thread, block after block.
//
// Every CUDA thread is a fiber. It runs until it must wait for others (__syncthreads, a warp operation) or ends. In which order blocks, warps and lanes come
// is drawn from a seed, anew at every turn, so what a kernel may not rely on does not hold. Before a block starts, its shared memory is filled with NaN.
//
// Found here, with a sentence that says where: threads that wait for others that never come, or at different barriers; lanes outside their own mask; impossible
// launches. The rest is found by compiling the kernels (not this file) with AddressSanitizer or ThreadSanitizer, to which sanitizers.h explains the fibers.
#include "runtime.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <utility>
#include <vector>

#include "fiber.h"
#include "trace.h"

namespace simulator {

Position here;

namespace {

constexpr unsigned LANES = 32;

enum class State { NEW, READY, AT_BARRIER, IN_MEETING, DONE };

struct PendingCopy {
    void* to;
    const void* from;
    unsigned bytes;
};

struct Thread {
    Fiber fiber;
    State state;
    unsigned lane, warp;
    uint3 index;
    const char *waits_at, *file;
    int line;
    std::vector<PendingCopy> copies;               // cp.async issued, not committed
    std::vector<std::vector<PendingCopy>> groups;  // committed, oldest first
};

struct Warp {
    unsigned existing;             // lanes
    unsigned expected, arrived;    // lanes of the meeting under way
    unsigned meetings;             // held so far: values of two lie in memory, for a fast lane may be at the next meeting while a slow one still reads
    const char *operation, *file;  // of the meeting
    int line;
    alignas(16) unsigned char values[2][LANES][16];
};

std::vector<Thread> threads;  // of the block that runs
std::vector<Warp> warps;
Thread* current;
unsigned waiting, done;                // threads at the barrier, threads that ended
const char* barrier_file;
int barrier_line;
unsigned barriers;                     // passed so far
char launch_began, launch_ended;       // what ThreadSanitizer orders by
alignas(8) char barrier_passed[2][8];  // two, for a fast thread may be at the next barrier
void* shared;
size_t shared_bytes;
bool late_copies;  // cp.async of this block: the bytes land at the wait (else at the issue; a kernel may rely on neither)
bool failed;
char error[512];
void (*entry)(void*);
void* entry_arguments;

// ---- random numbers (SplitMix64)

uint64_t random_state;

uint64_t draw() {
    uint64_t z = (random_state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

void order(unsigned* numbers, unsigned n, bool shuffled) {
    std::iota(numbers, numbers + n, 0u);
    for (unsigned i = n; shuffled && i > 1; --i) std::swap(numbers[i - 1], numbers[draw() % i]);
}

// ---- memory, byte by byte: the sanitizers replace memcpy and memset by versions that check

void copy_bytes(void* to, const void* from, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) static_cast<volatile char*>(to)[i] = static_cast<const char*>(from)[i];
}

void fill_with_nan(void* p, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) static_cast<volatile unsigned char*>(p)[i] = 0xFF;
}

// ---- errors

void record(const char* format, ...) {
    if (!failed) {
        va_list values;
        va_start(values, format);
        vsnprintf(error, sizeof error, format, values);
        va_end(values);
    }
    failed = true;
}

const char* name_of(const char* path) {
    const char* name = path;
    for (const char* p = path; *p; ++p)
        if (*p == '/') name = p + 1;
    return name;
}

[[noreturn]] void give_up() {  // the scheduler sees `failed` and never comes back
    fibers::pause(current->fiber);
    abort();
}

// ---- running a block

void thread_main() {
    fibers::started();
    sanitizer::await(&launch_began);
    entry(entry_arguments);
    sanitizer::happened(&launch_ended);
    current->state = State::DONE;
    ++done;
    fibers::pause(current->fiber, true);
    abort();
}

void run_thread(Thread& thread) {
    if (thread.state == State::NEW) {
        fibers::create(thread.fiber, thread_main, here.block, thread.index);
        thread.state = State::READY;
    }
    current = &thread;
    here.thread = thread.index;
    here.lane = thread.lane;
    fibers::resume(thread.fiber);
    if (thread.state == State::DONE) fibers::end(thread.fiber);
}

void set_up_block(unsigned count) {
    threads.resize(count);
    warps.resize((count + LANES - 1) / LANES);
    for (unsigned w = 0; w < warps.size(); ++w) {
        unsigned lanes = std::min(LANES, count - w * LANES);
        warps[w].existing = lanes == LANES ? ~0u : (1u << lanes) - 1;
        warps[w].arrived = warps[w].meetings = 0;
        sanitizer::forget(warps[w].values, sizeof warps[w].values);
    }
    sanitizer::forget(barrier_passed, sizeof barrier_passed);
    for (unsigned t = 0; t < count; ++t) {
        Thread& thread = threads[t];
        thread.state = State::NEW;
        thread.lane = t % LANES;
        thread.warp = t / LANES;
        thread.index = {t % here.block_size.x, t / here.block_size.x % here.block_size.y, t / (here.block_size.x * here.block_size.y)};
        thread.copies.clear();
        thread.groups.clear();
    }
    waiting = done = 0;
}

// Let every warp that can run do so, until all its lanes wait or have ended. Returns whether anybody ran.
bool run_warps(bool shuffled) {
    unsigned warp_order[LANES], lane_order[LANES];
    bool progress = false;
    order(warp_order, warps.size(), shuffled);
    for (unsigned w = 0; w < warps.size(); ++w)
        for (bool ran = true; ran;) {
            ran = false;
            order(lane_order, LANES, shuffled);
            for (unsigned lane : lane_order) {
                unsigned t = warp_order[w] * LANES + lane;
                if (t >= threads.size() || threads[t].state > State::READY) continue;
                run_thread(threads[t]);
                if (failed) return true;
                ran = progress = true;
            }
        }
    return progress;
}

void say_who_waits() {
    for (Thread& thread : threads)
        if (thread.state == State::IN_MEETING || thread.state == State::AT_BARRIER)
            return record("thread (%u, %u, %u) of block (%u, %u, %u) waits at %s (%s, line %d) for threads that never arrive", thread.index.x, thread.index.y,
                          thread.index.z, here.block.x, here.block.y, here.block.z, thread.waits_at, name_of(thread.file), thread.line);
}

void run_block(unsigned count, bool shuffled, const Launch& launch) {
    set_up_block(count);
    fill_with_nan(launch.static_shared, launch.static_shared_bytes);
    fill_with_nan(shared, shared_bytes);
    sanitizer::forget(launch.static_shared, launch.static_shared_bytes);
    sanitizer::forget(shared, shared_bytes);
    trace::block_begins(launch.static_shared, launch.static_shared_bytes, shared, shared_bytes);
    while (done < count && !failed) {
        bool progress = run_warps(shuffled);
        if (failed) break;
        if (waiting && waiting + done == count) {
            if (done) {
                record("__syncthreads (%s, line %d) is reached by %u threads of block (%u, %u, %u), but %u threads have ended", name_of(barrier_file), barrier_line,
                       waiting, here.block.x, here.block.y, here.block.z, done);
                break;
            }
            waiting = 0;
            ++barriers;
            for (Thread& thread : threads) thread.state = State::READY;
        } else if (!progress) {
            say_who_waits();
        }
    }
    for (Thread& thread : threads)
        if (thread.state != State::NEW && thread.state != State::DONE) {  // the launch failed, in the midst of it
            sanitizer::await_thread(thread.fiber.thread);
            fibers::destroy(thread.fiber);
        }
    fibers::block_ended();
}

bool possible(const Launch& launch) {
    const unsigned *g = launch.grid, *b = launch.block;
    uint64_t count = uint64_t(b[0]) * b[1] * b[2], blocks = uint64_t(g[0]) * g[1] * g[2];
    bool fits = count && count <= 1024 && b[2] <= 64 && blocks && g[0] <= 2147483647u && g[1] <= 65535 && g[2] <= 65535 && launch.dynamic_shared <= 232448;
    if (!fits)
        record("no GPU can launch this: grid (%u, %u, %u), block (%u, %u, %u), %zu bytes of dynamic shared memory", g[0], g[1], g[2], b[0], b[1], b[2],
               launch.dynamic_shared);
    return fits;
}

}  // namespace

// ---- what kernels ask for

Position position() { return here; }
void* dynamic_shared() { return shared; }
unsigned lanes_in_warp() { return warps[current->warp].existing; }

void fail(const char* message) {
    record("thread (%u, %u, %u) of block (%u, %u, %u): %s", here.thread.x, here.thread.y, here.thread.z, here.block.x, here.block.y, here.block.z, message);
    give_up();
}

void block_barrier(const char* file, int line) {
    Thread* self = current;
    if (!waiting) {
        barrier_file = file;
        barrier_line = line;
    } else if (barrier_line != line) {
        record("divergent __syncthreads: thread (%u, %u, %u) waits at line %d of %s, others at line %d", self->index.x, self->index.y, self->index.z, line,
               name_of(file), barrier_line);
        give_up();
    }
    ++waiting;
    self->state = State::AT_BARRIER;
    self->waits_at = "__syncthreads";
    self->file = file;
    self->line = line;
    char* passed = barrier_passed[barriers % 2];
    sanitizer::happened(passed);
    fibers::pause(self->fiber);
    sanitizer::await(passed);
}

unsigned warp_meeting(unsigned mask, const void* value, unsigned bytes, const char* operation, const char* file, int line) {
    Thread* self = current;
    Warp& warp = warps[self->warp];
    if (!(mask >> self->lane & 1)) {
        record("%s (%s, line %d): lane %u is not in its own mask %08x", operation, name_of(file), line, self->lane, mask);
        give_up();
    }
    mask &= warp.existing;
    if (!warp.arrived) {
        warp.expected = mask;
        warp.operation = operation;
        warp.file = file;
        warp.line = line;
    } else if (warp.expected != mask || warp.line != line) {
        record("divergent warp: lane %u is at %s (%s, line %d, mask %08x), others at %s (%s, line %d, mask %08x)", self->lane, operation, name_of(file), line, mask,
               warp.operation, name_of(warp.file), warp.line, warp.expected);
        give_up();
    }
    unsigned meeting = warp.meetings % 2;
    copy_bytes(warp.values[meeting][self->lane], value, bytes);
    warp.arrived |= 1u << self->lane;
    sanitizer::happened(&warp.values[meeting]);
    if (warp.arrived == mask) {  // the last one opens the door
        warp.arrived = 0;
        ++warp.meetings;
        unsigned first = self->warp * LANES, end = std::min<size_t>(threads.size(), first + LANES);
        for (unsigned t = first; t < end; ++t)
            if (threads[t].state == State::IN_MEETING) threads[t].state = State::READY;
    } else {
        self->state = State::IN_MEETING;
        self->waits_at = operation;
        self->file = file;
        self->line = line;
        fibers::pause(self->fiber);
    }
    sanitizer::await(&warp.values[meeting]);
    return meeting;
}

void value_of(unsigned meeting, unsigned lane, void* value, unsigned bytes) { copy_bytes(value, warps[current->warp].values[meeting][lane % LANES], bytes); }

void land(const PendingCopy& pending, Copy copy) {
    trace::quiet = true;
    copy(pending.to, pending.from, pending.bytes);
    trace::quiet = false;
}

void cp_async(void* to, const void* from, unsigned bytes, Copy copy) {
    if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % bytes) fail("cp.async: an address is no multiple of the bytes copied");
    trace::copy_issued(to, from, bytes, __builtin_return_address(0));
    if (late_copies) {
        fill_with_nan(to, bytes);
        current->copies.push_back({to, from, bytes});
    } else {
        land({to, from, bytes}, copy);
    }
}

void cp_async_commit() {
    current->groups.push_back(std::move(current->copies));
    current->copies.clear();
}

void cp_async_wait(unsigned groups_left, Copy copy) {
    auto& groups = current->groups;
    while (groups.size() > groups_left) {
        for (PendingCopy& pending : groups.front()) land(pending, copy);
        groups.erase(groups.begin());
    }
}

void say_where() {  // a sanitizer ends the process: in which thread it was, for sanitizers know nothing of threads on a GPU
    fprintf(stderr, "simulator: in thread (%u, %u, %u) of block (%u, %u, %u)\n", here.thread.x, here.thread.y, here.thread.z, here.block.x, here.block.y, here.block.z);
}

int run(const Launch& launch) {
    sanitizer::LastWords words(say_where);
    failed = false;
    error[0] = 0;
    if (!possible(launch)) return 1;
    random_state = launch.seed;
    const unsigned *g = launch.grid, *b = launch.block;
    here.grid_size = {g[0], g[1], g[2]};
    here.block_size = {b[0], b[1], b[2]};
    shared = nullptr;
    shared_bytes = launch.dynamic_shared;  // exactly so many, that one more is out of bounds
    if (shared_bytes && posix_memalign(&shared, 128, shared_bytes)) {
        record("the simulator has no memory left");
        return 1;
    }
    entry = launch.kernel;
    entry_arguments = launch.arguments;
    fibers::scheduler.thread = sanitizer::this_thread();
    sanitizer::happened(&launch_began);
    bool shuffled = launch.seed != 0;
    uint64_t blocks = uint64_t(g[0]) * g[1] * g[2], step = 1, start = 0;
    if (shuffled && blocks > 1) {  // start, start + step, ... modulo the number of blocks: an order without a list
        start = draw() % blocks;
        do step = draw() % blocks | 1;
        while (std::gcd(step, blocks) != 1);
    }
    for (uint64_t i = 0; i < blocks && !failed; ++i) {
        uint64_t number = (i * step + start) % blocks;
        here.block = {unsigned(number % g[0]), unsigned(number / g[0] % g[1]), unsigned(number / (uint64_t(g[0]) * g[1]))};
        late_copies = shuffled ? draw() & 1 : true;
        run_block(b[0] * b[1] * b[2], shuffled, launch);
    }
    sanitizer::await(&launch_ended);
    fibers::launch_ended();
    free(shared);
    return failed;
}

extern "C" __attribute__((visibility("default"))) const char* simulator_error() { return error; }

}  // namespace simulator
