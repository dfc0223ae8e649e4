// What the kernels of Winograd's convolution share: squares of an image, and the transform of one.

#pragma once

// Squares of an image or filters (zero outside): those of all images, and at each what a position has many of (channels),
// in groups.  `_squares` in winograd.py fills it in, strides in elements.
struct Squares {
    int groups, images, down, across, columns;
    int size[2], hop, low[2];  // square (i, j) begins at position (i, j) * hop - low
    int image, group, column, step[2];

    __device__ int of_a_group() const { return images * down * across; }
};

struct Item {  // a square of one channel: where it begins, in memory and in the image
    int at, i, j;
};

__device__ inline Item place(const Squares& p, int square, int column) {
    const int j = square % p.across * p.hop - p.low[1];
    square /= p.across;
    const int i = square % p.down * p.hop - p.low[0];
    square /= p.down;
    const int at = square % p.images * p.image + square / p.images * p.group + column * p.column;
    return {at + i * p.step[0] + j * p.step[1], i, j};
}

__device__ inline bool inside(const Squares& p, int i, int j) {
    return (unsigned)i < (unsigned)p.size[0] && (unsigned)j < (unsigned)p.size[1];
}

// P X P^T of a constant matrix P: read(i, j) gives X, write(i, j, value) takes the result.  Where an entry of P is 0 or 1
// the compiler leaves out the multiplication.
template <int TALL, int WIDE, class Read, class Write>
__device__ inline void sandwich(const float (&P)[TALL][WIDE], Read read, Write write) {
    float half[TALL][WIDE] = {};  // P X
#pragma unroll
    for (int k = 0; k < WIDE; ++k)
#pragma unroll
        for (int j = 0; j < WIDE; ++j) {
            const float x = read(k, j);
#pragma unroll
            for (int i = 0; i < TALL; ++i)
                if (P[i][k] != 0.0f) half[i][j] += P[i][k] * x;
        }
#pragma unroll
    for (int i = 0; i < TALL; ++i)
#pragma unroll
        for (int j = 0; j < TALL; ++j) {
            float sum = 0.0f;
#pragma unroll
            for (int k = 0; k < WIDE; ++k)
                if (P[j][k] != 0.0f) sum += P[j][k] * half[i][k];
            write(i, j, sum);
        }
}
