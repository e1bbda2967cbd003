"""What every estimator shares: named parameters, a fitted state, and words for messages."""

import inspect
from typing import Any, Protocol, Self, TypeVar


class Parameterised(Protocol):
    """What has parameters by scikit-learn's conventions: estimators of this package and of others."""

    def get_params(self, deep: bool = True) -> dict[str, Any]: ...


_Parameterised = TypeVar("_Parameterised", bound=Parameterised)


class NotFittedError(ValueError, AttributeError):
    """A method that needs a fitted estimator was called before `fit`."""


class Estimator:
    """Parameters are the arguments of `__init__`, stored under their names; what `fit` learns ends in `_`.

    Follows scikit-learn's conventions, so that its `clone`, pipelines and searches work, without importing
    it.
    """

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [p for p in inspect.signature(cls.__init__).parameters if p != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters as a dict; with `deep`, nested estimators' too, as ``name__parameter``."""
        params = {name: getattr(self, name) for name in self._parameter_names()}
        if deep:
            for name, value in list(params.items()):
                if hasattr(value, "get_params") and not isinstance(value, type):
                    params |= {f"{name}__{key}": v for key, v in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name (``estimator__name`` for a nested one) and return the estimator itself.

        Raises
        ------
        ValueError
            A name is no parameter of this estimator.
        """
        valid = self._parameter_names()
        for key, value in params.items():
            name, _, nested = key.partition("__")
            if name not in valid:
                raise ValueError(
                    f"{name!r} is no parameter of {type(self).__name__}; expected one of {', '.join(valid)}"
                )
            if nested:
                inner = getattr(self, name)
                if not hasattr(inner, "set_params"):
                    raise ValueError(f"{key!r} cannot be set: {name} is {inner!r}, which has no parameters")
                inner.set_params(**{nested: value})
            else:
                setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [
            f"{name}={value!r}"
            for name, value in self.get_params(deep=False).items()
            if value is not defaults[name].default and repr(value) != repr(defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    _estimator_type = "density_estimator"

    def __sklearn_is_fitted__(self) -> bool:
        return _has_fitted_attributes(self)

    def __sklearn_tags__(self) -> Any:
        # scikit-learn's pipelines and searches ask for this; nobody else does, so it can be imported here
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=self._estimator_type, target_tags=TargetTags(required=False))

    def _check_fitted(self) -> None:
        if not is_fitted(self):
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted yet; call fit with data before this method"
            )


def is_fitted(estimator: object) -> bool:
    """Whether `fit` has been called; scikit-learn's protocol answers for estimators that have it."""
    if hasattr(estimator, "__sklearn_is_fitted__"):
        return bool(estimator.__sklearn_is_fitted__())
    return _has_fitted_attributes(estimator)


def clone(estimator: _Parameterised) -> _Parameterised:
    """An unfitted estimator of the same class with the same parameters; nested estimators are cloned too."""
    if hasattr(estimator, "__sklearn_clone__"):
        twin: _Parameterised = estimator.__sklearn_clone__()
        return twin
    params = estimator.get_params(deep=False)
    nested = {k: clone(v) for k, v in params.items() if hasattr(v, "get_params") and not isinstance(v, type)}
    return type(estimator)(**params | nested)


def _has_fitted_attributes(estimator: object) -> bool:
    return any(name.endswith("_") and not name.startswith("_") for name in list(vars(estimator)))


def shape_name(value: object) -> str:
    """A few words on what a value is, for messages."""
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return f"{kind} of shape {shape}" if shape is not None else kind
