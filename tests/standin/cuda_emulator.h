// CUDA C++ on a CPU, for tests: compiled in front of a kernel's own source, it runs blocks one after the other and the
// threads of a block as fibers.  It is made to find mistakes, not to be fast:
//
//   - threads run in random order from barrier to barrier, blocks in random order: what depends on the order differs;
//   - shared memory is full of NaN when a block begins;
//   - a barrier that some thread of the block never reaches is an error, as is an index beyond a declared array, a
//     misaligned vector, and a read or write far outside of the arguments (the caller puts NaN around them);
//   - an asynchronous copy makes its target NaN at once and arrives when its thread waits for it, not before.

#pragma once
#define CUDA_EMULATED

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <utility>  // the rest of C++'s library would double the time of compiling

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("shared_memory")))

extern "C" char __start_shared_memory[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_shared_memory[] __attribute__((weak, visibility("hidden")));

struct uint3 {
    unsigned x, y, z;
};
struct __align__(16) float4 {
    float x, y, z, w;
};
static uint3 threadIdx, blockIdx, blockDim, gridDim;

static inline int min(int a, int b) {
    return a < b ? a : b;
}
static inline int max(int a, int b) {
    return a > b ? a : b;
}

extern "C" {
float sqrtf(float), expf(float), logf(float), fmaf(float, float, float);
double sqrt(double), exp(double), log(double), fma(double, double, double);
}
static inline int atomicMax(int* at, int value) {  // no thread is interrupted but at a barrier
    const int before = *at;
    *at = max(before, value);
    return before;
}
static inline float __fmaf_rn(float a, float b, float c) {
    return fmaf(a, b, c);
}
static inline double __fma_rn(double a, double b, double c) {
    return fma(a, b, c);
}

namespace emulator {

constexpr size_t STACK = 1 << 16;
constexpr unsigned MOST_THREADS = 1024, WARP = 32;
enum State { READY, AT_BARRIER, IN_WARP, DONE };

constexpr unsigned MOST_COPIES = 128;  // under way for a thread
constexpr size_t MOST_SHARED = 1 << 18;

struct Copy {
    unsigned char *to, bytes[16];
    unsigned group;
};

struct Thread {  // a fiber, which runs the kernel for one block after the other
    bool started;
    jmp_buf place;  // where it waits, once it has started: a context would call the system at every switch
    uint3 index;
    State state;
    float in[10], out[4];  // of a collective operation of the warp
    unsigned words[6], given[4];
    const unsigned char* row;
    unsigned copies_sent, copies_here, group;  // positions in its ring, and the number of the group that is being filled
    bool unseen, in_products;  // copies that tensor cores may not see yet; it may ask for products of a warpgroup
    unsigned asked;             // products of a warpgroup that are under way
};

static Thread threads[MOST_THREADS];
static Copy copies[MOST_THREADS][MOST_COPIES];
static unsigned count, current;
static char* stacks;
static unsigned char *shared_end, *shared_memory;  // of the size that the launch asks for; behind it nothing may be touched
static unsigned shared_bytes;
static jmp_buf scheduler;
static sigjmp_buf fault;
static char message[200];
static void (*run_kernel)();
static uint64_t random_state;

static unsigned random_below(unsigned n) {  // xorshift64
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % n;
}

static void shuffle(unsigned* items, unsigned n) {
    for (unsigned i = n; i > 1; --i) std::swap(items[i - 1], items[random_below(i)]);
}

static void wait(State state) {
    Thread& me = threads[current];
    me.state = state;
    if (_setjmp(me.place) == 0) _longjmp(scheduler, 1);
}

static void live() {
    for (;;) {
        run_kernel();
        wait(DONE);
    }
}

static void resume(unsigned i) {
    Thread& thread = threads[i];
    current = i;
    threadIdx = thread.index;
    if (_setjmp(scheduler) != 0) return;
    if (thread.started) _longjmp(thread.place, 1);
    thread.started = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks + i * STACK;
    context.uc_stack.ss_size = STACK;
    makecontext(&context, live, 0);
    setcontext(&context);
}

// Every lane of the warp (or of SIZE threads) brings its numbers; the last one computes for all.
template <unsigned SIZE = WARP, class Compute> static void together(Compute compute) {
    Thread* warp = threads + current / SIZE * SIZE;
    unsigned here = 1;
    for (unsigned lane = 0; lane < SIZE; ++lane) here += warp[lane].state == IN_WARP;
    if (here < SIZE) return wait(IN_WARP);
    compute(warp);
    for (unsigned lane = 0; lane < SIZE; ++lane)
        if (warp + lane != threads + current) warp[lane].state = READY;
}

static bool run_block() {
    memset(__start_shared_memory, 0xff, __stop_shared_memory - __start_shared_memory);  // NaN
    memset(shared_memory, 0xff, shared_bytes);
    for (unsigned i = 0; i < count; ++i) {
        Thread& t = threads[i];
        t.copies_sent = t.copies_here = t.group = t.asked = 0;
        t.unseen = t.in_products = false;
        t.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
        t.state = READY;
    }
    static unsigned ready[MOST_THREADS];
    for (;;) {
        unsigned done = 0, waiting = 0, n = 0;
        for (unsigned i = 0; i < count; ++i) {
            if (threads[i].state == READY) ready[n++] = i;
            done += threads[i].state == DONE;
            waiting += threads[i].state == AT_BARRIER;
        }
        if (done == count) return true;
        if (n == 0 && waiting == count) {
            for (unsigned i = 0; i < count; ++i) threads[i].state = READY;
            continue;
        }
        if (n == 0) {
            snprintf(message, sizeof message, "%u of %u threads wait for others that never come", count - done, count);
            return false;
        }
        shuffle(ready, n);
        for (unsigned i = 0; i < n; ++i) resume(ready[i]);
    }
}

[[noreturn]] static void complain(const char* what) {
    snprintf(message, sizeof message, "thread (%u, %u, %u) of block (%u, %u, %u) %s", threadIdx.x, threadIdx.y,
             threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z, what);
    siglongjmp(fault, 1);
}

static void on_fault(int signal, siginfo_t* info, void*) {
    const char* what = signal == SIGSEGV || signal == SIGBUS ? "touches memory outside of every argument"
                       : signal == SIGFPE                    ? "divides by zero"
                                          : "leaves a declared array, overflows, or reads a vector off its boundary";
    complain(what);
}

static bool run_grid() {
    const unsigned n = gridDim.x * gridDim.y * gridDim.z;
    unsigned* order = (unsigned*)malloc(n * sizeof(unsigned));
    for (unsigned i = 0; i < n; ++i) order[i] = i;
    shuffle(order, n);
    bool good = true;
    for (unsigned i = 0; i < n && good; ++i) {
        const unsigned block = order[i];
        blockIdx = {block % gridDim.x, block / gridDim.x % gridDim.y, block / gridDim.x / gridDim.y};
        good = run_block();
    }
    free(order);
    return good;
}

// Runs the grid with signals caught.  Returns null, or what went wrong.
static const char* run(const unsigned* dimensions, unsigned seed) {
    const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};
    struct sigaction before[5], ours = {};
    stack_t stack_before, stack = {};
    static char handler_stack[1 << 16];
    gridDim = {dimensions[0], dimensions[1], dimensions[2]};
    blockDim = {dimensions[3], dimensions[4], dimensions[5]};
    count = blockDim.x * blockDim.y * blockDim.z;
    random_state = 0x9e3779b97f4a7c15u ^ seed;
    if (!stacks)
        stacks = (char*)mmap(0, STACK * MOST_THREADS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!shared_end) {
        const int access = PROT_READ | PROT_WRITE;
        shared_end = (unsigned char*)mmap(0, MOST_SHARED + 4096, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(shared_end += MOST_SHARED, 4096, PROT_NONE);
    }
    shared_bytes = dimensions[6];
    shared_memory = shared_end - (shared_bytes + 127) / 128 * 128;
    stack.ss_sp = handler_stack;
    stack.ss_size = sizeof handler_stack;
    sigaltstack(&stack, &stack_before);
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int i = 0; i < 5; ++i) sigaction(signals[i], &ours, &before[i]);
    const bool good = sigsetjmp(fault, 1) == 0 && run_grid();
    if (!good)
        for (Thread& thread : threads) thread.started = false;  // the fibers are somewhere in the kernel
    for (int i = 0; i < 5; ++i) sigaction(signals[i], &before[i], 0);
    sigaltstack(&stack_before, 0);
    return good ? 0 : message;
}

template <class... P, size_t... I>
static void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<P>*>(arguments[I])...);
}

