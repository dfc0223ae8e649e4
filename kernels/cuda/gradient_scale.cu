// What the loss is multiplied with in mixed precision, where nobody on the host knows it.

// state: the scale, and how many steps it has been good for.  After `interval` of these it grows; where a gradient was
// not finite it shrinks.
extern "C" __global__ void adapt(double* __restrict__ state, const bool* __restrict__ found, double growth,
                                 double backoff, double interval) {
    const double steps = *found ? 0 : state[1] + 1;
    const bool grows = steps == interval;
    state[0] *= *found ? backoff : grows ? growth : 1;
    state[1] = grows ? 0 : steps;
}
