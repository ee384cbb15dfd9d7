"""How an answer is checked: a function is tried on drawn inputs beside the right one.

A check prints a pass or one hint, and never the answer. Each check names the mistakes that are
often made, as functions: whoever agrees with one of them is told what to think about.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from textwrap import shorten

import numpy as np

FAILURES = (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError)
FAILURES += (ValueError, AssertionError)  # what a student's line may raise


def check(
    answer: Callable, right: Callable, draws: Sequence[tuple], mistakes: dict[str, Callable]
) -> None:
    """Print a pass if `answer` gives what `right` gives on every draw, else a hint.

    draws: arguments for one call each. mistakes: hint -> the function it fits. Numbers must agree
    to six digits, texts and sets exactly.
    """
    say(_fault(answer, right, draws, mistakes))


def say(fault: str | None) -> None:
    """Print the verdict: a pass for None, otherwise the hint."""
    print(f"Not yet: {fault}." if fault else "Right, on every input that was drawn.")


def tried(function: Callable, arguments: tuple) -> tuple[object, str | None]:
    """Return the result of a call on a copy of its arguments and None, or None and a fault."""
    try:
        result = function(*deepcopy(arguments))
    except NotImplementedError:
        return None, "the function still raises `your turn`; write your own lines there"
    except FAILURES as error:
        return None, f"it stopped with {type(error).__name__}: {' '.join(str(error).split())}"
    if result is None:
        return None, "the function gives nothing back; is a `return` missing"
    return result, None


def same(a: object, b: object) -> bool:
    """Tell whether two results agree: numbers to six digits, anything else exactly.

    >>> same([0.1 + 0.2], np.array([0.3])), same("zebra", "giraffe"), same(None, 1.0)
    (True, False, False)
    """
    if isinstance(a, str | set | frozenset) or isinstance(b, str | set | frozenset):
        return type(a) is type(b) and a == b
    try:
        x, y = np.asarray(a), np.asarray(b)
        if x.dtype.kind in "OUS" or y.dtype.kind in "OUS":
            return x.shape == y.shape and bool((x == y).all())
        return x.shape == y.shape and np.allclose(x, y, rtol=1e-6, atol=1e-9, equal_nan=True)
    except (TypeError, ValueError):
        return False


def _fault(answer, right, draws, mistakes) -> str | None:
    if not callable(answer):
        return "give the function itself, by its name and without brackets after it"
    got = []
    for arguments in draws:
        result, fault = tried(answer, arguments)
        if fault:
            return fault
        got.append(result)
    wanted = [right(*deepcopy(arguments)) for arguments in draws]
    hits = sum(map(same, got, wanted))
    if hits == len(draws):
        return None
    for hint, wrong in mistakes.items():
        if all(
            same(a, tried(wrong, arguments)[0]) for a, arguments in zip(got, draws, strict=True)
        ):
            return hint
    if all(same(got[0], other) for other in got[1:]):
        return "it gives the same for every input; is a result typed in"
    shapes = {
        (np.shape(a), np.shape(b)) for a, b in zip(got, wanted, strict=True) if not same(a, b)
    }
    for mine, theirs in shapes:
        if mine != theirs and not isinstance(wanted[0], str | set | frozenset):
            return f"it gives an array of shape {mine} where {theirs} is asked for"
    failed = next(d for d, a, b in zip(draws, got, wanted, strict=True) if not same(a, b))
    shown = shorten(", ".join(map(repr, failed)), 100, placeholder=" ...")
    return f"right on {hits} of {len(draws)} drawn inputs, not on ({shown}): compare with the text"
