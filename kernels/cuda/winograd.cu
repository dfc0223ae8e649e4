// The transforms of Winograd's convolution: P X P^T for a small constant matrix P and very many small squares X.  What
// comes between them is a matrix product for each point of the transformed square, and not done here.
//
//   to_points    squares of an image or filters (zero outside) become matrices, one for each of the HEIGHT^2 points
//   from_points  the way back: squares of HEIGHT^2 are put side by side
//
// MATRIX is P, HEIGHT x WIDTH, in braces: where an entry is 0 or 1 the compiler leaves out the multiplication.

// A matrix for each point and group: its rows are the squares of all images, its columns what each position has many of
// (channels).  `_squares` in winograd.py fills it in, strides in elements.
struct Squares {
    int groups, images, down, across, columns;
    int size[2], hop, low[2];  // square (i, j) begins at position (i, j) * hop - low
    int image, group, column, step[2];
};

struct Item {  // of a thread: where its square begins, in memory and in the image
    int at, i, j;
};

__device__ inline Item place(const Squares& p, int item) {
    int at = item % p.columns * p.column;
    item /= p.columns;
    const int j = item % p.across * p.hop - p.low[1];
    item /= p.across;
    const int i = item % p.down * p.hop - p.low[0];
    item /= p.down;
    at += item % p.images * p.image + item / p.images * p.group;
    return {at + i * p.step[0] + j * p.step[1], i, j};
}

__device__ inline bool inside(const Squares& p, int i, int j) {
    return (unsigned)i < (unsigned)p.size[0] && (unsigned)j < (unsigned)p.size[1];
}

// read(i, j) gives X, write(i, j, value) takes the result.
template <class Read, class Write> __device__ inline void sandwich(Read read, Write write) {
    constexpr float P[HEIGHT][WIDTH] = MATRIX;
    float half[HEIGHT][WIDTH] = {};  // P X
#pragma unroll
    for (int k = 0; k < WIDTH; ++k)
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float x = read(k, j);
#pragma unroll
            for (int i = 0; i < HEIGHT; ++i)
                if (P[i][k] != 0.0f) half[i][j] += P[i][k] * x;
        }
#pragma unroll
    for (int i = 0; i < HEIGHT; ++i)
#pragma unroll
        for (int j = 0; j < HEIGHT; ++j) {
            float sum = 0.0f;
#pragma unroll
            for (int k = 0; k < WIDTH; ++k)
                if (P[j][k] != 0.0f) sum += P[j][k] * half[i][k];
            write(i, j, sum);
        }
}

extern "C" __global__ void to_points(const float* __restrict__ image, float* __restrict__ points, const Squares p,
                                     int items) {
    const int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= items) return;
    const Item square = place(p, item);
    sandwich(
        [&](int i, int j) {
            return inside(p, square.i + i, square.j + j) ? image[square.at + i * p.step[0] + j * p.step[1]] : 0.0f;
        },
        [&](int i, int j, float value) { points[(long long)(i * HEIGHT + j) * items + item] = value; });
}

extern "C" __global__ void from_points(const float* __restrict__ points, float* __restrict__ image, const Squares p,
                                       int items) {
    const int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= items) return;
    const Item square = place(p, item);
    sandwich([&](int i, int j) { return points[(long long)(i * WIDTH + j) * items + item]; },
             [&](int i, int j, float value) {
                 if (inside(p, square.i + i, square.j + j)) image[square.at + i * p.step[0] + j * p.step[1]] = value;
             });
}
