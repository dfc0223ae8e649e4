"""The emulator runs CUDA's rules, and notices who breaks them."""

from __future__ import annotations

import functools
import sys
from typing import Any

import numpy as np
import pytest

from tests.needs import needs
from tests.standin import emulated, modules

SOURCE = """
extern "C" __global__ void scale(const float* x, float* y, float by, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = by * x[i];
}
extern "C" __global__ void reverse(const float* x, float* y) {
    __shared__ float kept[64];
    kept[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
    __syncthreads();
    y[blockIdx.x * 64 + threadIdx.x] = kept[63 - threadIdx.x];
}
extern "C" __global__ void reverse_without_barrier(const float* x, float* y) {
    __shared__ float kept[64];
    kept[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
    y[blockIdx.x * 64 + threadIdx.x] = kept[63 - threadIdx.x];
}
extern "C" __global__ void barrier_for_some(float* y) {
    if (threadIdx.x < 40) __syncthreads();
    y[threadIdx.x] = 0;
}
extern "C" __global__ void warp_of_some(float* y) {
    float sum[4] = {}, a[4] = {}, b[2] = {};
    if (threadIdx.x != 5) multiply_add_16x8x8(sum, a, b);
    y[threadIdx.x] = sum[0];
}
extern "C" __global__ void beyond_shared(float* y, int i) {
    __shared__ float kept[64];
    kept[threadIdx.x + i] = 1;
    y[threadIdx.x] = kept[threadIdx.x + i];
}
extern "C" __global__ void off_boundary(float* y, int i) {
    __shared__ __align__(16) float kept[64];
    *(float4*)&kept[i] = float4{1, 2, 3, 4};
    y[threadIdx.x] = kept[i];
}
extern "C" __global__ void copied(const float* x, float* y, int end, int wait, int skip) {
    SHARED_MEMORY(kept);
    copy_16_bytes(kept + 16 * threadIdx.x, x + 4 * threadIdx.x + skip, threadIdx.x != 5);
    if (end) end_group_of_copies();
    if (wait) wait_for_copies<0>();
    __syncthreads();
    y[threadIdx.x] = *(float*)(kept + 16 * (63 - threadIdx.x));
}
extern "C" __global__ void beyond_dynamic(float* y) {
    SHARED_MEMORY(kept);
    y[threadIdx.x] = kept[1024 + threadIdx.x];
}
extern "C" __global__ void overflow(float* y, int i) { y[threadIdx.x] = i + 1; }
extern "C" __global__ void write_at(float* y, int i) { y[i] = 1; }
extern "C" __global__ void read_at(const float* x, float* y, long long i) { y[threadIdx.x] = x[i]; }
"""


@pytest.fixture
def cp(monkeypatch: pytest.MonkeyPatch) -> Any:
    needs(emulated.missing())
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return sys.modules["cupy"]


@functools.cache
def kernel(name: str) -> emulated.RawKernel:
    return emulated.RawModule(code=SOURCE).get_function(name)


def test_it_computes(cp: Any) -> None:
    x = np.arange(300, dtype="float32")
    y = cp.empty(300, "float32")
    kernel("scale")((3,), (128,), (cp.asarray(x), y, np.float32(3), np.int32(300)))
    np.testing.assert_array_equal(y.get(), 3 * x)
    kernel("scale")((0,), (128,), (cp.asarray(-x), y, np.float32(1), np.int32(300)))  # CuPy runs one block
    np.testing.assert_array_equal(y.get(), np.concatenate([-x[:128], 3 * x[128:]]))


def test_threads_meet_at_barriers(cp: Any) -> None:
    x = np.arange(192, dtype="float32")
    y = cp.empty(192, "float32")
    kernel("reverse")((3,), (64,), (cp.asarray(x), y))
    expected = x.reshape(3, 64)[:, ::-1].reshape(-1)
    np.testing.assert_array_equal(y.get(), expected)
    kernel("reverse_without_barrier")((3,), (64,), (cp.asarray(x), y))
    got = y.get()
    assert np.isnan(got).any() and (got[~np.isnan(got)] == expected[~np.isnan(got)]).all()


