// Convolution as a matrix product whose operand of windows is never written out: they are cut out of x while tiles of it
// are brought into shared memory.
//
//   correlate    (pixels, taps * C/G) @ (taps * C/G, K/G)            rows are pixels, columns filters
//   weight_grad  (K/G, pixels) @ (pixels, taps * C/G)                rows are filters, columns taps and channels
//
// A block computes ROWS x COLUMNS results.  It goes along the sum in steps of DEPTH: while it multiplies the tiles a and
// b of one step in one half of the shared memory, it has the next ones already on their way from main memory to
// registers, and then puts them into the other half.  So one barrier a step is enough.  What multiplies the tiles is the
// Product of fma.cuh (TERMS 0) or of tensor_cores.cuh (TERMS 1 or 3).
//
// CHANNELS_LAST says what lies side by side in x and y, and so what neighbouring threads fetch.

#include "window.cuh"
#if TERMS
#include "tensor_cores.cuh"
#else
#include "fma.cuh"
#endif

// The elements of a tile of DEPTH x WIDTH that a thread fetches: the i-th has this place.
template <int WIDTH, bool ALONG_DEPTH> struct Share {
    static constexpr int COUNT = DEPTH * WIDTH / THREADS;
    static_assert(COUNT * THREADS == DEPTH * WIDTH, "the threads share a tile evenly");

    __device__ static int depth(int i) {
        const int element = threadIdx.x + i * THREADS;
        return ALONG_DEPTH ? element % DEPTH : element / WIDTH;
    }
    __device__ static int width(int i) {
        const int element = threadIdx.x + i * THREADS;
        return ALONG_DEPTH ? element / DEPTH : element % WIDTH;
    }
};

using TilesA = float[2][DEPTH][ROWS + GAP];
using TilesB = float[2][DEPTH][COLUMNS + GAP];

// The sum over k = start, ..., stop - 1 of column k of a times row k of b.  fetch_a(i, k) gives the element of column k
// that is this thread's i-th, 0 outside of a; fetch_b likewise.
template <class ShareA, class ShareB, class FetchA, class FetchB>
__device__ inline void multiply(TilesA& a, TilesB& b, int start, int stop, FetchA fetch_a, FetchB fetch_b,
                                Product& product) {
    float next_a[ShareA::COUNT], next_b[ShareB::COUNT];
    auto fetch = [&](int first) {
#pragma unroll
        for (int i = 0; i < ShareA::COUNT; ++i) next_a[i] = fetch_a(i, first + ShareA::depth(i));
#pragma unroll
        for (int i = 0; i < ShareB::COUNT; ++i) next_b[i] = fetch_b(i, first + ShareB::depth(i));
    };
    auto put = [&](int half) {
#pragma unroll
        for (int i = 0; i < ShareA::COUNT; ++i) a[half][ShareA::depth(i)][ShareA::width(i)] = next_a[i];
#pragma unroll
        for (int i = 0; i < ShareB::COUNT; ++i) b[half][ShareB::depth(i)][ShareB::width(i)] = next_b[i];
    };

    fetch(start);
    put(0);
    __syncthreads();
    for (int first = start, half = 0; first < stop; first += DEPTH, half ^= 1) {
        const bool more = first + DEPTH < stop;
        if (more) fetch(first + DEPTH);
        product.add(a[half], b[half]);
        if (more) put(half ^ 1);  // read last before the barrier of the step before
        __syncthreads();
    }
}

// blockIdx.x counts columns of tiles first: neighbouring blocks then read the same pixels, and those lie in the cache.
// w is packed: (G, taps, depth, columns); those of a residue are some of the taps.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) correlate(const float* __restrict__ x,
                                                                        const float* __restrict__ w,
                                                                        float* __restrict__ y, const Problem given) {
    __shared__ __align__(16) TilesA a;
    __shared__ __align__(16) TilesB b;
    using ShareA = Share<ROWS, CHANNELS_LAST>;
    using ShareB = Share<COLUMNS, false>;
    const Window& p = window_of_block(given);
    const int total = p.taps() * p.depth, pixels = p.pixels(), group = blockIdx.z;
    const int across = (p.columns + COLUMNS - 1) / COLUMNS;
    const int first_row = (int)blockIdx.x / across * ROWS, first_column = (int)blockIdx.x % across * COLUMNS;
    if (first_row >= pixels) return;  // of a residue with fewer than others
    x += group * p.depth * p.x_channel;
    w += p.w_first + group * p.w_group;
    y += p.y_first + group * p.columns * p.y_channel;

    Corner corner[ShareA::COUNT];
#pragma unroll
    for (int i = 0; i < ShareA::COUNT; ++i) {
        const int m = first_row + ShareA::width(i);
        corner[i] = m < pixels ? p.corner(m) : Corner{0, -(1 << 30), 0, 0};  // far in the padding
    }
    Product product;
    multiply<ShareA, ShareB>(
        a, b, 0, total,
        [&](int i, int k) {
            const Tap tap = p.tap(k);
            return k < total && p.inside(corner[i], tap) ? x[corner[i].at + tap.at] : 0.0f;
        },
        [&](int i, int k) {
            const int column = first_column + ShareB::width(i);
            return k < total && column < p.columns ? w[(RESIDUES ? p.weight(k) : k * p.columns) + column] : 0.0f;
        },
        product);
    product.each([&](int row, int column, float sum) {
        const int m = first_row + row, k = first_column + column;
        if (m < pixels && k < p.columns) y[p.result(m) + k * p.y_channel] = sum;
    });
}

// blockIdx.z counts the slices of each group: a slice sums over p.slice pixels and writes results of its own, which the
// caller adds up in the order of the slices.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) weight_grad(const float* __restrict__ x,
                                                                          const float* __restrict__ g,
                                                                          float* __restrict__ dw, const Window p) {
    __shared__ __align__(16) TilesA a;
    __shared__ __align__(16) TilesB b;
    using ShareA = Share<ROWS, !CHANNELS_LAST>;
    using ShareB = Share<COLUMNS, !CHANNELS_LAST>;
    const int terms = p.taps() * p.depth, slices = gridDim.z / p.groups;
    const int group = blockIdx.z / slices, slice = blockIdx.z % slices;
    const int first_row = blockIdx.x * ROWS, first_column = blockIdx.y * COLUMNS;
    const int start = slice * p.slice, stop = min(p.pixels(), start + p.slice);
    x += group * p.depth * p.x_channel;
    g += group * p.columns * p.y_channel;
    dw += slice * p.w_slice + group * p.w_group;

    Tap tap[ShareB::COUNT];
#pragma unroll
    for (int i = 0; i < ShareB::COUNT; ++i) tap[i] = p.tap(first_column + ShareB::width(i));
    Product product;
    multiply<ShareA, ShareB>(
        a, b, start, stop,
        [&](int i, int m) {
            const int k = first_row + ShareA::width(i);
            return m < stop && k < p.columns ? g[p.result(m) + k * p.y_channel] : 0.0f;
        },
        [&](int i, int m) {
            const Corner corner = p.corner(m);
            const bool real = m < stop && first_column + ShareB::width(i) < terms && p.inside(corner, tap[i]);
            return real ? x[corner.at + tap[i].at] : 0.0f;
        },
        product);
    product.each([&](int row, int column, float sum) {
        const int k = first_row + row, term = first_column + column;
        if (k < p.columns && term < terms) dw[k * p.w_column + p.weight(term)] = sum;
    });
}
