"""What one GPU does: floor, measured and ratio of every part.

    python -m tests.benchmarks.gpu [--batch 16] [--n-hr 232x256] [--compile]

Needs what `training` needs, writes nothing, and runs on a CPU as well (a rehearsal: give
`--preset tiny --batch 2 --n-hr 136x144 --slices 4`). SR in bfloat16, Rec in it for all but its last
steps (`models.rec.N_HALF`), physics in complex64, untrained weights, as many fixed-point iterations
as the shipped ones take on average; the time does not depend on the values. Floors:
networks by the peak of a matrix product measured here, physics by the bytes each step has to move
at the copy speed measured here.
"""

import argparse
import statistics
import sys
import time

import torch

from jrsr_core.acs import cut_acs
from jrsr_core.data import KSpaceSlice, KSpaceVolume, SliceGeometry
from jrsr_core.models.fixed_point import FixedPointSettings
from jrsr_core.models.interfaces import Clock
from jrsr_core.models.measurement import Measurement
from jrsr_core.models.precision import networks_in
from jrsr_core.models.rec import N_INNER, condition_maps
from jrsr_core.models.registry import build_model
from jrsr_core.reconstruction.batch import stack_slices
from jrsr_core.reconstruction.reconstructor import Reconstructor
from jrsr_core.reconstruction.volume import reconstruct_volume
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import PROTOCOLS as PROTOCOLS_OF_SCANS
from jrsr_core.simulation.protocols import simulate_protocol
from jrsr_core.tensors import to_channels, without_waiting
from training.data.loading.packed import pack
from training.data.loading.pool import shape_of
from training.data.scans import calibrate_scan, collate, half_precision
from training.data.variety.vary import Variety, draw_scan
from training.losses.pixel import l1
from training.runs.networks.fixed_points import set_iterations
from training.runs.networks.generator import compile_networks

N_TRAINING = 8
"""Iterations of a training step: `fixed_point.later_iterations` of the shipped recipes."""

GEOMETRY = SliceGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5.0, 200.0, 200.0))
PAPER = {"brain-5x": 77.5, "wall-16x": 138.5}
"""Milliseconds per slice that the paper states."""

PROTOCOLS = {"brain-5x": (12, 24, 8.0), "wall-16x": (18, 12, 14.0)}
"""Coils, fixed-point iterations, reach in ms per slice."""


class Bench:
    """Times in seconds on one device, and the two speeds that floors are made of."""

    def __init__(self, device, repeat):
        self.device, self.repeat = torch.device(device), repeat
        self.is_gpu = self.device.type == "cuda"
        self.peak = self._matrix_product()
        self.bandwidth = self._copy()

    def wait(self):
        """Wait for work in flight."""
        if self.is_gpu:
            torch.cuda.synchronize()

    def median(self, function):
        """Median of some calls, after two that do not count."""
        seconds = []
        for i in range(self.repeat + 2):
            self.wait()
            start = time.perf_counter()
            function()
            self.wait()
            seconds.append(time.perf_counter() - start if i > 1 else None)
        return statistics.median(seconds[2:])

    def _matrix_product(self):
        n = 8192 if self.is_gpu else 1024
        a = torch.randn(n, n, device=self.device, dtype=torch.bfloat16)
        return 2 * n**3 / self.median(lambda: a @ a)

    def _copy(self):
        a = torch.empty(2**28 if self.is_gpu else 2**24, device=self.device)
        b = torch.empty_like(a)
        return 2 * 4 * a.numel() / self.median(lambda: b.copy_(a))


def phantom_slice(protocol, n_coils, hr_shape, seed=0):
    """Return a simulated slice with whitened noise of known level."""
    made = simulate_protocol(protocol, brain_phantom(hr_shape), n_coils=n_coils, seed=seed)
    acs = cut_acs(made.kspace, made.mask)
    return KSpaceSlice(made.kspace, made.mask, acs, GEOMETRY, noise_std=float(made.noise_std))


