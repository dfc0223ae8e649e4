// Brings an operand into the order in which pipelined.cu copies it: the channels of a group side by side, VECTOR of
// them in each thread's hands, zeros behind the last where they do not fill a vector, each rounded to TO.
//
// FROM is float or float16, TO float, float16 or bfloat16.  CHANNELS_LAST says what lies side by side in the source,
// and so what neighbouring threads read.

#include "instructions.cuh"

constexpr int VECTOR = 16 / sizeof(TO);

struct alignas(16) Vector {
    TO element[VECTOR];
};

// `image` in staging.py fills it in.  Channels are those of a group, strides count elements.
struct Order {
    int images, groups, channels, vectors, size[3];
    int from_image, from_channel, from_step[3];
    int to_image, to_channel, to_step[3];
};

extern "C" __global__ void stage(const FROM* __restrict__ source, TO* __restrict__ target, const Order p) {
    const int positions = p.size[0] * p.size[1] * p.size[2];
    int item = blockIdx.x * blockDim.x + threadIdx.x, vector = 0, group = 0;
    if ((unsigned)item >= (unsigned)(p.images * positions * p.groups * p.vectors)) return;
    if (CHANNELS_LAST) {
        vector = item % p.vectors, item /= p.vectors;
        group = item % p.groups, item /= p.groups;
    }
    int at[3];
#pragma unroll
    for (int a = 2; a >= 0; --a) at[a] = item % p.size[a], item /= p.size[a];
    if (!CHANNELS_LAST) {
        vector = item % p.vectors, item /= p.vectors;
        group = item % p.groups, item /= p.groups;
    }

    int from = item * p.from_image + (group * p.channels + vector * VECTOR) * p.from_channel;
    int to = item * p.to_image + (group * p.vectors + vector) * VECTOR * p.to_channel;
#pragma unroll
    for (int a = 0; a < 3; ++a) from += at[a] * p.from_step[a], to += at[a] * p.to_step[a];
    Vector staged;
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) {
        const bool real = vector * VECTOR + e < p.channels;
        round_to(real ? wide(source[from + e * p.from_channel]) : 0.0f, staged.element[e]);
    }
    *(Vector*)(target + to) = staged;
}
