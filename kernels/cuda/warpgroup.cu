// `correlate` of pipeline.cuh with the tensor cores of compute capability 9.0: they read tiles of 16 bits from shared memory
// themselves, for four warps at once, which leaves registers and instructions for the copies.

#define WARPGROUP 1

#include "pipeline.cuh"
