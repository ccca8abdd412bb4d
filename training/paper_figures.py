"""What the paper reports of every system, to stand beside ours: its tables 1 to 4.

Source: Xu et al., Bioengineering 2023, 10, 1107. Means over its own test images, which are not
ours; seconds on its GPU, in tables 3 and 4 only.
"""

import csv
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("paper_figures.csv")
HEADING = "paper: PSNR / SSIM / LPIPS / s"


@cache
def paper_figures() -> dict[tuple[str, str], str]:
    """Return the figures by protocol and system, as one text in the order of `HEADING`."""
    with FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (row["protocol"], row["system"]): " / ".join(
            row[name] for name in ("psnr", "ssim", "lpips", "seconds") if row[name]
        )
        for row in rows
    }