// dimensions: of the grid, of a block, bytes of shared memory.  sizes: bytes of each argument as the caller has it.
template <class... P>
static const char* launch(void (*kernel)(P...), const unsigned* dimensions, void** arguments, const unsigned* sizes,
                          unsigned given, unsigned seed) {
    const size_t wanted[] = {sizeof(P)...};
    if (given != sizeof...(P)) {
        snprintf(message, sizeof message, "the kernel takes %zu arguments, %u were given", sizeof...(P), given);
        return message;
    }
    for (unsigned i = 0; i < given; ++i)
        if (sizes[i] != wanted[i]) {
            snprintf(message, sizeof message, "argument %u has %u bytes, the kernel's has %zu", i, sizes[i], wanted[i]);
            return message;
        }
    static void (*the_kernel)(P...);
    static void** the_arguments;
    the_kernel = kernel;
    the_arguments = arguments;
    run_kernel = [] { call(the_kernel, the_arguments, std::index_sequence_for<P...>()); };
    return run(dimensions, seed);
}

}  // namespace emulator

static inline void __syncthreads() {
    emulator::wait(emulator::AT_BARRIER);
}

// ---- what instructions.cuh writes in PTX --------------------------------------------------------------------------

struct float16 {
    uint16_t bits;
};
struct bfloat16 {
    uint16_t bits;
};

