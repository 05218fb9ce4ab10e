// A fiber is a CUDA thread of the simulator: a stack of its own, and the place where it stopped. `resume` runs it until it calls `pause` or ends; switching
// takes some nanoseconds, for it saves only the registers that a function must preserve.
#pragma once
#include <cstring>
#include <deque>
#include <pthread.h>
#include <sys/mman.h>
#include <vector>

#include "runtime.h"
#include "sanitizers.h"

extern "C" void simulator_switch(void** save, void* load);  // push the registers, *save = stack pointer, stack pointer = load, pop the registers
#if defined(__x86_64__)
asm(".text\n.local simulator_switch\n.type simulator_switch,@function\nsimulator_switch:\n"
    " pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n movq %rsp,(%rdi)\n movq %rsi,%rsp\n"
    " popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n.size simulator_switch,.-simulator_switch\n");
#elif defined(__aarch64__)
asm(".text\n.local simulator_switch\n.type simulator_switch,%function\nsimulator_switch:\n sub sp,sp,#160\n"
    " stp x19,x20,[sp]\n stp x21,x22,[sp,#16]\n stp x23,x24,[sp,#32]\n stp x25,x26,[sp,#48]\n stp x27,x28,[sp,#64]\n stp x29,x30,[sp,#80]\n"
    " stp d8,d9,[sp,#96]\n stp d10,d11,[sp,#112]\n stp d12,d13,[sp,#128]\n stp d14,d15,[sp,#144]\n mov x9,sp\n str x9,[x0]\n mov sp,x1\n"
    " ldp x19,x20,[sp]\n ldp x21,x22,[sp,#16]\n ldp x23,x24,[sp,#32]\n ldp x25,x26,[sp,#48]\n ldp x27,x28,[sp,#64]\n ldp x29,x30,[sp,#80]\n"
    " ldp d8,d9,[sp,#96]\n ldp d10,d11,[sp,#112]\n ldp d12,d13,[sp,#128]\n ldp d14,d15,[sp,#144]\n add sp,sp,#160\n ret\n"
    ".size simulator_switch,.-simulator_switch\n");
#else
#error "the simulator knows how to switch stacks on x86-64 and 64-bit Arm only"
#endif

struct Fiber {
    void* stack_pointer = nullptr;
    char* stack = nullptr;  // GUARD bytes that nobody may touch, then STACK bytes
    void* thread = nullptr;  // in ThreadSanitizer's eyes; null without it
    unsigned launches = 0;   // served in
};

namespace fibers {

constexpr size_t STACK = 128 << 10, GUARD = 4096;
inline Fiber scheduler;  // who resumes the others; its stack is that of the launch
inline const void* scheduler_stack;
inline size_t scheduler_bytes;
inline std::vector<Fiber> unused;  // whose stack and thread serve again
inline std::deque<Fiber> ended;    // in this launch, to serve again in the next
inline int forked = pthread_atfork(nullptr, nullptr, [] { unused.clear(); });  // in a child ThreadSanitizer orders but new threads after what was

// A stack on which the first `resume` starts in `main`.
inline void create(Fiber& fiber, void (*main)(), uint3 block, uint3 thread) {
    if (unused.empty()) {
        char* stack = static_cast<char*>(mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        mprotect(stack, GUARD, PROT_NONE);
        unused.push_back({nullptr, stack, sanitizer::new_thread(), 0});
    }
    fiber = unused.back();
    unused.pop_back();
    sanitizer::clean(fiber.stack + GUARD, STACK);
    sanitizer::name(fiber.thread, block, thread);
    void** top = reinterpret_cast<void**>(fiber.stack + GUARD + STACK);
#if defined(__x86_64__)
    *--top = nullptr;  // main never returns
    *--top = reinterpret_cast<void*>(main);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
#else
    top -= 20;
    memset(top, 0, 160);
    top[11] = reinterpret_cast<void*>(main);  // x30, the return address
#endif
    fiber.stack_pointer = top;
}

inline void destroy(Fiber& fiber) {
    sanitizer::end_thread(fiber.thread);
    sanitizer::clean(fiber.stack + GUARD, STACK);
    munmap(fiber.stack, GUARD + STACK);
}

// ThreadSanitizer finds a race with a thread only while that thread is another than one's own and not destroyed; and to make a thread takes longer than most threads run,
// for it clears many pages. So there a fiber serves again in the next launch, which comes after all that this one does, and not before: within a launch each is its own.
inline void end(Fiber& fiber) {
    if (fiber.thread)
        ended.push_back(fiber);
    else
        unused.push_back(fiber);
}

inline void block_ended() {  // kept are as many as a block may have, for races of the next one with them; there may not be more than some thousands in a process
    for (; ended.size() > 1024; ended.pop_front()) destroy(ended.front());
}

inline void launch_ended() {
    for (Fiber& fiber : ended) {
        if (++fiber.launches == 16)
            destroy(fiber);  // ThreadSanitizer notes each access of a thread while it lives, 8 bytes each and up to 32 MiB
        else
            unused.push_back(fiber);
    }
    ended.clear();
}

inline void resume(Fiber& fiber) {
    void* mine = nullptr;
    sanitizer::leave(&mine, fiber.thread, fiber.stack + GUARD, STACK);
    simulator_switch(&scheduler.stack_pointer, fiber.stack_pointer);
    sanitizer::arrive(mine, nullptr, nullptr);
}

inline void started() { sanitizer::arrive(nullptr, &scheduler_stack, &scheduler_bytes); }  // the first thing that `main` does

inline void pause(Fiber& fiber, bool forever = false) {  // back to the scheduler
    void* mine = nullptr;
    sanitizer::leave(forever ? nullptr : &mine, scheduler.thread, scheduler_stack, scheduler_bytes);
    simulator_switch(&fiber.stack_pointer, scheduler.stack_pointer);
    sanitizer::arrive(mine, nullptr, nullptr);
}

}  // namespace fibers
