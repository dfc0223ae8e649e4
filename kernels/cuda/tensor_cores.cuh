// The product of two tiles on tensor cores: each warp keeps WARP_ROWS x WARP_COLUMNS sums, in pieces of 16 x 8.
//
// Tensor cores multiply in TF32: float32 with 10 instead of 23 bits behind the point, products added in float32.
// TERMS 1 rounds the operands once: three digits.  TERMS 3 writes each as high + low, both TF32, and adds the products
// high high + high low + low high: nearly float32.  Compute capability 8.0 and later.

#pragma once

#include "fragments.cuh"

constexpr int GAP = 8;  // between the rows of a tile in shared memory: the lanes of a warp then read 32 banks
constexpr int WARP_COLUMNS = 32, WARPS_ACROSS = COLUMNS / WARP_COLUMNS;
constexpr int THREADS = 32 * (ROWS / WARP_ROWS) * WARPS_ACROSS;
constexpr int BLOCKS = 1;  // at a time on a multiprocessor: operands in two parts take most of its registers

struct Product {
    static constexpr int DOWN = WARP_ROWS / 16, ACROSS = WARP_COLUMNS / 8;
    float sum[DOWN][ACROSS][4];
    int row, column, lane;

    __device__ Product()
        : row(threadIdx.x / 32 / WARPS_ACROSS * WARP_ROWS), column(threadIdx.x / 32 % WARPS_ACROSS * WARP_COLUMNS),
          lane(threadIdx.x % 32) {
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int j = 0; j < ACROSS; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) sum[i][j][e] = 0.0f;
    }

    // Lane 4 r + c holds (r, c), (r + 8, c), (r, c + 4), (r + 8, c + 4) of a, (c, r), (c + 4, r) of b and
    // (r, 2c), (r, 2c + 1), (r + 8, 2c), (r + 8, 2c + 1) of the sum.
    __device__ void add(const float (&a)[DEPTH][ROWS + GAP], const float (&b)[DEPTH][COLUMNS + GAP]) {
        const int r = lane / 4, c = lane % 4;
#pragma unroll
        for (int k = 0; k < DEPTH; k += 8) {
            Fragment<float, 4> u;
            Fragment<float, 2> v[ACROSS];
#pragma unroll
            for (int j = 0; j < ACROSS; ++j)
#pragma unroll
                for (int e = 0; e < 2; ++e) v[j].set(e, b[k + c + e * 4][column + j * 8 + r]);
#pragma unroll
            for (int i = 0; i < DOWN; ++i) {
#pragma unroll
                for (int e = 0; e < 4; ++e) u.set(e, a[k + c + e / 2 * 4][row + i * 16 + r + e % 2 * 8]);
                multiply_add(sum[i], u, v);
            }
        }
    }

    // f(row, column, sum) for each result of this lane.
    template <class F> __device__ void each(F f) const {
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int j = 0; j < ACROSS; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e)
                    f(row + i * 16 + lane / 4 + e / 2 * 8, column + j * 8 + lane % 4 * 2 + e % 2, sum[i][j][e]);
    }
};
