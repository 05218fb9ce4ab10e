// Unfolding and its adjoint (see reference.py). A row of the columns is a channel and a tap, (c * R + r) * S + s; a column is a position, p * Q + q.
//
// Bound by memory: im2col writes R * S elements for each that it reads (they overlap: after the first read they are in the L1 or L2 cache), col2im reads as many.
//
//     im2col    a thread takes one position of one channel, and copies the R * S elements that the filter sees there: neighbouring threads are neighbouring positions, so
//               for each tap a warp writes 128 bytes together; finding the position costs three divisions for R * S elements
//     col2im    a thread takes one element of the image, and gathers it from where its R * S copies may be, in the order of the taps: nobody else writes it, so no
//               atomic additions are needed, and the sum is the same each time
#include "device.h"

constexpr int BLOCK = 256;

struct Unfolding {
    int C, H, W, R, S, P, Q, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
};

// Positions first, ..., first + count - 1 of n = images * C * count. An image's planes lie together, images image_step apart; rows and images of the columns likewise.
extern "C" __global__ void __launch_bounds__(BLOCK)
im2col(const real* x, index_t image_step, real* columns, index_t column_image_step, index_t row_step, const Unfolding u, index_t first, index_t count, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (i >= n) return;
    index_t column = i % count, plane = i / count, c = plane % u.C, image = plane / u.C;
    int h0 = (first + column) / u.Q * u.stride_h - u.padding_h, w0 = (first + column) % u.Q * u.stride_w - u.padding_w;
    x += image * image_step + c * u.H * u.W;
    columns += image * column_image_step + c * u.R * u.S * row_step + column;
    for (int r = 0; r < u.R; ++r)
        for (int s = 0; s < u.S; ++s, columns += row_step) {
            int h = h0 + r * u.dilation_h, w = w0 + s * u.dilation_w;
            bool inside = 0 <= h && h < u.H && 0 <= w && w < u.W;
            *columns = inside ? x[static_cast<index_t>(h) * u.W + w] : real(0);
        }
}

// All positions; n = images * C * H * W elements of x.
extern "C" __global__ void __launch_bounds__(BLOCK)
col2im(const real* columns, real* x, index_t image_step, const Unfolding u, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (i >= n) return;
    int w = i % u.W, h = i / u.W % u.H;
    index_t plane = i / u.W / u.H, positions = static_cast<index_t>(u.P) * u.Q;
    columns += plane * u.R * u.S * positions;
    real sum = 0;
    for (int r = 0; r < u.R; ++r) {
        int down = h + u.padding_h - r * u.dilation_h, p = down / u.stride_h;
        if (down < 0 || down % u.stride_h || p >= u.P) continue;
        for (int s = 0; s < u.S; ++s) {
            int across = w + u.padding_w - s * u.dilation_w, q = across / u.stride_w;
            if (across < 0 || across % u.stride_w || q >= u.Q) continue;
            sum += columns[(static_cast<index_t>(r) * u.S + s) * positions + static_cast<index_t>(p) * u.Q + q];
        }
    }
    x[plane / u.C * image_step + plane % u.C * u.H * u.W + static_cast<index_t>(h) * u.W + w] = sum;
}