INT = np.int32


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("barrier_for_some", (), "40 of 64 threads wait for others that never come"),
        ("warp_of_some", (), "31 of 64 threads wait for others that never come"),
        ("beyond_shared", (INT(1),), r"thread \(63, 0, 0\) of block \(0, 0, 0\) leaves a declared array"),
        ("off_boundary", (INT(2),), "reads a vector off its boundary"),
        ("overflow", (INT(2**31 - 1),), "overflows"),
        ("write_at", (INT(64),), r"writes outside of an array of shape \(64,\)"),
        ("write_at", (INT(-1),), r"writes outside of an array of shape \(64,\)"),
        ("write_at", (INT(2**30),), "touches memory outside of every argument"),
        ("write_at", (), "the kernel takes 2 arguments, 1 were given"),
        ("write_at", (np.int64(1),), "argument 1 has 8 bytes, the kernel's has 4"),
        ("write_at", (1,), "an argument of type int: CuPy makes 64 bits of Python's numbers"),
        ("write_at", (np.zeros(3),), "no pointer of a NumPy array"),
    ],
)
def test_mistakes_are_noticed(name: str, arguments: tuple[Any, ...], message: str, cp: Any) -> None:
    with pytest.raises(AssertionError, match=message):
        kernel(name)((1,), (64,), (cp.zeros(64, "float32"), *arguments))
    y = cp.empty(64, "float32")  # and the next kernel runs as if nothing had been
    kernel("reverse")((1,), (64,), (cp.ones(64, "float32"), y))
    assert (y.get() == 1).all()


def test_copies_arrive_when_their_thread_waits(cp: Any) -> None:
    x = np.arange(256, dtype="float32")
    expected = x[::4].copy()
    expected[5] = 0  # sent as zeros
    for end, wait in ((1, 1), (0, 1), (1, 0)):
        y = cp.empty(64, "float32")
        kernel("copied")((1,), (64,), (cp.asarray(x), y, INT(end), INT(wait), INT(0)), shared_mem=1024)
        if end and wait:
            np.testing.assert_array_equal(y.get(), expected[::-1])
        else:
            assert np.isnan(y.get()).all()
    with pytest.raises(AssertionError, match="copies a vector off its boundary"):
        kernel("copied")((1,), (64,), (cp.asarray(x), y, INT(1), INT(1), INT(1)), shared_mem=1024)
    with pytest.raises(AssertionError, match="touches memory outside"):
        kernel("beyond_dynamic")((1,), (64,), (y,), shared_mem=1024)
    with pytest.raises(AssertionError, match="set max_dynamic_shared_size_bytes first"):
        kernel("beyond_dynamic")((1,), (64,), (y,), shared_mem=50 << 10)


def test_what_lies_around_an_array_is_no_number(cp: Any) -> None:
    x, y = cp.ones((4, 8), "float32"), cp.empty(64, "float32")
    for inside, view in ((0, x[1]), (-1, x), (32, x)):
        kernel("read_at")((1,), (64,), (view, y, np.int64(inside)))
        assert np.isnan(y.get()).all() == (inside != 0)


def test_a_launch_that_cuda_would_refuse(cp: Any) -> None:
    y = cp.empty(64, "float32")
    with pytest.raises(AssertionError, match="CUDA has no grid of"):
        kernel("write_at")((1, 1 << 16), (1,), (y, INT(0)))
    with pytest.raises(AssertionError, match="CUDA has no blocks of"):
        kernel("write_at")((1,), (1025,), (y, INT(0)))
    with pytest.raises(AttributeError, match="named symbol not found: absent"):
        kernel("absent")
    with cp.cuda.Device(1), pytest.raises(ValueError, match="different from the current device"):
        kernel("write_at")((1,), (1,), (y, INT(0)))


