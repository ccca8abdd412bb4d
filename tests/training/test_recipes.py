"""Recipes: one per row of the paper's tables, each run for a few steps."""

import math
import os
from pathlib import Path

import pytest
import torch

import training
from jrsr_core.models.registry import build_model
from jrsr_core.weights.card import WeightsCard
from jrsr_core.weights.save import save_weights
from jrsr_core.weights.sets import shipped_folder
from tests.helpers.paths import ROOT, needs_checkout
from tests.helpers.processes import run_process
from training.config import KEYS, flat_settings, load_recipe, make_config
from training.config.former_keys import FORMER_KEYS, with_current_keys
from training.config.recipe import parse_changes
from training.errors import UsageError
from training.runs import fit
from training.runs.log import read_log
from training.runs.networks.build import build_networks

FOLDER = Path(training.__file__).parent / "recipes"
WEIGHTS = shipped_folder()
RECIPES = sorted(p.stem for p in FOLDER.glob("*.yaml"))
ABLATION = ("sr", "recon", "recon-sr", "recon+sr", "jrsr")
RECONS, UPSAMPLES = ("cg-sense", "modl", "dl-espirit"), ("bicubic", "medsrgan", "bebygan")
COMPARISON = [f"{recon}+{upsample}" for recon in RECONS for upsample in UPSAMPLES]
SYSTEMS = (*ABLATION, *COMPARISON, "t2net")
ROWS = [f"{protocol}-{name}" for protocol in ("brain-5x", "wall-16x") for name in SYSTEMS]
WALL = [name for name in RECIPES if name.startswith("wall-16x-")]
# The reconstructed detail of a recipe, without what the discriminator thinks of it.
# Where the last layer starts at zero, the first steps leave the zero background and cost loss.
SLOW_STARTS = {"modl": 90, "jrsr-dc": 15}
POSITIVE = (
    ("optimizer", "learning_rate"),
    ("optimizer", "eps"),
    ("fixed_point", "residual_alarm"),
)
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
    loss, adam = config.loss, config.optimizer
    assert (loss.rec, loss.pix, loss.adv) == (1.0, 1e-2, 5e-3)
    assert (adam.beta1, adam.beta2, adam.eps) == (0.9, 0.999, 1e-8)
    assert (adam.learning_rate, adam.batch, loss.discriminator.gan) == (1e-4, 4, "vanilla")
    assert (loss.perceptual.network, loss.perceptual.layers) == ("vgg19", {"conv5_4": 1.0})


@needs_checkout
@pytest.mark.parametrize("protocol", ["brain-5x", "wall-16x"])
def test_every_row_with_an_sr_network_is_fine_tuned_from_its_own_weights(protocol, tmp_path):
    script = ROOT / "training" / "results" / "paper_losses.sh"
    called = run_process(
        ["bash", str(script), protocol, "scans", str(tmp_path), "vgg16.safetensors", "77"],
        env=os.environ | {"JRSR_TRAIN": "echo"},
        check=True,
    ).stdout.splitlines()
    calls = [line.split() for line in called if line.startswith("fit ")]
    configs = [load_recipe(Path(words[1]), words[2:]) for words in calls]
    rows = [name for name in SYSTEMS if not name.endswith("+bicubic")]
    rows = {*rows, "recon+sr-sft"} - {"recon", "t2net"}
    assert configs[0].model == "jrsr" and {c.model for c in configs} == rows
    for config in configs:
        assert config.start.init == f"{config.model}@{protocol}" and config.protocol == protocol
        assert (config.steps, config.optimizer.batch, config.loop) == (77, 1, "adversarial")
        assert config.loss.perceptual.network == "vgg16" and config.loss.perceptual.file
        # The reconstruction of a sequence is frozen, that of a joint network is not.
        sequence = config.model.startswith(("modl", "dl-espirit")) or config.model == "recon-sr"
        assert config.start.recon_from == (config.start.init if sequence else "")
        assert bool(config.loss.rec) == (config.model in ("jrsr", "recon+sr", "recon+sr-sft"))
        build_networks(config, torch.device("cpu"))


