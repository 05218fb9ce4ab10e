// A tile of a matrix product, SIDE x SIDE, by a block of 256 threads: what the kernels of matrix product and convolution have in common.
//
//     sums[m][n] += over k: A[m][k] * B[n][k]         A and B both give rows of `depth` elements; how they find them is theirs to know
//
// Three levels of memory, and who moves what (SIDE 128, float):
//
//     global -> registers   fetch: a thread takes one quad (four elements) of A and one of B for each step of DEPTH 8, while the step before is computed
//     registers -> shared   put:   the quads, into the other of two buffers, k outermost: so one barrier a step is enough
//     shared -> registers   a thread reads, for each k, 8 elements of A and 8 of B as quads, and makes 64 products of them
//
// Napkin: a step of k needs 16 elements from shared memory for 64 multiply-adds, 4 quads of 16 bytes; a multiprocessor gives 128 bytes and 128 multiply-adds a clock,
// so the 256 threads' reads (of which those of a warp's half are the same, and cost once) take less time than their products. Global memory: 2 * 128 elements for
// 128 * 128 products, 32 FLOPs a byte; with the L2 cache serving tiles side by side that is enough for 60 TFLOP/s at 2 TB/s.
// SIDE 64 has 16 products a thread in place of 64 and half the FLOPs for each byte, but four times as many blocks: for small products, and for double.
#pragma once
#include "device.h"

constexpr int THREADS = 256;
constexpr int SMALL = 64, LARGE = sizeof(real) == 4 ? 128 : 64;  // sides; 64 sums of 8 bytes would take half of a thread's registers

struct __align__(16) Four {
    real x[4];
};

// Up to four elements, `step` apart; those beyond `left` are 0. `whole`: that they may be read as one vector, if there are four.
__device__ __forceinline__ Four load_four(const real* p, index_t step, index_t left, bool whole) {
    if (whole && left >= 4) return *reinterpret_cast<const Four*>(p);
    Four quad;
#pragma unroll
    for (int i = 0; i < 4; ++i) quad.x[i] = i < left ? p[i * step] : real(0);
    return quad;
}

// Up to four elements back to memory, likewise.
__device__ __forceinline__ void store_four(real* p, index_t step, index_t left, bool whole, const Four& quad) {
    if (whole && left >= 4) {
        *reinterpret_cast<Four*>(p) = quad;
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i)
            if (i < left) p[i * step] = quad.x[i];
    }
}

// Whether quads at p, p + step, p + 2 * step, ... lie on multiples of 16 bytes.
__device__ __forceinline__ bool aligned(const real* p, index_t step) {
    return reinterpret_cast<size_t>(p) % 16 == 0 && step * static_cast<index_t>(sizeof(real)) % 16 == 0;
}

template <int SIDE> struct Tile {
    static constexpr int DEPTH = 1024 / SIDE;  // k in a step: a quad of A and one of B for each thread
    static constexpr int EACH = SIDE / 16;     // rows and columns of a thread: quads of four, 64 apart
    static constexpr int ROW = SIDE + 4;       // in shared memory, where quads along k are put element by element: 4 keeps those of a warp in different banks

    struct Shared {
        real a[2][DEPTH][ROW], b[2][DEPTH][ROW];
    };

    // Row or column number i of the thread that is number `at` (0 to 15) in that direction.
    static __device__ __forceinline__ int place(int at, int i) { return i / 4 * 64 + at * 4 + i % 4; }

    // Where a thread's quad of an operand begins, (row, k), and which way it goes.
    struct Place {
        int row, k;
        bool along_k;
    };
    // Quads along k. Neighbouring threads are neighbours along k too, or, with rows_first, on neighbouring rows: whichever lies together in memory.
    static __device__ __forceinline__ Place quad_along_k(bool rows_first) {
        int i = threadIdx.x;
        return rows_first ? Place{i % SIDE, i / SIDE * 4, true} : Place{i / (DEPTH / 4), i % (DEPTH / 4) * 4, true};
    }
    // Quads along rows; neighbouring threads are neighbours along rows too, or, with k_first, along k.
    static __device__ __forceinline__ Place quad_along_rows(bool k_first) {
        int i = threadIdx.x;
        return k_first ? Place{i / DEPTH * 4, i % DEPTH, false} : Place{i % (SIDE / 4) * 4, i / (SIDE / 4), false};
    }
    static __device__ __forceinline__ void put(real (&tile)[DEPTH][ROW], Place at, const Four& quad) {
        if (at.along_k) {
#pragma unroll
            for (int i = 0; i < 4; ++i) tile[at.k + i][at.row] = quad.x[i];
        } else {
            *reinterpret_cast<Four*>(&tile[at.k][at.row]) = quad;
        }
    }

    // The sums of this thread's rows (number `down` of 16) and columns (number `across`). Each fetch() of an operand gives the next step's quad; `place` is where it goes.
    template <class A, class B>
    static __device__ __forceinline__ void multiply(A& a, B& b, index_t steps, int down, int across, Shared& shared, real (&sums)[EACH][EACH]) {
#pragma unroll
        for (int i = 0; i < EACH; ++i)
#pragma unroll
            for (int j = 0; j < EACH; ++j) sums[i][j] = 0;
        if (steps <= 0) return;
        put(shared.a[0], a.place, a.fetch());
        put(shared.b[0], b.place, b.fetch());
        __syncthreads();
        for (index_t step = 0; step < steps; ++step) {
            int now = step & 1;
            bool more = step + 1 < steps;
            Four next_a, next_b;
            if (more) next_a = a.fetch(), next_b = b.fetch();
#pragma unroll
            for (int k = 0; k < DEPTH; ++k) {
                Four rows[EACH / 4], columns[EACH / 4];
#pragma unroll
                for (int i = 0; i < EACH / 4; ++i) {
                    rows[i] = *reinterpret_cast<const Four*>(&shared.a[now][k][i * 64 + down * 4]);
                    columns[i] = *reinterpret_cast<const Four*>(&shared.b[now][k][i * 64 + across * 4]);
                }
#pragma unroll
                for (int i = 0; i < EACH; ++i)
#pragma unroll
                    for (int j = 0; j < EACH; ++j) sums[i][j] += rows[i / 4].x[i % 4] * columns[j / 4].x[j % 4];
            }
            if (more) {
                put(shared.a[now ^ 1], a.place, next_a);
                put(shared.b[now ^ 1], b.place, next_b);
            }
            __syncthreads();
        }
    }
};
