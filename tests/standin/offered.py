"""The names of CuPy 14.2 that the stand-in offers; what stands in no list raises AttributeError.

All of them are names of NumPy too, with NumPy's meaning unless ``modules.py`` says otherwise.  The leg of the tests
that runs on a GPU compares the lists with the real CuPy.
"""


def words(text: str) -> list[str]:
    return text.split()


UFUNCS = words("""
    abs absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_not bitwise_or bitwise_xor
    cbrt ceil conj conjugate copysign cos cosh deg2rad degrees divide divmod equal exp exp2 expm1 fabs float_power floor
    floor_divide fmax fmin fmod frexp gcd greater greater_equal heaviside hypot invert isfinite isinf isnan lcm ldexp
    left_shift less less_equal log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor
    matmul maximum minimum mod modf multiply negative nextafter not_equal positive power rad2deg radians reciprocal
    remainder right_shift rint sign signbit sin sinh sqrt square subtract tan tanh true_divide trunc
""")

FUNCTIONS = words("""
    all allclose amax amin any append argmax argmin argpartition argsort array_equal array_split around atleast_1d
    atleast_2d atleast_3d average bincount broadcast_arrays clip column_stack concatenate copy corrcoef count_nonzero
    cov cross cumprod cumsum diag diagflat diagonal diff digitize dot dsplit dstack ediff1d einsum expand_dims
    flatnonzero flip fliplr flipud histogram hsplit hstack inner interp isclose isin kron lexsort linspace logspace max
    mean median meshgrid min moveaxis nan_to_num nanargmax nanargmin nanmax nanmean nanmin nanstd nansum nanvar ndim
    outer pad partition percentile prod ptp quantile ravel ravel_multi_index repeat reshape resize roll rollaxis rot90
    round searchsorted select shape size sort split squeeze stack std sum swapaxes take take_along_axis tensordot tile
    trace transpose tril triu unravel_index unwrap var vdot vsplit vstack
""")

# these give arrays without taking any; NumPy's own calls, on the current device
CREATION = words("""
    arange eye full identity indices ones tri zeros
    empty_like full_like ones_like zeros_like
""")

# the host waits for the number of elements in the result
WAITING = words("argwhere compress delete extract intersect1d nonzero setdiff1d unique")

CONSTANTS = words("""
    bool_ complex128 complex64 dtype e finfo float16 float32 float64 generic iinfo inf int16 int32 int64 int8 integer
    intp nan newaxis number pi uint16 uint32 uint64 uint8
    broadcast_shapes can_cast issubdtype promote_types result_type
""")

LINALG = words("cholesky det eigh eigvalsh inv lstsq matrix_power norm pinv qr slogdet solve svd")

FFT = words("irfftn rfftn")
