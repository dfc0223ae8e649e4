// The matrix products of implicit_gemm.cu on tensor cores, fed by copies that run beside the program.
//
// Three stages of shared memory form a ring: while a block multiplies the tiles of one step, those of the next two are
// on their way.  Nobody carries them: a copy goes from main memory to shared memory without passing a register
// (cp.async), zeros stand for padding, and the lanes of a warp read their parts of eight rows at once (ldmatrix).
//
// Everything moves in vectors of 16 bytes: 4 numbers in float32, 8 in 16 bits.  So x, g and w have the channels that are
// summed side by side, a multiple of a vector in each group; staging.py brings them into this order.
//
// A row of a tile is a pixel (a filter) with 128 bytes of neighbouring terms; those of weight_grad stand in pipelined.cu.
//
// ELEMENT is float (as TF32, see fragments.cuh for TERMS), float16 or bfloat16; RESULT what correlate writes.  WARPGROUP:
// tensor cores of compute capability 9.0 read the tiles themselves (warpgroup.cu).

#pragma once

#include "window.cuh"
#include "fragments.cuh"

constexpr int VECTOR = 16 / sizeof(ELEMENT);  // elements
constexpr int DEPTH = 8 * VECTOR;             // terms of a step
constexpr int THREADS = 128;
constexpr int STAGES = 3, STAGE_BYTES = (ROWS + COLUMNS) * 128;
// At a time on a multiprocessor: tiles of 128 x 128 and operands in two parts need all registers.
constexpr int BLOCKS = ROWS * COLUMNS > 128 * 64 || TERMS == 3 ? 2 : ROWS > 64 ? 3 : 4;

// Vectors of a tile in shared memory, RUN of them in a row.  Were they there in their order, the same vector of
// neighbouring rows would lie in the same banks; so each row has its own order, and eight rows use all 32 banks.
template <int RUN> struct Tile {
    static constexpr int BYTES = RUN * 16;  // of a row
    static constexpr int STEP = THREADS / RUN;

    // The i-th vector that this thread brings.
    __device__ static int vector() { return threadIdx.x % RUN; }
    __device__ static int row(int i) { return threadIdx.x / RUN + i * STEP; }
};

// A tile for correlate: WIDTH rows, in each the terms of a step.
template <int WIDTH> struct TermsAlong : Tile<8> {
    static constexpr int COUNT = WIDTH / STEP;

    __device__ static int place(int row, int vector) { return row * BYTES + (vector ^ row % 8) * 16; }

    // The fragment of 16 rows and terms 2 k, 2 k + 1, counted in vectors.
    __device__ static void left(Fragment<ELEMENT, 4>& a, const unsigned char* tile, int first, int k, int lane) {
        unsigned registers[4];
        load_matrices(registers, tile + place(first + lane % 16, 2 * k + lane / 16));
#pragma unroll
        for (int e = 0; e < 4; ++e) a.set(e, registers[e]);
    }

    // Those of twice 8 columns.
    __device__ static void right(Fragment<ELEMENT, 2>& b, Fragment<ELEMENT, 2>& next, const unsigned char* tile,
                                 int first, int k, int lane) {
        unsigned registers[4];
        load_matrices(registers, tile + place(first + lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2));
#pragma unroll
        for (int e = 0; e < 2; ++e) b.set(e, registers[e]), next.set(e, registers[2 + e]);
    }
};

struct alignas(2 * sizeof(RESULT)) Pair {
    RESULT first, second;
};

__device__ inline Pair rounded(float first, float second) {
    Pair pair;
    round_to(first, pair.first);
    round_to(second, pair.second);
    return pair;
}

struct alignas(8) Four {  // results of 16 bits
    unsigned low, high;
};

#if WARPGROUP
constexpr int DOWN = ROWS / 64, ACROSS = COLUMNS / 8, BESIDE = 1, APART = 64;  // pieces of a warp
#else
constexpr int DOWN = ROWS / 32, ACROSS = COLUMNS / 16, BESIDE = 2, APART = 16;
constexpr int UNROLLED = TERMS == 3 ? 1 : 4;  // parts of a step; three products for each hide that the next is fetched late
#endif

struct Sums : Pieces<DOWN, ACROSS, BESIDE, APART> {
#if WARPGROUP
    __device__ static void copies_are_here() { show_to_tensor_cores(); }

