// Every access to memory, recorded. With SIMULATE_TRACE the kernels are compiled with the calls that ThreadSanitizer would make (-fsanitize=thread: a call with the address
// at each load and store) and linked with the functions below in its place. They need no change of the kernels. Without SIMULATE_TRACE nothing happens.
//
// Recorded are accesses to the arrays of the launch and to shared memory; a thread's own variables are registers on a GPU. A byte also remembers whether it was ever
// written, so that a read of what nobody wrote is known where it happens.
#pragma once
#include <vector>

#include "runtime.h"

namespace trace {

#ifdef SIMULATE_TRACE

constexpr unsigned char READ = 0, WRITE = 1, ATOMIC = 2, UNSET = 4;  // UNSET is added where a byte is read that nobody wrote
constexpr unsigned char STATIC_SHARED = 254, DYNAMIC_SHARED_MEMORY = 255;
constexpr size_t MOST = 8 << 20;  // accesses kept: 256 MB

struct Access {  // trace.py has the same
    uint64_t offset, instruction;  // bytes from the beginning of the memory, and of the library
    uint32_t block, thread;         // counted from 0
    uint16_t bytes;
    uint8_t kind, memory;  // memory: number of the array, or one of the two above
};

struct Memory {
    uintptr_t begin, bytes;
    unsigned char* written;  // for each byte; null: all of it is
    unsigned char number;
};

inline std::vector<Memory> arrays;
inline Memory shared[2];
inline std::vector<unsigned char> shared_written[2];
inline std::vector<Access> accesses;
inline size_t more;         // that are not kept
inline bool recording = false;
inline bool quiet = false;  // bytes of cp.async are landing: recorded when it was issued
extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start[];  // where the library lies (the linker makes this name)

inline const Memory* memory_of(uintptr_t address) {
    for (const Memory& memory : shared)
        if (address - memory.begin < memory.bytes) return &memory;
    for (const Memory& memory : arrays)
        if (address - memory.begin < memory.bytes) return &memory;
    return nullptr;
}

inline void mark(void* p, unsigned bytes, unsigned char written) {
    uintptr_t address = reinterpret_cast<uintptr_t>(p);
    const Memory* memory = memory_of(address);
    for (unsigned i = 0; memory && memory->written && i < bytes && address - memory->begin + i < memory->bytes; ++i) memory->written[address - memory->begin + i] = written;
}

inline void access(const volatile void* p, unsigned bytes, unsigned char kind, const void* returns_to) {
    uintptr_t address = reinterpret_cast<uintptr_t>(p);
    const Memory* memory = recording ? memory_of(address) : nullptr;
    if (!memory) return;
    for (unsigned i = 0; memory->written && i < bytes && address - memory->begin + i < memory->bytes; ++i) {
        unsigned char& written = memory->written[address - memory->begin + i];
        if (kind != WRITE && !written) kind |= UNSET;
        if ((kind & ~UNSET) != READ) written = 1;
    }
    if (quiet) return;
    if (accesses.size() == MOST) {
        ++more;
        return;
    }
    const simulator::Position& at = simulator::here;
    uint32_t block = at.block.x + at.grid_size.x * (at.block.y + at.grid_size.y * at.block.z);
    uint32_t thread = at.thread.x + at.block_size.x * (at.thread.y + at.block_size.y * at.thread.z);
    uint64_t instruction = static_cast<const char*>(returns_to) - __ehdr_start - 1;
    accesses.push_back({address - memory->begin, instruction, block, thread, uint16_t(bytes), kind, memory->number});
}

inline void access_words(const volatile void* p, unsigned long bytes, unsigned char kind, const void* returns_to) {  // a struct: word by word, as a GPU does
    const volatile char* at = static_cast<const volatile char*>(p);
    for (unsigned long done = 0; done < bytes; done += 4) access(at + done, bytes - done < 4 ? bytes - done : 4, kind, returns_to);
}

inline void block_begins(void* static_shared, size_t static_bytes, void* dynamic, size_t dynamic_bytes) {
    void* begin[2] = {static_shared, dynamic};
    size_t bytes[2] = {static_bytes, dynamic_bytes};
    for (int i = 0; i < 2; ++i) {
        shared_written[i].assign(bytes[i], 0);
        shared[i] = {reinterpret_cast<uintptr_t>(begin[i]), bytes[i], shared_written[i].data(), i ? DYNAMIC_SHARED_MEMORY : STATIC_SHARED};
    }
}

inline void copy_issued(void* to, const void* from, unsigned bytes, const void* returns_to) {  // cp.async
    access(from, bytes, READ, returns_to);
    access(to, bytes, WRITE, returns_to);
    mark(to, bytes, 0);  // until it lands
}

#else

inline bool quiet;
inline void block_begins(void*, size_t, void*, size_t) {}
inline void copy_issued(void*, const void*, unsigned, const void*) {}

#endif

}  // namespace trace

#ifdef SIMULATE_TRACE
extern "C" {

// ---- what compiled kernels call

#define RETURNS_TO __builtin_return_address(0)
#define HOOKS(bytes)                                                                                        \
    void __tsan_read##bytes(void* p) { trace::access(p, bytes, trace::READ, RETURNS_TO); }                  \
    void __tsan_write##bytes(void* p) { trace::access(p, bytes, trace::WRITE, RETURNS_TO); }                \
    void __tsan_unaligned_read##bytes(void* p) { trace::access(p, bytes, trace::READ, RETURNS_TO); }        \
    void __tsan_unaligned_write##bytes(void* p) { trace::access(p, bytes, trace::WRITE, RETURNS_TO); }
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
void __tsan_read_range(void* p, unsigned long bytes) { trace::access_words(p, bytes, trace::READ, RETURNS_TO); }
void __tsan_write_range(void* p, unsigned long bytes) { trace::access_words(p, bytes, trace::WRITE, RETURNS_TO); }

// cuda.h makes every atomic operation of a load and a compare-and-exchange: one atomic access.
#define ATOMIC_HOOKS(bits)                                                                                                                                   \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t* p, int) { return __atomic_load_n(p, __ATOMIC_RELAXED); }                         \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile uint##bits##_t* p, uint##bits##_t* expected, uint##bits##_t value, int, int) {                   \
        trace::access(p, bits / 8, trace::ATOMIC, RETURNS_TO);                                                                                                \
        return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                                                    \
    }
ATOMIC_HOOKS(32) ATOMIC_HOOKS(64)
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

// ---- what Python calls (trace.py): record(true), watch each array, launch, accesses, record(false)

#define FOR_PYTHON __attribute__((visibility("default")))
FOR_PYTHON void simulator_watch(void* begin, size_t bytes, unsigned char* written) {
    trace::arrays.push_back({reinterpret_cast<uintptr_t>(begin), bytes, written, static_cast<unsigned char>(trace::arrays.size())});
}
FOR_PYTHON const trace::Access* simulator_accesses(size_t* count, size_t* not_kept) {
    *count = trace::accesses.size();
    *not_kept = trace::more;
    return trace::accesses.data();
}
FOR_PYTHON void simulator_record(bool on) {
    trace::recording = on;
    trace::arrays.clear();
    std::vector<trace::Access>().swap(trace::accesses);
    trace::more = 0;
}
}
#endif