def short_run(name, fixed_batch, out, *changes):
    """Run a recipe with the preset tiny on two scans; return its rows."""
    data = fixed_batch(recipe(name).protocol)
    given = ["preset=tiny", f"data={data}", f"out={out}", "device=cpu", "seed=1"]
    given += ["optimizer.batch=2", "log.every=1", "start.init=", "start.grow_from="]
    given += ["start.recon_from=", "optimizer.schedule=constant", "optimizer.warmup_steps=0"]
    given += ["phases.psnr=0", "loss.perceptual.fallback=gradient", "loss.discriminator.width=4"]
    given += ["log.tensorboard=false", "log.validate_every=0"]
    if recipe(name).refinement:
        first = build_model("jrsr-dc", preset="tiny")
        card = save_weights(first, out / "first", "jrsr-dc", "tiny")
        given.append(f"start.grow_from={card}")
    fit(recipe(name, *given, *changes))
    return read_log(out)


@pytest.mark.parametrize("name", sorted({*RECIPES} - {*WALL}))
def test_the_loss_of_a_fixed_batch_falls(name, fixed_batch, tmp_path):
    config = recipe(name)
    steps = SLOW_STARTS.get(config.model.split("+")[0], 10)
    rate = 3e-3 if steps > 10 else 3e-4
    share = config.phases.recon
    if 0 < share < 1 and steps > 10:
        # The slow start is the reconstruction's; what follows it is as fast as elsewhere.
        steps, share = round(steps / 0.75), 0.75
    changes = [f"steps={steps}", f"optimizer.learning_rate={rate}", f"phases.recon={share}"]
    rows = short_run(name, fixed_batch, tmp_path, *changes)
    if config.loop == "tune":
        assert rows[-1]["bicubic"] > 10
        return
    for phase in {r["phase"] for r in rows}:
        losses = [sum(r.get(k, 0.0) for k in TRUTH_TERMS) for r in rows if r["phase"] == phase]
        assert losses[-1] < losses[0], f"{phase}: {losses}"


@pytest.mark.parametrize("name", WALL)
def test_a_recipe_of_the_wall_is_that_of_the_brain_and_runs(name, fixed_batch, tmp_path):
    # The loss of its fellow falls above, so that one step of each phase is enough here.
    brain, wall = (flat_settings(recipe(n)) for n in (name.replace("wall-16x", "brain-5x"), name))
    assert {k for k, v in wall.items() if v != brain[k]} == {"protocol", "out"}
    rows = short_run(name, fixed_batch, tmp_path, "steps=2")
    assert len(rows) == (1 if wall["loop"] == "tune" else 2)
    assert all(math.isfinite(v) for r in rows for v in r.values() if isinstance(v, float))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1.0", "unknown key 'learning_rat', did you mean 'optimizer.learning_rate'"),
        (
            "optimizer: {rate: 1.0}",
            "unknown key 'optimizer.rate', known: batch, learning_rate,",
        ),
        ("optimizer: 1.0", "optimizer is float, expected a group of keys"),
        ("loss: {pix: 1, pi: 1}", "unknown key 'loss.pi', did you mean 'pix'"),
        ("loss: {pix: many}", "loss.pix is 'many', expected a number"),
        ("loss: {pix: -1}", "loss.pix is -1, expected a number of at least 0"),
        *(
            (f"{group}: {{{key}: {value}}}", f"{group}.{key} is {value}, expected a number above 0")
            for group, key in POSITIVE
            for value in ("0", "-1", "'nan'")
        ),
        ("gamma_pix: 1\nloss: {pix: 2}", "loss.pix is given twice"),
        ("preset: tiny", "key 'model' is missing"),
        ("model: 3", "model is 3, expected text"),
        ("- a", "a recipe is a mapping, got list"),
        ("a: [", "not YAML"),
        ("base: none.yaml", "none.yaml"),
        ("base: recipe.yaml", "more than 5 bases"),
        ("loop: both", "loop is 'both', known: supervised, adversarial, tune"),
        ("loop: adversarial", "loss.adv is 0"),
        ("loss: {per: 1.0}", "loss.per is 1, but loss.perceptual.network is none"),
        (
            "loss: {perceptual: {file: f.pth}}",
            "loss.perceptual.file is f.pth, but loss.perceptual.network is none",
        ),
        ("loss: {adv: 0.5}", "loss.adv is 0.5, but loop is supervised, not adversarial"),
        (
            "loop: adversarial\nloss: {adv: 1.0, feature: 2.0}",
            "loss.feature is 2, but loss.discriminator.network is vgg19: only medsrgan",
        ),
        ("scans: {vary: true, n_coils: 5}", "scans.n_coils is 5, but scans.vary draws"),
        ("optimizer: {batch: 0}", "optimizer.batch is 0, expected a whole number of at least 1"),
        (
            "optimizer: {batch: 3}\nmachine: {devices: 2}",
            "optimizer.batch is 3, not a multiple of 2 processes",
        ),
        ("phases: {psnr: 1.5}", "phases.psnr is 1.5, expected a number from 0 to 1"),
        (
            "optimizer: {beta1: 1}",
            "optimizer.beta1 is 1, expected a number of at least 0 and below 1",
        ),
        ("optimizer: {beta2: 1.0}", "optimizer.beta2 is 1.0, expected a number .* and below 1"),
        ("steps: true", "steps is True, expected a whole number"),
        ("start: {recon_from: x}", "start.recon_from needs phases.recon between 0 and 1, got 0"),
        ("patch: {size: 16}", "patch.size is 16, its two margins alone take 16"),
    ],
)
def test_bad_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    whole = "" if "missing" in message or text.startswith(("-", "a:")) else "model: jrsr\n"
    whole += "" if "preset" in text or whole == "" else "preset: tiny\ndata: d\nsteps: 4\n"
    lines = {x.split(":")[0]: x for x in (whole + text).splitlines()}
    path.write_text("\n".join(lines.values()))
    with pytest.raises((UsageError, OSError), match=message) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_command_line_wins_over_recipe_wins_over_base(tmp_path):
    (tmp_path / "base.yaml").write_text("model: jrsr\npreset: tiny\ndata: d\nsteps: 4\nseed: 1\n")
    (tmp_path / "run.yaml").write_text(
        "base: base.yaml\nsteps: 5\noptimizer: {learning_rate: 1e-3}\n"
    )
    changes = [
        "seed=7",
        "loss.perceptual.file=",
        "machine.precision=32",
        "loss.pix=1",
        "loss.pix=2",
    ]
    config = load_recipe(tmp_path / "run.yaml", changes)
    assert (config.steps, config.seed, config.optimizer.learning_rate) == (5, 7, 1e-3)
    assert config.loss.pix == 2, "the last one wins"
    assert config.out == "runs/run"
    with pytest.raises(ValueError, match="'seed' is not key=value"):
        parse_changes(["seed"])
    with pytest.raises(ValueError, match="command line: unknown key 'sed', did you mean 'seed'"):
        parse_changes(["sed=1"])


