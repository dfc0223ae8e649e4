// Pooling over sliding windows, forward and backward, one thread for each result.  The gradients are gathered, not
// scattered: each position of x asks the windows that read it, in a fixed order, so nothing is added atomically.
//
// The axes are those of the pooling, p.groups counts channels; x_* are the strides of x or its gradient, y_* those of the
// windows' values or their cotangents, w_* those of the winners' indices: image, channel, -, axes.

#include "window.cuh"

struct Place {  // of a thread: channel, image and position on each axis
    int channel, image, at[3];
};

// The item's place among images and channels with these positions each; what lies side by side has neighbouring items.
__device__ inline Place place(int item, int channels, int n0, int n1, int n2) {
    Place found;
    if (CHANNELS_LAST) found.channel = item % channels, item /= channels;
    found.at[2] = item % n2, item /= n2;
    found.at[1] = item % n1, item /= n1;
    found.at[0] = item % n0, item /= n0;
    if (!CHANNELS_LAST) found.channel = item % channels, item /= channels;
    found.image = item;
    return found;
}

__device__ inline Place window_of(const Window& p, int item) {
    return place(item, p.groups, p.axis[0].out, p.axis[1].out, p.axis[2].out);
}

__device__ inline Place position_of(const Window& p, int item) {
    return place(item, p.groups, p.axis[0].size, p.axis[1].size, p.axis[2].size);
}

__device__ inline int x_at(const Window& p, const Place& i) {
    return i.image * p.x_image + i.channel * p.x_channel + i.at[0] * p.x_step[0] + i.at[1] * p.x_step[1] +
           i.at[2] * p.x_step[2];
}

__device__ inline int y_at(const Window& p, const Place& i) {
    return i.image * p.y_image + i.channel * p.y_channel + i.at[0] * p.y_step[0] + i.at[1] * p.y_step[1] +
           i.at[2] * p.y_step[2];
}

__device__ inline int index_at(const Window& p, const Place& i) {
    return i.image * p.w_group + i.channel * p.w_column + i.at[0] * p.w_tap[0] + i.at[1] * p.w_tap[1] +
           i.at[2] * p.w_tap[2];
}

__device__ inline int in_plane(const Window& p, const Place& i) {
    return (i.at[0] * p.axis[1].size + i.at[1]) * p.axis[2].size + i.at[2];
}

// f(place in x) for each input that the window reads.
template <class F> __device__ inline void each_input(const Window& p, const Place& window, F f) {
    Place i = window;
    for (int t0 = 0; t0 < p.axis[0].taps; ++t0)
        for (int t1 = 0; t1 < p.axis[1].taps; ++t1)
            for (int t2 = 0; t2 < p.axis[2].taps; ++t2) {
                const int t[3] = {t0, t1, t2};
                bool inside = true;
#pragma unroll
                for (int a = 0; a < 3; ++a) {
                    i.at[a] = window.at[a] * p.axis[a].stride + t[a] * p.axis[a].dilation - p.axis[a].low;
                    inside = inside && p.inside(i.at[a], a);
                }
                if (inside) f(i);
            }
}

// f(place in y) for each window that reads the position.
template <class F> __device__ inline void each_window(const Window& p, const Place& position, F f) {
    Place window = position;
    for (int t0 = 0; t0 < p.axis[0].taps; ++t0)
        for (int t1 = 0; t1 < p.axis[1].taps; ++t1)
            for (int t2 = 0; t2 < p.axis[2].taps; ++t2) {
                const int t[3] = {t0, t1, t2};
                bool reads = true;
#pragma unroll
                for (int a = 0; a < 3; ++a) {
                    const int start = position.at[a] + p.axis[a].low - t[a] * p.axis[a].dilation;
                    window.at[a] = start / p.axis[a].stride;
                    reads = reads && start >= 0 && start % p.axis[a].stride == 0 && window.at[a] < p.axis[a].out;
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
        const Axis& axis = p.axis[a];
        const int start = window.at[a] * axis.stride - axis.low;
        int here = 0;
        for (int t = 0; t < axis.taps; ++t) {
            const int i = start + t * axis.dilation;
            here += by.count_pad ? i < axis.size + by.high[a] : p.inside(i, a);
        }
        count *= here;
    }
    return count;
}

extern "C" __global__ void max_pool(const REAL* __restrict__ x, REAL* __restrict__ y, long long* __restrict__ indices,
                                    const Window p, int items) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place window = window_of(p, item);
    REAL best = 0;
    int winner = -1;
    each_input(p, window, [&](const Place& i) {
        const REAL value = x[x_at(p, i)];
        if (winner < 0 || value > best || value != value) best = value, winner = in_plane(p, i);  // NaN wins
    });
    y[y_at(p, window)] = best;
    indices[index_at(p, window)] = winner;
}

extern "C" __global__ void max_pool_grad(const REAL* __restrict__ g, const long long* __restrict__ indices,
                                         REAL* __restrict__ dx, const Window p, int items) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place position = position_of(p, item);
    const int own = in_plane(p, position);
    REAL sum = 0;
    each_window(p, position, [&](const Place& window) {
        if (indices[index_at(p, window)] == own) sum += g[y_at(p, window)];
    });
    dx[x_at(p, position)] = sum;
}

extern "C" __global__ void avg_pool(const REAL* __restrict__ x, REAL* __restrict__ y, const Window p, int items,
                                    const Divisor by) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place window = window_of(p, item);
    REAL sum = 0;
    each_input(p, window, [&](const Place& i) { sum += x[x_at(p, i)]; });
    y[y_at(p, window)] = sum / divisor(p, by, window);
}

extern "C" __global__ void avg_pool_grad(const REAL* __restrict__ g, REAL* __restrict__ dx, const Window p, int items,
                                         const Divisor by) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place position = position_of(p, item);
    REAL sum = 0;
    each_window(p, position, [&](const Place& window) { sum += g[y_at(p, window)] / divisor(p, by, window); });
    dx[x_at(p, position)] = sum;
}
