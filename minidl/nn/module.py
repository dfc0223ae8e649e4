"""Module: a tree of layers with their parameters and buffers, in PyTorch's names and order."""

from __future__ import annotations

import difflib
import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ..autograd.tape import LISTENERS
from ..backend import Device
from ..dtypes import as_dtype
from ..ops.activation import relu_up_to
from ..tensor import HookHandle, Tensor
from . import state
from .hooks import BackwardObserver, current_label, current_module, current_path, enter, leave, say_where
from .parameter import Parameter

__all__ = ["Module", "current_label", "current_module", "current_path"]

M = TypeVar("M", bound="Module")


def is_watched(module: Module) -> bool:
    """Whether anybody wants to see what goes into the module and what comes out, or has changed what it does.

    Hooks of its own do, a listener, a ``forward`` that was put into this one module, and a class that has its own way
    to be called.
    """
    return bool(
        LISTENERS
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
        or type(module).__call__ is not Module.__call__
    )


class MissingAttribute(AttributeError):
    """An attribute that a module does not have.  What it could have meant is looked for when somebody reads it: most
    of these answer ``hasattr`` and are never read."""

    def __init__(self, owner: Module, attribute: str) -> None:
        super().__init__(owner, attribute)

    def __str__(self) -> str:
        owner, attribute = self.args
        return f"{type(owner).__name__} has no attribute {attribute!r}{_did_you_mean(attribute, dir(owner))}"


class Registered:
    """A parameter or buffer that a layer reads in every call: ``weight = Registered("_parameters")`` in its class.

    Others are found by ``Module.__getattr__`` too, once Python has looked everywhere else, which takes seven times as
    long.  Whatever a module has under the name in another table, or as an ordinary attribute, comes first as ever.
    """

    def __init__(self, table: str) -> None:
        self.table = table

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, module: Module | None, owner: type | None = None) -> Any:
        if module is None:
            return self
        try:
            return module.__dict__[self.table][self.name]
        except KeyError:
            raise MissingAttribute(module, self.name) from None  # Python asks __getattr__ now


