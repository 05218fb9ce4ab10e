// What simulated kernels ask of the simulator. The kernels are compiled with a sanitizer, runtime.cpp without one: what it does to its own memory is nobody's bug.
#pragma once
#include <cstddef>
#include <cstdint>

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

namespace simulator {

struct Position {
    uint3 thread, block;
    dim3 block_size, grid_size;
    unsigned lane;
};
extern Position here;  // of the CUDA thread that runs now
Position position();   // the same by value: ThreadSanitizer must not see kernels read `here`, which the scheduler writes

[[noreturn]] void fail(const char* message);  // the kernel is wrong: the launch ends, and Python raises

void block_barrier(const char* file, int line);

// All lanes of `mask` meet, each bringing a value. Returns where the values lie until the warp meets once more but one; `value_of` reads the value of a lane.
unsigned warp_meeting(unsigned mask, const void* value, unsigned bytes, const char* operation, const char* file, int line);
void value_of(unsigned meeting, unsigned lane, void* value, unsigned bytes);
unsigned lanes_in_warp();  // mask of those that exist: the last warp of a block may be short

void* dynamic_shared();

using Copy = void (*)(void* to, const void* from, unsigned bytes);  // done by instrumented code, so that the sanitizer sees it
void cp_async(void* to, const void* from, unsigned bytes, Copy copy);
void cp_async_commit();
void cp_async_wait(unsigned groups_left, Copy copy);

struct Launch {
    void (*kernel)(void* arguments);  // one CUDA thread
    void* arguments;
    const unsigned *grid, *block;  // three each
    size_t dynamic_shared;         // bytes
    uint64_t seed;                 // of the order in which blocks, warps and threads run; 0: in ascending order
    void* static_shared;           // the kernels' __shared__ variables
    size_t static_shared_bytes;
};
int run(const Launch& launch);  // 0, or 1 and `simulator_error()` says why

}  // namespace simulator
