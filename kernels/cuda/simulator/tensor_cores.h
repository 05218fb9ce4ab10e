// The instructions that device.h names: asynchronous copies, and matrix products by a whole warp (lane layouts: PTX ISA, "Matrix fragments for mma").
#pragma once

namespace simulator {
inline void copy_words(void* to, const void* from, unsigned bytes) {
    for (unsigned i = 0; i < bytes / 4; ++i) static_cast<uint32_t*>(to)[i] = static_cast<const uint32_t*>(from)[i];
}
}  // namespace simulator
inline void cp_async_16(void* to_shared, const void* from_global) { simulator::cp_async(to_shared, from_global, 16, simulator::copy_words); }
inline void cp_async_4(void* to_shared, const void* from_global) { simulator::cp_async(to_shared, from_global, 4, simulator::copy_words); }
inline void cp_async_commit() { simulator::cp_async_commit(); }
template <int N> void cp_async_wait() { simulator::cp_async_wait(N, simulator::copy_words); }

inline unsigned to_tf32(float value) {
    unsigned bits = __float_as_uint(value);
    return (bits & 0x7f800000) == 0x7f800000 ? bits : (bits + 0x1000) & ~0x1fffu;
}

namespace simulator {

inline float tf32(unsigned bits) { return __uint_as_float(bits & ~0x1fffu); }  // the tensor core does not look at the other bits

inline float half_of(unsigned pair, int which) {
    half value;
    value.bits = uint16_t(pair >> 16 * which);
    return value;
}

// Every lane brings its registers of A and B, and computes its four elements of C from those of the others.
// element(lanes' registers, row or column, k): where the lane layout puts an element.
struct Registers {
    const unsigned *a, *b;
};
template <int K, class A, class B> void multiply(float (&c)[4], const unsigned* a, const unsigned* b, A element_of_a, B element_of_b, const char* file, int line) {
    Registers own{a, b}, lanes[32];
    unsigned meeting = warp_meeting(~0u, &own, sizeof own, "mma", file, line);
    for (int i = 0; i < 32; ++i) lanes[i] = value_of_lane<Registers>(meeting, i);
    int g = position().lane / 4, t = position().lane % 4;
    float sums[4];
    for (int i = 0; i < 4; ++i) {
        int row = g + i / 2 * 8, column = 2 * t + i % 2;
        sums[i] = c[i];
        for (int k = 0; k < K; ++k) sums[i] += element_of_a(lanes, row, k) * element_of_b(lanes, k, column);
    }
    warp_meeting(~0u, nullptr, 0, "mma", file, line);  // before anybody's registers change
    for (int i = 0; i < 4; ++i) c[i] = sums[i];
}
}  // namespace simulator

inline void mma_m16n8k8_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], CALLED_FROM) {
    using simulator::Registers;
    auto element_of_a = [](Registers* lanes, int row, int k) { return simulator::tf32(lanes[row % 8 * 4 + k % 4].a[row / 8 + k / 4 * 2]); };
    auto element_of_b = [](Registers* lanes, int k, int column) { return simulator::tf32(lanes[column * 4 + k % 4].b[k / 4]); };
    simulator::multiply<8>(c, a, b, element_of_a, element_of_b, file, line);
}
inline void mma_m16n8k16_half(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], CALLED_FROM) {
    using simulator::Registers;
    auto element_of_a = [](Registers* lanes, int row, int k) { return simulator::half_of(lanes[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k % 2); };
    auto element_of_b = [](Registers* lanes, int k, int column) { return simulator::half_of(lanes[column * 4 + k % 8 / 2].b[k / 8], k % 2); };
    simulator::multiply<16>(c, a, b, element_of_a, element_of_b, file, line);
}
