// Pooling, forward and backward, one thread for each result.  The gradients are gathered, not scattered: each position
// of x asks the windows that read it, in a fixed order, so nothing is added atomically.
//
// REAL is float16, float or double, an index has INDEX_BYTES.  The axes are those of the pooling; x_* are the strides of x or
// its gradient, y_* those of the windows' values or their cotangents, w_* those of the winners' indices.

#include "instructions.cuh"
#include "place.cuh"

using Sum = decltype(wide(REAL()));
using Index = Whole<INDEX_BYTES>::type;

// SHARED 0: windows of one size slide.  SHARED 1: `out` windows share an axis as evenly as whole numbers allow, so that
// window p has the positions from p * size / out, rounded down, to (p + 1) * size / out, rounded up.  Then position i is
// read by the windows from i * out / size to (i + 1) * out / size, rounded alike: the same rule with the roles exchanged.

__device__ inline int shares(int p, int of, int among) {
    return ((p + 1) * of + among - 1) / among - p * of / among;
}

// Window p of an axis reads `inputs` positions, of which `input` t may lie outside.
__device__ inline int inputs(const Axis& axis, int p) {
    return SHARED ? shares(p, axis.size, axis.out) : axis.taps;
}

__device__ inline int input(const Axis& axis, int p, int t) {
    return SHARED ? p * axis.size / axis.out + t : p * axis.stride + t * axis.dilation - axis.low;
}

// Position i of an axis may be read by `readers` windows; `reader` t is -1 or beyond the last where it is not.
__device__ inline int readers(const Axis& axis, int i) {
    return SHARED ? shares(i, axis.out, axis.size) : axis.taps;
}

__device__ inline int reader(const Axis& axis, int i, int t) {
    if (SHARED) return i * axis.out / axis.size + t;
    const int start = i + axis.low - t * axis.dilation;
    return start >= 0 && start % axis.stride == 0 ? start / axis.stride : -1;
}

// f(place in x) for each input that the window reads.
template <class F> __device__ inline void each_input(const Window& p, const Place& window, F f) {
    const int n0 = inputs(p.axis[0], window.at[0]), n1 = inputs(p.axis[1], window.at[1]);
    const int n2 = inputs(p.axis[2], window.at[2]);
    Place i = window;
    for (int t0 = 0; t0 < n0; ++t0)
        for (int t1 = 0; t1 < n1; ++t1)
            for (int t2 = 0; t2 < n2; ++t2) {
                const int t[3] = {t0, t1, t2};
                bool inside = true;
#pragma unroll
                for (int a = 0; a < 3; ++a) {
                    i.at[a] = input(p.axis[a], window.at[a], t[a]);
                    inside = inside && p.inside(i.at[a], a);
                }
                if (inside) f(i);
            }
}

// f(place in y) for each window that reads the position.
template <class F> __device__ inline void each_window(const Window& p, const Place& position, F f) {
    const int n0 = readers(p.axis[0], position.at[0]), n1 = readers(p.axis[1], position.at[1]);
    const int n2 = readers(p.axis[2], position.at[2]);
    Place window = position;
    for (int t0 = 0; t0 < n0; ++t0)
        for (int t1 = 0; t1 < n1; ++t1)
            for (int t2 = 0; t2 < n2; ++t2) {
                const int t[3] = {t0, t1, t2};
                bool reads = true;
#pragma unroll
                for (int a = 0; a < 3; ++a) {
                    window.at[a] = reader(p.axis[a], position.at[a], t[a]);
                    reads = reads && (unsigned)window.at[a] < (unsigned)p.axis[a].out;
                }
                if (reads) f(window);
            }
}

// What a window's sum is divided by: ``given``, or its inputs, with the padding before the end of the high pads.
struct Divisor {
    int given, count_pad, high[3];
};

__device__ inline int divisor(const Window& p, const Divisor& by, const Place& window) {
    if (by.given) return by.given;
    int count = 1;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
        const int n = inputs(p.axis[a], window.at[a]);
        int here = 0;
        for (int t = 0; t < n; ++t) {
            const int i = input(p.axis[a], window.at[a], t);
            here += by.count_pad ? i < p.axis[a].size + by.high[a] : p.inside(i, a);
        }
        count *= here;
    }
    return count;
}

extern "C" __global__ void max_pool(const REAL* __restrict__ x, REAL* __restrict__ y, Index* __restrict__ indices,
                                    const Window p, int items) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place window = window_of(p, item);
    Sum best = 0;
    int winner = -1;
    each_input(p, window, [&](const Place& i) {
        const Sum value = wide(x[x_at(p, i)]);
        if (winner < 0 || value > best || value != value) best = value, winner = in_plane(p, i);  // NaN wins
    });
    round_to(best, y[y_at(p, window)]);
    indices[index_at(p, window)] = winner;
}

extern "C" __global__ void max_pool_grad(const REAL* __restrict__ g, const Index* __restrict__ indices,
                                         REAL* __restrict__ dx, const Window p, int items) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place position = position_of(p, item);
    const int own = in_plane(p, position);
    Sum sum = 0;
    each_window(p, position, [&](const Place& window) {
        if (indices[index_at(p, window)] == own) sum += wide(g[y_at(p, window)]);
    });
    round_to(sum, dx[x_at(p, position)]);
}

extern "C" __global__ void avg_pool(const REAL* __restrict__ x, REAL* __restrict__ y, const Window p, int items,
                                    const Divisor by) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place window = window_of(p, item);
    Sum sum = 0;
    each_input(p, window, [&](const Place& i) { sum += wide(x[x_at(p, i)]); });
    round_to(sum / divisor(p, by, window), y[y_at(p, window)]);
}

extern "C" __global__ void avg_pool_grad(const REAL* __restrict__ g, REAL* __restrict__ dx, const Window p, int items,
                                         const Divisor by) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place position = position_of(p, item);
    Sum sum = 0;
    each_window(p, position, [&](const Place& window) { sum += wide(g[y_at(p, window)]) / divisor(p, by, window); });
    round_to(sum, dx[x_at(p, position)]);
}
