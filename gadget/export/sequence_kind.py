"""ISMRMRD's free text `sequence_type` -> DICOM's ScanningSequence and SequenceVariant."""

# The first that occurs in the text decides; what is not known is called research mode.
_KINDS = (
    (("epi", "echo planar", "echoplanar"), ("EP", "NONE")),
    (("trufi", "bssfp", "ssfp", "fiesta", "balanced"), ("GR", "SS")),
    (("mprage", "flash", "spgr", "spoil"), ("GR", "SP")),
    (("gre", "gradient", "ffe", "fisp"), ("GR", "NONE")),
    (("tse", "fse", "haste", "rare", "turbo spin", "turbospin", "fast spin"), ("SE", "SK")),
    (("se", "spin"), ("SE", "NONE")),
)
UNKNOWN = ("RM", "NONE")


def scanning_sequence(text: str) -> tuple[str, str]:
    """Return the pair for a sequence type such as ``Flash`` or ``TurboSpinEcho``."""
    text = text.lower()
    for words, kind in _KINDS:
        if any(word in text for word in words):
            return kind
    return UNKNOWN
