// Convolution as it is defined, one sum after the other: the twin that the fast kernels are read and tested against.
// REAL is float16, float or double.

#include "instructions.cuh"
#include "window.cuh"

using Sum = decltype(wide(REAL()));

// y[n, k, p] = sum over c and t of x[n, c, p * stride + t * dilation - low] * w[k, c, t]; each thread computes one.
extern "C" __global__ void correlate(const REAL* __restrict__ x, const REAL* __restrict__ w, REAL* __restrict__ y,
                                     const Window p) {
    const int channels = p.groups * p.columns;
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)(p.pixels() * channels)) return;
    const int m = item % p.pixels(), k = item / p.pixels();
    const int group = k / p.columns, column = k % p.columns;
    const Corner corner = p.corner(m);

    Sum sum = 0;
    for (int c = 0; c < p.depth; ++c)
        for (int t0 = 0; t0 < p.axis[0].taps; ++t0)
            for (int t1 = 0; t1 < p.axis[1].taps; ++t1)
                for (int t2 = 0; t2 < p.axis[2].taps; ++t2) {
                    const int i0 = corner.i0 + t0 * p.axis[0].dilation;
                    const int i1 = corner.i1 + t1 * p.axis[1].dilation;
                    const int i2 = corner.i2 + t2 * p.axis[2].dilation;
                    if (!p.inside(i0, 0) || !p.inside(i1, 1) || !p.inside(i2, 2)) continue;  // padding
                    const int x_at = corner.at + (group * p.depth + c) * p.x_channel +
                                     t0 * p.axis[0].dilation * p.x_step[0] + t1 * p.axis[1].dilation * p.x_step[1] +
                                     t2 * p.axis[2].dilation * p.x_step[2];
                    const int w_at = group * p.w_group + column * p.w_column + c * p.w_depth + t0 * p.w_tap[0] +
                                     t1 * p.w_tap[1] + t2 * p.w_tap[2];
                    sum += wide(x[x_at]) * wide(w[w_at]);
                }
    round_to(sum, y[p.result(m) + k * p.y_channel]);
}

// dw[k, c, t] = sum over n and p of g[n, k, p] * x[n, c, p * stride + t * dilation - low]; each block computes one.
// Its threads share the pixels out and add up their sums in pairs, always the same ones: the same bits in every run.
extern "C" __global__ void weight_grad(const REAL* __restrict__ x, const REAL* __restrict__ g, REAL* __restrict__ dw,
                                       const Window p) {
    __shared__ Sum sums[THREADS];
    const int terms = p.taps() * p.depth, term = blockIdx.x % terms, k = blockIdx.x / terms;
    const int group = k / p.columns;
    const Tap tap = p.tap(term);

    Sum sum = 0;
    for (int m = threadIdx.x; m < p.pixels(); m += THREADS) {
        const Corner corner = p.corner(m);
        if (p.inside(corner, tap))
            sum += wide(g[p.result(m) + k * p.y_channel]) *
                   wide(x[corner.at + group * p.depth * p.x_channel + tap.at]);
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) round_to(sums[0], dw[group * p.w_group + k % p.columns * p.w_column + p.weight(term)]);
}
