// A window problem as the kernels see it: windows of an input x move over it and give the positions of a result y.
//
//   x (N, G * depth, size0, size1, size2)    y (N, G * columns, out0, out1, out2)    w (G, columns, depth, taps0..2)
//
// Tap t of window p reads position p * stride + t * dilation - low of its axis.  All strides count elements, so any
// storage order will do.  `_window` in windows.py fills it in, field by field in this order.

#pragma once

struct Divider {  // n / divisor = n * multiplier >> shift, for 0 <= n < 2^31
    unsigned multiplier, shift;
    int divisor;
};

// Splits n into its quotient, which n becomes, and its remainder, which is returned.
__device__ inline int split(int& n, const Divider& by) {
    const int quotient = (int)((unsigned long long)(unsigned)n * by.multiplier >> by.shift);
    const int remainder = n - quotient * by.divisor;
    n = quotient;
    return remainder;
}

struct Axis {
    int size, taps, out, stride, low, dilation;
};

struct Corner {  // where a window begins: its offset in x, and its position on each axis (negative in the low padding)
    int at, i0, i1, i2;
};

struct Tap {  // how far from the corner a tap of one channel lies
    int at, d0, d1, d2;
};

struct Window {
    Axis axis[3];
    int batch, groups, depth, columns;
    int x_image, x_channel, x_step[3];
    int y_image, y_channel, y_step[3];
    int w_group, w_column, w_depth, w_tap[3];
    int slice, w_slice;  // pixels that a slice sums over, and the distance of the slices' results
    int w_first, y_first;  // where the first weight and the first result lie
    Divider by_out[3], by_taps[3], by_depth, by_columns, by_channels, by_runs;

    __device__ int pixels() const { return batch * axis[0].out * axis[1].out * axis[2].out; }
    __device__ int taps() const { return axis[0].taps * axis[1].taps * axis[2].taps; }

    // Pixels are numbered m = ((n * out0 + o) * out1 + p) * out2 + q.
    __device__ Corner corner(int m) const {
        const int i2 = split(m, by_out[2]) * axis[2].stride - axis[2].low;
        const int i1 = split(m, by_out[1]) * axis[1].stride - axis[1].low;
        const int i0 = split(m, by_out[0]) * axis[0].stride - axis[0].low;
        return {m * x_image + i0 * x_step[0] + i1 * x_step[1] + i2 * x_step[2], i0, i1, i2};
    }

    // Where pixel m lies in y.
    __device__ int result(int m) const {
        int at = split(m, by_out[2]) * y_step[2];
        at += split(m, by_out[1]) * y_step[1];
        at += split(m, by_out[0]) * y_step[0];
        return at + m * y_image;
    }

    // Terms of a window's sum are numbered k = tap * depth + channel.
    __device__ Tap tap(int k) const {
        const int channel = split(k, by_depth);
        const int d2 = split(k, by_taps[2]) * axis[2].dilation;
        const int d1 = split(k, by_taps[1]) * axis[1].dilation;
        const int d0 = k * axis[0].dilation;
        return {channel * x_channel + d0 * x_step[0] + d1 * x_step[1] + d2 * x_step[2], d0, d1, d2};
    }

    // Where term k lies in w.
    __device__ int weight(int k) const {
        int at = split(k, by_depth) * w_depth;
        at += split(k, by_taps[2]) * w_tap[2];
        at += split(k, by_taps[1]) * w_tap[1];
        return at + k * w_tap[0];
    }

    __device__ bool inside(int position, int a) const { return (unsigned)position < (unsigned)axis[a].size; }

    __device__ bool inside(const Corner& c, const Tap& t) const {
        return inside(c.i0 + t.d0, 0) && inside(c.i1 + t.d1, 1) && inside(c.i2 + t.d2, 2);
    }
};

// An input gradient with a stride is a problem for each residue of its positions mod stride (windows.py).  In what their
// windows differ, the axes do not depend on each other: a residue of each makes a problem.
struct Residue {
    int taps, out, low, w_first, y_first;
    Divider by_out, by_taps;
};

constexpr int MOST_RESIDUES = 72;  // of all axes together: what a kernel is given must stay below 4 kB

struct Residues {
    Window common;
    int count[3];
    Residue residue[MOST_RESIDUES];  // those of the first axis, of the second, of the third

    __device__ Window window(int number) const {
        Window p = common;
        const int i2 = number % count[2], i1 = number / count[2] % count[1], i0 = number / count[2] / count[1];
        const int place[3] = {i0, count[0] + i1, count[0] + count[1] + i2};
#pragma unroll
        for (int a = 0; a < 3; ++a) {
            const Residue& own = residue[place[a]];
            p.axis[a].taps = own.taps, p.axis[a].out = own.out, p.axis[a].low = own.low;
            p.w_first += own.w_first, p.y_first += own.y_first;
            p.by_out[a] = own.by_out, p.by_taps[a] = own.by_taps;
        }
        return p;
    }
};

// What `correlate` is given, and the window of a block.  RESIDUES: there are several, and blockIdx.y says which.
#if RESIDUES
using Problem = Residues;

__device__ inline Window window_of_block(const Residues& given) {
    return given.window(blockIdx.y);
}
#else
using Problem = Window;

__device__ inline const Window& window_of_block(const Window& given) {
    return given;
}
#endif
