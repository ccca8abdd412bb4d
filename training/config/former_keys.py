"""Names that settings had in recipes, run folders and weights cards before they were grouped."""

from typing import Any

_GROUPED = {
    "start": ("init", "grow_from", "recon_from"),
    "scans": ("truth_maps", "hr_limit", "n_coils"),
    "optimizer": ("batch", "learning_rate", "schedule", "warmup_steps", "ema"),
    "loss.discriminator": ("gan", "flat_threshold"),
    "fixed_point": (
        *("data_step", "backward", "max_iterations", "warm_start", "first_iterations"),
        *("later_iterations", "residual_alarm"),
    ),
    "machine": ("precision", "compile", "devices", "nodes", "n_threads", "workers"),
    "log": ("validate_every", "validation_slices", "tensorboard", "checkpoint_minutes"),
}
_RENAMED = {
    "sequential": "phases.recon",
    "psnr_share": "phases.psnr",
    "adam_beta1": "optimizer.beta1",
    "adam_beta2": "optimizer.beta2",
    "adam_eps": "optimizer.eps",
    "gamma_pix": "loss.pix",
    "gamma_rec": "loss.rec",
    "gamma_per": "loss.per",
    "gamma_adv": "loss.adv",
    "gamma_feature": "loss.feature",
    "gamma_buddy": "loss.buddy",
    "gamma_back": "loss.back",
    "perceptual": "loss.perceptual.network",
    "perceptual_layers": "loss.perceptual.layers",
    "perceptual_distance": "loss.perceptual.distance",
    "perceptual_fallback": "loss.perceptual.fallback",
    "trunk": "loss.perceptual.file",
    "trunk_sha256": "loss.perceptual.sha256",
    "discriminator": "loss.discriminator.network",
    "discriminator_width": "loss.discriminator.width",
    "discriminator_norm": "loss.discriminator.norm",
    "patch": "patch.size",
    "patch_margin": "patch.margin",
    "log_every": "log.every",
}

FORMER_KEYS = {name: f"{group}.{name}" for group, names in _GROUPED.items() for name in names}
FORMER_KEYS |= _RENAMED
"""Former key -> key of today."""

DELETED_KEYS = frozenset({"clip_norm", "bad_steps", "buddy_crop", "backward_terms"})
"""Keys that older run folders and cards carry and that are constants today."""


def with_current_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a run from its folder or weights card, under the keys of today.

    Facts that are no settings keep their names; deleted keys are left out.
    """
    return {FORMER_KEYS.get(k, k): v for k, v in values.items() if k not in DELETED_KEYS}
