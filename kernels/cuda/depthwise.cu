// Convolution with few channels per group: each value is used a few times only, so there is nothing to gain from tiles
// in shared memory, and the time goes into reading x and writing y.  Each thread computes RUN results below each other
// in one column of one channel: a weight is read once for all of them, and what neighbours read twice is in the cache.
//
// REAL is float16, float or double.  TAPS1 x TAPS2 is the kernel where it is known, so that its loops unroll, otherwise
// 0 x 0.  CHANNELS_LAST says what lies side by side in memory, and so what neighbouring threads compute.

#include "instructions.cuh"
#include "window.cuh"

using Sum = decltype(wide(REAL()));

extern "C" __global__ void correlate(const REAL* __restrict__ x, const REAL* __restrict__ w, REAL* __restrict__ y,
                                     const Window p) {
    const Axis &rows = p.axis[1], &columns = p.axis[2];
    const int channels = p.groups * p.columns, runs = (rows.out + RUN - 1) / RUN;
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)(p.batch * channels * p.axis[0].out * runs * columns.out)) return;

    int n = item, k = 0;  // n: what is left of the item's number
    if (CHANNELS_LAST) k = split(n, p.by_channels);
    const int q = split(n, p.by_out[2]), first = split(n, p.by_runs) * RUN, o = split(n, p.by_out[0]);
    if (!CHANNELS_LAST) k = split(n, p.by_channels);
    int group = k;
    const int column = split(group, p.by_columns);

    const int taps1 = TAPS1 ? TAPS1 : rows.taps, taps2 = TAPS2 ? TAPS2 : columns.taps;
    Sum sum[RUN] = {};
    for (int c = 0; c < p.depth; ++c)
        for (int t0 = 0; t0 < p.axis[0].taps; ++t0) {
            const int i0 = o * p.axis[0].stride + t0 * p.axis[0].dilation - p.axis[0].low;
            if (!p.inside(i0, 0)) continue;
            const REAL* plane = x + (n * p.x_image + (group * p.depth + c) * p.x_channel + i0 * p.x_step[0]);
            const REAL* filter = w + (group * p.w_group + column * p.w_column + c * p.w_depth + t0 * p.w_tap[0]);
#pragma unroll 1  // a row of taps has loads enough to wait for; those of all rows would need all registers
            for (int t1 = 0; t1 < taps1; ++t1)
#pragma unroll
                for (int t2 = 0; t2 < taps2; ++t2) {
                    const Sum weight = wide(filter[t1 * p.w_tap[1] + t2 * p.w_tap[2]]);
                    const int i2 = q * columns.stride + t2 * columns.dilation - columns.low;
#pragma unroll
                    for (int r = 0; r < RUN; ++r) {
                        const int i1 = (first + r) * rows.stride + t1 * rows.dilation - rows.low;
                        if (p.inside(i1, 1) && p.inside(i2, 2))
                            sum[r] += weight * wide(plane[i1 * p.x_step[1] + i2 * p.x_step[2]]);
                    }
                }
        }

    const int at = n * p.y_image + k * p.y_channel + o * p.y_step[0] + q * p.y_step[2];
#pragma unroll
    for (int r = 0; r < RUN; ++r)
        if (first + r < rows.out) round_to(sum[r], y[at + (first + r) * p.y_step[1]]);
}

// A block sums over one slice of the pixels, for blockDim.x neighbouring filters, one input channel of their group, and
// the TAPS1 x TAPS2 taps of one plane (or one tap).  threadIdx.y shares out the pixels; the slices' results are added up
// by whoever called, in the order of the slices.
extern "C" __global__ void weight_grad(const REAL* __restrict__ x, const REAL* __restrict__ g, Sum* __restrict__ dw,
                                       const Window p) {
    __shared__ Sum sums[THREADS];
    constexpr int HEIGHT = TAPS1 ? TAPS1 : 1, WIDTH = TAPS2 ? TAPS2 : 1;
    const int k = blockIdx.x * blockDim.x + threadIdx.x, filters = p.groups * p.columns, slice = blockIdx.y;
    int rest = blockIdx.z;  // = (channel * planes + plane) * taps of a plane, where these are not known
    const int first2 = TAPS2 ? 0 : split(rest, p.by_taps[2]), first1 = TAPS1 ? 0 : split(rest, p.by_taps[1]);
    const int t0 = split(rest, p.by_taps[0]), c = rest;
    int group = k;
    const int column = split(group, p.by_columns);

    Sum sum[HEIGHT][WIDTH] = {};
    const int stop = min(p.pixels(), (slice + 1) * p.slice);
    for (int m = slice * p.slice + threadIdx.y; m < stop && k < filters; m += blockDim.y) {
        const Corner corner = p.corner(m);
        const int i0 = corner.i0 + t0 * p.axis[0].dilation;
        if (!p.inside(i0, 0)) continue;
        const Sum cotangent = wide(g[p.result(m) + k * p.y_channel]);
        const int at = corner.at + (group * p.depth + c) * p.x_channel + t0 * p.axis[0].dilation * p.x_step[0];
#pragma unroll
        for (int t1 = 0; t1 < HEIGHT; ++t1)
#pragma unroll
            for (int t2 = 0; t2 < WIDTH; ++t2) {
                const int d1 = (first1 + t1) * p.axis[1].dilation, d2 = (first2 + t2) * p.axis[2].dilation;
                if (p.inside(corner.i1 + d1, 1) && p.inside(corner.i2 + d2, 2))
                    sum[t1][t2] += cotangent * wide(x[at + d1 * p.x_step[1] + d2 * p.x_step[2]]);
            }
    }

    const int place = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int t1 = 0; t1 < HEIGHT; ++t1)
#pragma unroll
        for (int t2 = 0; t2 < WIDTH; ++t2) {
            sums[place] = sum[t1][t2];
            __syncthreads();
            for (int half = blockDim.y / 2; half > 0; half /= 2) {  // always the same pairs: always the same bits
                if (threadIdx.y < half) sums[place] += sums[place + half * blockDim.x];
                __syncthreads();
            }
            if (threadIdx.y == 0 && k < filters)
                dw[slice * p.w_slice + group * p.w_group + column * p.w_column + c * p.w_depth + t0 * p.w_tap[0] +
                   (first1 + t1) * p.w_tap[1] + (first2 + t2) * p.w_tap[2]] = sums[place];
            __syncthreads();
        }
}
