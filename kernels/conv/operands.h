// What a convolution multiplies, as operands of a tiled matrix product (matmul/tile.h): images in any memory order, and filters.
//
// The unfolded image is never stored: a thread knows which pixel, tap and channel its quad comes from, and goes there. A quad is always four channels of one pixel.
// Where channels lie together (channels-last) it is one load of 16 bytes; where pixels do (contiguous images) four loads, each of them 128 bytes together for a warp, since
// then neighbouring threads take neighbouring pixels. A tap's channels are counted up to a multiple of four, the missing ones being 0, so that no quad crosses a tap.
#pragma once
#include "../matmul/tile.h"
#include "window.h"

__device__ __forceinline__ int up_to_four(int channels) { return (channels + 3) / 4 * 4; }

// Whether four channels of a pixel can be read or written as one vector.
__device__ __forceinline__ bool has_quads(const real* x, const Images& lie) {
    return lie.channel == 1 && aligned(x, lie.image) && aligned(x, lie.row) && aligned(x, lie.column);
}

// Whether pixels 0 to 3, 4 to 7, ... of each channel can be: their planes lie together, and have a multiple of four.
__device__ __forceinline__ bool has_quads_of_pixels(const real* x, const Images& lie) {
    return lie.column == 1 && lie.row == lie.width && lie.height * lie.width % 4 == 0 && aligned(x, lie.image) && aligned(x, lie.channel);
}

// Four channels of a pixel; zeros outside the image, and where not `inside`.
__device__ __forceinline__ Four pixel_quad(const real* x, const Images& lie, int h, int w, int c, bool inside, bool whole) {
    inside = inside && 0 <= h && h < lie.height && 0 <= w && w < lie.width;
    return load_four(x + h * lie.row + w * lie.column + c * lie.channel, lie.channel, inside ? lie.channels - c : 0, whole);
}

// Rows are positions of the window (of all images), k runs over taps and channels: what the filter sees there.
template <int SIDE> struct Patches {
    typename Tile<SIDE>::Place place;
    const real* x;
    const Images& lie;
    const Taps& taps;
    int h0, w0;  // of tap (0, 0)
    bool exists, whole;
    Wheels at;   // row and column of the tap, channel

    __device__ __forceinline__ Patches(const real* images, const Images& lie, const Taps& taps, index_t first, index_t positions, int P, int Q, index_t first_k)
        : place(Tile<SIDE>::quad_along_k(lie.channel != 1)), lie(lie), taps(taps), at(first_k + place.k, taps.S, up_to_four(lie.channels)) {
        index_t position = first + place.row;
        exists = position < positions;
        Wheels pixel(position, P, Q);
        x = images + pixel.outer * lie.image;
        h0 = taps.start_h + pixel.middle * taps.stride_h, w0 = taps.start_w + pixel.inner * taps.stride_w;
        whole = has_quads(images, lie);
    }
    __device__ __forceinline__ Four fetch() {
        Four quad = pixel_quad(x, lie, h0 + at.outer * taps.step_h, w0 + at.middle * taps.step_w, at.inner, exists && at.outer < taps.R, whole);
        at.advance(Tile<SIDE>::DEPTH);
        return quad;
    }
};

// Rows are filters (K, R, S, C), k runs over taps and channels.
template <int SIDE> struct Filters {
    typename Tile<SIDE>::Place place;
    const real* w;
    int taps, channels;
    bool exists, whole;
    Wheels at;  // tap, nothing, channel

    __device__ __forceinline__ Filters(const real* filters, const Taps& window, int channels, index_t first, index_t count, index_t first_k)
        : place(Tile<SIDE>::quad_along_k(false)), taps(window.R * window.S), channels(channels), at(first_k + place.k, 1, up_to_four(channels)) {
        exists = first + place.row < count;
        w = filters + (first + place.row) * taps * channels;
        whole = aligned(filters, channels);
    }
    __device__ __forceinline__ Four fetch() {
        Four quad = load_four(w + at.outer * channels + at.inner, 1, exists && at.outer < taps ? channels - at.inner : 0, whole);
        at.advance(Tile<SIDE>::DEPTH);
        return quad;
    }
};

// The other way round: rows are taps and channels, k runs over positions of the window, of all images.
template <int SIDE> struct Pixels {
    typename Tile<SIDE>::Place place;
    const real* x;
    const Images& lie;
    const Taps& taps;
    int count, r, s, c;
    bool exists, whole;
    Wheels at;  // image, row and column of the position

    __device__ __forceinline__ Pixels(const real* x, const Images& lie, const Taps& taps, int first, int count, int P, int Q, index_t first_k)
        : place(Tile<SIDE>::quad_along_rows(lie.channel != 1)), x(x), lie(lie), taps(taps), count(count), at(first_k + place.k, P, Q) {
        Wheels row(first + place.row, taps.S, up_to_four(lie.channels));
        r = row.outer, s = row.middle, c = row.inner;
        exists = r < taps.R;
        whole = has_quads(x, lie);
    }
    __device__ __forceinline__ Four fetch() {
        int h = taps.start_h + at.middle * taps.stride_h + r * taps.step_h, w = taps.start_w + at.inner * taps.stride_w + s * taps.step_w;
        Four quad = pixel_quad(x + at.outer * lie.image, lie, h, w, c, exists && at.outer < count, whole);
        at.advance(Tile<SIDE>::DEPTH);
        return quad;
    }
};
