// A fiber is a CUDA thread of the simulator: a stack of its own, and the place where it stopped. `resume` runs it until it calls `pause` or ends; switching
// takes some nanoseconds, for it saves only the registers that a function must preserve.
#pragma once
#include <cstring>
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
    void* thread = nullptr;  // in ThreadSanitizer's eyes
};

namespace fibers {

constexpr size_t STACK = 128 << 10, GUARD = 4096;
inline Fiber scheduler;  // who resumes the others; its stack is that of the launch
inline const void* scheduler_stack;
inline size_t scheduler_bytes;
inline std::vector<char*> unused;  // stacks

// A stack on which the first `resume` starts in `main`.
inline void create(Fiber& fiber, void (*main)(), uint3 block, uint3 thread) {
    if (unused.empty()) {
        char* stack = static_cast<char*>(mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        mprotect(stack, GUARD, PROT_NONE);
        unused.push_back(stack);
    }
    fiber.stack = unused.back();
    unused.pop_back();
    sanitizer::clean(fiber.stack + GUARD, STACK);
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
    fiber.thread = sanitizer::new_thread(block, thread);
}

inline void destroy(Fiber& fiber) {
    if (sanitizer::REUSE_STACKS)
        unused.push_back(fiber.stack);
    else
        munmap(fiber.stack, GUARD + STACK);
    fiber.stack = nullptr;
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