def test_tensor_cores_multiply(cp: Any) -> None:
    """m16n8k8 as the PTX manual draws it, element by element; operands keep 11 bits."""
    source = """
    extern "C" __global__ void product(const float* a, const float* b, float* c) {
        const int lane = threadIdx.x, row = lane >> 2, column = lane & 3;
        float u[4] = {a[row * 8 + column], a[(row + 8) * 8 + column], a[row * 8 + column + 4],
                      a[(row + 8) * 8 + column + 4]};
        float v[2] = {b[column * 8 + row], b[(column + 4) * 8 + row]}, sum[4] = {1, 1, 1, 1};
        multiply_add_16x8x8(sum, u, v);
        for (int i = 0; i < 4; ++i) c[(row + i / 2 * 8) * 8 + column * 2 + i % 2] = sum[i];
    }
    """
    rng = np.random.default_rng(4)
    a, b = (rng.integers(1, 1025, s).astype("float32") for s in ((16, 8), (8, 8)))
    c = cp.empty((16, 8), "float32")
    product = emulated.RawModule(code=source).get_function("product")
    product((1,), (32,), (cp.asarray(a), cp.asarray(b), c))
    np.testing.assert_array_equal(c.get(), a @ b + 1)
    product((1,), (32,), (cp.asarray(a + np.float32(2**-12)), cp.asarray(b), c))  # what does not fit is cut off
    np.testing.assert_array_equal(c.get(), a @ b + 1)


@pytest.mark.parametrize("number", ["float16", "bfloat16"])
def test_tensor_cores_multiply_16_bits(number: str, cp: Any) -> None:
    """m16n8k16, fed by ldmatrix: a as it lies, b transposed on the way."""
    source = """
    extern "C" __global__ void product(const float* a, const float* b, float* c) {
        SHARED_MEMORY(kept);
        NUMBER* numbers = (NUMBER*)kept;  // a (16 x 16), its rows PITCH apart, then b (16 x 8)
        const int lane = threadIdx.x;
        for (int i = lane; i < 256; i += 32) round_to(a[i], numbers[i / 16 * PITCH + i % 16]);
        for (int i = lane; i < 128; i += 32) round_to(b[i], numbers[16 * PITCH + i]);
        __syncthreads();
        unsigned u[4], v[4];
        load_matrices(u, numbers + lane % 16 * PITCH + lane / 16 * 8);
        load_transposed(v, numbers + 16 * PITCH + lane % 16 * 8);
        const unsigned w[2] = {v[0], v[1]};
        float sum[4] = {1, 1, 1, 1};
        multiply_add_16x8x16(sum, u, w, NUMBER{});
        for (int i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
    }
    extern "C" __global__ void rounded(const float* x, NUMBER* y, float* z) {
        round_to(x[blockIdx.x], y[blockIdx.x]);
        z[blockIdx.x] = wide(y[blockIdx.x]);
    }
    """
    module = emulated.RawModule(code=source, options=(f"-DNUMBER={number}", "-DPITCH=24"))
    rng = np.random.default_rng(4)
    a, b = (rng.integers(-128, 129, s).astype("float32") for s in ((16, 16), (16, 8)))
    c = cp.empty((16, 8), "float32")
    module.get_function("product")((1,), (32,), (cp.asarray(a), cp.asarray(b), c), shared_mem=1024)
    np.testing.assert_array_equal(c.get(), a @ b + 1)
    slow = emulated.RawModule(code=source, options=(f"-DNUMBER={number}", "-DPITCH=16")).get_function("product")
    with pytest.raises(AssertionError, match="reads rows of a matrix that share banks"):
        slow((1,), (32,), (cp.asarray(a), cp.asarray(b), c), shared_mem=1024)

    x = (2.0 ** rng.integers(-30, 17, 2000) * rng.standard_normal(2000)).astype("float32")
    x[:8] = 0, -0.0, np.inf, -np.inf, np.nan, 65519, 65520, 2.0**-25
    x[8:1000].view("uint32")[...] &= 0xFFFF8000  # ties of bfloat16 are among them
    y, z = cp.empty(2000, "uint16"), cp.empty(2000, "float32")
    module.get_function("rounded")((2000,), (1,), (cp.asarray(x), y, z))
    if number == "float16":
        with np.errstate(over="ignore"):
            expected = x.astype("float16").astype("float32")
    else:
        mantissa, exponent = np.frexp(x)
        expected = np.where(np.isfinite(x), np.ldexp(np.rint(mantissa * 256) / 256, exponent), x)
    np.testing.assert_array_equal(z.get(), expected)


