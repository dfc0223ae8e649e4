// RoI pooling, forward and backward, one thread for each result.  The gradient is gathered: each position of x asks all
// regions of its image, in their order, which of their windows it won, so nothing is added atomically.
//
// REAL is float16, float or double.  p counts regions as its batch, and channels as its groups; its second and third axis
// are those of the images (size) and of the grid (out).  x_* are strides of the images, y_* of the values, w_* of the
// indices.  A region is five numbers: image, top, left, rows, columns.

#include "instructions.cuh"
#include "place.cuh"

using Sum = decltype(wide(REAL()));

struct Span {
    int first, stop;
};

// What window p of an axis has of `size` positions from `first` on, as far as the image reaches.
__device__ inline Span window_on(const Axis& axis, int p, int first, int size) {
    return {max(0, first + p * size / axis.out), min(axis.size, first + ((p + 1) * size + axis.out - 1) / axis.out)};
}

// The windows that position i of the image is in, of a region with `size` positions from `first` on.
__device__ inline Span windows_of(const Axis& axis, int i, int first, int size) {
    if (i < first || i >= first + size) return {0, 0};
    return {(i - first) * axis.out / size, ((i - first + 1) * axis.out + size - 1) / size};
}

extern "C" __global__ void roi_pool(const REAL* __restrict__ x, const int* __restrict__ regions,
                                    REAL* __restrict__ y, int* __restrict__ indices, const Window p, int images,
                                    int items) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place to = window_of(p, item);
    const int* region = regions + to.image * 5;
    Place from = to;
    from.image = region[0];
    Sum best = 0;
    int winner = -1;
    if ((unsigned)from.image < (unsigned)images) {
        const Span rows = window_on(p.axis[1], to.at[1], region[1], region[3]);
        const Span columns = window_on(p.axis[2], to.at[2], region[2], region[4]);
        for (from.at[1] = rows.first; from.at[1] < rows.stop; ++from.at[1])
            for (from.at[2] = columns.first; from.at[2] < columns.stop; ++from.at[2]) {
                const Sum value = wide(x[x_at(p, from)]);
                if (winner < 0 || value > best || value != value) best = value, winner = in_plane(p, from);  // NaN wins
            }
    }
    round_to(best, y[y_at(p, to)]);
    indices[index_at(p, to)] = winner;
}

extern "C" __global__ void roi_pool_grad(const REAL* __restrict__ g, const int* __restrict__ indices,
                                         const int* __restrict__ regions, REAL* __restrict__ dx, const Window p,
                                         int items) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place position = position_of(p, item);
    const int own = in_plane(p, position);
    Sum sum = 0;
    for (int k = 0; k < p.batch; ++k) {
        const int* region = regions + k * 5;
        if (region[0] != position.image) continue;
        const Span rows = windows_of(p.axis[1], position.at[1], region[1], region[3]);
        const Span columns = windows_of(p.axis[2], position.at[2], region[2], region[4]);
        Place window = position;
        window.image = k;
        for (window.at[1] = rows.first; window.at[1] < rows.stop; ++window.at[1])
            for (window.at[2] = columns.first; window.at[2] < columns.stop; ++window.at[2])
                if (indices[index_at(p, window)] == own) sum += wide(g[y_at(p, window)]);
    }
    round_to(sum, dx[x_at(p, position)]);
}

extern "C" __global__ void roi_gather(const REAL* __restrict__ u, const int* __restrict__ indices,
                                      const int* __restrict__ regions, REAL* __restrict__ y, const Window p,
                                      int images, int items) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place to = window_of(p, item);
    const int index = indices[index_at(p, to)];
    Place from = to;
    from.image = regions[to.image * 5];
    Sum value = 0;
    if ((unsigned)from.image < (unsigned)images && (unsigned)index < (unsigned)(p.axis[1].size * p.axis[2].size)) {
        from.at[1] = index / p.axis[2].size;
        from.at[2] = index % p.axis[2].size;
        value = wide(u[x_at(p, from)]);
    }
    round_to(value, y[y_at(p, to)]);
}
