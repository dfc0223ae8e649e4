"""Tensors on a device: how they get there, what they refuse, writes in place, gradients, random numbers, DLPack."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import backend, nn
from minidl.autograd import checkpoint, examples, gradcheck
from minidl.backend import DeviceError
from tests.standin import TRAFFIC, state


def cuda(*values: Any, **options: Any) -> minidl.Tensor:
    return minidl.tensor(*values, device="cuda", **options)


def test_made_on_the_device(cupy: Any) -> None:
    made = [
        minidl.zeros(2, 3, device="cuda"), minidl.ones(2, device="cuda"), minidl.empty(2, device="cuda"),
        minidl.full((2,), 3.0, device="cuda"), minidl.arange(4, device="cuda"), minidl.linspace(0, 1, 3, device="cuda"),
        minidl.eye(3, device="cuda"), minidl.rand(2, device="cuda"), minidl.randn(2, device="cuda"),
        minidl.randint(3, (2,), device="cuda"), minidl.randperm(4, device="cuda"), cuda([[1, 2], [3, 4]]),
        minidl.zeros_like(cuda([1.0])), minidl.rand_like(cuda([1.0])), minidl.from_numpy(cupy.ones(3)),
        minidl.as_tensor([1.0], device="cuda"), minidl.bernoulli(cuda([0.5, 1.0])),
    ]  # fmt: skip
    assert all(t.device == "cuda:0" and t.is_cuda and type(t._array) is cupy.ndarray for t in made)
    assert cuda([1.5]).dtype == "float32" and cuda([1]).dtype == "int64"
    assert repr(cuda([1.0, 2.0])) == "tensor([1., 2.], device='cuda:0')"


def test_there_and_back(cupy: Any) -> None:
    x = minidl.tensor([[1.0, 2.0]], requires_grad=True)
    y = x.to("cuda")
    assert y is y.cuda() and x is x.cpu()
    (y * 3).sum().backward()
    assert x.grad.device == "cpu" and x.grad.tolist() == [[3.0, 3.0]]
    assert isinstance(y.detach().numpy(), np.ndarray) and isinstance(np.asarray(y.detach()), np.ndarray)
    assert (y.sum().item(), float(y.sum()), y.tolist()) == (3.0, 3.0, [[1.0, 2.0]])
    z = pickle.loads(pickle.dumps(cuda([1.0, 2.0])))
    assert z.device == "cpu" and z.tolist() == [1.0, 2.0]  # a file must load where there is no GPU
    assert copy.deepcopy(cuda([1.0])).device == "cuda:0"


def test_reductions_to_one_number_stay(cupy: Any) -> None:
    x = cuda([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    for y in (x.sum(), x.mean(), x.max(), x[0, 1], x.argmax(), x.norm(), x.prod()):
        assert y.shape == () and type(y._array) is cupy.ndarray
    with TRAFFIC.counted() as seen:
        (x.sum() * 2 + 1 - x.mean() / 3).backward()
    if cupy.__version__.endswith("standin"):
        assert (seen.uploads, seen.downloads) == (0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: minidl.ones(2, 3) + cuda([1.0, 2.0, 3.0]),
         "'left' (2, 3) is on cpu and 'right' (3,) is on cuda:0; bring 'left' there too: left = left.to('cuda:0')"),
        (lambda: F.conv2d(minidl.ones(1, 1, 4, 4), minidl.ones(2, 1, 3, 3, device="cuda")),
         "conv: 'x' (1, 1, 4, 4) is on cpu and 'w' (2, 1, 3, 3) is on cuda:0; bring 'x' there too: x = x.to('cuda:0')"),
        (lambda: nn.Linear(3, 2)(minidl.ones(4, 3, device="cuda")),
         "linear: 'input' (4, 3) is on cuda:0 and 'weight' (2, 3) is on cpu; bring 'weight' there too: "
         "model.to('cuda:0'), as it looks like a parameter"),
        (lambda: minidl.cat([minidl.ones(2), minidl.ones(2, device="cuda")]),
         "cat: 'x0' (2,) is on cpu and 'x1' (2,) is on cuda:0; bring 'x0' there too: x0 = x0.to('cuda:0')"),
        (lambda: minidl.ones(3)[cuda([0, 1])],
         "an index on cuda:0 cannot read a tensor on cpu: bring it there with index.cpu(), or the tensor with "
         ".to('cuda:0')"),
        (lambda: F.cross_entropy(minidl.ones(2, 3), cuda([0, 1])),
         "cross_entropy: 'input' (2, 3) is on cpu and 'target' (2,) is on cuda:0"),
        (lambda: F.batch_norm(minidl.ones(2, 3, device="cuda"), None, None, minidl.ones(3), None, True), "is on cpu"),
        (lambda: minidl.zeros(1, device="cuda:7"), "this machine has no device cuda:7: "),
    ],
)  # fmt: skip
def test_devices_that_do_not_go_together(call: Any, message: str, cupy: Any) -> None:
    with pytest.raises(DeviceError, match=re.escape(message)):
        call()


def test_a_single_number_goes_to_the_others(cupy: Any) -> None:
    x = cuda([1.0, 2.0])
    assert (x * minidl.tensor(3.0)).tolist() == [3.0, 6.0]
    assert (minidl.tensor(3.0) - x).tolist() == [2.0, 1.0]
    assert (x * np.float64(2)).dtype == "float32"
    assert x[minidl.tensor([1, 0])].tolist() == [2.0, 1.0]  # an index of the CPU may read, as in PyTorch


def test_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.standin import modules

    for name, module in modules().items():
        monkeypatch.setitem(__import__("sys").modules, name, module)
    monkeypatch.setattr(state, "DEVICES", 0)
    backend._cupy.cache_clear()
    for call in (
        lambda: minidl.ones(2).to("cuda"),
        lambda: nn.Linear(2, 2).cuda(),
        lambda: minidl.zeros(2, device="cuda"),
    ):
        with pytest.raises(
            DeviceError, match="CuPy is installed but finds no GPU; `minidl doctor` tells what is wrong"
        ):
            call()
    assert not backend.cuda_is_available()
    backend._cupy.cache_clear()


def test_cupy_that_does_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "cupy.py").write_text("raise OSError('libnvrtc.so.13: not found')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "cupy", raising=False)
    backend._cupy.cache_clear()
    with pytest.raises(
        DeviceError, match=r"does not load \(libnvrtc.so.13: not found\); `minidl doctor` tells the command"
    ):
        minidl.ones(2).cuda()
    backend._cupy.cache_clear()


# ---- writing in place ------------------------------------------------------------------------------------------------


def test_writes_are_seen_by_views_and_by_the_guard(cupy: Any) -> None:
    x = cuda([[1.0, 2.0], [3.0, 4.0]])
    row = x[0]
    row.mul_(10)
    x[:, 1] = 7
    x[[1, 0], [0, 0]] += cuda([1.0, 2.0])
    assert x.tolist() == [[12.0, 7.0], [4.0, 7.0]]
    x.fill_(1), x.copy_(np.ones((2, 2)) * 2), x.clamp_(max=1.5), x.zero_()
    assert x.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    w = cuda([1.0, 2.0], requires_grad=True)
    y = w * 2
    z = (y * y).sum()
    with minidl.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="written to in place"):
        z.backward()


def test_an_expanded_view_is_not_written_to(cupy: Any) -> None:
    with pytest.raises(ValueError, match="it is an expanded view"):
        cuda([1.0]).expand(3).add_(1)


def test_recorded_writes_through_views(cupy: Any) -> None:
    def function(x: Any) -> Any:
        y = x * 1
        view = y.reshape(2, 3)[1]
        view[1:] = view[1:] * 3
        y[0] = 5.0
        return (y * minidl.arange(6.0, device=x.device)).sum() + view.sum()

    grads = []
    for device in ("cpu", "cuda"):
        x = minidl.tensor([1.0, 2, 3, 4, 5, 6], device=device, requires_grad=True)
        function(x).backward()
        grads.append(x.grad.tolist())
    assert grads[0] == grads[1]


# ---- autograd --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", examples.names())
def test_gradcheck_on_the_device(name: str, cupy: Any) -> None:
    first, second = examples.check_named(name, device="cuda")
    assert first.ok, str(first)
    assert second is None or second.ok, str(second)


def test_gradient_checkpointing(cupy: Any) -> None:
    minidl.manual_seed(0)
    layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2)).cuda()
    x = minidl.randn(3, 4, device="cuda", requires_grad=True)
    results = []
    for run in (layers, lambda v: checkpoint(layers, v)):
        minidl.manual_seed(1)
        x.grad = None
        run(x).sum().backward()
        results.append(x.grad.numpy())
    np.testing.assert_array_equal(*results)


def test_a_wrong_gradient_is_found_on_the_device(cupy: Any) -> None:
    x = minidl.randn(3, device="cuda", dtype="float64", requires_grad=True)
    assert not gradcheck(lambda v: v.detach() * v, [x], raise_exception=False).ok


def test_singular_matrices_raise_as_on_the_cpu(cupy: Any) -> None:
    for call in (minidl.inv, minidl.cholesky, lambda a: minidl.solve(a, a)):
        with pytest.raises(np.linalg.LinAlgError):
            call(minidl.zeros(2, 2, device="cuda"))


# ---- random numbers --------------------------------------------------------------------------------------------------


def test_a_seed_means_the_same_on_every_device(cupy: Any) -> None:
    def draw(device: str) -> list[Any]:
        minidl.manual_seed(3)
        x = minidl.ones(4, 5, device=device)
        made = [minidl.rand(3, device=device), minidl.randn(3, device=device), minidl.randint(9, (4,), device=device)]
        return [
            t.tolist() for t in (*made, minidl.randperm(5, device=device), F.dropout(x, 0.4), minidl.bernoulli(x / 2))
        ]

    assert draw("cpu") == draw("cuda")


# ---- other worlds ----------------------------------------------------------------------------------------------------


def test_dlpack_shares_memory_both_ways(cupy: Any) -> None:
    x = cuda([1.0, 2.0, 3.0])
    assert x.__dlpack_device__() == (2, 0)
    there = cupy.from_dlpack(x)
    there[0] = 7
    assert x.tolist() == [7.0, 2.0, 3.0]
    y = minidl.from_dlpack(there)
    assert y.device == "cuda:0"
    y[1] = 8.0
    assert x.tolist() == [7.0, 8.0, 3.0]
    with pytest.raises(BufferError, match="requires a gradient"):
        cupy.from_dlpack(cuda([1.0], requires_grad=True))


def test_an_array_of_cupy_beside_a_tensor(cupy: Any) -> None:
    x, a = cuda([1.0, 2.0]), cupy.asarray(np.array([3.0, 4.0], np.float32))
    for y in (x * a, a * x, minidl.maximum(x, a), x[cupy.asarray([1, 1])] * a):
        assert isinstance(y, minidl.Tensor) and y.device == "cuda:0"
    assert (a - x).tolist() == [2.0, 2.0]


def test_a_second_device(cupy: Any) -> None:
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("this machine has one GPU")
    x = minidl.randn(2, 1, 6, 6, device="cuda:1", requires_grad=True)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)).to("cuda:1")
    loss = F.cross_entropy(model(x), minidl.tensor([0, 2], device="cuda:1"))
    loss.backward()
    assert loss.device == x.grad.device == "cuda:1"
    minidl.optim.Adam(model.parameters()).step()
    assert x.to("cuda:0").device == "cuda:0" and x.to("cuda:0").cpu().tolist() == x.tolist()
    assert x[:, :, ::2].to("cuda:0").tolist() == x[:, :, ::2].tolist()  # with gaps in memory
    with pytest.raises(DeviceError, match="is on cuda:0 and 'right'"):
        minidl.ones(2, device="cuda:0") + minidl.ones(2, device="cuda:1")
