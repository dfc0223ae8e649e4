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

struct Product : Pieces<WARP_ROWS / 16, WARP_COLUMNS / 8, WARPS_ACROSS> {
    // Lane 4 r + c holds (r, c), (r + 8, c), (r, c + 4), (r + 8, c + 4) of a, and (c, r), (c + 4, r) of b.
    __device__ void add(const float (&a)[DEPTH][ROWS + GAP], const float (&b)[DEPTH][COLUMNS + GAP]) {
        const int r = lane / 4, c = lane % 4;
#pragma unroll
        for (int k = 0; k < DEPTH; k += 8)
            add_fragments<float>(
                [&](auto& u, int i) {
#pragma unroll
                    for (int e = 0; e < 4; ++e) u.set(e, a[k + c + e / 2 * 4][row + i * 16 + r + e % 2 * 8]);
                },
                [&](auto& v) {
#pragma unroll
                    for (int j = 0; j < WARP_COLUMNS / 8; ++j)
#pragma unroll
                        for (int e = 0; e < 2; ++e) v[j].set(e, b[k + c + e * 4][column + j * 8 + r]);
                });
    }
};
