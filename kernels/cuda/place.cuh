// Which channel, image and position a thread's item is, and where that lies in the arrays of a Window.  There
// p.groups counts channels, x_* are strides of what is read by windows, y_* of what has one value for each window, and
// w_*, image, channel, -, axes, of a third array with one value for each window.

#pragma once
#include "window.cuh"

template <int N> struct Whole;  // a whole number of N bytes
template <> struct Whole<2> {
    using type = short;
};
template <> struct Whole<4> {
    using type = int;
};
template <> struct Whole<8> {
    using type = long long;
};

struct Place {
    int channel, image, at[3];
};

// The item's place among images and channels with these positions each; what lies side by side has neighbouring items.
__device__ inline Place place(int item, int channels, int n0, int n1, int n2) {
    Place found;
    if (CHANNELS_LAST) found.channel = item % channels, item /= channels;
    found.at[2] = item % n2, item /= n2;
    found.at[1] = item % n1, item /= n1;
    found.at[0] = item % n0, item /= n0;
    if (!CHANNELS_LAST) found.channel = item % channels, item /= channels;
    found.image = item;
    return found;
}

__device__ inline Place window_of(const Window& p, int item) {
    return place(item, p.groups, p.axis[0].out, p.axis[1].out, p.axis[2].out);
}

__device__ inline Place position_of(const Window& p, int item) {
    return place(item, p.groups, p.axis[0].size, p.axis[1].size, p.axis[2].size);
}

__device__ inline int x_at(const Window& p, const Place& i) {
    return i.image * p.x_image + i.channel * p.x_channel + i.at[0] * p.x_step[0] + i.at[1] * p.x_step[1] +
           i.at[2] * p.x_step[2];
}

__device__ inline int y_at(const Window& p, const Place& i) {
    return i.image * p.y_image + i.channel * p.y_channel + i.at[0] * p.y_step[0] + i.at[1] * p.y_step[1] +
           i.at[2] * p.y_step[2];
}

__device__ inline int index_at(const Window& p, const Place& i) {
    return i.image * p.w_group + i.channel * p.w_column + i.at[0] * p.w_tap[0] + i.at[1] * p.w_tap[1] +
           i.at[2] * p.w_tap[2];
}

__device__ inline int in_plane(const Window& p, const Place& i) {
    return (i.at[0] * p.axis[1].size + i.at[1]) * p.axis[2].size + i.at[2];
}
