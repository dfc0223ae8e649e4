// Group norm, and with it layer norm (one group, one position) and instance norm (groups of one channel).
//
// A row is what is normalised together: the channels of a group of an image.  A team of TEAM threads takes a row, reads
// it for its mean and variance, and again, from the cache, to write; so each pass is one launch.  The gradients of
// weight and bias are sums over channels, in two stages as those of batch norm.

#include "channels.cuh"

struct Rows {
    int rows, length, channels, per_group;  // length: channels of a group times positions
    Divider by_groups, by_positions, by_per_group;

    // Where element i of a row lies, and the channel that it belongs to.
    __device__ int place(int row, int i, int& channel) const {
        const int group = split(row, by_groups);  // row becomes the image
        channel = group * per_group;
        if (CHANNELS_LAST) {
            channel += split(i, by_per_group);  // i becomes the position
            return (row * by_positions.divisor + i) * channels + channel;
        }
        const int position = split(i, by_positions);
        channel += i;
        return (row * channels + channel) * by_positions.divisor + position;
    }
};

// What the threads of a team have, merged; all of them get it.
template <class T> __device__ inline T of_team(T own, T* kept) {
    const int t = threadIdx.x, lane = t % TEAM;
    kept[t] = own;
    for (int half = TEAM / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) kept[t] = own = merged(own, kept[t + half]);
    }
    __syncthreads();
    return kept[t - lane];
}

extern "C" __global__ void group_norm(const STORED* __restrict__ x, const REAL* __restrict__ weight,
                                      const REAL* __restrict__ bias, REAL* __restrict__ mean,
                                      REAL* __restrict__ variance, STORED* __restrict__ y, REAL eps, const Rows p) {
    __shared__ Moments<REAL> together[THREADS];
    const int row = blockIdx.x * (THREADS / TEAM) + threadIdx.x / TEAM, lane = threadIdx.x % TEAM;
    const int end = row < p.rows ? p.length : 0;  // all threads come to the barriers
    int c = 0;
    const REAL near = end ? wide(x[p.place(row, 0, c)]) : 0;
    const auto beyond = [&](int i) { return wide(x[p.place(row, i, c)]) - near; };
    const Moments<REAL> all = of_team(moments_of(lane, end, TEAM, beyond), together);
    if (end == 0) return;
    const REAL centre = near + all.mean, spread = all.square / all.count, scale = 1 / root(spread + eps);
#pragma unroll 4
    for (int i = lane; i < end; i += TEAM) {
        const int at = p.place(row, i, c);
        round_to(fused(wide(x[at]) - centre, weight ? scale * weight[c] : scale, or_zero(bias, c)), y[at]);
    }
    if (lane == 0) mean[row] = centre, variance[row] = spread;
}

// With h = g weight and n = (x - mean) / deviation: dx = (h - mean of h - n times mean of h n) / deviation.
extern "C" __global__ void group_norm_grad(const STORED* __restrict__ g, const STORED* __restrict__ x,
                                           const REAL* __restrict__ weight, const REAL* __restrict__ mean,
                                           const REAL* __restrict__ variance, STORED* __restrict__ dx, REAL eps,
                                           const Rows p) {
    __shared__ Pair<REAL> together[THREADS];
    const int row = blockIdx.x * (THREADS / TEAM) + threadIdx.x / TEAM, lane = threadIdx.x % TEAM;
    const int end = row < p.rows ? p.length : 0;
    const REAL centre = end ? mean[row] : 0, scale = end ? 1 / root(variance[row] + eps) : 0;
    Pair<REAL> own = {0, 0};
    int c = 0;
#pragma unroll 4
    for (int i = lane; i < end; i += TEAM) {
        const int at = p.place(row, i, c);
        const REAL slope = weight ? wide(g[at]) * weight[c] : wide(g[at]);
        own = merged(own, Pair<REAL>{slope, slope * (wide(x[at]) - centre)});
    }
    own = of_team(own, together);
    const REAL of_x = scale * scale * (own.product / p.length), constant = own.plain / p.length;
#pragma unroll 4
    for (int i = lane; i < end; i += TEAM) {
        const int at = p.place(row, i, c);
        const REAL slope = weight ? wide(g[at]) * weight[c] : wide(g[at]);
        round_to((slope - constant - (wide(x[at]) - centre) * of_x) * scale, dx[at]);
    }
}

// partial (slices, 2, C): sums of g, and of g times the normalised x, for each channel.
extern "C" __global__ void parameter_sums(const STORED* __restrict__ g, const STORED* __restrict__ x,
                                          const REAL* __restrict__ mean, const REAL* __restrict__ variance,
                                          REAL* __restrict__ partial, REAL eps, int groups, const Layout p) {
    __shared__ Pair<REAL> together[THREADS];
    const Share mine(p);
    const int group = mine.channel / (p.channels() / groups);
    Pair<REAL> own = {0, 0};
#pragma unroll 4
    for (int i = mine.begin; i < mine.end; i += ROWS) {
        const int at = p.at(mine.channel, i), row = p.image_of(i) * groups + group;
        const REAL normal = (wide(x[at]) - mean[row]) / root(variance[row] + eps);
        own = merged(own, Pair<REAL>{wide(g[at]), wide(g[at]) * normal});
    }
    own = tree(own, together, LANES);
    if (mine.row == 0 && mine.channel < p.channels()) {
        REAL* to = partial + (int)blockIdx.y * 2 * p.channels() + mine.channel;
        to[0] = own.plain, to[p.channels()] = own.product;
    }
}