static inline uint32_t __float_as_uint(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

static inline float __uint_as_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static inline float wide(float x) {
    return x;
}
static inline double wide(double x) {
    return x;
}
static inline float wide(float16 x) {
    const int exponent = x.bits >> 10 & 31, fraction = x.bits & 1023;
    const float size = exponent == 31 ? (fraction ? __builtin_nanf("") : __builtin_inff())
                       : exponent     ? __builtin_ldexpf(1024 + fraction, exponent - 25)
                                      : __builtin_ldexpf(fraction, -24);
    return x.bits >> 15 ? -size : size;
}
static inline float wide(bfloat16 x) {
    return __uint_as_float((uint32_t)x.bits << 16);
}

// To the nearest, halves to even.
static inline void round_to(float x, float& y) {
    y = x;
}
static inline void round_to(double x, double& y) {
    y = x;
}
static inline void round_to(float x, bfloat16& y) {
    const uint32_t bits = __float_as_uint(x);
    y.bits = x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
static inline void round_to(float x, float16& y) {
    const uint16_t sign = __float_as_uint(x) >> 16 & 0x8000;
    const float size = __builtin_fabsf(x);
    int exponent = 0;
    __builtin_frexpf(size, &exponent);  // size < 2^exponent
    const int unit = size == 0.0f || exponent < -13 ? -24 : exponent - 11;
    const float rounded = __builtin_rintf(__builtin_ldexpf(size, -unit));  // at most 2^11 of these units
    if (x != x)
        y.bits = 0x7fff;
    else if (size >= 65520.0f)
        y.bits = sign | 0x7c00;
    else  // 2^10 units are the step from exponent to exponent, also where rounding reaches it
        y.bits = sign | (uint16_t)(unit == -24 ? rounded : (unit + 24) * 1024 + rounded);
}

// To the nearest of 10 bits behind the point, halves away from zero.
static inline float round_to_tf32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits = (bits + 0x1000u) & 0xffffe000u;
    memcpy(&x, &bits, 4);
    return x;
}

// What the tensor core does with operands that nobody has rounded: it ignores the bits it has no room for.
static inline float as_tf32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits &= 0xffffe000u;
    memcpy(&x, &bits, 4);
    return x;
}

