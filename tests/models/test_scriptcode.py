from __future__ import annotations

import ast

import pytest

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.scriptcode import check_code

HEAD = """class Net(Module):
  __parameters__ = ["weight", ]
  __buffers__ = []
  __annotations__ = []
  __annotations__["0"] = __torch__.Part
  weight : Tensor
  training : bool
  scale : Final[float] = 0.10000000000000001
"""
PART = """class Part(Module):
  def forward(self: __torch__.Part,
    x: Tensor) -> Tensor:
    return torch.relu(x)
def double(x: Tensor) -> Tensor:
  return torch.mul(x, 2)
"""


def method(*lines: str, name: str = "forward") -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"{HEAD}  def {name}(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n{body}{PART}"


def check(text: str) -> str:
    return check_code({"__torch__": text})[0]["__torch__"]


def test_what_torch_writes_is_accepted_and_keeps_its_meaning():
    text = method(
        "_0 = __torch__.double",
        'part = getattr(self, "0")',
        "_1, _2, = torch.split(_0((part).forward(x, ), ), 1, 1)",
        "if torch.gt(torch.dim(_1), 3):",
        "  y = annotate(Optional[Tensor], None)",
        "else:",
        "  y = annotate(Optional[Tensor], self.weight)",
        "for i in range(2):",
        "  _3 = torch.slice(_1, 0, 0, 9223372036854775807)",
        'ops.prim.RaiseException("a \\"b\\" \\n", "builtins.ValueError")',
        "return torch.add_(_1, CONSTANTS.c0, alpha=-1)",
    )
    printed, classes = check_code({"__torch__": text})
    assert ast.dump(ast.parse(printed["__torch__"])) == ast.dump(ast.parse(text))
    assert classes == {"__torch__.Net", "__torch__.Part"}


def test_comments_do_not_reach_the_compiler():
    assert "type:" not in check(method("return x  # type: (Tensor) -> Tensor"))


HOSTILE = {
    "reads a file": "return torch.from_file('/etc/passwd', False, 4)",
    "writes a file": "torch.save(x, 'f')",
    "an operator as a method": "x.save('f')",
    "an operator of text": "y = 'f'.from_file(True, 16)",
    "a renamed namespace": "t = torch",
    "a namespace as an argument": "y = getattr(torch, 'save')(x, 'f')",
    "a namespace in a list": "y = [torch]",
    "an operator by computed name": "y = getattr(self, torch.add('sa', 've'))",
    "an operator kept for later": "f = torch.save",
    "a foreign namespace": "return ops.quantized.linear(x)",
    "a namespace of ops": "o = ops.aten",
    "a debug primitive": "ops.prim.Print(x)",
    "python": "return ops.prim.PythonOp(x)",
    "a thread": "return fork(self.forward, x)",
    "a bare function": "print(x)",
    "a bare function renamed": "p = print; p(x)",
    "a builtin class": "y = __torch__.torch.classes.profiling._RecordFunction()",
    "a part of the namespace": "y = __torch__.torch",
    "an undefined class": "y = __torch__.Other()",
    "memory": "return torch.as_strided(x, [100000], [1], 0)",
    "a lambda": "f = lambda y: y",
    "a comprehension": "y = [i for i in x]",
    "an import": "import os",
    "an infix operation": "return x + x",
    "a with statement": "with torch.no_grad(): pass",
    "a global": "global torch",
    "bytes": "y = b'x'",
    "an f-string": "y = f'{x}'",
    "a walrus": "y = (z := x)",
    "a deletion": "del x",
    "a call of a result": "return (self.forward(x))(x)",
    "a constant by name": "return CONSTANTS.cx",
    "resizing": "return torch.resize_(x, [1])",
    "an assert": "assert x",
    "a decorator": "pass\n  @torch.save\n  def g(self: __torch__.Net) -> Tensor:\n    pass",
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_what_does_more_than_compute_is_refused(line):
    with pytest.raises(UntrustedModelError) as caught:
        check(method(line, "return x"))
    assert "line" in str(caught.value)


@pytest.mark.parametrize("name", ["__setstate__", "__getstate__"])
def test_methods_that_run_at_loading_are_refused(name):
    with pytest.raises(UntrustedModelError, match="while it is loaded"):
        check(method("return x", name=name))


@pytest.mark.parametrize(
    "text",
    [
        "class Net(__torch__.Part):\n  pass\n",
        "class Net(Module, metaclass=Module):\n  pass\n",
        "class Net(Enum):\n  a = 1\n",
        'class Net(Module):\n  __forward_hooks__ = ["f"]\n',
        "class Net(Module):\n  x, y = 1, 2\n",
        "def f(torch: Tensor) -> Tensor:\n  return torch.save\n",
    ],
)
def test_odd_definitions_are_refused(text):
    with pytest.raises(UntrustedModelError):
        check(text)


def test_a_local_name_is_called_only_where_it_is_a_function_of_the_archive():
    check(method("_0 = __torch__.double", "return _0(x, )"))
    for lines in (
        ["_0 = __torch__.double", "_0 = x", "return _0(x, )"],
        ["for _0 in range(2):", "  _0 = __torch__.double", "return _0(x, )"],
        ["return x(x, )"],
    ):
        with pytest.raises(UntrustedModelError, match="a call of"):
            check(method(*lines))


@pytest.mark.parametrize(
    "text",
    [
        "class",
        "x = " + "(" * 300,
        "x = " + "9" * 5000,
        "x = " + "-" * 100_000 + "1",
        "x" + ".a" * 100_000,
        "def f(x):\n    return '\\ud800'\x00",
    ],
    ids=["broken", "parentheses", "digits", "signs", "dots", "nul"],
)
def test_what_cannot_be_parsed_is_a_model_error(text):
    with pytest.raises(ModelError):
        check(text)
