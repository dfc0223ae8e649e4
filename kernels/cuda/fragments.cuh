// A product on tensor cores as a warp holds it: operands and sums.  The macro TERMS says how many products of parts make
// one of float32, 1 or 3.

#pragma once

#include "instructions.cuh"

// What a lane holds of an operand: of a (16 rows) N = 4 registers, of b (8 columns) 2.  In TF32 a register is a number;
// with TERMS 3 it is a sum high + low of two, and only low low, 2^-22 of the whole, is left out of the product.
template <class T, int N> struct Fragment {
    unsigned high[N];

    __device__ void set(int i, unsigned bits) { high[i] = bits; }
};

template <int N> struct Fragment<float, N> {
    float high[N], low[N];

    __device__ void set(int i, float x) {
        high[i] = round_to_tf32(x);
        if (TERMS == 3) low[i] = round_to_tf32(x - high[i]);
    }
    __device__ void set(int i, unsigned bits) { set(i, __uint_as_float(bits)); }
};

// sum += a b for each of the N pieces b of 8 columns, the small products first.
template <int N>
__device__ inline void multiply_add(float (&sum)[N][4], const Fragment<float, 4>& a, const Fragment<float, 2> (&b)[N]) {
    if (TERMS == 3) {
#pragma unroll
        for (int j = 0; j < N; ++j) multiply_add_16x8x8(sum[j], a.low, b[j].high);
#pragma unroll
        for (int j = 0; j < N; ++j) multiply_add_16x8x8(sum[j], a.high, b[j].low);
    }
#pragma unroll
    for (int j = 0; j < N; ++j) multiply_add_16x8x8(sum[j], a.high, b[j].high);
}

template <int N, class T>
__device__ inline void multiply_add(float (&sum)[N][4], const Fragment<T, 4>& a, const Fragment<T, 2> (&b)[N]) {
#pragma unroll
    for (int j = 0; j < N; ++j) multiply_add_16x8x16(sum[j], a.high, b[j].high, T{});
}

// The sums of a warp, DOWN x ACROSS pieces of 16 x 8; BESIDE warps lie side by side in the tile of their block.  The pieces
// below each other are APART rows apart: 16, or 64 where those of four warps alternate.
template <int DOWN, int ACROSS, int BESIDE, int APART = 16> struct Pieces {
    float sum[DOWN][ACROSS][4];
    int row, column, lane;  // where they begin in the tile

    __device__ Pieces()
        : row(threadIdx.x / 32 / BESIDE * (APART == 16 ? DOWN * 16 : 16)), column(threadIdx.x / 32 % BESIDE * ACROSS * 8),
          lane(threadIdx.x % 32) {
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int j = 0; j < ACROSS; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) sum[i][j][e] = 0.0f;
    }

    // Adds a product of T: right(v) brings the fragments of all columns, left(u, i) that of the i-th 16 rows.
    template <class T, class Left, class Right> __device__ void add_fragments(Left left, Right right) {
        Fragment<T, 4> u;
        Fragment<T, 2> v[ACROSS];
        right(v);
#pragma unroll
        for (int i = 0; i < DOWN; ++i) {
            left(u, i);
            multiply_add(sum[i], u, v);
        }
    }

    // f(row, column, sum, sum of the next column) for all results of this lane: lane 4 r + c holds (r, 2c), (r, 2c + 1),
    // (r + 8, 2c), (r + 8, 2c + 1) of a piece.
    template <class F> __device__ void each_pair(F f) const {
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int half = 0; half < 2; ++half)
#pragma unroll
                for (int j = 0; j < ACROSS; ++j)
                    f(row + i * APART + lane / 4 + half * 8, column + j * 8 + lane % 4 * 2, sum[i][j][half * 2],
                      sum[i][j][half * 2 + 1]);
    }

    // f(row, column, sum)
    template <class F> __device__ void each(F f) const {
        each_pair([&](int row, int column, float first, float second) {
            f(row, column, first);
            f(row, column + 1, second);
        });
    }
};
