// The matrix products of implicit_gemm.cu on tensor cores, fed by copies: `correlate` stands in pipeline.cuh.  In weight_grad
// a row of a tile is a pixel, with the neighbouring filters (terms) that the tile is about.

#include "pipeline.cuh"

// A tile for weight_grad: DEPTH rows, in each what a pixel has for WIDTH neighbouring rows (columns) of the product.
template <int WIDTH> struct TermsAcross : Tile<WIDTH / VECTOR> {
    using Tile<WIDTH / VECTOR>::BYTES, Tile<WIDTH / VECTOR>::STEP;
    static constexpr int COUNT = DEPTH / STEP;
    static constexpr bool TRANSPOSES = sizeof(ELEMENT) == 2;  // ldmatrix does it, for numbers of 16 bits only

    __device__ static int place(int row, int vector) {
        return row * BYTES + (vector ^ (TRANSPOSES ? row % 8 : row % 4 * 2)) * 16;
    }
    __device__ static unsigned number(const unsigned char* tile, int row, int column) {
        return *(const unsigned*)(tile + place(row, column / VECTOR) + column % VECTOR * sizeof(ELEMENT));
    }

    __device__ static void left(Fragment<ELEMENT, 4>& a, const unsigned char* tile, int first, int k, int lane) {
        unsigned registers[4];
        if constexpr (TRANSPOSES)
            load_transposed(registers,
                            tile + place(k * 16 + lane % 8 + lane / 16 * 8, first / VECTOR + lane / 8 % 2));
        else
#pragma unroll
            for (int e = 0; e < 4; ++e)
                registers[e] = number(tile, k * 8 + lane % 4 + e / 2 * 4, first + lane / 4 + e % 2 * 8);
#pragma unroll
        for (int e = 0; e < 4; ++e) a.set(e, registers[e]);
    }

    __device__ static void right(Fragment<ELEMENT, 2>& b, Fragment<ELEMENT, 2>& next, const unsigned char* tile,
                                 int first, int k, int lane) {
        unsigned registers[4];
        if constexpr (TRANSPOSES)
            load_transposed(registers, tile + place(k * 16 + lane % 16, first / VECTOR + lane / 16));
        else
#pragma unroll
            for (int e = 0; e < 4; ++e)
                registers[e] = number(tile, k * 8 + lane % 4 + e % 2 * 4, first + lane / 4 + e / 2 * 8);
#pragma unroll
        for (int e = 0; e < 2; ++e) b.set(e, registers[e]), next.set(e, registers[2 + e]);
    }
};

struct Pixel {  // where its window begins in x, where it lies in g (or nowhere), and its taps inside
    int x, g;
    unsigned inside;
};
constexpr int NOWHERE = -2147483647;

// blockIdx.z counts the slices of each group, as in implicit_gemm.cu.  p counts channels and filters with the zeros
// behind those of a group; dw has but the real ones.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) weight_grad(const ELEMENT* __restrict__ x,
                                                                          const ELEMENT* __restrict__ g,
                                                                          float* __restrict__ dw, const Window p,
                                                                          int channels, int filters) {
    SHARED_MEMORY(ring);
    using A = TermsAcross<ROWS>;
    using B = TermsAcross<COLUMNS>;
    const int terms = p.taps() * p.depth, across = (terms + COLUMNS - 1) / COLUMNS;
    const int first_row = (int)blockIdx.x / across * ROWS, first_column = (int)blockIdx.x % across * COLUMNS;
    const int slices = gridDim.z / p.groups, group = blockIdx.z / slices, slice = blockIdx.z % slices;
    const int start = slice * p.slice, stop = min(p.pixels(), start + p.slice);
    x += group * p.depth;
    g += group * p.columns;
    dw += slice * p.w_slice + group * p.w_group;

    __shared__ Pixel pixels[STAGES][DEPTH];  // worked out once for all threads
    auto prepare = [&](int step) {
        const int m = start + step * DEPTH + threadIdx.x;
        if (threadIdx.x >= DEPTH) return;
        Pixel pixel = {0, NOWHERE, 0};
        if (m < stop) {
            const Corner corner = p.corner(m);
            pixel = {corner.at, p.result(m), taps_inside(p, corner)};
        }
        pixels[step % STAGES][threadIdx.x] = pixel;
    };
    const int filter = first_row + A::vector() * VECTOR;
    auto fetch_g = [&](int step) {
        const Pixel* pixel = pixels[step % STAGES];
        return [&, pixel](int i) -> const ELEMENT* {
            const int at = pixel[A::row(i)].g;
            return at != NOWHERE && filter < p.columns ? g + (at + filter) : nullptr;
        };
    };
    const Term t = term(p, first_column + B::vector() * VECTOR, terms);
    auto fetch_x = [&](int step) {
        const Pixel* pixel = pixels[step % STAGES];
        return [&, pixel](int i) -> const ELEMENT* {
            const Pixel& its = pixel[B::row(i)];
            return (its.inside & t.needed) == t.needed ? x + (its.x + t.x) : nullptr;
        };
    };
    Sums sums;
    multiply<A, B>(ring, (stop - start + DEPTH - 1) / DEPTH, prepare, fetch_g, fetch_x, x, sums);

    sums.each([&](int row, int column, float sum) {
        const int k = first_row + row, term = first_column + column;
        int tap = term;
        const int channel = split(tap, p.by_depth);
        if (k < filters && term < terms && channel < channels) dw[k * p.w_column + p.weight(term)] = sum;
    });
}
