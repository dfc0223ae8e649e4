// Softmax cross-entropy of scores with class numbers, weighted and smoothed: the scores are read once forward, and once
// backward, where the gradient is written.  Between the two one number is kept for each distribution.
//
// Scores are (N, C, positions) in memory, or (N, positions, C) with CHANNELS_LAST; a row is one distribution over C.

#include "real.cuh"
#include "window.cuh"

constexpr int LANES = CHANNELS_LAST ? 32 : 1;  // threads that share a row; without, neighbours have neighbouring rows
constexpr int ROWS = THREADS / LANES;

struct Layout {
    int rows, ignored;  // distributions; the class number that leaves one out
    Divider by_run, by_classes;

    __device__ int classes() const { return by_classes.divisor; }

    __device__ int first(int row) const {  // where the row's first score lies
        if (CHANNELS_LAST) return row * classes();
        const int position = split(row, by_run);  // row becomes the image
        return row * classes() * by_run.divisor + position;
    }

    __device__ int step() const { return CHANNELS_LAST ? 1 : by_run.divisor; }
};

struct Sums {
    REAL largest, total;  // of the scores; of exp(score - largest)
    REAL linear, weights; // of weight times score, and of the weights: what smoothing asks for
};

__device__ inline REAL minus_infinity() { return -REAL(1) / 0; }

// exp(from - to) for to >= from, 0 for nothing yet.
__device__ inline REAL shrunk(REAL total, REAL from, REAL to) {
    return total == 0 ? 0 : total * exponential(from - to);
}

__device__ inline Sums merged(const Sums& a, const Sums& b) {
    const REAL largest = a.largest >= b.largest || a.largest != a.largest ? a.largest : b.largest;
    return {largest, shrunk(a.total, a.largest, largest) + shrunk(b.total, b.largest, largest), a.linear + b.linear,
            a.weights + b.weights};
}

__device__ inline REAL weight_of(const REAL* weight, int c) { return weight ? weight[c] : 1; }

// losses and shares (rows): the loss of each row, and the weight of its class; both 0 where the row is left out, NaN
// where there is no such class.  normalizers (rows): the logarithm of the sum of exp(score).  result[2]: all weights.
extern "C" __global__ void cross_entropy(const REAL* __restrict__ x, const long long* __restrict__ target,
                                         const REAL* __restrict__ weight, REAL* __restrict__ losses,
                                         REAL* __restrict__ shares, REAL* __restrict__ normalizers,
                                         REAL* __restrict__ result, REAL smoothing, const Layout p) {
    __shared__ Sums together[THREADS];
    const int lane = threadIdx.x % LANES, row = blockIdx.x * ROWS + threadIdx.x / LANES;
    Sums own = {minus_infinity(), 0, 0, 0};
    const REAL* scores = x;
    if (row < p.rows) {
        scores += p.first(row);
        for (int c = lane; c < p.classes(); c += LANES) {
            const REAL score = scores[c * p.step()];
            const REAL one = score == minus_infinity() ? 0 : 1 + (score - score);  // of infinity NaN
            own = merged(own, Sums{score, one, 0, 0});
            if (smoothing > 0) own.linear += weight_of(weight, c) * score, own.weights += weight_of(weight, c);
        }
    }
    together[threadIdx.x] = own;
    for (int half = LANES / 2; half; half /= 2) {
        __syncthreads();
        if (lane < half) together[threadIdx.x] = own = merged(own, together[threadIdx.x + half]);
    }
    if (lane > 0 || row >= p.rows) return;
    const long long right = target[row];
    const REAL normalizer = own.largest + logarithm(own.total);
    normalizers[row] = normalizer;
    if (row == 0) result[2] = own.weights;
    if (right == p.ignored) {
        losses[row] = shares[row] = 0;
    } else if (right < 0 || right >= p.classes()) {
        losses[row] = shares[row] = normalizer - normalizer + minus_infinity() - minus_infinity();
    } else {
        const REAL share = weight_of(weight, (int)right), even = smoothing / p.classes();
        REAL loss = share * (normalizer - scores[(int)right * p.step()]);
        if (smoothing > 0) loss = (1 - smoothing) * loss + even * (own.weights * normalizer - own.linear);
        losses[row] = loss, shares[row] = share;
    }
}

// result: the sum of the losses, divided by that of the shares where `mean`, and what it was divided by.  One block.
extern "C" __global__ void reduce(const REAL* __restrict__ losses, const REAL* __restrict__ shares,
                                  REAL* __restrict__ result, int mean, int rows) {
    __shared__ double loss[THREADS], share[THREADS];
    const int t = threadIdx.x;
    loss[t] = share[t] = 0;
    for (int i = t; i < rows; i += THREADS) loss[t] += losses[i], share[t] += shares[i];
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if (t < half) loss[t] += loss[t + half], share[t] += share[t + half];
    }
    if (t > 0) return;
    const double by = mean ? share[0] : 1;
    result[0] = loss[0] / by, result[1] = by;
}

// dx = (softmax(x) a - b) g / by, where b is what the loss asks of each class and a the sum of b over the classes.
// facts: by, and the sum of all weights.  g has one number, or one for each row (g_step 1).
extern "C" __global__ void cross_entropy_grad(const REAL* __restrict__ g, const REAL* __restrict__ x,
                                              const long long* __restrict__ target, const REAL* __restrict__ weight,
                                              const REAL* __restrict__ normalizers, const REAL* __restrict__ facts,
                                              REAL* __restrict__ dx, REAL smoothing, int g_step, int items,
                                              const Layout p) {
    const unsigned i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= (unsigned)items) return;
    int row = i, c, position = 0;
    if (!CHANNELS_LAST) position = split(row, p.by_run);
    c = split(row, p.by_classes);
    if (!CHANNELS_LAST) row = row * p.by_run.divisor + position;
    const long long right = target[row];
    REAL slope = 0;
    if (right != p.ignored) {
        const REAL share = right < 0 || right >= p.classes() ? minus_infinity() - minus_infinity()
                                                              : (1 - smoothing) * weight_of(weight, (int)right);
        const REAL even = smoothing / p.classes();
        slope = exponential(x[i] - normalizers[row]) * (share + even * facts[1]) - even * weight_of(weight, c);
        if (c == right) slope -= share;
        slope *= g[row * g_step] / facts[0];
    }
    dx[i] = slope;
}