FORMER_RECIPE = """
base: former_base.yaml
loop: adversarial
sequential: 0.5
recon_from: run
warmup_steps: 10
gamma_adv: 5.0e-3
perceptual: vgg19
perceptual_layers: {conv5_4: 1.0}
gan: relativistic
patch: 0
"""


def test_recipes_with_the_former_flat_keys_are_read(tmp_path):
    (tmp_path / "former_base.yaml").write_text("model: jrsr\npreset: tiny\ndata: d\nsteps: 4\n")
    (tmp_path / "former.yaml").write_text(FORMER_RECIPE)
    config = load_recipe(tmp_path / "former.yaml", ["learning_rate=4e-4", "patch=40"])
    assert (config.optimizer.learning_rate, config.optimizer.warmup_steps) == (4e-4, 10)
    assert (config.phases.recon, config.start.recon_from) == (0.5, "run")
    assert (config.loss.adv, config.loss.discriminator.gan) == (5e-3, "relativistic")
    assert config.loss.perceptual.layers == {"conv5_4": 1.0}
    assert config.patch.size == 40


def test_every_former_key_has_a_key_of_today():
    assert set(FORMER_KEYS.values()) < set(KEYS)
    assert len(set(FORMER_KEYS.values())) == len(FORMER_KEYS)


@pytest.mark.parametrize("path", [*WEIGHTS.glob("*.json"), *WEIGHTS.glob("*/jrsr*.json")])
def test_a_run_of_a_published_card_can_be_repeated(path):
    # Cards from before the settings were grouped have flat keys, and some that are gone.
    training = with_current_keys(WeightsCard.read(path).training)
    settings = {key: value for key, value in training.items() if key in KEYS}
    start = {"start.grow_from": "c"} if settings.get("refinement") else {}
    config = make_config(settings | start | {"data": "d", "out": "o"})
    rates = {"brain-5x-gan": 5e-4, "weights": 3e-4 if path.stem.startswith("jrsr-dc") else 4e-4}
    assert config.optimizer.learning_rate == rates.get(path.parent.name, 4e-4)
    assert config.optimizer.batch == 1
    assert config.loss.pix == training["loss.pix"]
    assert not {"clip_norm", "bad_steps"} & training.keys()
