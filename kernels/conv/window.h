// How images lie, how a window goes over them, and how to count through both.
#pragma once
#include "device.h"

// Images of one group: element (n, h, w, c) is n * image + h * row + w * column + c * channel elements from the first.
struct Images {
    int height, width, channels;
    index_t image, row, column, channel;
};

// A window of R x S taps: tap (r, s) of position (p, q) lies over pixel (start_h + p * stride_h + r * step_h, start_w + q * stride_w + s * step_w).
struct Taps {
    int R, S, start_h, start_w, stride_h, stride_w, step_h, step_w;
};

// Three numbers that count like the wheels of an odometer: when one is full, the one before moves on.
struct Wheels {
    int outer, middle, inner, middle_end, inner_end;

    __device__ __forceinline__ Wheels(index_t at, int middle_end, int inner_end) : middle_end(middle_end), inner_end(inner_end) {
        inner = at % inner_end, middle = at / inner_end % middle_end, outer = at / inner_end / middle_end;
    }
    __device__ __forceinline__ void advance(int step) {
        inner += step;
        while (inner >= inner_end) {
            inner -= inner_end;
            if (++middle == middle_end) middle = 0, ++outer;
        }
    }
};