// mma.m16n8k8 of the PTX manual: which lane holds which element is written down here a second time, on purpose.
static inline void multiply_add_16x8x8(float (&sum)[4], const float (&a)[4], const float (&b)[2]) {
    using namespace emulator;
    Thread& me = threads[current];
    memcpy(me.in, a, sizeof a);
    memcpy(me.in + 4, b, sizeof b);
    memcpy(me.in + 6, sum, sizeof sum);
    together([](Thread* warp) {
        float A[16][8], B[8][8], C[16][8];
        for (int lane = 0; lane < 32; ++lane) {
            const float* in = warp[lane].in;
            const int group = lane >> 2, in_group = lane & 3;
            for (int i = 0; i < 4; ++i) A[group + (i & 1 ? 8 : 0)][in_group + (i & 2 ? 4 : 0)] = as_tf32(in[i]);
            for (int i = 0; i < 2; ++i) B[in_group + (i ? 4 : 0)][group] = as_tf32(in[4 + i]);
            for (int i = 0; i < 4; ++i) C[group + (i & 2 ? 8 : 0)][in_group * 2 + (i & 1)] = in[6 + i];
        }
        for (int lane = 0; lane < 32; ++lane)
            for (int i = 0; i < 4; ++i) {
                const int row = (lane >> 2) + (i & 2 ? 8 : 0), column = (lane & 3) * 2 + (i & 1);
                float result = C[row][column];
                for (int k = 0; k < 8; ++k) result += A[row][k] * B[k][column];
                warp[lane].out[i] = result;
            }
    });
    memcpy(sum, me.out, sizeof sum);
}

template <class T>
static inline void multiply_add_16x8x16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2], T) {
    using namespace emulator;
    Thread& me = threads[current];
    memcpy(me.words, a, sizeof a);
    memcpy(me.words + 4, b, sizeof b);
    memcpy(me.in, sum, sizeof sum);
    together([](Thread* warp) {
        float A[16][16], B[16][8], C[16][8];
        for (int lane = 0; lane < 32; ++lane) {
            const int group = lane >> 2, in_group = lane & 3;
            for (int i = 0; i < 8; ++i) {  // a0 ... a7, two in a register
                const T x = {(uint16_t)(warp[lane].words[i >> 1] >> 16 * (i & 1))};
                A[group + (i & 2 ? 8 : 0)][in_group * 2 + (i & 1) + (i & 4 ? 8 : 0)] = wide(x);
            }
            for (int i = 0; i < 4; ++i) {
                const T x = {(uint16_t)(warp[lane].words[4 + (i >> 1)] >> 16 * (i & 1))};
                B[in_group * 2 + (i & 1) + (i & 2 ? 8 : 0)][group] = wide(x);
            }
            for (int i = 0; i < 4; ++i) C[group + (i & 2 ? 8 : 0)][in_group * 2 + (i & 1)] = warp[lane].in[i];
        }
        for (int lane = 0; lane < 32; ++lane)
            for (int i = 0; i < 4; ++i) {
                const int row = (lane >> 2) + (i & 2 ? 8 : 0), column = (lane & 3) * 2 + (i & 1);
                float result = C[row][column];
                for (int k = 0; k < 16; ++k) result += A[row][k] * B[k][column];
                warp[lane].out[i] = result;
            }
    });
    memcpy(sum, me.out, sizeof sum);
}

// ---- shared memory of a size given at the launch, copies into it, matrices out of it ---------------------------------

#define SHARED_MEMORY(name) unsigned char* const name = emulator::shared_memory

