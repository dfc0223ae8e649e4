// What C++ has no words for: numbers of 16 bits, products on tensor cores, copies that run beside the program.  Each is
// a function of one instruction of PTX, the assembly of all cards; but for float16 they need compute capability 8.0.

#pragma once

#ifndef CUDA_EMULATED  // the emulator of the tests has them in C++
struct float16 {
    unsigned short bits;
};
struct bfloat16 {
    unsigned short bits;
};

// The number as sums are kept.
__device__ inline float wide(float x) {
    return x;
}
__device__ inline double wide(double x) {
    return x;
}
__device__ inline float wide(float16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

__device__ inline void round_to(float x, float& y) {
    y = x;
}
__device__ inline void round_to(double x, double& y) {
    y = x;
}
__device__ inline void round_to(float x, float16& y) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
}
__device__ inline void round_to(float x, bfloat16& y) {
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
}
__device__ inline float round_to_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
}

// sum (16 x 8) += a (16 x 8) b (8 x 8), spread over the lanes of the warp as the PTX manual says for m16n8k8.
__device__ inline void multiply_add_16x8x8(float (&sum)[4], const float (&a)[4], const float (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

// sum (16 x 8) += a (16 x 16) b (16 x 8) of numbers of the type of the last argument, two in a register.
__device__ inline void multiply_add_16x8x16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2], float16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ inline void multiply_add_16x8x16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2], bfloat16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Shared memory whose size is given at the launch: more than 48 kB are had in no other way.
#define SHARED_MEMORY(name) extern __shared__ __align__(1024) unsigned char name[]

__device__ inline unsigned shared_address(const void* p) {
    return (unsigned)__cvta_generic_to_shared(p);
}

// Sends 16 bytes to shared memory, zeros where they are not `real`.  They have arrived when wait_for_copies says so.
__device__ inline void copy_16_bytes(void* to, const void* from, bool real) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(real ? 16 : 0)
                 : "memory");
}
// What this thread has sent since the last time is one group.
__device__ inline void end_group_of_copies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until at most the last N groups of this thread are under way.
template <int N> __device__ inline void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four matrices of 8 x 8 numbers of 16 bits.  Lane 8 i + r says where row r of matrix i lies; lane 4 r + c gets, in
// register i, numbers 2c and 2c + 1 of row r of matrix i.
__device__ inline void load_matrices(unsigned (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}
// The same of the transposed matrices: numbers 2c and 2c + 1 of column r.
__device__ inline void load_transposed(unsigned (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// What the neighbouring lane, 2 i + 1 of 2 i and 2 i of 2 i + 1, gives.
__device__ inline unsigned exchange(unsigned given) {
    return __shfl_xor_sync(~0u, given, 1);
}

// ---- compute capability 9.0 only: tensor cores that read shared memory themselves ----

// What this thread knows to be in shared memory, tensor cores will see there too.
__device__ inline void show_to_tensor_cores() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
// From now on until they are finished, products change sums that this thread leaves alone.
__device__ inline void begin_products() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ inline void finish_products() {
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
}

// Where a matrix lies: eight rows of 128 bytes after the other 1024 apart, from a multiple of that on, but for the first
// term; vectors of 16 bytes stand where their number, exclusive or that of their row mod 8, says.
__device__ inline unsigned long long rows_of_128_bytes(const void* first) {
    return (shared_address(first) & 0x3ffffull) >> 4 | 1ull << 16 | (1024ull >> 4) << 32 | 1ull << 62;
}

// sum (64 x 8 N) += a (64 x 16) b (16 x 8 N), b given by its columns, of numbers of the type of the last argument: all
// four warps of 128 threads together.  Warp w holds rows 16 w to 16 w + 15, each piece of 8 columns as above.
#define FOUR_SUMS(j) "+f"(sum[j][0]), "+f"(sum[j][1]), "+f"(sum[j][2]), "+f"(sum[j][3])
#define PIECES_8(j)                                                                                             \
    FOUR_SUMS(j), FOUR_SUMS(j + 1), FOUR_SUMS(j + 2), FOUR_SUMS(j + 3), FOUR_SUMS(j + 4), FOUR_SUMS(j + 5), \
        FOUR_SUMS(j + 6), FOUR_SUMS(j + 7)
#define NUMBERS_0_TO_31                                                                                          \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28," \
    "%29,%30,%31"
#define NUMBERS_32_TO_63                                                                                          \
    ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58," \
    "%59,%60,%61,%62,%63"
#define WARPGROUP_PRODUCTS(TYPE, NAME)                                                                              \
    __device__ inline void multiply_add_64(float (&sum)[8][4], unsigned long long a, unsigned long long b, TYPE) {  \
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." NAME "." NAME " {" NUMBERS_0_TO_31               \
                     "}, %32, %33, 1, 1, 1, 0, 0;"                                                                  \
                     : PIECES_8(0)                                                                                  \
                     : "l"(a), "l"(b));                                                                             \
    }                                                                                                               \
    __device__ inline void multiply_add_64(float (&sum)[16][4], unsigned long long a, unsigned long long b, TYPE) { \
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." NAME "." NAME                                   \
                     " {" NUMBERS_0_TO_31 NUMBERS_32_TO_63 "}, %64, %65, 1, 1, 1, 0, 0;"                            \
                     : PIECES_8(0), PIECES_8(8)                                                                     \
                     : "l"(a), "l"(b));                                                                             \
    }
WARPGROUP_PRODUCTS(float16, "f16")
WARPGROUP_PRODUCTS(bfloat16, "bf16")
#endif
