// Updates of parameters by their gradients: all parameters of an optimiser in one launch, however small.
//
// A block takes a share, PIECE elements of one parameter at most.  What it needs to know stands in tables: addresses of
// the parameter, its gradient and its state, and a row of numbers.  Each rule is that of kernels/cpu/optim.py, operation
// by operation; compiled without fused multiply-adds it gives the same bits as the definition.

#include "real.cuh"

struct Entry {
    REAL *p, *g, *a, *b, *c;
};

struct Share {
    long long parameter, first, count;
};

enum Flag { MAXIMIZE = 1, DECAY = 2, MOMENTUM = 4, NESTEROV = 8, DECOUPLED = 16, AMSGRAD = 32, CENTERED = 64 };

// f(i, entry) for each element of the block's share.
template <class F> __device__ inline void each(const Entry* entries, const Share* shares, F f) {
    const Share share = shares[blockIdx.x];
    Entry entry = entries[share.parameter];
    entry.p += share.first, entry.g += share.first;
    if (entry.a) entry.a += share.first;
    if (entry.b) entry.b += share.first;
    if (entry.c) entry.c += share.first;
    const int count = (int)share.count;
#pragma unroll 4
    for (int i = threadIdx.x; i < count; i += THREADS) f(i, entry);
}

// Number n of the parameter that the block has a share of.
__device__ inline REAL number(const double* numbers, int width, const Share* shares, int n) {
    return (REAL)numbers[shares[blockIdx.x].parameter * width + n];
}

// The gradient, turned round to maximise, with that of the penalty.
__device__ inline REAL slope_of(REAL p, REAL g, REAL decay, int flags) {
    if (flags & MAXIMIZE) g = -g;
    if (flags & DECAY) g = g + decay * p;
    return g;
}

extern "C" __global__ void sgd(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                               const double* __restrict__ numbers, int width, int flags) {
    const REAL lr = number(numbers, width, shares, 0), decay = number(numbers, width, shares, 1);
    const REAL momentum = number(numbers, width, shares, 2), kept = number(numbers, width, shares, 3);
    const REAL taken = number(numbers, width, shares, 4);
    each(entries, shares, [&](int i, const Entry& e) {
        REAL d = slope_of(e.p[i], e.g[i], decay, flags);
        if (flags & MOMENTUM) {
            const REAL v = e.a[i] * kept + taken * d;
            e.a[i] = v;
            d = flags & NESTEROV ? d + momentum * v : v;
        }
        e.p[i] -= lr * d;
    });
}

extern "C" __global__ void adagrad(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                                   const double* __restrict__ numbers, int width, int flags) {
    const REAL lr = number(numbers, width, shares, 0), decay = number(numbers, width, shares, 1);
    const REAL eps = number(numbers, width, shares, 2);
    each(entries, shares, [&](int i, const Entry& e) {
        const REAL d = slope_of(e.p[i], e.g[i], decay, flags), square = e.a[i] + d * d;
        e.a[i] = square;
        e.p[i] -= lr * d / (root(square) + eps);
    });
}

extern "C" __global__ void rmsprop(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                                   const double* __restrict__ numbers, int width, int flags) {
    const REAL lr = number(numbers, width, shares, 0), decay = number(numbers, width, shares, 1);
    const REAL alpha = number(numbers, width, shares, 2), rest = number(numbers, width, shares, 3);
    const REAL eps = number(numbers, width, shares, 4), momentum = number(numbers, width, shares, 5);
    each(entries, shares, [&](int i, const Entry& e) {
        const REAL d = slope_of(e.p[i], e.g[i], decay, flags);
        REAL spread = e.a[i] = e.a[i] * alpha + rest * (d * d);
        if (flags & CENTERED) {
            const REAL mean = e.c[i] = e.c[i] * alpha + rest * d;
            spread = spread - mean * mean;
        }
        REAL step = d / (root(spread) + eps);
        if (flags & MOMENTUM) step = e.b[i] = e.b[i] * momentum + step;
        e.p[i] -= lr * step;
    });
}

extern "C" __global__ void adam(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                                const double* __restrict__ numbers, int width, int flags) {
    const REAL lr = number(numbers, width, shares, 0), decay = number(numbers, width, shares, 1);
    const REAL beta1 = number(numbers, width, shares, 2), rest1 = number(numbers, width, shares, 3);
    const REAL beta2 = number(numbers, width, shares, 4), rest2 = number(numbers, width, shares, 5);
    const REAL correction = number(numbers, width, shares, 6), eps = number(numbers, width, shares, 7);
    each(entries, shares, [&](int i, const Entry& e) {
        const REAL q = flags & DECOUPLED ? e.p[i] * decay : e.p[i];  // decay is 1 - lr weight_decay then
        const REAL d = slope_of(q, e.g[i], decay, flags);
        const REAL m = e.a[i] * beta1 + rest1 * d, v = e.b[i] * beta2 + rest2 * (d * d);
        e.a[i] = m, e.b[i] = v;
        REAL square = v;
        if (flags & AMSGRAD) {
            const REAL before = e.c[i];
            square = square > before || square != square ? square : before;  // NaN stays
            e.c[i] = square;
        }
        e.p[i] = q - lr * (m / (root(square) / correction + eps));
    });
}

// Multiplies all gradients with a factor.
extern "C" __global__ void scale(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                                 const double* __restrict__ factor) {
    const REAL by = (REAL)*factor;
    each(entries, shares, [&](int i, const Entry& e) { e.g[i] *= by; });
}

// The sum of the squares of each share: NaN or infinite where a gradient is.
extern "C" __global__ void squares(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                                   double* __restrict__ sums) {
    __shared__ double together[THREADS];
    double own = 0;
    each(entries, shares, [&](int i, const Entry& e) { own += (double)e.g[i] * e.g[i]; });
    together[threadIdx.x] = own;
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half) together[threadIdx.x] += together[threadIdx.x + half];
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = together[0];
}