    // Adds the product of the tiles of a step: they lie as `place` says, which is how tensor cores want them.
    template <class A, class B> __device__ void add(const unsigned char* a, const unsigned char* b) {
        begin_products();
#pragma unroll
        for (int k = 0; k < 4; ++k)  // two vectors of terms at a time
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
                multiply_add_64(sum[i], rows_of_128_bytes(a + i * APART * A::BYTES + k * 32),
                                rows_of_128_bytes(b + k * 32), ELEMENT{});
        finish_products();
    }
#else
    __device__ static void copies_are_here() {}

    // Adds the product of the tiles of a step.
    template <class A, class B> __device__ void add(const unsigned char* a, const unsigned char* b) {
#pragma unroll UNROLLED
        for (int k = 0; k < 4; ++k)  // two vectors of terms at a time
            add_fragments<ELEMENT>([&](auto& u, int i) { A::left(u, a, row + i * 16, k, lane); },
                                   [&](auto& v) {
#pragma unroll
                                       for (int j = 0; j < ACROSS; j += 2)
                                           B::right(v[j], v[j + 1], b, column + j * 8, k, lane);
                                   });
    }
#endif

    // f(row, column, four results) where these have 16 bits.  Neighbouring lanes exchange half of what they have, so that
    // a warp writes 16 columns of a row, 32 bytes, at once: memory knows no smaller piece.
    template <class F> __device__ void each_four(F f) const {
        const bool odd = lane % 2;
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int half = 0; half < 2; ++half)
#pragma unroll
                for (int j = 0; j < ACROSS; j += 2) {
                    const Pair left = rounded(sum[i][j][half * 2], sum[i][j][half * 2 + 1]);
                    const Pair right = rounded(sum[i][j + 1][half * 2], sum[i][j + 1][half * 2 + 1]);
                    const unsigned a = *(const unsigned*)&left, b = *(const unsigned*)&right;
                    const unsigned other = exchange(odd ? a : b);
                    f(row + i * APART + lane / 4 + half * 8, column + (j + odd) * 8 + lane % 4 / 2 * 4,
                      odd ? Four{other, b} : Four{a, other});
                }
    }
};

// The sum over all steps.  fetch_a(step) gives what says of this thread's i-th vector where it comes from; null: zeros.
// prepare(step) is called before, with a barrier between.
template <class A, class B, class Prepare, class FetchA, class FetchB>
__device__ inline void multiply(unsigned char* ring, int steps, Prepare prepare, FetchA fetch_a, FetchB fetch_b,
                                const ELEMENT* anywhere, Sums& sums) {
    auto bring = [&](int step) {
        if (step < steps) {
            unsigned char *a = ring + step % STAGES * STAGE_BYTES, *b = a + ROWS * 128;
            auto source_a = fetch_a(step);
            auto source_b = fetch_b(step);
#pragma unroll
            for (int i = 0; i < A::COUNT; ++i) {
                const ELEMENT* from = source_a(i);
                copy_16_bytes(a + A::place(A::row(i), A::vector()), from ? from : anywhere, from);
            }
#pragma unroll
            for (int i = 0; i < B::COUNT; ++i) {
                const ELEMENT* from = source_b(i);
                copy_16_bytes(b + B::place(B::row(i), B::vector()), from ? from : anywhere, from);
            }
        }
        end_group_of_copies();  // an empty one too: they are counted
    };

    for (int step = 0; step < STAGES - 1; ++step) prepare(step);
    __syncthreads();
#pragma unroll 1
    for (int step = 0; step < STAGES - 1; ++step) bring(step);
    prepare(STAGES - 1);
    for (int step = 0; step < steps; ++step) {
        wait_for_copies<STAGES - 2>();  // this thread's part of the step is there,
        sums.copies_are_here();
        __syncthreads();                // and so is that of the others; nobody reads the stage before any more
        bring(step + STAGES - 1);
        prepare(step + STAGES);
        const unsigned char* a = ring + step % STAGES * STAGE_BYTES;
        sums.template add<A, B>(a, a + ROWS * 128);
    }
}

// Whether a tap of a window lies inside of x is asked for each vector.  The answers fit into a word: a bit for each tap
// of each axis.  NO_TAP is never among them.
constexpr unsigned NO_TAP = 1u << 31;

__device__ inline unsigned taps_inside(const Window& p, const Corner& corner) {
    const int begin[3] = {corner.i0, corner.i1, corner.i2};
    unsigned bits = 0, bit = 1;
#pragma unroll
    for (int a = 0; a < 3; ++a)
        for (int t = 0; t < p.axis[a].taps; ++t, bit <<= 1)
            if (p.inside(begin[a] + t * p.axis[a].dilation, a)) bits |= bit;
    return bits;
}

