// Max-unpooling puts each value at the position of its plane that its index names; gathering reads it there again.
//
// Several values may name one position, and the one of the largest number stays.  Which thread comes first must not
// matter, so there are two passes: each value claims its position, where the largest number wins (the maximum of whole
// numbers is the same in any order), and then each position takes the value that claimed it.
//
// Values of BYTES are copied, whatever they are; indices have INDEX_BYTES.  Values are windows of the plane here: x_* are
// the strides of the plane, y_* those of the values, w_* those of the indices.

#include "place.cuh"

using Bits = Whole<BYTES>::type;
using Index = Whole<INDEX_BYTES>::type;

__device__ inline int positions(const Window& p) {
    return p.axis[0].size * p.axis[1].size * p.axis[2].size;
}

// Where the claim of a position in the plane of an image and channel lies: channels side by side where the plane has them.
__device__ inline int claim_at(const Window& p, const Place& of, int position) {
    return CHANNELS_LAST ? (of.image * positions(p) + position) * p.groups + of.channel
                         : (of.image * p.groups + of.channel) * positions(p) + position;
}

__device__ inline bool in_range(const Window& p, Index index) {
    return index >= 0 && index < positions(p);
}

// claims begin as -1; wrong becomes 1 where an index is no position.
extern "C" __global__ void claim(const Index* __restrict__ indices, int* __restrict__ claims, int* __restrict__ wrong,
                                 const Window p, int items) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place value = window_of(p, item);
    const Index index = indices[index_at(p, value)];
    const int number = (value.at[0] * p.axis[1].out + value.at[1]) * p.axis[2].out + value.at[2];
    if (in_range(p, index))
        atomicMax(claims + claim_at(p, value, index), number);
    else
        *wrong = 1;  // whoever writes it writes the same
}

extern "C" __global__ void take(const Bits* __restrict__ x, const int* __restrict__ claims, Bits* __restrict__ y,
                                const Window p, int items) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place position = position_of(p, item);
    int number = claims[claim_at(p, position, in_plane(p, position))];
    Bits value = 0;
    if (number >= 0) {
        Place from = position;
        from.at[2] = split(number, p.by_out[2]);
        from.at[1] = split(number, p.by_out[1]);
        from.at[0] = number;
        value = x[y_at(p, from)];
    }
    y[x_at(p, position)] = value;
}

// An index that is no position gives NaN.
extern "C" __global__ void gather(const Bits* __restrict__ u, const Index* __restrict__ indices, Bits* __restrict__ y,
                                  const Window p, int items) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place value = window_of(p, item);
    const Index index = indices[index_at(p, value)];
    Bits read = -1;  // all ones: NaN
    if (in_range(p, index)) {
        Place from = value;
        int position = index;
        from.at[2] = position % p.axis[2].size, position /= p.axis[2].size;
        from.at[1] = position % p.axis[1].size;
        from.at[0] = position / p.axis[1].size;
        read = u[x_at(p, from)];
    }
    y[y_at(p, value)] = read;
}
