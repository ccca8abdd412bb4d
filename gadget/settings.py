"""The settings of a reconstruction, as `--set`, `<property>` elements and MRD clients give them."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from jrsr_core.calibration.settings import RANGES, CalibrationSettings
from jrsr_core.common.spelling import nearest
from jrsr_core.common.validation import one_line
from jrsr_core.data import MAP_MEANING

from .errors import UsageError

MAPS = {name: 100 * number for number, name in enumerate(MAP_MEANING, 1)}
"""Map -> what is added to the series number of the images to give that of the map's series."""

MAX_SERIES = 65535
_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_DEVICE = r"(auto|cpu|cuda(:[0-9]+)?)"


def _title(name: str, _: object) -> str:
    """Return the title of a field: n_virtual_coils becomes "Number of virtual coils"."""
    text = f"number of {name[2:]}" if name.startswith("n_") else name
    return text.replace("_", " ").capitalize()


def _calibration(name: str) -> Any:
    """Return a field with default and range of `CalibrationSettings`."""
    low, high = RANGES[name]
    return Field(getattr(CalibrationSettings, name), ge=low, le=high)


class Settings(BaseModel):
    """All settings, each with its type, range and meaning; values may be given as text.

    Raises
    ------
    UsageError
        Unknown name (the nearest one is suggested), or a value of the wrong type or out of range.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        field_title_generator=_title,
    )

    model: str = "jrsr-dc"
    """System by name (NAME, or NAME@SET for the weights of one of the sets that `jrsr models`
    lists), by card (*.json), or RECON+UPSAMPLE, each a name or a card."""
    preset: Literal["auto", "largest", "paper", "compact", "tiny"] = "auto"
    """Size of the system: auto is compact on a CPU and the largest available one on a GPU."""
    weights: str = ""
    """Card of the weights for a system given by name; two cards joined by '+' for RECON+UPSAMPLE;
    empty for the shipped weights."""
    n_virtual_coils: int = _calibration("n_virtual_coils")
    """Coils after coil compression."""
    kernel_width: int = _calibration("kernel_width")
    """Width of the ESPIRiT kernel in samples."""
    threshold: float = _calibration("threshold")
    """Smallest singular value that ESPIRiT keeps, relative to the largest one."""
    crop: float = _calibration("crop")
    """Eigenvalue below which ESPIRiT sets the sensitivity maps to zero."""
    device: str = Field(
        "auto",
        pattern=rf"^{_DEVICE}(\s*,\s*{_DEVICE})*$",
        examples=["auto", "cpu", "cuda", "cuda:n"],
    )
    """Where to compute; several devices, separated by commas, share the work."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Of the networks: 32 (float32), bf16 (bfloat16, faster if the hardware supports it; a fixed
    point ends in float32) or auto (bf16 on a GPU that supports it, 32 on a CPU)."""
    denoise: float = Field(0.0, ge=0, le=1)
    """How far jrsr-dc, or a system with +dc, removes the noise of what was measured: 0 keeps it and
    every measured sample with it, 1 removes it as far as its level and the error of the networks
    allow."""
    prewhiten: bool = True
    """Use the noise lines of the scan, or those of noise_file."""
    noise_file: str = ""
    """ISMRMRD file of an earlier scan whose noise lines replace those of this scan; empty for
    none."""
    on_failure: Literal["fallback", "stop"] = "fallback"
    """If a slice cannot be reconstructed: write a fallback image, or stop."""
    output: Literal["magnitude", "float32", "complex", "int16", "uint16"] = "magnitude"
    """Pixels of MRD images: magnitude (float32 pixels; float32 is another name for it), complex
    (complex64), or integers 0..4095 with one scale for the measurement, which leave when it is
    complete."""
    series_index: int = Field(1, ge=1, le=MAX_SERIES)
    """Series of the images, and the number in the name of their group."""
    batch_size: int = Field(4, ge=1, le=1024)
    """Readout positions of a 3-D scan, and on a GPU also slices, that are reconstructed
    together."""
    time_limit: float = Field(0.0, ge=0, le=86400)
    """Seconds that a slice or a readout position may take before a fallback image replaces it; 0
    for no limit."""
    trigger: Literal["slice", "repetition", "measurement", "bucket"] = "slice"
    """When a live scan has all lines of an image: after the last line of the slice, of the
    repetition, of the measurement, or with the bucket that contains them."""
    maps: str = Field("", examples=["none", *MAPS])
    """Extra series, separated by commas: hallucination, taken_back, unmeasured; empty or none for
    no maps."""
    spool_dir: str = ""
    """Folder for the raw data of images that failed; empty for none."""

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UsageError(one_line(error, Settings, "property")) from None

    @field_validator("*", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> str:
        """Validate numbers of a JSON message like the same numbers written as text."""
        return str(value)

    @model_validator(mode="after")
    def _check_maps(self) -> "Settings":
        for name in self.map_names:
            if name not in MAPS:
                raise ValueError(f"maps is {name!r}{nearest(name, MAPS)}")
            if self.series_index + MAPS[name] > MAX_SERIES:
                raise ValueError(f"series_index is {self.series_index}, too large for maps={name}")
        return self

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON schema: type, default, range or choices, title and meaning of each."""
        described = {"$schema": _SCHEMA, "description": "Settings of a reconstruction."}
        return cls.model_json_schema() | described

    @property
    def devices(self) -> list[str]:
        """Names of the devices."""
        return [name.strip() for name in self.device.split(",")]

    @property
    def map_names(self) -> list[str]:
        """Names of the maps."""
        names = [name.strip() for name in self.maps.split(",")]
        return [name for name in names if name not in ("", "none")]

    @property
    def calibration(self) -> CalibrationSettings:
        """Settings of coil compression and ESPIRiT."""
        return CalibrationSettings(
            self.n_virtual_coils, self.kernel_width, self.threshold, self.crop
        )

    def override(self, *groups: Mapping[str, Any]) -> "Settings":
        """Return the settings with other values by name, later groups over earlier ones."""
        values = self.model_dump()
        for group in groups:
            values |= group
        return Settings(**values)


def read_settings(pairs: Iterable[str], **named: str | None) -> Settings:
    """Return the settings of a command line; `named` values that are not None have priority.

    Raises
    ------
    UsageError
        A text without ``=``; errors of `Settings`.
    """
    given = {name: value for name, value in named.items() if value is not None}
    return Settings(**split_pairs(pairs) | given)


def split_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Return texts of the form ``key=value`` by key.

    Raises
    ------
    UsageError
        A text without ``=``.
    """
    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair!r} is not of the form key=value")
        values[key.strip()] = text.strip()
    return values
