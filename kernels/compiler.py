"""The compiler of `native` functions: Numba's, in few steps, and with few rules to try.

Numba treats each function as a program of its own: it optimises it and makes machine code of it, once more inside
every function that calls it.  Here it types a function and writes LLVM's code for it, and that is all (`Part`);
`machine_code` links the parts of a piece of work and optimises them once.

What Numba knows of strings, lists, random numbers or ufuncs takes half a second to wake up, and each ``+`` of two
integers asks it in vain.  So these functions have a target of their own, in the words of Numba's interface for new
processors, which knows numbers, tuples, ranges and arrays, and answers the same question once.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from . import jit

jit.require_numba()

from numba import _dynfunc, types  # type: ignore[attr-defined]  # noqa: E402
from numba.core import (  # noqa: E402
    codegen,
    compiler,
    cpu,
    lowering,
    registry,
    target_extension,
    typed_passes,
    typing,
    untyped_passes,
)
from numba.core.compiler_machinery import PassManager, register_pass  # noqa: E402
from numba.core.runtime import rtsys  # noqa: E402

from .short_code import CODE, RULES  # noqa: E402

NAME = "piece"  # of the target

# Steps -----------------------------------------------------------------------------------------------


class Part(codegen.JITCodeLibrary):
    """The code of a function and of all that it calls, as it was written down; it runs only as a part of a piece."""

    def add_llvm_module(self, module: Any) -> None:
        self._final_module.link_in(module)

    def finalize(self) -> None:
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True

    def whole(self) -> Any:
        """LLVM's module, ready to be optimised."""
        self._ensure_finalized()
        return self._final_module


class _Lower(lowering.Lower):
    """Numbers leave nothing behind: what a variable held before need not be read, nor overwritten afterwards."""

    def _is_counted(self, name: str) -> bool:
        return self.context.data_model_manager[self.typeof(name)].contains_nrt_meminfo()

    def storevar(self, value: Any, name: str, argidx: Any = None) -> None:
        if name in self._singly_assigned_vars or self._is_counted(name):
            super().storevar(value, name, argidx)
        else:
            self._alloca_var(name, self.typeof(name))
            self.builder.store(value, self.getvar(name))

    def delvar(self, name: str) -> None:
        if name in self._blk_local_varmap or self._is_counted(name):
            super().delvar(name)
        else:
            self._singly_assigned_vars.discard(name)  # deleted above the place where it is assigned, as in loops


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(typed_passes.NativeLowering):
    """From typed Python to LLVM's code, which goes into a `Part`."""

    _name = "lowering_to_a_part"

    @property
    def lowering_class(self) -> Any:
        return _Lower

    def run_pass(self, state: Any) -> bool:
        state.library = Part(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        part = state.cr
        name, module = part.fndesc.qualname, part.fndesc.lookup_module()
        handle = _dynfunc.make_function(module, name, "", 0, part.env, (state.library,))  # stands for it in callers
        state.targetctx.insert_user_function(handle, part.fndesc, [state.library])
        state.cr = part._replace(cfunc=handle)
        return True


class _Pipeline(compiler.CompilerBase):
    """Numba's steps, without those that look for what these functions have not: closures, ``with``, exceptions."""

    def define_pipelines(self) -> list[PassManager]:
        steps = PassManager("part")
        for step in (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.ReconstructSSA,
            typed_passes.NopythonTypeInference,
            typed_passes.PreLowerStripPhis,
            typed_passes.IRLegalization,
            typed_passes.AnnotateTypes,
            _Lowering,
            typed_passes.NoPythonBackend,
        ):
            steps.add_pass(step)
        steps.finalize()
        return [steps]


# The target ------------------------------------------------------------------------------------------


class Piece(target_extension.CPU):
    """What `native` functions are compiled for."""


class _Typing(typing.Context):
    """Numba's rules for types; what they said of a built-in function and some types of arguments is kept."""

    def init(self) -> None:
        self._said: dict[Any, Any] = {}

    def load_additional_registries(self) -> None:
        from numba.core.typing import mathdecl

        for rules in (RULES, mathdecl.registry):
            self.install_registry(rules)

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        if kws or not isinstance(func, types.Function):
            return super().resolve_function_type(func, args, kws)
        key = func, tuple(args)
        if key not in self._said:
            said = super().resolve_function_type(func, args, kws)
            if said is None:
                return None
            self._said[key] = said, func.get_impl_key(said)
        said, code = self._said[key]
        vars(func)["_impl_keys"][said.args] = code  # Numba keeps one for all targets
        return said


class _Context(cpu.CPUContext):
    """How Numba's instructions become LLVM's."""

    def load_additional_registries(self) -> None:
        from numba.cpython import builtins, mathimpl, numbers, rangeobj, slicing, tupleobj  # noqa: F401
        from numba.np import arrayobj  # noqa: F401

        rtsys.initialize(self)
        self.install_registry(mathimpl.registry)

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
        short = CODE.get((getattr(fn, "typing_key", fn), sig.args))
        if short is None:
            return super().get_function(fn, sig, _firstcall)
        return lambda builder, args, loc=None: short(self, builder, sig, args)

    def pair_first(self, builder: Any, val: Any, ty: Any) -> Any:
        return builder.extract_value(val, 0)

    def pair_second(self, builder: Any, val: Any, ty: Any) -> Any:
        return builder.extract_value(val, 1)


class _Target(registry.CPUTarget):
    @cached_property
    def _toplevel_typing_context(self) -> Any:
        return _Typing()

    @cached_property
    def _toplevel_target_context(self) -> Any:
        return _Context(self.typing_context, NAME)


target_extension.target_registry[NAME] = Piece


class _Foreign(registry.CPUDispatcher):
    """A function of Numba's own that a `native` function calls."""

    targetdescr = _Target(NAME)


class Dispatcher(_Foreign):
    """A `native` function: what it was compiled to, by the types of its arguments."""

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        super().__init__(function, targetoptions=_OPTIONS | options, pipeline_class=_Pipeline)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """One compilation for an integer, whether or not its value is known: LLVM sees it where it is called."""
        return super().get_call_template(tuple(map(types.unliteral, args)), kws)

    def part(self, arguments: tuple) -> tuple[Part, str]:
        """The code for arguments of these types, and the function's name in it."""
        with target_extension.target_override(NAME):
            self.compile(arguments)
        result: Any = self.overloads[arguments]
        return result.library, result.fndesc.llvm_func_name


_OPTIONS = {"nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _foreign(**options: Any) -> Any:
    return lambda function: _Foreign(function, targetoptions=_OPTIONS | options)


target_extension.dispatcher_registry[Piece] = Dispatcher
target_extension.jit_registry[Piece] = lambda function=None, **options: (
    _foreign(**options) if function is None else _foreign(**options)(function)
)