def flops(function):
    """Return the floating-point operations of a call, counted by PyTorch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def make_recon(options, n_coils, n_iter):
    """Return `jrsr-dc` with a fixed number of iterations, its networks ready for the device."""
    model = build_model("jrsr-dc", preset=options.preset, refinement=True)
    model.to(memory_format=torch.channels_last)
    model.rec.evaluation = FixedPointSettings("anderson", n_iter=n_iter, tolerance=0.0, memory=8)
    recon = Reconstructor(model, name="jrsr-dc", device=options.device, precision="bf16")
    if options.compile:
        recon.model.rec.prox.blocks = torch.nn.ModuleList(
            torch.compile(block) for block in recon.model.rec.prox.blocks
        )
        for part in (recon.model, recon.model.refinement):
            part.sr = torch.compile(part.sr)
    return recon


def slice_rows(bench, options, protocol):
    """Yield name, floor, measured, reach in ms per slice of the parts of one protocol."""
    n_coils, n_iter, reach = PROTOCOLS[protocol]
    recon = make_recon(options, n_coils, n_iter)
    recon.slices.settings = type(recon.slices.settings)(n_virtual_coils=n_coils)
    slices = [
        phantom_slice(protocol, n_coils, options.hr_shape, seed) for seed in range(options.batch)
    ]
    per_slice = 1e3 / options.batch
    calibrated = [recon.slices.calibrated(s) for s in slices]
    t_calibration = bench.median(lambda: [recon.slices.calibrated(s) for s in slices])
    maps = calibrated[0].sense.csm
    field_bytes = 8 * maps.numel() * n_coils
    parts = [
        (f"{protocol}: calibration", field_bytes / bench.bandwidth * 1e3, t_calibration, per_slice),
        *model_rows(bench, recon, stack_slices(calibrated), protocol, n_iter, per_slice),
    ]
    total = sum(seconds for _, _, seconds, _ in parts)
    for work, floor, part, factor in parts:
        yield f"{work} ({part / total:.0%} of the parts)", floor, part, factor

    def whole():
        recon.slices.batch(slices, [recon.slices.calibrated(s) for s in slices])

    seconds = bench.median(whole)
    name = f"{protocol}: all of it, reach {reach:g}, paper {PAPER[protocol]:g}"
    yield f"{name}, {options.batch / seconds:.1f} slices/s", None, seconds, per_slice


def model_rows(bench, recon, stack, protocol, n_iter, per_slice):
    """Yield the rows of Rec, SR and HR consistency."""
    model, sense = recon.model, stack.sense
    with torch.inference_mode():
        low = sense.at_low_resolution()
        zero_filled = low.adjoint(sense.low_resolution_kspace(stack.kspace))
        shape = tuple(zero_filled.shape[-2:])
        conditions = condition_maps(stack.noise_std, low, shape)
        known = to_channels(zero_filled)
        inputs = torch.cat((known, known, conditions), 1)

        def rec():
            return model.rec(zero_filled, low, conditions)[0]

        def super_resolve():
            return model.sr(inputs, known)

        rec_flops = flops(lambda: model.rec.prox(zero_filled, conditions))
        with networks_in("bf16", bench.device):
            rec_seconds = bench.median(rec)
            sr_flops, sr_seconds = flops(super_resolve), bench.median(super_resolve)
        prior = zero_filled.new_zeros((len(zero_filled), *sense.image_shape))
        back = sense.adjoint(stack.kspace)
        hr_seconds = bench.median(lambda: model.consistency(prior, back, sense, stack.noise_std))
    n_grams = n_iter * (1 + N_INNER)
    floor = n_iter * rec_flops / bench.peak + n_grams * moved(low, 4) / bench.bandwidth
    yield f"{protocol}: Rec, {n_iter} iterations", floor * per_slice, rec_seconds, per_slice
    share = sr_flops / bench.peak / sr_seconds
    name = f"{protocol}: SR, {share:.0%} of the measured bf16 peak, reach 35 %"
    yield name, sr_flops / bench.peak * per_slice, sr_seconds, per_slice
    floor = model.consistency.n_iter * moved(sense, 6) / bench.bandwidth
    yield f"{protocol}: HR consistency", floor * per_slice, hr_seconds, per_slice
    measured = Measurement.of(stack.kspace, sense, stack.noise_std)
    with torch.inference_mode(), networks_in("bf16", bench.device):
        seconds = bench.median(lambda: model.refinement(prior, measured, Clock()))
    # One step of Rec, SR and HR consistency.
    floor += rec_flops / bench.peak + N_INNER * moved(low, 4) / bench.bandwidth
    floor += sr_flops / bench.peak
    yield f"{protocol}: second pass", floor * per_slice, seconds, per_slice


def moved(sense, passes):
    """Return the bytes of so many reads or writes of all coil images."""
    return 8 * passes * sense.csm.numel()


def single_row(bench, options):
    """Yield the time of one slice alone: what a warm server adds after the last line."""
    n_coils, n_iter, _ = PROTOCOLS["brain-5x"]
    recon = make_recon(options, n_coils, n_iter)
    one = phantom_slice("brain-5x", n_coils, options.hr_shape)
    seconds = bench.median(lambda: recon(one))
    yield "one slice alone (server: 60)", None, seconds, 1e3


def training_rows(bench, options):
    """Yield the time to simulate a varied scan on one core, and that of a training step.

    With `--compile` the step of compiled networks as well, and the seconds that compiling took.
    """
    image = brain_phantom(options.hr_shape)
    generator, protocol = torch.Generator().manual_seed(1), PROTOCOLS_OF_SCANS["brain-5x"]
    variety = Variety(shapes=(options.hr_shape,), coil_counts=(12,), protocol_share=0.0)
    scans = []

    def simulate():
        scans.append(calibrate_scan(draw_scan(image, protocol, variety, generator), "acs"))

    seconds = bench.median(simulate)
    yield f"one varied scan on one core ({1 / seconds:.2f} scans/s)", None, seconds, 1e3
    while len(scans) < options.batch:
        simulate()
    halves = [half_precision(scan) for scan in scans]
    halves = [h for h in halves if shape_of(h) == shape_of(halves[0])]
    batch = collate([halves[i % len(halves)] for i in range(options.batch)])
    packed = pack([""] * options.batch, batch, pin=bench.is_gpu)
    for compiled in (False, True) if options.compile else (False,):
        begin = time.perf_counter()
        step = training_step(bench, options, packed, compiled)
        step()
        bench.wait()
        first = time.perf_counter() - begin
        seconds = bench.median(step)
        kind = "compiled" if compiled else "eager"
        name = f"training step, batch {options.batch}, {kind}, first {first:.1f} s"
        yield f"{name}, {options.batch / seconds:.1f} samples/s", None, seconds, 1e3


def training_step(bench, options, packed, compiled):
    """Return a function that does one step as a run does: transfer, forward, backward, Adam."""
    model = build_model("jrsr-dc", preset=options.preset, refinement=True)
    model.to(memory_format=torch.channels_last)
    model.to(bench.device).train()
    set_iterations(model, N_TRAINING)
    if compiled:
        compile_networks(model, None, "inductor")
    adam = torch.optim.Adam(model.parameters(), 1e-4, fused=bench.is_gpu or None)

    def step():
        adam.zero_grad(set_to_none=True)
        with without_waiting(), networks_in("bf16", bench.device):
            scan = packed.to(bench.device)
            output = model(scan.kspace, scan.sense, scan.noise_std)
            loss = l1(output.image, scan.target) + l1(output.low_resolution, scan.lr_target)
            loss.backward()
        adam.step()

    return step


def volume_row(bench, options):
    """Yield the time of a 3-D scan of `slices` readout positions; reach 6000 ms for 336."""
    n_coils, n_iter, _ = PROTOCOLS["brain-5x"]
    recon = make_recon(options, n_coils, n_iter)
    plane = phantom_slice("brain-5x", n_coils, options.hr_shape)
    hybrid = plane.kspace.expand(options.slices, -1, -1, -1).contiguous()
    acs = plane.acs.expand(options.slices, -1, -1, -1).contiguous()
    volume = KSpaceVolume(hybrid, plane.mask, acs, GEOMETRY, noise_std=plane.noise_std)
    bench.repeat = 1
    seconds = bench.median(
        lambda: reconstruct_volume(recon.slices, volume, batch_size=options.batch)
    )
    yield f"volume of {options.slices} positions (336: 6000)", None, seconds, 1e3


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--slices", type=int, default=336)
    parser.add_argument("--n-hr", default="232x256")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    options.hr_shape = tuple(int(n) for n in options.n_hr.split("x"))
    bench, out = Bench(options.device, options.repeat), sys.stdout
    name = torch.cuda.get_device_name() if bench.is_gpu else "CPU"
    out.write(f"{name}, PyTorch {torch.__version__}, bf16 product {bench.peak / 1e12:.2f} ")
    out.write(f"TFLOP/s, copy {bench.bandwidth / 1e9:.0f} GB/s\n\n")
    out.write("| work | floor [ms] | measured [ms] | measured / floor |\n|---|---|---|---|\n")
    parts = [slice_rows(bench, options, protocol) for protocol in PROTOCOLS]
    others = (single_row(bench, options), volume_row(bench, options), training_rows(bench, options))
    for rows in (*parts, *others):
        for work, floor, seconds, factor in rows:
            ms = seconds * factor
            cells = ("", "") if floor is None else (f"{floor:.3f}", f"{ms / floor:.1f}")
            out.write(f"| {work} | {cells[0]} | {ms:.2f} | {cells[1]} |\n")
            out.flush()
    if bench.is_gpu:
        peak = torch.cuda.max_memory_allocated() / 2**30
        out.write(f"\npeak memory {peak:.1f} GiB (reach 12)\n")


if __name__ == "__main__":
    main()
