// The transforms of Winograd's convolution: P X P^T for a small constant matrix P and very many small squares X.  What
// comes between them is a matrix product for each point of the transformed square, and not done here.
//
//   to_points    squares of an image or filters (zero outside) become matrices, one for each of the HEIGHT^2 points
//   from_points  the way back: squares of HEIGHT^2 are put side by side
//
// The rows of a matrix are the squares of all images, its columns what each position has many of.  MATRIX is P, HEIGHT x
// WIDTH, in braces.

#include "winograd.cuh"

extern "C" __global__ void to_points(const float* __restrict__ image, float* __restrict__ points, const Squares p,
                                     int items) {
    constexpr float P[HEIGHT][WIDTH] = MATRIX;
    const int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= items) return;
    const Item square = place(p, item / p.columns, item % p.columns);
    sandwich(
        P,
        [&](int i, int j) {
            return inside(p, square.i + i, square.j + j) ? image[square.at + i * p.step[0] + j * p.step[1]] : 0.0f;
        },
        [&](int i, int j, float value) { points[(long long)(i * HEIGHT + j) * items + item] = value; });
}

extern "C" __global__ void from_points(const float* __restrict__ points, float* __restrict__ image, const Squares p,
                                       int items) {
    constexpr float P[HEIGHT][WIDTH] = MATRIX;
    const int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= items) return;
    const Item square = place(p, item / p.columns, item % p.columns);
    sandwich(
        P, [&](int i, int j) { return points[(long long)(i * WIDTH + j) * items + item]; },
        [&](int i, int j, float value) {
            if (inside(p, square.i + i, square.j + j)) image[square.at + i * p.step[0] + j * p.step[1]] = value;
        });
}
