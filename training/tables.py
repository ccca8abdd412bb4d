"""CSV rows of `evaluate` as a Markdown table; never touches a model."""

from pathlib import Path

from .evaluate import BOUND, summarise


def markdown(rows: Path) -> str:
    """Mean and standard deviation over slices; the best in bold, the bound set apart."""
    lines = [
        "| protocol | system | PSNR [dB] | SSIM | k-space residual | s / slice | slices |",
        "|---|---|---|---|---|---|---|",
    ]
    entries = summarise(rows)
    for entry in entries:
        same = [e for e in entries if e["protocol"] == entry["protocol"]]
        rivals = [e for e in same if e["model"] != BOUND] or same
        cells = [entry["protocol"], entry["model"]]
        for column, digits in (("psnr", 2), ("ssim", 4)):
            mean, sd = entry[column]
            text = f"{mean:.{digits}f} ± {sd:.{digits}f}"
            best = max(e[column][0] for e in rivals)
            cells.append(f"**{text}**" if mean == best else text)
        cells.append(f"{entry['kspace_residual'][0]:.4f}")
        cells.append(f"{entry['seconds_total'][0]:.2f}")
        cells.append(str(entry["slices"]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
