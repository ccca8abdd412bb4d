"""Prints the OpenRecon label of the server image.

    python docker/openrecon.py                  # BASE64, for --build-arg OPENRECON_LABEL=
    python docker/openrecon.py --json           # the JSON text

The scanner shows `parameters` to the operator and sends the chosen values as JSON text before the
data (read by `gadget.configuration`). A label holds at most 14 of them. Their identifiers consist
of letters and digits: n_virtual_coils becomes nvirtualcoils.
"""

import argparse
import base64
import json
import sys
from typing import Any

from gadget.settings import Settings
from jrsr_core.common.validation import choices_of, limits
from jrsr_core.common.version import software_version

VENDOR = "JRSR"
INFORMATION = "Joint reconstruction and super-resolution. Research use only: not a medical device."

SHOWN = ("model", "maps", "n_virtual_coils", "time_limit", "on_failure")
"""Settings that an operator may choose; devices, files and folders belong to the installation."""

NARROWED: dict[str, tuple[Any, ...]] = {
    "model": ("jrsr-dc", "jrsr"),  # the systems whose weights are in the image
    "maps": ("none", "hallucination"),  # the others are for research at the desk
    "n_virtual_coils": (4, 32),  # numbers of coils that both systems were trained on
    "time_limit": (0, 3600),  # a reconstruction of more than an hour blocks the scanner
}
"""Choices or ends of a range that are fewer than those of the setting, each for its reason."""

DEFAULTS: dict[str, Any] = {
    "maps": "none",  # OpenRecon has no empty choice
    "time_limit": 60,  # a scanner waits for its images, and a fallback image is better than none
}
"""Defaults that differ from those of the setting."""


def metadata(*, gpu: bool = False) -> dict[str, Any]:
    """Return the content of the label; `gpu` is for the image with CUDA."""
    version = software_version()
    return {
        "general": {
            "name": {"en": "JRSR"},
            "version": version,
            "vendor": VENDOR,
            "information": {"en": INFORMATION},
            "id": "jrsr",
            "regulatory_information": {
                "device_trade_name": "JRSR",
                "production_identifier": version,
                "manufacturer_address": "",
                "made_in": "",
                "manufacture_date": "",
                "material_number": f"jrsr_{version}",
                "gtin": "",
                "udi": "",
                "safety_advices": "",
                "special_operating_instructions": INFORMATION,
                "additional_relevant_information": "",
            },
        },
        "reconstruction": {
            "transfer_protocol": {"protocol": "ISMRMRD", "version": "1.4.1"},
            "port": 9002,
            "emitter": "raw",
            "injector": "image",
            "can_process_adjustment_data": False,
            "can_use_gpu": gpu,
            "min_count_required_gpus": 1 if gpu else 0,
            "min_required_gpu_memory": 4096 if gpu else 0,
            "min_required_memory": 4096,
            "min_count_required_cpu_cores": 2,
            "content_qualification_type": "RESEARCH",
        },
        "parameters": _parameters(),
    }


def _parameters() -> list[dict[str, Any]]:
    """Return the parameters from the settings of the same name: label, meaning, choices, ranges."""
    config = _texts("config", "Configuration", "Configuration of the server.")
    return [config | _choice(("openrecon",), "openrecon"), *map(_parameter, SHOWN)]


def _parameter(name: str) -> dict[str, Any]:
    field, title = Settings.model_fields[name], Settings.json_schema()["properties"][name]["title"]
    texts = _texts(name.replace("_", ""), title, " ".join((field.description or "").split()))
    default, narrowed = DEFAULTS.get(name, field.default), NARROWED.get(name)
    if isinstance(default, str):
        return texts | _choice(narrowed or choices_of(field), default)
    low, high = narrowed or limits(field)
    # The scanner knows whole numbers and numbers; whole ones do for seconds.
    return texts | {"type": "int", "minimum": low, "maximum": high, "default": default}


def _choice(values: tuple[Any, ...], default: str) -> dict[str, Any]:
    entries = [{"id": value, "name": {"en": value}} for value in values]
    return {"type": "choice", "values": entries, "default": default}


def _texts(name: str, label: str, meaning: str) -> dict[str, Any]:
    return {"id": name, "label": {"en": label}, "information": {"en": meaning}}


def encoded(content: dict[str, Any]) -> str:
    """Return the value of the label: the content as JSON in BASE64."""
    return base64.b64encode(json.dumps(content).encode("utf-8")).decode("ascii")


def main() -> None:
    """Print the value of the label."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of BASE64")
    parser.add_argument("--gpu", action="store_true", help="label of the image with CUDA")
    options = parser.parse_args()
    content = metadata(gpu=options.gpu)
    text = json.dumps(content, indent=2) if options.json else encoded(content)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
