// How the kernels of norms go over the elements of a channel, and how they add up.
//
// x is stored as STORED (float16, float or double); sums, statistics and parameters are REAL, which is float for
// float16.  Arrays are (N, C, positions) in memory, or (N, positions, C) with CHANNELS_LAST; their elements are counted
// in 32 bits.

#pragma once

#include "instructions.cuh"
#include "real.cuh"
#include "window.cuh"

constexpr int LANES = CHANNELS_LAST ? 32 : 1;  // channels of a block, side by side in memory
constexpr int ROWS = THREADS / LANES;          // threads that share a channel's slice
constexpr int RUN = 8;                         // elements that a thread reads before it adds them up

struct Layout {
    int count, slice, slices;  // elements of a channel, of a slice of it, and slices
    Divider by_run, by_channels;

    __device__ int channels() const { return by_channels.divisor; }

    __device__ int at(int channel, int i) const {  // where element i of a channel lies
        if (CHANNELS_LAST) return i * channels() + channel;
        const int position = split(i, by_run);  // i becomes the image
        return (i * channels() + channel) * by_run.divisor + position;
    }

    __device__ int image_of(int i) const {  // of element i of a channel
        split(i, by_run);
        return i;
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

// Of value(begin), value(begin + step), ... before `end`.
template <class F> __device__ inline Moments<REAL> moments_of(int begin, int end, int step, F value) {
    Moments<REAL> own = {0, 0, 0};
    for (int i = begin; i < end; i += RUN * step) {
        REAL values[RUN], sum = 0, square = 0;
        int here = 0;
#pragma unroll
        for (int k = 0; k < RUN; ++k) {
            const int j = i + k * step;
            values[k] = j < end ? value(j) : 0;
            sum += values[k];
            here += j < end;
        }
        const REAL mean = sum / here;
#pragma unroll
        for (int k = 0; k < RUN; ++k)
            if (k < here) square += (values[k] - mean) * (values[k] - mean);
        own = merged(own, Moments<REAL>{(REAL)here, mean, square});
    }
    return own;
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

__device__ inline REAL or_zero(const REAL* values, int i) {
    return values ? values[i] : 0;
}
