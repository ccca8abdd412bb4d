"""Recipes: one per row of the paper's tables, each a short run whose loss falls."""

from pathlib import Path

import pytest

import training
from jrsr_core.models import MODEL_NAMES
from training.config import load_recipe, parse_overrides
from training.fit.log import read_log
from training.fit.start import fit

FOLDER = Path(training.__file__).parent / "recipes"
RECIPES = sorted(p.stem for p in FOLDER.glob("*.yaml"))
ABLATION = ("sr", "recon", "recon-sr", "recon+sr", "jrsr")
RECONS, UPSAMPLES = ("cg-sense", "modl", "dl-espirit"), ("bicubic", "medsrgan", "bebygan")
COMPARISON = [f"{recon}+{upsample}" for recon in RECONS for upsample in UPSAMPLES]
SYSTEMS = (*ABLATION, *COMPARISON, "t2net")
ROWS = [f"{protocol}-{name}" for protocol in ("brain-5x", "wall-16x") for name in SYSTEMS]
# The reconstructed detail of a recipe, without what the discriminator thinks of it.
# Where the last layer starts at zero, the first steps leave the zero background and cost loss.
SLOW_STARTS = {"modl": 90, "jrsr-dc": 40}
TRUTH_TERMS = ("pix", "rec", "per", "buddy", "back")


def recipe(name, *changes):
    return load_recipe(FOLDER / f"{name}.yaml", ["data=somewhere", *changes])


def test_every_row_of_the_tables_has_its_recipe():
    assert set(ROWS) <= set(RECIPES)
    for name in ROWS:
        config = recipe(name)
        assert f"{config.protocol}-{config.model}" == name
        assert config.preset == "paper"


def test_recipes_state_the_numbers_of_the_paper():
    config = recipe("brain-5x-jrsr")
    assert (config.gamma_rec, config.gamma_pix, config.gamma_adv) == (1.0, 1e-2, 5e-3)
    assert (config.adam_beta1, config.adam_beta2, config.adam_eps) == (0.9, 0.999, 1e-8)
    assert (config.learning_rate, config.batch, config.gan) == (1e-4, 4, "vanilla")
    assert (config.perceptual, config.perceptual_layers) == ("vgg19", {"conv5_4": 1.0})
    wall = recipe("wall-16x-jrsr")
    assert {k for k, v in vars(wall).items() if v != getattr(config, k)} == {"protocol", "out"}


@pytest.mark.parametrize("name", RECIPES)
def test_the_loss_of_a_fixed_batch_falls(name, fixed_batch, tmp_path):
    config = recipe(name)
    if config.model not in MODEL_NAMES:
        pytest.skip(f"no model {config.model} in this package")
    steps = SLOW_STARTS.get(config.model.split("+")[0], 10)
    rate = 3e-3 if steps > 10 else 3e-4
    share = config.sequential
    if 0 < share < 1 and steps > 10:
        # The slow start is the reconstruction's; what follows it is as fast as elsewhere.
        steps, share = round(steps / 0.75), 0.75
    changes = [
        "preset=tiny",
        f"steps={steps}",
        f"learning_rate={rate}",
        f"sequential={share}",
        f"data={fixed_batch(config.protocol)}",
    ]
    changes += [f"out={tmp_path}", "device=cpu", "seed=1", "batch=2", "log_every=1"]
    changes += ["init=", "grow_from=", "schedule=constant", "warmup_steps=0", "psnr_share=0"]
    changes += ["perceptual_fallback=gradient", "discriminator_width=4", "tensorboard=false"]
    config = recipe(name, *changes, "validate_every=0")
    fit(config)
    rows = read_log(tmp_path)
    if config.loop == "tune":
        assert rows[-1]["bicubic"] > 10
        return
    for phase in {r["phase"] for r in rows}:
        losses = [sum(r.get(k, 0.0) for k in TRUTH_TERMS) for r in rows if r["phase"] == phase]
        assert losses[-1] < losses[0], f"{phase}: {losses}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1.0", "unknown key 'learning_rat', nearest: learning_rate"),
        ("preset: tiny", "key 'model' is missing"),
        ("model: 3", "model is int, expected str"),
        ("- a", "a recipe is a mapping, got list"),
        ("a: [", "not YAML"),
        ("base: none.yaml", "none.yaml"),
        ("base: recipe.yaml", "more than 5 bases"),
        ("loop: both", "loop is 'both', known: supervised, adversarial, tune"),
        ("loop: adversarial", "gamma_adv is 0"),
        ("batch: 0", "batch is 0, at least 1"),
        ("batch: 3\ndevices: 2", "batch is 3, not a multiple of 2 processes"),
        ("psnr_share: 1.5", r"psnr_share is 1.5, a share is from 0 to 1"),
        ("steps: true", "steps is bool, expected int"),
        ("recon_from: x", "recon_from is for recipes with a sequential share"),
        ("patch: 16", "patch is 16, its margins alone take 8"),
    ],
)
def test_bad_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    whole = "" if "missing" in message or text.startswith(("-", "a:")) else "model: jrsr\n"
    whole += "" if "preset" in text or whole == "" else "preset: tiny\ndata: d\nsteps: 4\n"
    lines = {x.split(":")[0]: x for x in (whole + text).splitlines()}
    path.write_text("\n".join(lines.values()))
    with pytest.raises((ValueError, OSError), match=message) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_command_line_wins_over_recipe_wins_over_base(tmp_path):
    (tmp_path / "base.yaml").write_text("model: jrsr\npreset: tiny\ndata: d\nsteps: 4\nseed: 1\n")
    (tmp_path / "run.yaml").write_text("base: base.yaml\nsteps: 5\nlearning_rate: 1e-3\n")
    config = load_recipe(tmp_path / "run.yaml", ["seed=7", "trunk=", "precision=32"])
    assert (config.steps, config.seed, config.learning_rate) == (5, 7, 1e-3)
    assert config.out == "runs/run"
    with pytest.raises(ValueError, match="'seed' is not key=value"):
        parse_overrides(["seed"])
    with pytest.raises(ValueError, match="command line: unknown key 'sed', nearest: seed"):
        parse_overrides(["sed=1"])