static inline void copy_16_bytes(void* to, const void* from, bool real) {
    using namespace emulator;
    Thread& me = threads[current];
    if (me.copies_sent - me.copies_here == MOST_COPIES) complain("has more copies under way than the emulator counts");
    if ((uintptr_t)to % 16 || (real && (uintptr_t)from % 16)) complain("copies a vector off its boundary");
    Copy& copy = copies[current][me.copies_sent++ % MOST_COPIES];
    copy.to = (unsigned char*)to;
    copy.group = me.group;
    if (real)
        memcpy(copy.bytes, from, 16);
    else
        memset(copy.bytes, 0, 16);
    memset(to, 0xff, 16);  // from now on until it has arrived, nobody can know what is there
}

static inline void end_group_of_copies() {
    ++emulator::threads[emulator::current].group;
}

template <int N> static inline void wait_for_copies() {
    using namespace emulator;
    Thread& me = threads[current];
    while (me.copies_here != me.copies_sent) {
        const Copy& copy = copies[current][me.copies_here % MOST_COPIES];
        if (copy.group + N >= me.group) return;
        memcpy(copy.to, copy.bytes, 16);
        me.unseen = true;
        ++me.copies_here;
    }
}

// ldmatrix.x4 of the PTX manual: row r of matrix i lies where lane 8 i + r says.  Rows that share banks would be right,
// but slow: they are refused.
static inline void load_matrices(unsigned (&to)[4], const void* row, bool transposed = false) {
    using namespace emulator;
    Thread& me = threads[current];
    if ((uintptr_t)row % 16) complain("reads a row of a matrix off its boundary");
    me.row = (const unsigned char*)row;
    me.words[0] = transposed;
    together([](Thread* warp) {
        for (int matrix = 0; matrix < 4; ++matrix) {
            unsigned banks = 0;
            for (int r = 0; r < 8; ++r) banks |= 1u << (uintptr_t)warp[matrix * 8 + r].row / 16 % 8;
            if (banks != 255) complain("reads rows of a matrix that share banks");
        }
        for (int lane = 0; lane < 32; ++lane)
            for (int matrix = 0; matrix < 4; ++matrix) {
                uint16_t pair[2];
                for (int i = 0; i < 2; ++i) {
                    const int r = warp->words[0] ? (lane & 3) * 2 + i : lane >> 2;
                    const int column = warp->words[0] ? lane >> 2 : (lane & 3) * 2 + i;
                    memcpy(pair + i, warp[matrix * 8 + r].row + column * 2, 2);
                }
                warp[lane].given[matrix] = pair[0] | (uint32_t)pair[1] << 16;
            }
    });
    memcpy(to, me.given, sizeof to);
}

static inline void load_transposed(unsigned (&to)[4], const void* row) {
    load_matrices(to, row, true);
}

static inline unsigned exchange(unsigned given) {
    using namespace emulator;
    Thread& me = threads[current];
    me.words[0] = given;
    together([](Thread* warp) {
        for (int lane = 0; lane < 32; ++lane) warp[lane].given[0] = warp[lane ^ 1].words[0];
    });
    return me.given[0];
}

// ---- wgmma of compute capability 9.0: tensor cores read tiles from shared memory, for four warps together -------------

namespace emulator {

constexpr unsigned FOUR_WARPS = 128, MOST_PRODUCTS = 32;

struct Asked {  // a product, by a thread whose sums are NaN until it waits
    float (*sum)[4], kept[16][4];
    unsigned pieces;
    uint64_t a, b;
    float (*wide)(uint16_t);
};

static Asked products[MOST_THREADS][MOST_PRODUCTS];

// Term k of row r of a matrix that its descriptor says is swizzled by 128 bytes: eight rows make a pattern.
static uint16_t term_of_matrix(uint64_t descriptor, unsigned r, unsigned k) {
    const unsigned start = (descriptor & 0x3fff) << 4, stride = (descriptor >> 32 & 0x3fff) << 4;
    unsigned at = start + r / 8 * stride + r % 8 * 128 + k * 2;
    at ^= (at >> 7 & 7) << 4;  // the number of a vector, exclusive or that of its row
    uint16_t bits;
    memcpy(&bits, shared_memory + at, 2);
    return bits;
}

static void check_matrix(uint64_t descriptor, unsigned rows) {
    const unsigned start = (descriptor & 0x3fff) << 4, stride = (descriptor >> 32 & 0x3fff) << 4;
    if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0 || stride % 1024 != 0)
        complain("describes a matrix otherwise than in patterns of 1024 bytes, swizzled by 128");
    if (start % 1024 >= 128) complain("begins a matrix within a pattern of 1024 bytes");
    if (start / 1024 * 1024 + (rows / 8 - 1) * stride + 1024 > shared_bytes) complain("describes a matrix beyond shared memory");
}

