// A convolution that somebody brings to `tinycnn bench conv --device cuda --kernel direct.cu:direct`: a thread for each output, the definition in three loops.
//
// FLOPs: 2 C R S for each output. Neighbouring threads compute neighbours in a row, so their reads of x lie beside each other; a filter's weights are the same for a whole
// block, and come from the cache. Nothing is reused from registers or shared memory: that is what to do next (docs/gpu.md, kernels/conv/implicit.cu).
//
// How it is launched; the names are those of the problem, and those of the parameters say what each is given:
// grid direct: blocks(Q, 32), blocks(P, 8), N * K
// block direct: 32, 8
// needs direct: G == 1
#include "device.h"

extern "C" __global__ void __launch_bounds__(256) direct(const float* x, const float* w, const float* bias, float* y, int C, int H, int W, int K, int R, int S, int P, int Q,
                                                         int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w) {
    int q = blockIdx.x * blockDim.x + threadIdx.x, p = blockIdx.y * blockDim.y + threadIdx.y, n = blockIdx.z / K, k = blockIdx.z % K;
    if (p >= P || q >= Q) return;
    float sum = bias ? bias[k] : 0.0f;
    for (int c = 0; c < C; ++c)
        for (int r = 0; r < R; ++r)
            for (int s = 0; s < S; ++s) {
                int h = p * stride_h + r * dilation_h - padding_h, v = q * stride_w + s * dilation_w - padding_w;
                if (0 <= h && h < H && 0 <= v && v < W) sum += x[((n * C + c) * H + h) * W + v] * w[((k * C + c) * R + r) * S + s];
            }
    y[((n * K + k) * P + p) * Q + q] = sum;
}

/* check
from tinycnn.kernels.conv import reference
from tinycnn.kernels.conv.geometry import Geometry
N, C, H, W, K, R, S = 2, 3, 9, 35, 4, 3, 5
P, Q = 5, 33
x, w, bias, y = random(N, C, H, W), random(K, C, R, S), random(K), empty(N, K, P, Q)
launch("direct", (blocks(Q, 32), blocks(P, 8), N * K), (32, 8), x, w, bias, y, C, H, W, K, R, S, P, Q, 2, 1, 1, 1, 1, 1)
expect(y, reference.forward(x, w, bias, Geometry(stride=(2, 1), padding=(1, 1))), atol=1e-5)
*/
