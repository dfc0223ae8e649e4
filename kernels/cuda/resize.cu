// Resizing, forward and backward: on each axis a result is a weighted sum of a few positions of x, the row of a sparse
// matrix.  The gradient is the same with transposed matrices, so its results gather too, each in a fixed order.
//
// REAL is float16, float or double.  The axes of p go from the sizes of x to those of y, p.groups counts channels.  The
// rows of the three matrices stand below each other; the entries of row r are numbers start[r] to start[r + 1].

#include "instructions.cuh"
#include "place.cuh"

using Sum = decltype(wide(REAL()));

extern "C" __global__ void resize(const REAL* __restrict__ x, REAL* __restrict__ y, const int* __restrict__ start,
                                  const int* __restrict__ at, const Sum* __restrict__ weight, const Window p,
                                  int items) {
    const unsigned item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= (unsigned)items) return;
    const Place to = window_of(p, item);
    const int row0 = to.at[0], row1 = p.axis[0].out + to.at[1], row2 = p.axis[0].out + p.axis[1].out + to.at[2];
    const int first1 = start[row1], stop1 = start[row1 + 1], first2 = start[row2], stop2 = start[row2 + 1];
    const int image = to.image * p.x_image + to.channel * p.x_channel;

    Sum sum = 0;
    for (int i = start[row0]; i < start[row0 + 1]; ++i) {
        Sum plane = 0;
        for (int j = first1; j < stop1; ++j) {
            const int from = image + at[i] * p.x_step[0] + at[j] * p.x_step[1];
            Sum line = 0;
            for (int k = first2; k < stop2; ++k) line += weight[k] * wide(x[from + at[k] * p.x_step[2]]);
            plane += weight[j] * line;
        }
        sum += weight[i] * plane;
    }
    round_to(sum, y[y_at(p, to)]);
}
