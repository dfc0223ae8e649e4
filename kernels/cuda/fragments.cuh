// The operands of a product on tensor cores as a warp holds them, and the product.  The macro TERMS says how many
// products of parts make one of float32, 1 or 3.

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
