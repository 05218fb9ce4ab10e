// How Python starts a kernel: for each, SIMULATED_KERNEL(name) makes simulate_NAME, which launches it, and signature_NAME, which says what parameters the compiler
// saw: a letter of Python's struct module for a number, P for a pointer, s for a struct.
#pragma once
#include <utility>

extern "C" __attribute__((weak, visibility("hidden"))) char __start_simulated_shared[], __stop_simulated_shared[];  // made by the linker, if there are __shared__ variables

namespace simulator {

template <class... Parameters> struct Call {
    void (*kernel)(Parameters...);
    void** arguments;  // pointers to the values

    template <size_t... I> void run(std::index_sequence<I...>) const { kernel(*static_cast<std::remove_reference_t<Parameters>*>(arguments[I])...); }
    static void thread(void* call) { static_cast<Call*>(call)->run(std::index_sequence_for<Parameters...>{}); }
};

template <class... Parameters>
int launch(void (*kernel)(Parameters...), const unsigned* grid, const unsigned* block, size_t dynamic_shared, void** arguments, uint64_t seed) {
    Call<Parameters...> call{kernel, arguments};
    size_t bytes = __start_simulated_shared ? __stop_simulated_shared - __start_simulated_shared : 0;
    return run({Call<Parameters...>::thread, &call, grid, block, dynamic_shared, seed, __start_simulated_shared, bytes});
}

template <class Parameter> constexpr char letter() {
    using T = std::remove_cv_t<Parameter>;
    if (std::is_pointer_v<T>) return 'P';
    if (std::is_same_v<T, float>) return 'f';
    if (std::is_same_v<T, double>) return 'd';
    if (std::is_same_v<T, half>) return 'e';
    if (std::is_same_v<T, bool>) return '?';
    if (!std::is_integral_v<T>) return 's';
    return (std::is_signed_v<T> ? "bh.i...q" : "BH.I...Q")[sizeof(T) - 1];
}
template <class... Parameters> const char* signature(void (*)(Parameters...)) {
    static const char letters[] = {letter<Parameters>()..., 0};
    return letters;
}

}  // namespace simulator

#define SIMULATED_KERNEL(name)                                                                                                                              \
    extern "C" __attribute__((visibility("default"))) int simulate_##name(const unsigned* grid, const unsigned* block, size_t shared, void** arguments, uint64_t seed) { \
        return simulator::launch(&name, grid, block, shared, arguments, seed);                                                                              \
    }                                                                                                                                                       \
    extern "C" __attribute__((visibility("default"))) const char* signature_##name() { return simulator::signature(&name); }
