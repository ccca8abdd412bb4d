"""Functions with further parameters, for libraries that make options of a signature."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter
from typing import Any

Around = Callable[[Callable[[], Any], Mapping[str, Any]], Any]


def with_parameters(
    function: Callable[..., Any], added: Mapping[str, Any], around: Around
) -> Callable[..., Any]:
    """Return a function that has further keyword parameters after those of another function.

    Parameters
    ----------
    function
        Called with its own parameters.
    added
        Name -> annotation of each further parameter, a flag that is False by default.
    around
        Called with the call that is left to make, and with the values of the further parameters;
        its result is that of the function.
    """

    @wraps(function)
    def run(**values: Any) -> Any:
        own = {name: values.pop(name, False) for name in added}
        return around(lambda: function(**values), own)

    signature = inspect.signature(function)
    further = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in added.items()
    ]
    parameters = [*signature.parameters.values(), *further]
    setattr(run, "__signature__", signature.replace(parameters=parameters))  # noqa: B010
    run.__annotations__ = {**function.__annotations__, **added}
    return run