@pytest.mark.parametrize("number", ["float16", "bfloat16"])
def test_four_warps_multiply_what_tensor_cores_read(number: str, cp: Any) -> None:
    """wgmma, m64n64k16: which lane has which sum, and where a term lies, by the drawings of the PTX manual."""
    source = """
    extern "C" __global__ void product(const NUMBER* a, const NUMBER* b, float* c, int part, int mistake) {
        SHARED_MEMORY(kept);  // 64 rows of 128 bytes of a, and as many of b
        for (int i = threadIdx.x; i < 1024; i += 128) {
            const int row = i / 8, vector = i % 8;
            const NUMBER* from = (row < 64 ? a : b) + row % 64 * 64 + vector * 8;
            copy_16_bytes(kept + row * 128 + (vector ^ row % 8) * 16, from, true);
        }
        end_group_of_copies();
        wait_for_copies<0>();
        if (mistake != 1) show_to_tensor_cores();
        __syncthreads();
        float sum[8][4];
        for (int j = 0; j < 8; ++j)
            for (int e = 0; e < 4; ++e) sum[j][e] = 1;
        if (mistake != 2) begin_products();
        const unsigned char *first = kept + part * 32, *second = kept + 8192;
        if (mistake == 3) first += 128;
        if (mistake == 4) first += threadIdx.x / 64 * 32;
        if (mistake == 5) second += 1024;
        multiply_add_64(sum, rows_of_128_bytes(first), rows_of_128_bytes(kept + 8192 + part * 32), NUMBER{});
        multiply_add_64(sum, rows_of_128_bytes(second), rows_of_128_bytes(kept), NUMBER{});
        if (mistake != 6) finish_products();
        const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
        for (int j = 0; j < 8; ++j)
            for (int e = 0; e < 4; ++e) c[(row + e / 2 * 8) * 64 + j * 8 + column + e % 2] = sum[j][e];
    }
    """
    product = emulated.RawModule(code=source, options=(f"-DNUMBER={number}",)).get_function("product")
    rng = np.random.default_rng(4)
    a, b = (rng.integers(-64, 65, (64, 64)).astype("float32") for _ in range(2))
    bits = [m.astype("float16").view("uint16") if number == "float16" else (m.view("uint32") >> 16).astype("uint16")
            for m in (a, b)]  # fmt: skip
    device, c = [cp.asarray(m) for m in bits], cp.empty((64, 64), "float32")

    def run(part: int = 1, mistake: int = 0) -> np.ndarray:
        product((1,), (128,), (*device, c, INT(part), INT(mistake)), shared_mem=16384)
        return c.get()

    for part in range(4):
        terms = slice(16 * part, 16 * part + 16)
        np.testing.assert_array_equal(run(part), a[:, terms] @ b[:, terms].T + b[:, :16] @ a[:, :16].T + 1)
    for mistake, message in enumerate((
        "multiplies copies that have not been shown to tensor cores", "multiplies before its sums are ready",
        "begins a matrix within a pattern of 1024 bytes", "multiplies other matrices than the other threads",
        "describes a matrix beyond shared memory",
    ), 1):  # fmt: skip
        with pytest.raises(AssertionError, match=message):
            run(mistake=mistake)
    assert np.isnan(run(mistake=6)).all(), "nobody waits"
