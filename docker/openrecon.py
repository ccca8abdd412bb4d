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
from jrsr_core.mrd.images import software_version

VENDOR = "JRSR"
MODELS = ("jrsr-dc", "jrsr")
INFORMATION = "Joint reconstruction and super-resolution. Research use only: not a medical device."


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
    defaults = Settings()
    return [
        _choice("config", "Configuration of the server", ("openrecon",), "openrecon"),
        _choice("model", "Reconstruction model", MODELS, defaults.model),
        _choice("maps", "Extra series of maps", ("none", "hallucination"), "none"),
        _number("nvirtualcoils", "Coils after compression", defaults.n_virtual_coils, 4, 32),
        _number("timelimit", "Time limit of a slice in seconds, 0 for none", 60, 0, 3600),
        _choice(
            "onfailure", "If a slice cannot be reconstructed", ("fallback", "stop"), "fallback"
        ),
    ]


def _choice(name: str, label: str, values: tuple[str, ...], default: str) -> dict[str, Any]:
    entries = [{"id": value, "name": {"en": value}} for value in values]
    return {"type": "choice", "values": entries, "default": default} | _texts(name, label)


def _number(name: str, label: str, default: int, low: int, high: int) -> dict[str, Any]:
    limits = {"minimum": low, "maximum": high, "default": default}
    return {"type": "int", **limits} | _texts(name, label)


def _texts(name: str, label: str) -> dict[str, Any]:
    return {"id": name, "label": {"en": label}, "information": {"en": label}}


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
