# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How fast?
#
# How long does one photo take, and what would you use instead? We time our FCN-8s on
# VGG16 next to a port of the authors' padded net, torchvision's segmentation net, and
# two runtimes without PyTorch: in one process, in turn, with equal threads.

# %% tags=["parameters", "hide-input"]
preset = (
    "read"  # "read": the record; "smoke", "small": tiny nets; "paper": measured here
)
device = "auto"
results_dir = "../results"

# %% tags=["remove-input"]
import presets

here = presets.check(preset=preset, device=device, results_dir=results_dir)

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import chapter_tables as tables
import fcn
from fcn.cpu import winograd
from fcn.losses import pixel_softmax_loss
from fcn.replication.benchmark.padded_port import PaddedPort
from fcn.replication.benchmark.record import Variant, fastest, load_benchmarks
from fcn.replication.benchmark.run import measured, report
from fcn.upsampling import bilinear_filter
from figures import how_fast as figures
from figures import shared, style

torch.manual_seed(0)
style.use()

# %% tags=["remove-input"]
if here.preset == "read":
    records = load_benchmarks(here.results) or load_benchmarks(presets.COMMITTED)
else:
    records = [measured(here.device, quick=here.preset != "paper")]
    print(*report(records[0]), sep="\n")
if here.preset == "paper":
    records[0].save(here.results)
found = records[0]
print(f"{found.hardware}, {found.threads} threads")

# %% tags=["remove-input"]
figures.seconds_per_photo(found)
plt.show()

# %% [markdown]
# :::{caption} fig-seconds
# :alt: Horizontal bars of seconds per photo, longest first, in two panels. The
# :  forward pass compares our net in four variants with the padded port, ONNX Runtime,
# :  OpenCV and torchvision's net; the training step compares three variants of ours
# :  with the port.
# Seconds per photo of 500×375 pixels, batch 1, float32. Bars: medians. Lines: from the
# first to the third quartile. Green: our net in PyTorch. All variants are in
# {numref}`tab-speed-forward` and {numref}`tab-speed-step`.
# :::

# %% tags=["remove-input"]
forward, step = found.main("forward"), found.main("training step")


def ours(cases, alignment="tight"):
    """The fastest variant of ours in float32 with this alignment."""
    wanted = ("ours", "float32", alignment)
    found = {v: (v.peer, v.precision, v.alignment) == wanted for v in cases}
    return fastest(case for v, case in cases.items() if found[v])


port = Variant("padded port")
shared.glue_values(
    forward_ours=1000 * ours(forward).median,
    forward_port=1000 * forward[port].median,
    forward_ratio=forward[port].median / ours(forward).median,
    forward_variant=str(ours(forward).variant),
    step_ours=1000 * ours(step).median,
    step_port=1000 * step[port].median,
    step_ratio=step[port].median / ours(step).median,
    step_variant=str(ours(step).variant),
    minutes=found.total / 60,
)

