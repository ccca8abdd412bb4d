"""Settings of a training run, and the recipes they are read from."""

from .groups import RunConfig
from .keys import KEYS, flat_settings, make_config
from .recipe import load_recipe

__all__ = ["KEYS", "RunConfig", "flat_settings", "load_recipe", "make_config"]
