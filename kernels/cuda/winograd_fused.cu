// Winograd's convolution F(2 x 2, 3 x 3) in one kernel: neither transformed squares nor their products see main memory.
//
// A block computes the 2 x 2 results of ROWS squares for COLUMNS filters.  It goes along the channels in steps of DEPTH:
// each thread reads a square of 4 x 4 of one channel and transforms it on its way into shared memory; then each of 16
// warps multiplies the matrices of one point, with the Product of fma.cuh.  While it does, the next squares are on their
// way to registers.  At the end the 16 products of each square meet in shared memory, a quarter of them at a time.
//
// u is the transformed filters, (16, G, depth, columns).  INTO and BACK are the matrices B^T and A^T, in braces.
// CHANNELS_LAST says what lies side by side in x, and so what neighbouring threads read.

#include "fma.cuh"
#include "instructions.cuh"
#include "winograd.cuh"

constexpr int POINTS = 16;
static_assert(ROWS * DEPTH == POINTS * THREADS, "a square for each thread");
static_assert(COLUMNS == THREADS && DEPTH == 8, "a row of filters for each warp");

struct Tiles {
    float v[POINTS][DEPTH][ROWS + GAP], u[POINTS][DEPTH][COLUMNS + GAP];
};

// A quarter of the products; rows are that far apart so that vectors of eight lanes take all banks.
using Quarter = float[POINTS][ROWS / 2][COLUMNS / 2 + 4];
static_assert(sizeof(Quarter) <= sizeof(Tiles), "it takes their place");

extern "C" __global__ void __launch_bounds__(POINTS* THREADS, 1) correlate(const float* __restrict__ x,
                                                                           const float* __restrict__ u,
                                                                           float* __restrict__ y, const Squares from,
                                                                           const Squares to) {
    constexpr float B[4][4] = INTO, A[2][4] = BACK;
    SHARED_MEMORY(memory);
    Tiles& tiles = *(Tiles*)memory;
    const int warp = threadIdx.x / THREADS, lane = threadIdx.x % THREADS, group = blockIdx.y;
    const int across = (to.columns + COLUMNS - 1) / COLUMNS, squares = from.of_a_group(), depth = from.columns;
    const int first_row = (int)blockIdx.x / across * ROWS, first_column = (int)blockIdx.x % across * COLUMNS;

    // of this thread: a square of one channel in each step, and 8 rows of filters
    const int channel = CHANNELS_LAST ? threadIdx.x % DEPTH : threadIdx.x / ROWS;
    const int row = CHANNELS_LAST ? threadIdx.x / DEPTH : threadIdx.x % ROWS;
    const Item square = place(from, group * squares + min(first_row + row, squares - 1), channel);
    unsigned real = 0;  // positions inside the image, a bit for each
#pragma unroll
    for (int n = 0; n < POINTS; ++n) real |= (unsigned)inside(from, square.i + n / 4, square.j + n % 4) << n;
    const int filter = first_column + lane, filter_channel = warp % DEPTH;
    u += ((warp / DEPTH * from.groups + group) * depth + filter_channel) * to.columns + filter;

    float next_x[POINTS], next_u[DEPTH];
    auto fetch = [&](int first) {
#pragma unroll
        for (int n = 0; n < POINTS; ++n)
            next_x[n] = first + channel < depth && real >> n & 1
                            ? x[square.at + first * from.column + n / 4 * from.step[0] + n % 4 * from.step[1]]
                            : 0.0f;
#pragma unroll
        for (int n = 0; n < DEPTH; ++n)
            next_u[n] = first + filter_channel < depth && filter < to.columns
                            ? u[(n * 2 * from.groups * depth + first) * to.columns]
                            : 0.0f;
    };
    auto put = [&] {
        sandwich(
            B, [&](int i, int j) { return next_x[i * 4 + j]; },
            [&](int i, int j, float value) { tiles.v[i * 4 + j][channel][row] = value; });
#pragma unroll
        for (int n = 0; n < DEPTH; ++n) tiles.u[n * 2 + warp / DEPTH][filter_channel][lane] = next_u[n];
    };

    Product product;
    fetch(0);
    for (int first = 0; first < depth; first += DEPTH) {
        put();
        __syncthreads();
        if (first + DEPTH < depth) fetch(first + DEPTH);
        product.add(tiles.v[warp], tiles.u[warp]);
        __syncthreads();
    }

    Quarter& quarter = *(Quarter*)memory;
#pragma unroll
    for (int part = 0; part < 4; ++part) {
        const int down = part / 2, right = part % 2;
        product.each_run(down, right, [&](int r, int c, float4 sums) {
            *(float4*)&quarter[warp][r % (ROWS / 2)][c % (COLUMNS / 2)] = sums;
        });
        __syncthreads();
        const int r = threadIdx.x / (COLUMNS / 2), c = threadIdx.x % (COLUMNS / 2);  // a square for each thread
        const int number = first_row + down * (ROWS / 2) + r, k = first_column + right * (COLUMNS / 2) + c;
        const Item result = place(to, group * squares + number, k);
        if (number < squares && k < to.columns)
            sandwich(
                A, [&](int i, int j) { return quarter[i * 4 + j][r][c]; },
                [&](int i, int j, float value) {
                    if (inside(to, result.i + i, result.j + j))
                        y[result.at + i * to.step[0] + j * to.step[1]] = value;
                });
        __syncthreads();
    }
}