# %% [markdown]
# ## What you will learn
#
# - how our nets compare with their alternatives, and how we measured it;
# - how much work the authors' padding by 100 pixels costs;
# - which work upsampling, the loss and convolutions can leave out;
# - when bfloat16, channels last, compiling and exporting pay.
#
# ## In short
#
# In PyTorch and float32, our fastest forward pass ({glue:text}`forward_variant`) takes
# {glue:text}`forward_ours:.0f` ms; the padded port takes {glue:text}`forward_port:.0f`
# ms, {glue:text}`forward_ratio:.2f` times as long. A training step (forward, loss,
# backward, SGD) takes {glue:text}`step_ours:.0f` ms ({glue:text}`step_variant`); the
# port's takes {glue:text}`step_port:.0f` ms, {glue:text}`step_ratio:.2f` times as long.
# To measure all this on your own machine, run
#
# ```
# python -m fcn benchmark --save results
# ```
#
# It took {glue:text}`minutes:.0f` minutes on the machine above.
#
# ## How it is measured
#
# - *In turn.* Each round runs every peer once, so that a disturbance hits all of them.
#   We report the median over the rounds.
# - *Equal conditions.* All peers get the same number of threads, the same photos and
#   random weights, and only the work itself is timed. The port and OpenCV get
#   preprocessed photos; our nets preprocess them within the time.
# - *Their nets.* ONNX Runtime runs our net as we export it, OpenCV the authors' padded
#   net in Caffe's format.
# - *Memory allocation.* On a CPU the process keeps the memory it frees, as our commands
#   do. This setting holds for the peers as well.
# - *The padded port* has the architecture of
#   [pytorch-fcn](https://github.com/wkentaro/pytorch-fcn), rewritten, with our weights.
#   A test asserts that it computes the scores of our `alignment="reference"`. Its loss
#   is PyTorch's fused cross-entropy.
# - *Memory* is the largest resident memory while a net works, minus that before it was
#   built: weights, activations and buffers. A thread reads it every few milliseconds,
#   so it can miss a shorter peak.
# - *The matrix rate* is what one large matrix product reaches on the machine, measured
#   along with the nets. The operations of a net are those of its convolutions, computed
#   plainly, and matrix products, two for each multiplication.

# %% tags=["full-width"]
main_work = next(iter(forward.values())).workload
tables.speed(found, main_work)

# %% [markdown]
# :::{caption} tab-speed-forward
# The forward pass of {numref}`fig-seconds`, with every variant. Percentages are of the
# matrix rate in the same precision.
# :::

# %% tags=["full-width"]
tables.speed(found, next(iter(step.values())).workload)

# %% [markdown]
# :::{caption} tab-speed-step
# The training step. The end of the chapter has the other nets and sizes.
# :::
#
# ## The padded net does more work
#
# The authors' net pads the photo by 100 pixels on each side, so that even a tiny photo
# has a cell in the coarsest map, and crops the surplus at the end (chapter
# [4](04_upsampling.ipynb)). Our `alignment="tight"` pads each convolution by half its
# kernel instead: maps cover the photo and no more. How much work does that save?
# PyTorch's `meta` device lets us count multiplications without computing anything:


