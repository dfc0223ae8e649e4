// Batch norm: statistics of each channel, what follows from them, and the passes over all elements before and after.
//
// Sums over a channel are taken in two stages, both in a fixed order: a block adds up a slice of the elements, a second
// kernel puts the slices together in float64.  Arrays are (N, C, positions) in memory, or (N, positions, C)
// with CHANNELS_LAST; their elements are counted in 32 bits.

#include "real.cuh"
#include "window.cuh"

constexpr int LANES = CHANNELS_LAST ? 32 : 1;  // channels of a block, side by side in memory
constexpr int ROWS = THREADS / LANES;          // threads that share a channel's slice
constexpr int RUN = 8;                         // elements that a thread reads before it adds them up
constexpr int FINAL_LANES = 8, FINAL_ROWS = THREADS / FINAL_LANES;

struct Layout {
    int count, slice, slices;  // elements of a channel, of a slice of it, and slices
    Divider by_run, by_channels;

    __device__ int channels() const { return by_channels.divisor; }

    __device__ int at(int channel, int i) const {  // where element i of a channel lies
        if (CHANNELS_LAST) return i * channels() + channel;
        const int position = split(i, by_run);  // i becomes the image
        return (i * channels() + channel) * by_run.divisor + position;
    }

    __device__ int channel_of(int at) const {
        if (!CHANNELS_LAST) split(at, by_run);
        return split(at, by_channels);
    }
};

struct Share {  // what a thread of the first stage adds up: elements begin, begin + ROWS, ... of its channel
    int channel, row, begin, end;

    __device__ Share(const Layout& p) {
        channel = blockIdx.x * LANES + threadIdx.x % LANES;
        row = threadIdx.x / LANES;
        const int first = (int)blockIdx.y * p.slice;
        begin = first + row;
        end = channel < p.channels() ? min(p.count, first + p.slice) : 0;
    }
};

template <class T> struct Moments {
    T count, mean, square;  // square: sum of squares about the mean
};

// Of two sets together: Chan, Golub and LeVeque 1979, equation 2.1.
template <class T> __device__ inline Moments<T> merged(const Moments<T>& a, const Moments<T>& b) {
    const T count = a.count + b.count;
    if (count == 0) return a;
    const T apart = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + apart * share, a.square + b.square + apart * apart * (a.count * share)};
}

template <class T> struct Pair {
    T plain, product;
};

template <class T> __device__ inline Pair<T> merged(const Pair<T>& a, const Pair<T>& b) {
    return {a.plain + b.plain, a.product + b.product};
}

// Merges what the threads of a column (every lanes-th) have, in a tree; the first of them has the result.
template <class T> __device__ inline T tree(T own, T* kept, int lanes) {
    const int t = threadIdx.x;
    kept[t] = own;
    for (int half = THREADS / 2; half >= lanes; half /= 2) {
        __syncthreads();
        if (t < half) kept[t] = own = merged(own, kept[t + half]);
    }
    return own;
}

// partial (slices, 4, C): how many, a value of the slice, the mean beyond that value, the squares about the mean.
extern "C" __global__ void moments(const REAL* __restrict__ x, REAL* __restrict__ partial, const Layout p) {
    __shared__ Moments<REAL> together[THREADS];
    const Share mine(p);
    Moments<REAL> own = {0, 0, 0};
    REAL near = 0;  // a large mean costs no digits: differences from one of the values are added up
    if (mine.end > 0) near = x[p.at(mine.channel, (int)blockIdx.y * p.slice)];
    for (int i = mine.begin; i < mine.end; i += RUN * ROWS) {
        REAL value[RUN], sum = 0, square = 0;
        int here = 0;
#pragma unroll
        for (int k = 0; k < RUN; ++k) {
            const int j = i + k * ROWS;
            value[k] = j < mine.end ? x[p.at(mine.channel, j)] - near : 0;
            sum += value[k];
            here += j < mine.end;
        }
        const REAL mean = sum / here;
#pragma unroll
        for (int k = 0; k < RUN; ++k)
            if (k < here) square += (value[k] - mean) * (value[k] - mean);
        own = merged(own, Moments<REAL>{(REAL)here, mean, square});
    }
    own = tree(own, together, LANES);
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

// Whether ReLU that ends at the ceiling has a slope.
__device__ inline bool rises(REAL value, REAL ceiling) { return value > 0 && !(value >= ceiling); }

__device__ inline REAL or_zero(const REAL* values, int i) {
    return values ? values[i] : 0;
}

// y = (x - mean) scale + shift + added, and ReLU of it that ends at the ceiling, unless that is negative; what is
// absent counts as 0.
extern "C" __global__ void normalise(const REAL* __restrict__ x, const REAL* __restrict__ mean,
                                     const REAL* __restrict__ scale, const REAL* __restrict__ shift,
                                     const REAL* __restrict__ added, REAL* __restrict__ y, REAL ceiling, int items,
                                     const Layout p) {
    const unsigned first = blockIdx.x * (4 * THREADS) + threadIdx.x;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const unsigned i = first + k * THREADS;
        if (i >= (unsigned)items) return;
        const int c = p.channel_of(i);
        REAL value = normal(x[i], or_zero(mean, c), scale[c], or_zero(shift, c));
        if (added) value += added[i];
        if (ceiling >= 0) value = value <= 0 ? 0 : value >= ceiling ? ceiling : value;  // NaN stays
        y[i] = value;
    }
}

// partial (slices, 2, C): sums of g and of g (x - mean).  MASK: 0 all of g counts; 1 only where ReLU of the normal form
// of x, which is computed again, was not flat; 2 only where it was not by y, and what counts goes to `kept` as well.
extern "C" __global__ void sums(const REAL* __restrict__ g, const REAL* __restrict__ x, const REAL* __restrict__ mean,
                                const REAL* __restrict__ variance, const REAL* __restrict__ weight,
                                const REAL* __restrict__ bias, const REAL* __restrict__ y, REAL* __restrict__ kept,
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
            const REAL value = x[at];
            REAL slope = g[at];
            if (mask == 1 && !rises(normal(value, centre, scale, shift), ceiling)) slope = 0;
            if (mask == 2) {
                if (!rises(y[at], ceiling)) slope = 0;
                kept[at] = slope;
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
extern "C" __global__ void combine(const REAL* __restrict__ g, const REAL* __restrict__ x,
                                   const REAL* __restrict__ mean, const REAL* __restrict__ bias,
                                   const REAL* __restrict__ factors,
                                   REAL* __restrict__ dx, int mask, REAL ceiling, int items, const Layout p) {
    const unsigned first = blockIdx.x * (4 * THREADS) + threadIdx.x;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const unsigned i = first + k * THREADS;
        if (i >= (unsigned)items) return;
        const int c = p.channel_of(i);
        const REAL of_g = factors[c], value = x[i];
        REAL slope = g[i];
        if (mask && !rises(normal(value, mean[c], of_g, or_zero(bias, c)), ceiling)) slope = 0;
        dx[i] = slope * of_g + ((value - mean[c]) * factors[p.channels() + c] + factors[2 * p.channels() + c]);
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
