// Updates of parameters by their gradients: all parameters of an optimiser in one launch, however small.
//
// A block takes a share, PIECE elements of one parameter at most.  What it needs to know stands in tables: addresses of
// the parameter, its gradient and its state, and a row of numbers.  Each rule is that of kernels/cpu/optim.py, step by
// step; compiled without fused multiply-adds it gives the same bits as the definition.

#include "real.cuh"

struct Entry {
    REAL *p, *g, *a, *b, *c;
};

struct Share {
    long long parameter, first, count;
};

enum Flag { MAXIMIZE = 1, DECAY = 2, MOMENTUM = 4, NESTEROV = 8, DECOUPLED = 16, AMSGRAD = 32, CENTERED = 64 };

struct Element {
    REAL p, g, a, b, c;
};

enum Part { P = 1, G = 2, A = 4, B = 8, C = 16 };

// f(element) for each element of the block's share.  A thread reads four before it writes one, so that enough reads are
// on their way.  `used`: the parts that are read; `changed`: those that are written back.
template <class F>
__device__ inline void each(const Entry* entries, const Share* shares, int used, int changed, F f) {
    const Share share = shares[blockIdx.x];
    Entry entry = entries[share.parameter];
    entry.p += share.first, entry.g += share.first;
    if (used & A) entry.a += share.first;
    if (used & B) entry.b += share.first;
    if (used & C) entry.c += share.first;
    const int count = (int)share.count;
    for (int first = threadIdx.x; first < count; first += 4 * THREADS) {
        Element e[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const int i = first + k * THREADS;
            if (i >= count) continue;
            e[k].g = entry.g[i];
            if (used & P) e[k].p = entry.p[i];
            if (used & A) e[k].a = entry.a[i];
            if (used & B) e[k].b = entry.b[i];
            if (used & C) e[k].c = entry.c[i];
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const int i = first + k * THREADS;
            if (i >= count) continue;
            f(e[k]);
            if (changed & G) entry.g[i] = e[k].g;
            if (changed & P) entry.p[i] = e[k].p;
            if (changed & A) entry.a[i] = e[k].a;
            if (changed & B) entry.b[i] = e[k].b;
            if (changed & C) entry.c[i] = e[k].c;
        }
    }
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
    const int state = flags & MOMENTUM ? A : 0;
    each(entries, shares, P | state, P | state, [&](Element& e) {
        REAL d = slope_of(e.p, e.g, decay, flags);
        if (flags & MOMENTUM) {
            e.a = e.a * kept + taken * d;
            d = flags & NESTEROV ? d + momentum * e.a : e.a;
        }
        e.p -= lr * d;
    });
}

extern "C" __global__ void adagrad(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                                   const double* __restrict__ numbers, int width, int flags) {
    const REAL lr = number(numbers, width, shares, 0), decay = number(numbers, width, shares, 1);
    const REAL eps = number(numbers, width, shares, 2);
    each(entries, shares, P | A, P | A, [&](Element& e) {
        const REAL d = slope_of(e.p, e.g, decay, flags);
        e.a += d * d;
        e.p -= lr * d / (root(e.a) + eps);
    });
}

extern "C" __global__ void rmsprop(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                                   const double* __restrict__ numbers, int width, int flags) {
    const REAL lr = number(numbers, width, shares, 0), decay = number(numbers, width, shares, 1);
    const REAL alpha = number(numbers, width, shares, 2), rest = number(numbers, width, shares, 3);
    const REAL eps = number(numbers, width, shares, 4), momentum = number(numbers, width, shares, 5);
    const int parts = P | A | (flags & MOMENTUM ? B : 0) | (flags & CENTERED ? C : 0);
    each(entries, shares, parts, parts, [&](Element& e) {
        const REAL d = slope_of(e.p, e.g, decay, flags);
        e.a = e.a * alpha + rest * (d * d);
        REAL spread = e.a;
        if (flags & CENTERED) {
            e.c = e.c * alpha + rest * d;
            spread = spread - e.c * e.c;
        }
        REAL step = d / (root(spread) + eps);
        if (flags & MOMENTUM) step = e.b = e.b * momentum + step;
        e.p -= lr * step;
    });
}

extern "C" __global__ void adadelta(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                                    const double* __restrict__ numbers, int width, int flags) {
    const REAL lr = number(numbers, width, shares, 0), decay = number(numbers, width, shares, 1);
    const REAL rho = number(numbers, width, shares, 2), rest = number(numbers, width, shares, 3);
    const REAL eps = number(numbers, width, shares, 4);
    each(entries, shares, P | A | B, P | A | B, [&](Element& e) {
        const REAL d = slope_of(e.p, e.g, decay, flags);
        e.a = e.a * rho + rest * (d * d);
        const REAL step = root(e.b + eps) / root(e.a + eps) * d;
        e.b = e.b * rho + rest * (step * step);
        e.p -= lr * step;
    });
}

extern "C" __global__ void adam(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                                const double* __restrict__ numbers, int width, int flags) {
    const REAL lr = number(numbers, width, shares, 0), decay = number(numbers, width, shares, 1);
    const REAL beta1 = number(numbers, width, shares, 2), rest1 = number(numbers, width, shares, 3);
    const REAL beta2 = number(numbers, width, shares, 4), rest2 = number(numbers, width, shares, 5);
    const REAL correction = number(numbers, width, shares, 6), eps = number(numbers, width, shares, 7);
    const int parts = P | A | B | (flags & AMSGRAD ? C : 0);
    each(entries, shares, parts, parts, [&](Element& e) {
        const REAL q = flags & DECOUPLED ? e.p * decay : e.p;  // decay is 1 - lr weight_decay then
        const REAL d = slope_of(q, e.g, decay, flags);
        e.a = e.a * beta1 + rest1 * d;
        e.b = e.b * beta2 + rest2 * (d * d);
        REAL square = e.b;
        if (flags & AMSGRAD) e.c = square = square > e.c || square != square ? square : e.c;  // NaN stays
        e.p = q - lr * (e.a / (root(square) / correction + eps));
    });
}

// Multiplies all gradients with a factor.
extern "C" __global__ void scale(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                                 const double* __restrict__ factor) {
    const REAL by = (REAL)*factor;
    each(entries, shares, 0, G, [&](Element& e) { e.g *= by; });
}

// The sum of the squares of each share: NaN or infinite where a gradient is.
extern "C" __global__ void squares(const Entry* __restrict__ entries, const Share* __restrict__ shares,
                                   double* __restrict__ sums) {
    __shared__ double together[THREADS];
    double own = 0;
    each(entries, shares, 0, 0, [&](const Element& e) { own += (double)e.g * e.g; });
    together[threadIdx.x] = own;
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half) together[threadIdx.x] += together[threadIdx.x + half];
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = together[0];
}
