// Element by element: what would be several passes over memory in whole-array operations.  One thread for four elements.

template <class F> __device__ inline void each(REAL* __restrict__ y, int items, F f) {
    const unsigned first = blockIdx.x * (4 * THREADS) + threadIdx.x;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const unsigned i = first + k * THREADS;
        if (i < (unsigned)items) y[i] = f(i);
    }
}

extern "C" __global__ void relu_grad(const REAL* __restrict__ g, const REAL* __restrict__ y, REAL* __restrict__ dx,
                                     REAL, REAL, int items) {
    each(dx, items, [&](unsigned i) { return y[i] > 0 ? g[i] : REAL(0); });
}

extern "C" __global__ void leaky_relu(const REAL* __restrict__ x, const REAL*, REAL* __restrict__ y, REAL slope, REAL,
                                      int items) {
    each(y, items, [&](unsigned i) { return x[i] > 0 ? x[i] : x[i] * slope; });
}

extern "C" __global__ void leaky_relu_grad(const REAL* __restrict__ g, const REAL* __restrict__ x,
                                           REAL* __restrict__ dx, REAL slope, REAL, int items) {
    each(dx, items, [&](unsigned i) { return x[i] > 0 ? g[i] : g[i] * slope; });
}

extern "C" __global__ void clip_grad(const REAL* __restrict__ g, const REAL* __restrict__ x, REAL* __restrict__ dx,
                                     REAL low, REAL high, int items) {
    each(dx, items, [&](unsigned i) { return x[i] > low && x[i] < high ? g[i] : REAL(0); });
}