# %%
def multiplications(build, height=375, width=500) -> int:
    """The multiplications of the convolutions of one forward pass."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as count:
        build()(torch.empty(1, 3, height, width))
    return count.get_total_flops() // 2  # a multiplication and an addition each


tight = multiplications(lambda: fcn.FCN("vgg16", 8, 21))
padded = multiplications(lambda: PaddedPort(21))
area = (375 + 198) * (500 + 198) / (375 * 500)  # of the first layer's map
print(f"tight  {tight / 1e9:6.1f} billion")
print(f"padded {padded / 1e9:6.1f} billion, {padded / tight:.2f} times as many")
print(f"pixels of the first map: {area:.2f} times as many")
assert 1.7 < padded / tight < area
shared.glue_values(work=padded / tight)

# %% [markdown]
# The padded net's first map has more than twice as many pixels. The deepest layers save
# less: `fc6`, a 7×7 convolution without padding, removes what the border added. Padding
# is not the only difference between the port and our default. To separate the two, look
# at *ours, reference* in {numref}`tab-speed-forward`: it pads like the port, but runs
# our code.
#
# ## A fixed bilinear deconvolution is two thin matrix products
#
# The authors upsample by a deconvolution with a *fixed* bilinear filter of 16×16 taps.
# It has one filter for each *pair* of classes, and all are zero except those of a class
# with itself. The port, like Caffe, multiplies these zeros. One filter per class is the
# same function. So is a product with one matrix from the left and one from the right,
# since a bilinear filter is separable:

# %%
classes, factor, height, width = 21, 8, 12, 16
scores = torch.randn(1, classes, height, width)
line = bilinear_filter(factor).sum(0) / factor  # the filter is line x line


def thin(cells: int) -> Tensor:
    """The weight of each cell at each pixel: pixels x cells, two weights per pixel."""
    weights = torch.zeros(factor * (cells + 1), cells)
    for cell in range(cells):
        weights[factor * cell : factor * (cell + 2), cell] = line
    return weights


grouped = bilinear_filter(factor).expand(classes, 1, -1, -1)
dense = torch.eye(classes)[..., None, None] * bilinear_filter(factor)
by_pair = F.conv_transpose2d(scores, dense, stride=factor)
by_class = F.conv_transpose2d(scores, grouped, stride=factor, groups=classes)
by_products = thin(height) @ scores @ thin(width).T

torch.testing.assert_close(by_class, by_pair)
torch.testing.assert_close(by_products, by_pair)

# %% tags=["hide-input"]
taps = (2 * factor) ** 2 * height * width
high, wide = (factor * (cells + 1) for cells in (height, width))
counts = {
    "one filter per pair of classes": taps * classes**2,
    "one filter per class": taps * classes,
    "two matrix products": classes * high * width * (height + wide),
    "two weights per pixel and axis": 2 * classes * high * (width + wide),
}
for name, count in counts.items():
    print(f"{name:32}{count:12,}")

# %% [markdown]
# These are the multiplications for a map of 12×16 cells. The last line leaves out the
# zeros of the thin matrices.
#
# The package interpolates wherever the filter is fixed
# (`fcn.upsampling.Interpolation`); only `upsampling="learned"` goes through all taps.
#
# A former fully connected layer such as `fc6` has a large kernel and few windows. On a
# CPU, with photos stored channels last, it is faster as the product of its weights with
# the unfolded windows (`fcn.convolutionalize.WindowConvolution`).
#
# The loss needs the softmax of every pixel, but not all at once. With `upsample=False`
# the net returns the coarse scores and the two matrices, and the loss works through the
# photo in strips that fit the cache of a core. Operations on a strip are so short that
# cores which share them mostly wait for each other, so each core takes photos of its
# own (`fcn.losses`). And on some CPUs $2^x$ takes much less time than $e^x$, so the
# loss multiplies the scores by $\log_2 e$ and takes powers of two. It and its gradient
# stay the same:

# %%
net = fcn.FCN("googlenet", 8, 21, width=1 / 8).eval()  # no dropout
for parameter in net.heads.parameters():  # zero, in a new net
    torch.nn.init.normal_(parameter)
photo, labels = torch.rand(1, 3, 96, 128), torch.randint(21, (1, 96, 128))

plain = F.cross_entropy(net(photo), labels)
strips = pixel_softmax_loss(net(photo, upsample=False), labels)
weight = net.heads["scores"]["score8"].weight
(one,), (other,) = (torch.autograd.grad(loss, weight) for loss in (plain, strips))

torch.testing.assert_close(strips, plain)
torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)

# %% [markdown]
# ## A 3×3 convolution with fewer multiplications
#
# Most of VGG16's work is in its 3×3 convolutions. In one dimension, such a filter has
# three taps, and four neighbouring outputs take twelve multiplications. Winograd's
# algorithm takes six {cite:p}`lavin2016`.
#
# It starts from the product of two polynomials with four and three coefficients.
# Evaluate both at six points, multiply the values, and find the product's six
# coefficients from them. Only these six multiplications are between variables, all
# others have a constant factor. If the
# second polynomial is fixed, the coefficients of the product are a 6×4 matrix of its
# coefficients times those of the first. The *transpose* of this matrix turns six
# inputs into four outputs, each the sum of three neighbours times the coefficients:
# it filters. So we transpose the algorithm, step by step and in reverse order:


# %%
def values(coefficients: int) -> Tensor:
    """Evaluates a polynomial at 0, 1, -1, 2, -2 and infinity (its last coefficient)."""
    points = torch.tensor([0.0, 1, -1, 2, -2], dtype=torch.float64)
    last = torch.eye(coefficients, dtype=torch.float64)[-1:]
    return torch.cat([torch.linalg.vander(points, N=coefficients), last])


interpolation = torch.linalg.inv(values(6))  # from the values of a product
taps, inputs = torch.randn(3).double(), torch.randn(6).double()
outputs = values(4).T @ ((values(3) @ taps) * (interpolation.T @ inputs))

torch.testing.assert_close(outputs, inputs.unfold(0, 3, 1) @ taps)

# %% [markdown]
# The six multiplications are the `*` in `outputs`. In two dimensions, a tile of 4×4
# outputs takes $6^2 = 36$ instead of $9 \cdot 16 = 144$. Over all channels, those at
# each of the 36 points are one product of matrices.
#
# The additions that remain take time as well. They pay if each value serves many
# channels and if there are many tiles. Then the package convolves in this way on a CPU,
# in float32, in VGG16 and AlexNet, in strips like the loss, forward and backward
# (`fcn.cpu.winograd`). Rounding errors
# grow, since the values at 2 and −2 are large and cancel, but float32 has precision to
# spare:

# %%
layer = torch.nn.Conv2d(64, 64, 3, padding=1)
maps = torch.randn(1, 64, 96, 128).contiguous(memory_format=torch.channels_last)
with torch.no_grad():
    fast = winograd.convolution(maps, layer, rectified=False)
    exact = layer.double()(maps.double())

assert (fast - exact).abs().max() < 2e-5 * exact.abs().max()

# %% [markdown]
# ## Memory format and precision depend on the machine
#
# A photo is stored channel after channel (*contiguous*), or pixel after pixel with all
# channels of each (*channels last*). Which is faster depends on the net, the CPU, and
# whether gradients are needed. bfloat16 halves the bytes; it can be faster where the
# CPU multiplies in it (AVX512-BF16, AMX), and is several times *slower* elsewhere. So
# `train` assumes neither: it uses bfloat16 only on a CPU that has the instructions,
# finds the memory format by a short probe, reports both, and writes both into the
# record (`fcn.training.execution`). The convolution of the last section changes the
# format of its maps itself; a net with channels last does without it.

# %% tags=["full-width"]
tables.formats(found)

# %% [markdown]
# :::{caption} tab-speed-formats
# Seconds of our nets in both memory formats and, where this CPU is faster in bfloat16,
# in both precisions.
# :::

# %% tags=["hide-input"]
for precision in found.rates:
    print(f"matrix product, {precision}: {found.rate(precision) / 1e9:,.0f} GFLOP/s")
for text in found.skipped:
    print("not measured:", text)

# %% [markdown]
# The lines above give the rate of a matrix product in each precision, and say what was
# not measured.
#
# ## Where a training step goes
#
# We time the parts of the real training loop with the recipe of the tuned SIFT Flow run
# (chapter [6](06_sift_flow.ipynb)): FCN-8s on GoogLeNet, two {term}`heads <head>`,
# eight images of 256×256. The evaluation is timed in the same way.

# %% tags=["remove-input"]
figures.parts(found.profiles)
plt.show()

# %% [markdown]
# :::{caption} fig-parts
# :alt: Two stacked bars from 0 to 100 percent, one for a training step and one for
# :  an evaluation. The forward and backward passes fill most of the first; the forward
# :  pass fills most of the second.
# The parts of a training step and of an evaluation, in percent of their time.
# :::

# %% tags=["hide-input"]
training, evaluation = (found.profile(name) for name in ("training", "evaluation"))
shared.glue_values(
    images_per_second=training.images_per_second,
    scored_per_second=evaluation.images_per_second,
    precision=training.settings.get("precision", "32-true"),
)
tables.profile(training)

# %% [markdown]
# :::{caption} tab-speed-training
# The parts of a training step.
# :::

# %% tags=["hide-input"]
tables.profile(evaluation)

# %% [markdown]
# :::{caption} tab-speed-evaluation
# The parts of an evaluation.
# :::
#
# Training processes {glue:text}`images_per_second:.1f` images per second, in
# {glue:text}`precision`; the evaluation, which takes images one at a time,
# {glue:text}`scored_per_second:.1f`. Upsampling, loss and metric need few
# multiplications; the targets below set limits to their share of the time.
#
# ## The first photo
#
# Before the first result, the program has to start, and a net may have to be compiled
# or exported:

# %%
tables.commands(found)

# %% [markdown]
# :::{caption} tab-speed-commands
# Commands from start to end, each in a process of its own, with its largest memory.
# :::

# %%
tables.first_results(found)

# %% [markdown]
# :::{caption} tab-speed-first
# Time to the first result of one net within a process. "Pays after" is the number of
# photos after which the preparation has paid for itself. A net is exported once; from
# then on it starts without this cost.
# :::
#
# ## The targets
#
# We set these goals before the work began. The verdicts are computed from the record.

# %% tags=["full-width"]
judged = tables.judged(found)
judged

# %% [markdown]
# :::{caption} tab-speed-targets
# The goals, our measurements and the verdicts.
# :::

# %% tags=["remove-input"]
counts = judged["verdict"].value_counts()
rates = {v: found.share(case) or 0 for v, case in forward.items()}
onnx = rates.get(Variant("ONNX Runtime"))
shared.glue_values(
    hardware=found.hardware,
    elsewhere=tables.missed(records[1:]),
    reached=float(counts.get("reached", 0)),
    not_reached=float(counts.get("missed", 0)),
    share_ours=rates[ours(forward).variant],
    share_port=rates[port],
    share_onnx="no measured share" if onnx is None else f"{onnx:.0f} %",
    share_step=found.share(ours(step)) or 0.0,
)

# %% [markdown]
# On {glue:text}`hardware`, {glue:text}`reached:.0f` targets are reached,
# {glue:text}`not_reached:.0f` missed. Missed in the records of other machines, made
# with earlier versions of the code: {glue:text}`elsewhere`. The percentages of the
# matrix rate count a convolution's operations as those of a plain one. With fewer
# multiplications, our fastest forward pass reaches {glue:text}`share_ours:.0f` % and
# our training step {glue:text}`share_step:.0f` %; ONNX Runtime reaches
# {glue:text}`share_onnx` and the padded port {glue:text}`share_port:.0f` %. Even plain
# convolutions can exceed 100 %: a single product need not be the fastest work, and the
# rate varies while we measure. The ratio to the port is that of the multiplications,
# {glue:text}`work:.2f`, times that of the two shares.
#
# ## Other nets, sizes and machines
#
# Each record has one table per workload, and one of the targets.

# %% tags=["hide-output", "full-width"]
from IPython.display import display

for record in records:
    print(f"{record.device}: {record.hardware}, {record.threads} threads")
    for work in record.workloads():
        print(work)
        display(tables.speed(record, work))
    display(tables.judged(record))
if not any(record.device == "cuda" for record in records):
    print("no record of a GPU: python -m fcn benchmark --device cuda --save results")

# %% [markdown]
# These are FCN-8s on VGG16 and GoogLeNet, FCN-32s on AlexNet, and the paper's nets of
# Tables 1 and 3 at 500×500 (chapter [7](07_pascal_voc.ipynb)). On a CPU a training step
# has one photo, because eight take the port too long. On a GPU there are also tf32 and
# steps captured as a CUDA graph, which starts all operations of a step with a single
# call.
#
# :::{note}
# Each table shows one machine, one version of every library and of our own code, and
# one size of photo; the ratios change with each of them. The weights are random.
# torchvision's net has another backbone, a ResNet-50 at stride 8: we include it because
# people use it, not because it is the same design. The port is ours, written from its
# published architecture, not its package.
# :::
#
# ## Summary
#
# - We time all peers in turn in one process. A record keeps every trial, and all times
#   in this chapter come from it.
# - The padded net needs {glue:text}`work:.1f` times the multiplications of a net that
#   covers just the photo.
# - A fixed bilinear deconvolution is two thin matrix products. Dense filters multiply
#   zeros, and the loss does not need the scores of all pixels at once.
# - A 3×3 convolution needs a quarter of the multiplications that its definition has.
# - Memory format and precision are properties of the machine: probe, do not assume.
# - Compiling and exporting pay, if at all, after a number of photos that can be
#   computed.
#
# ## Exercises
#
# 1. *Your machine.* Run `python -m fcn benchmark`, whose last lines are the verdicts.
#    Which of them differ from {numref}`tab-speed-targets`? Which can the matrix rate in
#    bfloat16 explain?
#
#    :::{dropdown} Solution
#    Only those on a training step's parts. The targets for times are ratios in float32,
#    so the rate in bfloat16 does not enter them; cores, caches and the versions of the
#    libraries do. But `train`, and with it the profile, runs convolutions in bfloat16
#    where the CPU multiplies in it. On a CPU that does not, the forward and the
#    backward pass take longer, so that upsampling, loss and waiting for data take a
#    smaller share. Both CPUs that we have timed do.
#    :::
#
# 2. *The break-even size.* With `multiplications`, count the work of `fcn.FCN` on VGG16
#    with `alignment="tight"` and with `alignment="reference"`, for square photos from
#    64×64 to 4096×4096 pixels. From which size on does padding cost less than 10 %?
#
#    :::{dropdown} Solution
#    From about 3000×3000 pixels on.
#
#    ```python
#    for side in (64, 500, 2048, 3000, 4096):
#        counts = [
#            multiplications(lambda: fcn.FCN("vgg16", 8, 21, alignment=way), side, side)
#            for way in ("tight", "reference")
#        ]
#        print(side, f"{counts[1] / counts[0]:.2f}")
#    ```
#
#    The ratio is 12.95 at 64 pixels, 1.68 at 500, 1.16 at 2048 and 1.08 at 4096. The
#    padding adds 198 pixels to the side $s$ of the first map, a share of about $2 \cdot
#    198 / s$ of its area. At 3000 pixels that would be 13 %, but `fc6` and `fc7`, more
#    than a quarter of the work, hardly see it.
#    :::
#
# 3. *Sparse matrices.* Store `thin(cells)` as a sparse tensor (`.to_sparse_csr()`) and
#    time its product with random scores, `cells` × (21 · `cells`), for photos of 512
#    pixels and factors from 2 to 32. (`thin` reads `factor` and `line`: set both anew
#    for each factor.) With which factors does sparsity pay?
#
#    :::{dropdown} Solution
#    With the small ones. A row of `thin(cells)` has at most two weights, the rest are
#    zeros, so sparsity saves a factor of about `cells / 2`. In a photo of 512 pixels
#    there are 256 cells for a factor of 2 and 16 for 32. A sparse product is far from
#    the rate of a dense one: it has to look up where each weight belongs. In our
#    trials, on one core, the sparse product was clearly faster for factors of 2 and 4,
#    about as fast for 8, a little slower for 16 and clearly slower for 32. So with the
#    factor of FCN-8s it makes no difference on this machine, and FCN-32s loses.
#    :::
#
# 4. *Strips.* `fcn.losses.STRIP` is the number of scores in a strip. Set it to those of
#    1, 4, 16, 64, 128 and 375 rows, and time the loss of 21 classes and its gradient
#    for one photo of 500×375, on one thread. Can you see the size of your CPU's cache?
#
#    :::{dropdown} Solution
#    Only just. A row of scores takes 500 · 21 · 4 bytes, or 42 kB, so 1 MB of cache,
#    what a core of our CPU has to itself, holds about 24 rows. In our trials, 16 and 64
#    rows were the fastest of these strips. Single rows took more than twice as long:
#    every strip has a fixed cost, and its matrix products are thin. So did the whole
#    photo at once. With 128 rows the step is small because a third, slower level of
#    cache catches what the second cannot hold. Repeat, and take medians.
#    :::
