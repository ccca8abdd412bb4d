"""Names that settings had in recipes, run folders and weights cards before they were grouped."""

FORMER_KEYS = {
    "init": "start.init",
    "grow_from": "start.grow_from",
    "recon_from": "start.recon_from",
    "truth_maps": "scans.truth_maps",
    "hr_limit": "scans.hr_limit",
    "n_coils": "scans.n_coils",
    "sequential": "phases.recon",
    "psnr_share": "phases.psnr",
    "batch": "optimizer.batch",
    "learning_rate": "optimizer.learning_rate",
    "schedule": "optimizer.schedule",
    "warmup_steps": "optimizer.warmup_steps",
    "adam_beta1": "optimizer.beta1",
    "adam_beta2": "optimizer.beta2",
    "adam_eps": "optimizer.eps",
    "ema": "optimizer.ema",
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
    "gan": "loss.discriminator.gan",
    "flat_threshold": "loss.discriminator.flat_threshold",
    "data_step": "fixed_point.data_step",
    "backward": "fixed_point.backward",
    "max_iterations": "fixed_point.max_iterations",
    "warm_start": "fixed_point.warm_start",
    "first_iterations": "fixed_point.first_iterations",
    "later_iterations": "fixed_point.later_iterations",
    "residual_alarm": "fixed_point.residual_alarm",
    "patch": "patch.size",
    "patch_margin": "patch.margin",
    "precision": "machine.precision",
    "compile": "machine.compile",
    "devices": "machine.devices",
    "nodes": "machine.nodes",
    "n_threads": "machine.n_threads",
    "workers": "machine.workers",
    "log_every": "log.every",
    "validate_every": "log.validate_every",
    "validation_slices": "log.validation_slices",
    "tensorboard": "log.tensorboard",
    "checkpoint_minutes": "log.checkpoint_minutes",
}
"""Former key -> key of today."""

DELETED_KEYS = frozenset({"clip_norm", "bad_steps", "buddy_crop", "backward_terms"})
"""Keys that older run folders and cards carry and that are constants today."""


def with_current_keys(values: dict) -> dict:
    """Return what a run folder or a weights card says of a run, under the keys of today.

    Facts that are no settings keep their names; deleted keys are left out.
    """
    return {FORMER_KEYS.get(k, k): v for k, v in values.items() if k not in DELETED_KEYS}
