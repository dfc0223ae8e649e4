// Batch norm: statistics of each channel, what follows from them, and the passes over all elements before and after.
//
// Sums over a channel are taken in two stages, both in a fixed order: a block adds up a slice of the elements, a second
// kernel puts the slices together in float64.

#include "channels.cuh"

constexpr int FINAL_LANES = 8, FINAL_ROWS = THREADS / FINAL_LANES;

// partial (slices, 4, C): how many, a value of the slice, the mean beyond that value, the squares about the mean.
extern "C" __global__ void moments(const STORED* __restrict__ x, REAL* __restrict__ partial, const Layout p) {
    __shared__ Moments<REAL> together[THREADS];
    const Share mine(p);
    REAL near = 0;  // a large mean costs no digits: differences from one of the values are added up
    if (mine.end > 0) near = wide(x[p.at(mine.channel, (int)blockIdx.y * p.slice)]);
    const auto beyond = [&](int i) { return wide(x[p.at(mine.channel, i)]) - near; };
    const Moments<REAL> own = tree(moments_of(mine.begin, mine.end, ROWS, beyond), together, LANES);
    if (mine.row == 0 && mine.channel < p.channels()) {
        REAL* to = partial + (int)blockIdx.y * 4 * p.channels() + mine.channel;
        to[0] = own.count, to[p.channels()] = near, to[2 * p.channels()] = own.mean, to[3 * p.channels()] = own.square;
    }
}

// What a channel is multiplied with, in every kernel alike.
__device__ inline REAL slope_of(REAL variance, REAL eps, const REAL* weight, int channel) {
    const REAL scale = 1 / root(variance + eps);
    return weight ? scale * weight[channel] : scale;
}

extern "C" __global__ void statistics(const REAL* __restrict__ partial, const REAL* __restrict__ weight,
                                      REAL* __restrict__ mean, REAL* __restrict__ variance, REAL* __restrict__ scale,
                                      REAL eps, const Layout p) {
    __shared__ Moments<double> together[THREADS];
    const int channel = blockIdx.x * FINAL_LANES + threadIdx.x % FINAL_LANES, row = threadIdx.x / FINAL_LANES;
    Moments<double> own = {0, 0, 0};
    if (channel < p.channels())
        for (int s = row; s < p.slices; s += FINAL_ROWS) {
            const REAL* from = partial + s * 4 * p.channels() + channel;
            const double centre = (double)from[p.channels()] + from[2 * p.channels()];
            own = merged(own, Moments<double>{from[0], centre, from[3 * p.channels()]});
        }
    own = tree(own, together, FINAL_LANES);
    if (row > 0 || channel >= p.channels()) return;
    mean[channel] = own.mean;
    variance[channel] = own.square / own.count;
    scale[channel] = slope_of(variance[channel], eps, weight, channel);
}

// (x - mean) scale + shift, one rounding at the end: also what decides in the backward pass where ReLU was flat.
__device__ inline REAL normal(REAL x, REAL mean, REAL scale, REAL shift) {
    return fused(x - mean, scale, shift);
}

// Whether ReLU that ends at the ceiling has a slope; where that is infinite (minus itself NaN), above 0 everywhere.
__device__ inline bool rises(REAL value, REAL ceiling) {
    return value > 0 && (value < ceiling || ceiling - ceiling != 0);
}

// The number that is stored in place of one that was computed.
__device__ inline REAL as_stored(REAL computed) {
    STORED rounded;
    round_to(computed, rounded);
    return wide(rounded);
}

// y = (x - mean) scale + shift + added, and ReLU of it that ends at the ceiling, unless that is negative; what is
// absent counts as 0.
extern "C" __global__ void normalise(const STORED* __restrict__ x, const REAL* __restrict__ mean,
                                     const REAL* __restrict__ scale, const REAL* __restrict__ shift,
                                     const STORED* __restrict__ added, STORED* __restrict__ y, REAL ceiling, int items,
                                     const Layout p) {
    const unsigned first = blockIdx.x * (4 * THREADS) + threadIdx.x;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const unsigned i = first + k * THREADS;
        if (i >= (unsigned)items) return;
        const int c = p.channel_of(i);
        REAL value = normal(wide(x[i]), or_zero(mean, c), scale[c], or_zero(shift, c));
        if (added) value += wide(added[i]);
        if (ceiling >= 0) value = value <= 0 ? 0 : value >= ceiling ? ceiling : value;  // NaN stays
        round_to(value, y[i]);
    }
}