class Module:
    """The base of every layer and network.

    Write a subclass: make layers and parameters in ``__init__`` (after ``super().__init__()``) as attributes, and
    compute in ``forward``.  Tensors that belong to the state but are not trained go through :meth:`register_buffer`.

    >>> import minidl
    >>> class Net(minidl.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = minidl.nn.Linear(3, 2)
    ...
    ...     def forward(self, x):
    ...         return self.fc(x).relu()
    >>> net = Net()
    >>> net
    Net(
      (fc): Linear(in_features=3, out_features=2, bias=True)
    )
    >>> [(name, p.shape) for name, p in net.named_parameters()]
    [('fc.weight', (2, 3)), ('fc.bias', (2,))]
    >>> net(minidl.ones(5, 3)).shape
    (5, 2)
    """

    training: bool
    frozen = False  # stays in evaluation mode, whatever train() says
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _optional_state: tuple[str, ...] = ()  # names that an old state dict may lack

    def __init__(self) -> None:
        put = self.__dict__.update  # around __setattr__, which needs these to exist
        put(training=True, _parameters={}, _buffers={}, _non_persistent_buffers=set(), _modules={})
        put(_forward_hooks=[], _forward_pre_hooks=[], _backward_hooks=[], _backward_pre_hooks=[])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(): define what it computes")

    # ---- calling ---------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            plain = not is_watched(self)
        except AttributeError:
            self._require_init()
            raise
        watched = bool(LISTENERS)
        if watched:
            enter(self)
        try:
            return self.forward(*args, **kwargs) if plain else self._call_with_hooks(args, kwargs)
        except Exception as error:
            say_where(error, self)
            raise
        finally:
            if watched:
                leave()

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook, with_kwargs in tuple(self._forward_pre_hooks):
            changed = hook(self, args, kwargs) if with_kwargs else hook(self, args)
            if changed is not None and with_kwargs:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise TypeError("a forward pre-hook with_kwargs must return None or (args, kwargs)")
                args, kwargs = changed
            elif changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        observer = BackwardObserver(self) if self._backward_hooks or self._backward_pre_hooks else None
        if observer is not None:
            args = observer.wrap_inputs(args)
        result = self.forward(*args, **kwargs)
        for hook, with_kwargs in tuple(self._forward_hooks):
            changed = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
            result = result if changed is None else changed
        return result if observer is None else observer.wrap_output(result)

    def then_relu(
        self, input: Any, residual: Any = None, ceiling: float = math.inf, *, behind: Module | None = None
    ) -> Any:
        """``relu(self(input) + residual)``, ending at ``ceiling``; of ``behind(input)`` where that is given.

        Batch norm does it in its own passes over memory, in evaluation behind a convolution in those of that.

        >>> import minidl
        >>> layer = minidl.nn.Identity()
        >>> layer.then_relu(minidl.tensor([-1.0, 5.0]), residual=minidl.tensor([3.0, 3.0]), ceiling=6.0)
        tensor([2., 6.])
        """
        y = self(input if behind is None else behind(input))
        return relu_up_to(ceiling, y if residual is None else y + residual)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args)`` before ``forward``; what it returns (unless None) replaces the arguments."""
        return _register(self._forward_pre_hooks, (hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args, output)`` after ``forward``; what it returns (unless None) replaces the output.

        >>> import minidl
        >>> layer = minidl.nn.Flatten()
        >>> handle = layer.register_forward_hook(lambda module, args, output: print(args[0].shape, output.shape))
        >>> y = layer(minidl.ones(2, 3, 4))
        (2, 3, 4) (2, 12)
        >>> handle.remove()
        """
        return _register(self._forward_hooks, (hook, with_kwargs), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients at both ends of the module are known.

        Both are tuples with one entry for each positional argument (and each result), nested structures flattened;
        None where no gradient flows.  What the hook returns (unless None) replaces ``grad_input``.

        >>> import minidl
        >>> layer = minidl.nn.Identity()
        >>> handle = layer.register_full_backward_hook(lambda module, grad_input, grad_output: (grad_output[0] * 10,))
        >>> x = minidl.tensor([1.0, 2.0], requires_grad=True)
        >>> (layer(x) * 3).sum().backward()
        >>> x.grad
        tensor([30., 30.])
        """
        return _register(self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call ``hook(module, grad_output)`` before the module is differentiated; it may return another grad_output."""
        return _register(self._backward_pre_hooks, hook, prepend)

    # ---- attributes ------------------------------------------------------------------------------------

    def _require_init(self) -> None:
        if "_parameters" not in self.__dict__:
            name = type(self).__name__
            raise AttributeError(
                f"{name} was used before Module.__init__ ran: write super().__init__() as the first line of "
                f"{name}.__init__"
            )

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__.get("_parameters"), self.__dict__.get("_modules"), self.__dict__.get("_buffers")
        parameters, modules, buffers = tables
        if isinstance(value, Parameter):
            self._require_init()
            self._forget(name)
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._require_init()
            self._forget(name)
            self.register_module(name, value)
        elif parameters and name in parameters:
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}.{name} is a parameter: assign an nn.Parameter or None, not "
                    f"{type(value).__name__}; to change its values write under no_grad(): .{name}.copy_(value)"
                )
            parameters[name] = None
        elif modules and name in modules:
            if value is not None:
                raise TypeError(f"{type(self).__name__}.{name} is a module: assign a Module or None, not {value!r}")
            modules[name] = None
        elif buffers and name in buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"{type(self).__name__}.{name} is a buffer: assign a Tensor or None, not {type(value).__name__}"
                )
            buffers[name] = value
        else:
            _warn_of_hidden_modules(self, name, value)
            object.__setattr__(self, name, value)

    def _forget(self, name: str) -> None:
        """Make room for ``name``: whatever had it before loses it."""
        self.__dict__.pop(name, None)
        self._non_persistent_buffers.discard(name)
        for table in (self._parameters, self._buffers, self._modules):
            table.pop(name, None)

    def __getattr__(self, name: str) -> Any:  # only when the ordinary lookup fails
        own = self.__dict__
        for table in ("_parameters", "_buffers", "_modules"):
            if table in own and name in own[table]:
                return own[table][name]
        if not name.startswith("__"):
            self._require_init()
        if hasattr(type(self), name):  # a property that failed: its own error says more
            return object.__getattribute__(self, name)
        raise MissingAttribute(self, name)

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent_buffers.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        own = self.__dict__
        tables = [own.get(t, {}) for t in ("_parameters", "_buffers", "_modules")]
        return sorted({*super().__dir__(), *(name for table in tables for name in table)})

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter (or a place for one, None) under ``name``; assigning an attribute does this."""
        self._check_name(name, self._parameters, "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"register_parameter({name!r}, ...) needs an nn.Parameter or None, got {type(param).__name__}"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module but is not trained; persistent ones are in ``state_dict``."""
        self._check_name(name, self._buffers, "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer({name!r}, ...) needs a Tensor or None, got {type(tensor).__name__}")
        self._buffers[name] = tensor
        (self._non_persistent_buffers.discard if persistent else self._non_persistent_buffers.add)(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under ``name``; assigning an attribute does this."""
        self._check_name(name, self._modules, "module")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"register_module({name!r}, ...) needs a Module or None, got {type(module).__name__}")
        self._modules[name] = module

    add_module = register_module

    def _check_name(self, name: str, table: Mapping[str, Any], kind: str) -> None:
        self._require_init()
        if not isinstance(name, str):
            raise TypeError(f"the name of a {kind} must be a string, not {name!r}")
        if not name or "." in name:
            raise KeyError(f"the name of a {kind} must not be empty or contain a dot, got {name!r}")
        if name not in table and hasattr(self, name):
            raise KeyError(
                f"{type(self).__name__} already has an attribute {name!r}: choose another name for the {kind}"
            )

    # ---- walking the tree ------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module and all below it, parents first; a shared one appears once."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct submodules."""
        memo = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in memo:
                memo.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The direct submodules."""
        return (child for _, child in self.named_children())

    def _named_members(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        memo = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, member in getattr(module, table).items():
                if member is not None and id(member) not in memo:
                    if remove_duplicate:
                        memo.add(id(member))
                    yield f"{path}.{name}" if path else name, member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter), in the order of registration; a shared parameter appears once."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, as an optimiser wants them."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, buffer), persistent or not."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module with the dotted name ``target`` ("" is this one)."""
        module: Module = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                names = [n for n, _ in self.named_modules()]
                raise AttributeError(f"{type(self).__name__} has no module {target!r}{_did_you_mean(target, names)}")
            module = child
        return module

    def _get_member(self, table: str, kind: str, target: str, names: Iterator[tuple[str, Any]]) -> Any:
        path, _, name = target.rpartition(".")
        member = getattr(self.get_submodule(path), table).get(name)
        if member is None:
            near = _did_you_mean(target, [n for n, _ in names])
            raise AttributeError(f"{type(self).__name__} has no {kind} {target!r}{near}")
        return member

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with the dotted name ``target``."""
        return self._get_member("_parameters", "parameter", target, self.named_parameters())

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with the dotted name ``target``."""
        return self._get_member("_buffers", "buffer", target, self.named_buffers())

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call ``fn`` on every module below, then on this one (for initialisation); returns self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # ---- state -----------------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
        """Names to tensors of all parameters and persistent buffers; they share memory with the module.

        The names are PyTorch's for the same structure.  ``keep_vars`` gives the parameters themselves.
        """
        return state.state_dict(self, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copy values (tensors, or anything NumPy reads as arrays) into the parameters and buffers of these names.

        All names and shapes are checked before anything is written: when it fails (:class:`StateDictError`), nothing
        has changed.  ``strict=False`` leaves out names that only one side has, and returns them; shapes must fit all
        the same.

        >>> import minidl
        >>> layer = minidl.nn.Linear(2, 1)
        >>> layer.load_state_dict({"weight": [[1.0, 2.0]], "bias": [3.0]})
        <All keys matched successfully>
        >>> layer(minidl.tensor([[10.0, 20.0]])).item()
        53.0
        """
        if assign:
            raise ValueError(
                "load_state_dict copies values: assign=True, which would replace the tensors, is not taken"
            )
        return state.load_state_dict(self, state_dict, strict)

    def train(self: M, mode: bool = True) -> M:
        """Put this module and all below into training mode (dropout drops, batch norm uses the batch); returns self.

        Those that :func:`minidl.models.freeze` has frozen stay in evaluation mode.
        """
        if not isinstance(mode, bool):
            raise TypeError(f"train(mode) needs True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode and not module.frozen
        return self

    def eval(self: M) -> M:
        """Put this module and all below into evaluation mode; returns self."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Let all parameters require a gradient, or freeze them; returns self."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters (or fill them with zeros)."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad = p.grad.detach() * 0

    def to(self: M, *targets: Any, dtype: Any = None, device: Any = None) -> M:
        """Bring parameters and buffers to a device and (the floating-point ones) to a dtype, in place; returns self.

        ``to("cuda")``, ``to("float64")``, ``to("cuda:0", "float16")``, ``to(other_tensor)``.

        >>> import minidl
        >>> minidl.nn.Linear(2, 3).to("float64").weight.dtype
        dtype('float64')
        """
        for target in targets:
            if isinstance(target, Tensor):
                dtype, device = target.dtype, target.device
            elif isinstance(target, Device) or (isinstance(target, str) and target.startswith(("cpu", "cuda"))):
                device = target
            else:
                dtype = target
        wanted = None if dtype is None else as_dtype(dtype)
        if wanted is not None and wanted.kind != "f":
            raise TypeError(f"a module can be brought to a floating-point dtype only, not {wanted}")

        def move(t: Tensor) -> Tensor:
            return t.to(dtype=wanted if t.is_floating_point() else None, device=device)

        for _, tensor in (*self.named_parameters(), *self.named_buffers()):
            tensor.data = move(tensor.detach())
            if tensor.grad is not None:
                tensor.grad = move(tensor.grad.detach())
        return self

    def float(self: M) -> M:
        """Floating-point parameters and buffers to float32; returns self."""
        return self.to("float32")

    def double(self: M) -> M:
        """Floating-point parameters and buffers to float64; returns self."""
        return self.to("float64")

    def half(self: M) -> M:
        """Floating-point parameters and buffers to float16; returns self."""
        return self.to("float16")

    def cpu(self: M) -> M:
        """Parameters and buffers to the CPU; returns self."""
        return self.to("cpu")

    def cuda(self: M, index: int = 0) -> M:
        """Parameters and buffers to a CUDA device; returns self."""
        return self.to(Device("cuda", index))

    # ---- showing ---------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses of the ``repr``: the settings of a layer."""
        return ""

    def _child_lines(self) -> list[str]:
        return [f"({name}): {_indent(repr(child))}" for name, child in self._modules.items()]

    def __repr__(self) -> str:
        extra, children = self.extra_repr(), self._child_lines()
        name = type(self).__name__
        if not children:
            return f"{name}({_indent(extra)})" if "\n" not in extra else f"{name}(\n  {_indent(extra)}\n)"
        lines = ([_indent(extra)] if extra else []) + children
        return f"{name}(\n  " + "\n  ".join(lines) + "\n)"


def _register(hooks: list[Any], entry: Any, prepend: bool) -> HookHandle:
    hooks.insert(0 if prepend else len(hooks), entry)
    return HookHandle(hooks, entry)


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def _did_you_mean(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, [n for n in names if not n.startswith("_")], n=3)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def _warn_of_hidden_modules(owner: Module, name: str, value: Any) -> None:
    """A plain list or dict of modules is invisible to parameters() and state_dict(): a well-known trap."""
    if not isinstance(value, (list, tuple, dict)):
        return
    items = value.values() if isinstance(value, dict) else value
    if any(isinstance(item, (Module, Parameter)) for item in items):
        kind = "Dict" if isinstance(value, dict) else "List"
        warnings.warn(
            f"{type(owner).__name__}.{name} is a plain {type(value).__name__} of modules or parameters: they will be "
            f"missing "
            f"in parameters() and state_dict(). Use nn.Module{kind} or nn.ParameterList",
            stacklevel=3,
        )
