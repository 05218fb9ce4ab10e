// What AddressSanitizer and ThreadSanitizer must be told by a program that switches stacks. Without them (SIMULATE_ASAN, SIMULATE_TSAN undefined) nothing happens.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>

#ifdef SIMULATE_ASAN
#include <csignal>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifdef SIMULATE_TSAN
extern "C" {
void* __tsan_create_fiber(unsigned flags);
void* __tsan_get_current_fiber();
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_set_fiber_name(void* fiber, const char* name);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void __tsan_java_alloc(uintptr_t address, uintptr_t bytes);
void __tsan_java_free(uintptr_t address, uintptr_t bytes);
}
#endif

namespace sanitizer {

// ---- happens-before: what was done before happened(p) is seen after await(p)

inline void happened(void* p) {
#ifdef SIMULATE_TSAN
    __tsan_release(p);
#endif
}
inline void await(void* p) {
#ifdef SIMULATE_TSAN
    __tsan_acquire(p);
#endif
}

// Shared memory belongs to a new block now, accesses of the last one cannot race with its own; or barriers do, and must not order it after the last one. (The pair that a
// Java runtime uses to forget an object.)
inline void forget(void* p, size_t bytes) {
#ifdef SIMULATE_TSAN
    uintptr_t begin = reinterpret_cast<uintptr_t>(p) & ~7ul, end = (reinterpret_cast<uintptr_t>(p) + bytes + 7) & ~7ul;
    if (bytes) {
        __tsan_java_alloc(begin, end - begin);
        __tsan_java_free(begin, end - begin);
    }
#endif
}

// While it lives, `say` is called where AddressSanitizer or UndefinedBehaviorSanitizer give up (with abort_on_error=1), and after it whoever was to be called before.
struct LastWords {
#ifdef SIMULATE_ASAN
    static inline void (*say)();
    static inline void (*before)(int);
    explicit LastWords(void (*words)()) {
        say = words;
        before = signal(SIGABRT, [](int number) {
            say();
            if (before != SIG_DFL && before != SIG_IGN) before(number);
        });
    }
    ~LastWords() { signal(SIGABRT, before); }
#else
    explicit LastWords(void (*)()) {}
#endif
};

// ---- a thread of its own for each fiber, in ThreadSanitizer's eyes

inline void* new_thread() {
#ifdef SIMULATE_TSAN
    return __tsan_create_fiber(0);
#else
    return nullptr;
#endif
}
inline void name(void* fiber, uint3 block, uint3 thread) {
#ifdef SIMULATE_TSAN
    char name[96];
    snprintf(name, sizeof name, "block (%u, %u, %u) thread (%u, %u, %u)", block.x, block.y, block.z, thread.x, thread.y, thread.z);
    __tsan_set_fiber_name(fiber, name);
#endif
}
inline void* this_thread() {
#ifdef SIMULATE_TSAN
    return __tsan_get_current_fiber();
#else
    return nullptr;
#endif
}
inline void await_thread(void* fiber) {  // all that it did until now
#ifdef SIMULATE_TSAN
    void* mine = this_thread();
    __tsan_switch_to_fiber(fiber, 1);
    __tsan_switch_to_fiber(mine, 0);
#endif
}
inline void end_thread(void* fiber) {
#ifdef SIMULATE_TSAN
    __tsan_destroy_fiber(fiber);
#endif
}

// ---- around every switch from one stack to another

inline void leave(void** own, void* next_thread, const void* next_stack, size_t next_bytes) {  // own: null if this stack ends here
#ifdef SIMULATE_ASAN
    __sanitizer_start_switch_fiber(own, next_stack, next_bytes);
#endif
#ifdef SIMULATE_TSAN
    __tsan_switch_to_fiber(next_thread, 1);  // 1: the switch itself orders nothing
#endif
}
inline void arrive(void* own, const void** last_stack, size_t* last_bytes) {
#ifdef SIMULATE_ASAN
    __sanitizer_finish_switch_fiber(own, last_stack, last_bytes);
#endif
}
inline void clean(void* stack, size_t bytes) {  // a stack that is used again carries the marks of its last user
#ifdef SIMULATE_ASAN
    __asan_unpoison_memory_region(stack, bytes);
#endif
}

}  // namespace sanitizer