// partial (slices, 2, C): sums of g and of g (x - mean).  MASK: 0 all of g counts; 1 only where ReLU of the normal form
// of x, which is computed again, was not flat; 2 only where it was not by y, and what counts goes to `kept` as well.
extern "C" __global__ void sums(const STORED* __restrict__ g, const STORED* __restrict__ x, const REAL* __restrict__ mean,
                                const REAL* __restrict__ variance, const REAL* __restrict__ weight,
                                const REAL* __restrict__ bias, const STORED* __restrict__ y, STORED* __restrict__ kept,
                                REAL* __restrict__ partial, REAL eps, int mask, REAL ceiling, const Layout p) {
    __shared__ Pair<REAL> together[THREADS];
    const Share mine(p);
    REAL plain = 0, product = 0;
    if (mine.end > 0) {
        const REAL centre = or_zero(mean, mine.channel), shift = or_zero(bias, mine.channel);
        const REAL scale = mask == 1 ? slope_of(variance[mine.channel], eps, weight, mine.channel) : 0;
#pragma unroll 4
        for (int i = mine.begin; i < mine.end; i += ROWS) {
            const int at = p.at(mine.channel, i);
            const REAL value = wide(x[at]);
            REAL slope = wide(g[at]);
            if (mask == 1 && !rises(as_stored(normal(value, centre, scale, shift)), ceiling)) slope = 0;
            if (mask == 2) {
                if (!rises(wide(y[at]), ceiling)) slope = 0;
                round_to(slope, kept[at]);
            }
            plain += slope;
            product += slope * (value - centre);
        }
    }
    const Pair<REAL> total = tree(Pair<REAL>{plain, product}, together, LANES);
    if (mine.row == 0 && mine.channel < p.channels()) {
        REAL* to = partial + (int)blockIdx.y * 2 * p.channels() + mine.channel;
        to[0] = total.plain, to[p.channels()] = total.product;
    }
}

// Gradients of weight and bias, and how dx follows: factors (3, C) of g and of x - mean, and a constant.
// Without variance the sums are the gradients (of a scale and a shift), and no factors are asked for.
extern "C" __global__ void slopes(const REAL* __restrict__ partial, const REAL* __restrict__ variance,
                                  const REAL* __restrict__ weight, REAL* __restrict__ dweight,
                                  REAL* __restrict__ dbias, REAL* __restrict__ factors, REAL eps, const Layout p) {
    __shared__ Pair<double> together[THREADS];
    const int channel = blockIdx.x * FINAL_LANES + threadIdx.x % FINAL_LANES, row = threadIdx.x / FINAL_LANES;
    Pair<double> own = {0, 0};
    if (channel < p.channels())
        for (int s = row; s < p.slices; s += FINAL_ROWS) {
            own.plain += partial[s * 2 * p.channels() + channel];
            own.product += partial[(s * 2 + 1) * p.channels() + channel];
        }
    own = tree(own, together, FINAL_LANES);
    if (row > 0 || channel >= p.channels()) return;
    dbias[channel] = own.plain;
    if (!variance) {
        dweight[channel] = own.product;
        return;
    }
    const REAL slope = slope_of(variance[channel], eps, weight, channel);
    const double scale = slope_of(variance[channel], eps, 0, channel);
    dweight[channel] = own.product * scale;
    factors[channel] = slope;
    factors[p.channels() + channel] = -slope * scale * scale * (own.product / p.count);
    factors[2 * p.channels() + channel] = -slope * (own.plain / p.count);
}

// dx = g of_g + (x - mean) of_x + constant, of the g that the mask (0 or 1, see `sums`) lets count.
extern "C" __global__ void combine(const STORED* __restrict__ g, const STORED* __restrict__ x,
                                   const REAL* __restrict__ mean, const REAL* __restrict__ bias,
                                   const REAL* __restrict__ factors, STORED* __restrict__ dx, int mask, REAL ceiling,
                                   int items, const Layout p) {
    const unsigned first = blockIdx.x * (4 * THREADS) + threadIdx.x;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const unsigned i = first + k * THREADS;
        if (i >= (unsigned)items) return;
        const int c = p.channel_of(i);
        const REAL of_g = factors[c], value = wide(x[i]);
        REAL slope = wide(g[i]);
        if (mask && !rises(as_stored(normal(value, mean[c], of_g, or_zero(bias, c))), ceiling)) slope = 0;
        const REAL of_x = (value - mean[c]) * factors[p.channels() + c];
        round_to(slope * of_g + (of_x + factors[2 * p.channels() + c]), dx[i]);
    }
}

// Both running statistics move towards those of the batch; `unbiased` turns its variance into the unbiased one.
extern "C" __global__ void track(REAL* __restrict__ running_mean, REAL* __restrict__ running_variance,
                                 const REAL* __restrict__ mean, const REAL* __restrict__ variance, REAL unbiased,
                                 REAL momentum, int channels) {
    const int c = blockIdx.x * THREADS + threadIdx.x;
    if (c >= channels) return;
    running_mean[c] += (mean[c] - running_mean[c]) * momentum;
    running_variance[c] += (variance[c] * unbiased - running_variance[c]) * momentum;
}