struct Term {  // how far from the corner of a window, and from the first weight of a filter, and the bits of its tap
    int x, w;
    unsigned needed;
};

__device__ inline Term term(const Window& p, int k, int total) {
    if (k >= total) return {0, 0, NO_TAP};
    const int channel = split(k, p.by_depth), t2 = split(k, p.by_taps[2]), t1 = split(k, p.by_taps[1]), t0 = k;
    return {channel + t0 * p.axis[0].dilation * p.x_step[0] + t1 * p.axis[1].dilation * p.x_step[1] +
                t2 * p.axis[2].dilation * p.x_step[2],
            channel + t0 * p.w_tap[0] + t1 * p.w_tap[1] + t2 * p.w_tap[2],
            1u << t0 | 1u << (p.axis[0].taps + t1) | 1u << (p.axis[0].taps + p.axis[1].taps + t2)};
}

// blockIdx.x counts columns of tiles first: neighbouring blocks then read the same pixels, and those lie in the cache.
// blockIdx.z counts the slices of each group: one sums over a part of the steps, and writes results of its own, p.w_slice
// apart.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) correlate(const ELEMENT* __restrict__ x,
                                                                        const ELEMENT* __restrict__ w,
                                                                        RESULT* __restrict__ y, const Problem given) {
    SHARED_MEMORY(ring);
    using A = TermsAlong<ROWS>;
    using B = TermsAlong<COLUMNS>;
    const Window& p = window_of_block(given);
    const int total = p.taps() * p.depth, pixels = p.pixels(), across = (p.columns + COLUMNS - 1) / COLUMNS;
    const int slices = gridDim.z / p.groups, group = blockIdx.z / slices, slice = blockIdx.z % slices;
    const int steps = (total + DEPTH - 1) / DEPTH, length = (steps + slices - 1) / slices;
    const int start = slice * length, stop = min(steps, start + length);
    const int first_row = (int)blockIdx.x / across * ROWS, first_column = (int)blockIdx.x % across * COLUMNS;
    if (first_row >= pixels) return;  // of a residue with fewer than others
    x += group * p.depth;
    w += p.w_first + group * p.w_group;
    y += p.y_first + slice * p.w_slice + group * p.columns * p.y_channel;

    int at[A::COUNT];
    unsigned inside[A::COUNT];
#pragma unroll
    for (int i = 0; i < A::COUNT; ++i) {
        const int m = first_row + A::row(i);
        const Corner corner = p.corner(m);
        at[i] = corner.at;
        inside[i] = m < pixels ? taps_inside(p, corner) : 0;
    }
    auto fetch_x = [&](int step) {
        const Term t = term(p, (start + step) * DEPTH + A::vector() * VECTOR, total);
        return [&, t](int i) -> const ELEMENT* {
            return (inside[i] & t.needed) == t.needed ? x + (at[i] + t.x) : nullptr;
        };
    };
    auto fetch_w = [&](int step) {
        const Term t = term(p, (start + step) * DEPTH + B::vector() * VECTOR, total);
        return [&, t](int i) -> const ELEMENT* {
            const int column = first_column + B::row(i);
            return t.needed != NO_TAP && column < p.columns ? w + (column * p.w_column + t.w) : nullptr;
        };
    };
    Sums sums;
    multiply<A, B>(ring, stop - start, [](int) {}, fetch_x, fetch_w, x, sums);

    const int apart = p.columns | p.y_image | p.y_step[0] | p.y_step[1] | p.y_step[2];
    if (sizeof(RESULT) == 2 && p.y_channel == 1 && apart % 4 == 0 && (size_t)y % sizeof(Four) == 0) {
        sums.each_four([&](int row, int column, Four four) {
            const int m = first_row + row, k = first_column + column;
            if (m < pixels && k < p.columns) *(Four*)(y + (p.result(m) + k)) = four;
        });
        return;
    }
    const bool in_pairs = p.y_channel == 1 && apart % 2 == 0 && (size_t)y % sizeof(Pair) == 0;
    sums.each_pair([&](int row, int column, float first, float second) {
        const int m = first_row + row, k = first_column + column;
        if (m >= pixels || k >= p.columns) return;
        RESULT* to = y + (p.result(m) + k * p.y_channel);
        const Pair pair = rounded(first, second);
        if (in_pairs) {
            *(Pair*)to = pair;
        } else {
            to[0] = pair.first;
            if (k + 1 < p.columns) to[p.y_channel] = pair.second;
        }
    });
}
