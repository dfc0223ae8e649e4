// The product of two tiles with fused multiply-adds: each thread keeps 8 x 8 sums in registers.
//
// Its 8 rows are two runs of 4, half a tile apart, and so are its columns: neighbouring threads then read neighbouring
// vectors of four from shared memory, which takes no bank twice.

#pragma once

constexpr int GAP = 4;  // between the rows of a tile in shared memory: 16-byte vectors, and eight rows in eight banks
constexpr int THREADS = ROWS / 8 * (COLUMNS / 8);  // that share a product
// Blocks at a time on a multiprocessor: this leaves a thread 128 registers in large tiles, and 168 in the others, where
// there are fewer threads to fetch the same.
constexpr int BLOCKS = THREADS == 256 ? 2 : 384 / THREADS;

struct Product {
    float sum[8][8];
    int row, column;

    __device__ Product() : row(threadIdx.x % THREADS / (COLUMNS / 8) * 4), column(threadIdx.x % (COLUMNS / 8) * 4) {
#pragma unroll
        for (int i = 0; i < 8; ++i)
#pragma unroll
            for (int j = 0; j < 8; ++j) sum[i][j] = 0.0f;
    }

    __device__ void add(const float (&a)[DEPTH][ROWS + GAP], const float (&b)[DEPTH][COLUMNS + GAP]) {
#pragma unroll 1  // unrolled, it takes more registers than that
        for (int k = 0; k < DEPTH; ++k) {
            __align__(16) float u[8], v[8];
            *(float4*)&u[0] = *(const float4*)&a[k][row];
            *(float4*)&u[4] = *(const float4*)&a[k][ROWS / 2 + row];
            *(float4*)&v[0] = *(const float4*)&b[k][column];
            *(float4*)&v[4] = *(const float4*)&b[k][COLUMNS / 2 + column];
#pragma unroll
            for (int i = 0; i < 8; ++i)
#pragma unroll
                for (int j = 0; j < 8; ++j) sum[i][j] += u[i] * v[j];
        }
    }

    // f(row, column, four sums side by side) for this thread's results in a half of the rows and in one of the columns.
    template <class F> __device__ void each_run(int down, int right, F f) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float (&own)[8] = sum[down * 4 + i];
            f(down * (ROWS / 2) + row + i, right * (COLUMNS / 2) + column,
              float4{own[right * 4], own[right * 4 + 1], own[right * 4 + 2], own[right * 4 + 3]});
        }
    }

    // f(row, column, sum) for each result of this thread.
    template <class F> __device__ void each(F f) const {
#pragma unroll
        for (int half = 0; half < 4; ++half)
            each_run(half / 2, half % 2, [&](int row, int column, float4 sums) {
                f(row, column, sums.x), f(row, column + 1, sums.y), f(row, column + 2, sums.z), f(row, column + 3, sums.w);
            });
    }
};