static void finish(Thread* group) {
    Asked(*asked)[MOST_PRODUCTS] = products + (group - threads);
    for (unsigned i = 0; i < group->asked; ++i) {
        const Asked first = asked[0][i];
        for (unsigned t = 0; t < FOUR_WARPS; ++t) {
            const Asked& same = asked[t][i];
            if (group[t].asked != group->asked || same.a != first.a || same.b != first.b || same.pieces != first.pieces)
                complain("multiplies other matrices than the other threads of its four warps");
        }
        check_matrix(first.a, 64);
        check_matrix(first.b, first.pieces * 8);
        float a[64][16], b[128][16];
        for (unsigned k = 0; k < 16; ++k) {
            for (unsigned r = 0; r < 64; ++r) a[r][k] = first.wide(term_of_matrix(first.a, r, k));
            for (unsigned r = 0; r < first.pieces * 8; ++r) b[r][k] = first.wide(term_of_matrix(first.b, r, k));
        }
        for (unsigned t = 0; t < FOUR_WARPS; ++t) {
            const unsigned lane = t % 32;
            Asked* before = asked[t];  // the first product that is added to the same sums has them
            while (before->sum != asked[t][i].sum) ++before;
            for (unsigned j = 0; j < first.pieces; ++j)
                for (unsigned e = 0; e < 4; ++e) {
                    const unsigned row = t / 32 * 16 + lane / 4 + e / 2 * 8, column = j * 8 + lane % 4 * 2 + e % 2;
                    for (unsigned k = 0; k < 16; ++k) before->kept[j][e] += a[row][k] * b[column][k];
                }
        }
    }
    for (unsigned t = 0; t < FOUR_WARPS; ++t) {
        for (unsigned i = group[t].asked; i-- > 0;)  // the first one last
            memcpy(asked[t][i].sum, asked[t][i].kept, asked[t][i].pieces * sizeof(float[4]));
        group[t].asked = 0;
        group[t].in_products = false;
    }
}

}  // namespace emulator

static inline unsigned shared_address(const void* p) {
    return (unsigned)((const unsigned char*)p - emulator::shared_memory);
}

static inline void show_to_tensor_cores() {
    emulator::threads[emulator::current].unseen = false;
}

static inline void begin_products() {
    emulator::threads[emulator::current].in_products = true;
}

static inline unsigned long long rows_of_128_bytes(const void* first) {
    return shared_address(first) >> 4 | 1ull << 16 | (1024ull >> 4) << 32 | 1ull << 62;
}

template <size_t PIECES, class T>
static inline void multiply_add_64(float (&sum)[PIECES][4], unsigned long long a, unsigned long long b, T) {
    using namespace emulator;
    Thread& me = threads[current];
    if (!me.in_products) complain("multiplies before its sums are ready");
    for (unsigned t = 0; t < count; ++t)
        if (threads[t].unseen) complain("multiplies copies that have not been shown to tensor cores");
    if (me.asked == MOST_PRODUCTS) complain("has more products under way than the emulator counts");
    Asked& mine = products[current][me.asked++];
    mine.sum = sum, mine.pieces = PIECES, mine.a = a, mine.b = b;
    mine.wide = [](uint16_t bits) { return ::wide(T{bits}); };
    memcpy(mine.kept, sum, sizeof sum);
    memset(sum, 0xff, sizeof sum);
}

static inline void finish_products() {
    emulator::together<emulator::FOUR_WARPS>(emulator::finish);
}
